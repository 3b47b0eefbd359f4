"""People and their tokens."""

from __future__ import annotations

from dataclasses import replace

from procore_signin.errors import VaultSealed
from procore_signin.protocol.me import Me
from procore_signin.protocol.token_set import TokenSet
from procore_signin.store.base import StoreBase
from procore_signin.store.failures import Failed
from procore_signin.store.records import User
from procore_signin.store.statement import Transaction


class Users(StoreBase):
    """People by environment and Procore's id, and for each one token set per environment."""

    def user(self, user_id: int) -> User | None:
        """Return a person, disabled or not, or None where there is none of that number."""
        row = self._database.one(self._statements.user, {"which_user": user_id})
        return None if row is None else User(*row)

    def choose_company(self, user_id: int, company_id: int) -> None:
        """Remember which company the person chose. Whether it is theirs was asked before."""
        chosen = {"which_user": user_id, "company_id": company_id}
        self._database.write(lambda t: t.run(self._statements.choose_company, chosen))

    def tokens(self, user_id: int, environment: str) -> TokenSet | None:
        """Return a person's tokens for one environment, or None where there are none of use.

        Raises:
            VaultSealed: They cannot be opened. This harms no one else; a new sign-in replaces them.
        """
        row = self._database.one(
            self._statements.tokens, {"which_user": user_id, "which_environment": environment}
        )
        return None if row is None else self._open_tokens(user_id, environment, row)

    def forget_tokens(self, user_id: int, environment: str) -> TokenSet | None:
        """Delete a person's tokens for one environment and return them, to be revoked.

        Raises:
            VaultSealed: They cannot be opened, and so not revoked. The row stays.
        """

        def work(transaction: Transaction) -> TokenSet | None:
            place = {"which_user": user_id, "which_environment": environment}
            row = transaction.one(self._statements.lock_tokens, place)
            if row is None:
                return None
            tokens = self._open_tokens(user_id, environment, row[1:])
            transaction.run(self._statements.delete_tokens, {"which_tokens": row[0]})
            return tokens

        return self._database.write(work)

    def _find_or_make_user(
        self, transaction: Transaction, me: Me, environment: str, now: int
    ) -> tuple[User, bool]:
        who = {"which_environment": environment, "which_procore_id": me.procore_id}
        row = transaction.one(self._statements.lock_user, who)
        if row is None:
            return self._make_user(transaction, me, environment, now), True
        user = User(*row)
        if user.disabled_at is not None:
            return user, False
        told = {"email": me.login, "name": me.name, "last_signed_in_at": now}
        transaction.run(self._statements.update_user, {"which_user": user.id, **told})
        return replace(user, email=me.login, name=me.name, last_signed_in_at=now), False

    def _make_user(self, transaction: Transaction, me: Me, environment: str, now: int) -> User:
        values = {
            "procore_id": me.procore_id,
            "email": me.login,
            "name": me.name,
            "environment": environment,
            "created_at": now,
            "last_signed_in_at": now,
        }
        user_id = transaction.insert_absent(self._statements.insert_user, values)
        if user_id is None:
            # Somebody was faster. To go on and lock that row could deadlock on MariaDB, where the
            # failed insert already holds a shared lock on it; to start again cannot.
            raise Failed("collision")
        return User(
            user_id, me.procore_id, me.login, me.name, environment, now, now, disabled_at=None
        )

    def _replace_tokens(
        self, transaction: Transaction, user: User, tokens: TokenSet, now: int, *, created: bool
    ) -> tuple[TokenSet | None, bool]:
        place = {"which_user": user.id, "which_environment": user.environment}
        row = None if created else transaction.one(self._statements.lock_tokens, place)
        generation = 1 if row is None else row[-1] + 1
        values = {
            **self._seal.seal_row(
                tokens, user_id=user.id, environment=user.environment, generation=generation
            ),
            "generation": generation,
            "status": "ok",
            "lease_owner": None,
            "lease_until": None,
            "ambiguous": 0,
            # What is left by this host's clock, which may be wrong, is added to the shared one.
            "seconds": max(0, tokens.expires_at - now),
            "now": now,
        }
        if row is None:
            owner = {"user_id": user.id, "environment": user.environment}
            transaction.run(self._statements.insert_tokens, {**values, **owner})
            return None, False
        transaction.run(self._statements.update_tokens, {**values, "which_tokens": row[0]})
        try:
            before = self._open_tokens(user.id, user.environment, row[1:])
        except VaultSealed:
            return None, True
        same = before.access_token == tokens.access_token or (
            before.refresh_token is not None and before.refresh_token == tokens.refresh_token
        )
        return None if same else before, False
