"""People and their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from procore_signin._protocol.me import Me
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.statement import Transaction
from procore_signin._store.escrows import REFRESHING, Escrows, share
from procore_signin._store.records import Replaced, User
from procore_signin.errors import VaultSealed

_TOKEN_SET: Final = (
    *("id", "access_token", "refresh_token", "expires_at", "generation"),
    *("status", "lease_owner", "ambiguous", "predecessor"),
)


class Users(Escrows):
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
            # Someone was faster. To go on and lock that row could deadlock on MariaDB, where the
            # failed insert already holds a shared lock on it; to start again cannot.
            raise Failed("collision")
        return User(
            user_id, me.procore_id, me.login, me.name, environment, now, now, disabled_at=None
        )

    def _replace_tokens(
        self, transaction: Transaction, user: User, tokens: TokenSet, now: int, *, created: bool
    ) -> Replaced:
        place = {"which_user": user.id, "which_environment": user.environment}
        found = None if created else transaction.one(self._statements.lock_tokens, place)
        row = None if found is None else dict(zip(_TOKEN_SET, found, strict=True))
        generation = 1 if row is None else row["generation"] + 1
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
        owner = {"user_id": user.id, "environment": user.environment}
        if row is None:
            transaction.run(self._statements.insert_tokens, {**values, **owner})
            return Replaced(None)
        transaction.run(self._statements.update_tokens, {**values, "which_tokens": row["id"]})
        return self._replaced(transaction, {**row, **owner}, tokens, now)

    def _replaced(
        self, transaction: Transaction, row: Mapping[str, Any], tokens: TokenSet, now: int
    ) -> Replaced:
        """Return what stood in a row before `tokens`, and leave nothing of it unknown."""
        cells = row["access_token"], row["refresh_token"], row["expires_at"], row["generation"]
        before, sealed, others = None, False, []
        try:
            before = self._open_tokens(row["user_id"], row["environment"], cells)
        except VaultSealed:
            sealed = True
        try:
            others += [self._put_away_predecessor(transaction, row, now, tokens)]
        except VaultSealed:
            sealed = True
        if sealed or row["status"] == "lost" or row["ambiguous"]:
            self._doubt(transaction, row["user_id"], row["environment"], now)
        if before is None or share(before, tokens):
            before = None
        elif row["lease_owner"] is not None:
            # A refresh is under way: what is known of this pair is what that will say.
            others.append(self._put_away(transaction, before, row, REFRESHING, now))
            before = None
        return Replaced(before, sealed, tuple(each for each in others if each is not None))
