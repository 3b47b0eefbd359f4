"""People and their tokens."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from procore_signin.errors import VaultSealed
from procore_signin.protocol.me import Me
from procore_signin.protocol.token_set import TokenSet
from procore_signin.store import statements
from procore_signin.store.base import StoreBase, insert_absent
from procore_signin.store.database import Restart
from procore_signin.store.records import User


class Users(StoreBase):
    """People by environment and Procore's id, and for each one token set per environment."""

    def user(self, user_id: int) -> User | None:
        """Return a person, disabled or not, or None where there is none of that number."""
        row = self._database.one(self._queries.user, {"which_user": user_id})
        return None if row is None else User(*row)

    def tokens(self, user_id: int, environment: str) -> TokenSet | None:
        """Return a person's tokens for one environment, or None where there are none of use.

        Raises:
            VaultSealed: They cannot be opened. This harms no one else; a new sign-in replaces them.
        """
        row = self._database.one(
            self._queries.tokens, {"which_user": user_id, "which_environment": environment}
        )
        return None if row is None else self._open_tokens(user_id, environment, row)

    def forget_tokens(self, user_id: int, environment: str) -> TokenSet | None:
        """Delete a person's tokens for one environment and return them, to be revoked.

        Raises:
            VaultSealed: They cannot be opened, and so not revoked. The row stays.
        """

        def work(connection: Connection) -> TokenSet | None:
            row = connection.execute(
                statements.LOCK_TOKENS, {"which_user": user_id, "which_environment": environment}
            ).first()
            if row is None:
                return None
            tokens = self._open_tokens(user_id, environment, row[1:])
            connection.execute(statements.DELETE_TOKENS, {"which_tokens": row.id})
            return tokens

        return self._database.write(work)

    def _find_or_make_user(
        self, connection: Connection, me: Me, environment: str, now: int
    ) -> tuple[User, bool]:
        row = connection.execute(
            statements.LOCK_USER,
            {"which_environment": environment, "which_procore_id": me.procore_id},
        ).first()
        if row is None:
            return self._make_user(connection, me, environment, now), True
        user = User(*row)
        if user.disabled_at is not None:
            return user, False
        told = {"email": me.login, "name": me.name, "last_signed_in_at": now}
        connection.execute(statements.UPDATE_USER, {"which_user": user.id, **told})
        return replace(user, email=me.login, name=me.name, last_signed_in_at=now), False

    def _make_user(self, connection: Connection, me: Me, environment: str, now: int) -> User:
        values = {
            "procore_id": me.procore_id,
            "email": me.login,
            "name": me.name,
            "environment": environment,
            "created_at": now,
            "last_signed_in_at": now,
        }
        user_id = insert_absent(connection, self._insert_user, values)
        if user_id is None:
            # Somebody was faster. To go on and lock that row could deadlock on MariaDB, where the
            # failed insert already holds a shared lock on it; to start again cannot.
            raise Restart
        return User(
            user_id, me.procore_id, me.login, me.name, environment, now, now, disabled_at=None
        )

    def _replace_tokens(
        self, connection: Connection, user: User, tokens: TokenSet, now: int
    ) -> tuple[TokenSet | None, bool]:
        place = {"which_user": user.id, "which_environment": user.environment}
        row = connection.execute(statements.LOCK_TOKENS, place).first()
        generation = 1 if row is None else row.generation + 1
        values = {
            **self._seal.seal_row(
                tokens, user_id=user.id, environment=user.environment, generation=generation
            ),
            "generation": generation,
            "status": "ok",
            "lease_owner": None,
            "lease_until": None,
            "ambiguous": 0,
            "updated_at": now,
        }
        if row is None:
            owner = {"user_id": user.id, "environment": user.environment, "created_at": now}
            connection.execute(statements.INSERT_TOKENS, {**values, **owner})
            return None, False
        connection.execute(statements.UPDATE_TOKENS, {**values, "which_tokens": row.id})
        try:
            before = self._open_tokens(user.id, user.environment, row[1:])
        except VaultSealed:
            return None, True
        same = before.access_token == tokens.access_token or (
            before.refresh_token is not None and before.refresh_token == tokens.refresh_token
        )
        return None if same else before, False
