"""End a person's access: disable, enable and delete people, and keep their tokens to be revoked.

Ending an access moves the tokens, sealed anew, into an escrow of the ledger in the same transaction
that disables the person. So no one uses them again, a refresh under way finds another generation
and loses, and whatever process is left revokes them (docs/decisions/0010).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.engine import Dialect

from procore_signin._forks import Made
from procore_signin._store.engine.clock import database_now
from procore_signin._store.engine.statement import Statement, Transaction
from procore_signin._store.escrows import REFRESHING, UNANSWERED
from procore_signin._store.ledger import Ledger
from procore_signin._store.records import Escrow, User
from procore_signin._store.schema import sign_in_ledger, token_sets, users
from procore_signin.errors import VaultSealed

DISABLED: Final = "access_ended"
"""The outcome of a ledger row that holds the tokens of a person whose access was ended."""


@dataclass(frozen=True, slots=True)
class EndedAccess:
    """What ending a person's access found.

    Attributes:
        user: The person, as stored now.
        sessions: How many sessions ended.
        withdrawn: How many token sets went into escrow: revoke them.
        lost: Whether a response was lost before: its tokens are known to no one, and may live.
        sealed: Whether there are tokens that cannot be opened. They stay as they are.
        leased: Whether a refresh was under way. It brings a pair that it has to give up itself.
        escrows: The ledger rows of what went into escrow, pairs before those among them.
    """

    user: User
    sessions: int
    withdrawn: int
    lost: bool
    sealed: bool
    leased: bool
    escrows: tuple[str, ...] = ()

    def with_escrow(self, escrow: Escrow) -> EndedAccess:
        """Return this with one more pair that went into escrow."""
        escrows = (*self.escrows, escrow.state_hash)
        return replace(self, withdrawn=self.withdrawn + 1, escrows=escrows)


class _Statements:
    def __init__(self, dialect: Dialect) -> None:
        now = database_now(dialect).label("at")
        of_user = token_sets.c.user_id == bindparam("which_user")
        this_user = users.c.id == bindparam("which_user")

        def made(element: Any, *columns: str) -> Statement:
            return Statement(element, dialect, columns)

        # FOR UPDATE whole: a session that someone is opening waits, or is seen and ended too.
        self.lock_user = made(select(users).where(this_user).with_for_update())
        self.disable = made(update(users).where(this_user).values(disabled_at=bindparam("now")))
        self.enable = made(
            update(users)
            .where(this_user, users.c.disabled_at.is_not(None))
            .values(disabled_at=None)
        )
        self.delete = made(delete(users).where(this_user))
        self.lock_token_sets = made(select(*token_sets.c, now).where(of_user).with_for_update())
        self.withdraw = made(
            update(token_sets)
            .where(token_sets.c.id == bindparam("which_tokens"))
            .values(status="revoked", lease_owner=None, lease_until=None, ambiguous=0),
            *("generation", "access_token", "refresh_token", "expires_at", "updated_at"),
        )
        self.forget_predecessor = made(
            update(token_sets)
            .where(token_sets.c.id == bindparam("which_tokens"))
            .values(predecessor=None)
        )
        self.delete_token_sets = made(delete(token_sets).where(of_user))
        self.escrows_of = made(
            select(
                sign_in_ledger.c.state_hash,
                sign_in_ledger.c.environment,
                sign_in_ledger.c.escrow,
                sign_in_ledger.c.escrowed_at,
            ).where(
                sign_in_ledger.c.user_id == bindparam("which_user"),
                sign_in_ledger.c.escrow.is_not(None),
            )
        )


_TOKEN_SET: Final = (*(column.name for column in token_sets.c), "at")


class Withdrawals(Ledger):
    """The end of a person's access (rows I5, R10)."""

    @Made
    def _withdrawal(self) -> _Statements:
        return _Statements(self._database.dialect)

    def disable_user(self, user_id: int, *, now: int) -> EndedAccess | None:
        """Disable a person, end all sessions and put the tokens into escrow, in one transaction.

        Repeating it is harmless, and finds what the first time could not open.

        Returns:
            What was found; None where there is no such person.
        """

        def work(transaction: Transaction) -> EndedAccess | None:
            user = self._lock_user(transaction, user_id)
            return None if user is None else self._end_access(transaction, user, now)

        return self._database.write(work)

    def disconnect_user(self, user_id: int, *, now: int) -> EndedAccess | None:
        """End all sessions of a person and forget the tokens, which go into escrow to be revoked.

        The person may sign in again. Tokens that cannot be opened stay as they are.

        Returns:
            What was found; None where there is no such person.
        """

        def work(transaction: Transaction) -> EndedAccess | None:
            user = self._lock_user(transaction, user_id)
            if user is None:
                return None
            ended = self._end_access(transaction, user, now, disable=False)
            if ended.lost:  # a row that goes cannot tell it any more
                self._doubt(transaction, user_id, user.environment, now)
            if not ended.sealed:
                transaction.run(self._withdrawal.delete_token_sets, {"which_user": user_id})
            return ended

        return self._database.write(work)

    def enable_user(self, user_id: int) -> User | None:
        """Let a person sign in again. Their tokens are gone: they have to.

        Returns:
            The person, or None where there is none of that number.
        """

        def work(transaction: Transaction) -> User | None:
            transaction.run(self._withdrawal.enable, {"which_user": user_id})
            row = transaction.one(self._statements.user, {"which_user": user_id})
            return None if row is None else User(*row)

        return self._database.write(work)

    def delete_user(
        self, user_id: int, *, now: int, even_sealed: bool = False
    ) -> EndedAccess | None:
        """Delete a person, their sessions and their token set; tokens still alive go into escrow.

        Args:
            user_id: Whom.
            now: Unix seconds.
            even_sealed: Delete tokens too that cannot be opened, and so never revoked.

        Returns:
            What was found; None where there is no such person.

        Raises:
            VaultSealed: There are tokens that cannot be opened. Nothing was changed.
        """

        def work(transaction: Transaction) -> EndedAccess | None:
            user = self._lock_user(transaction, user_id)
            if user is None:
                return None
            ended = self._end_access(transaction, user, now)
            if ended.sealed and not even_sealed:
                raise VaultSealed(
                    "This person's tokens cannot be opened, and so not revoked. Put the key that "
                    "sealed them back into PROCORE_KEYS, or delete them unrevoked.",
                    hint="Put the key back, or delete them unrevoked.",
                )
            place = {"which_user": user_id, "now": now}
            transaction.run(self._withdrawal.delete_token_sets, place)
            transaction.run(self._escrows.forget_doubts, place)
            transaction.run(self._withdrawal.delete, place)
            return ended

        return self._database.write(work)

    def escrows_of(self, user_id: int) -> list[Escrow]:
        """Return a person's tokens in escrow, which wait to be revoked."""
        rows = self._database.many(self._withdrawal.escrows_of, {"which_user": user_id})
        return [self._open_escrow(*row) for row in rows]

    def _lock_user(self, transaction: Transaction, user_id: int) -> User | None:
        row = transaction.one(self._withdrawal.lock_user, {"which_user": user_id})
        return None if row is None else User(*row)

    def _end_access(
        self, transaction: Transaction, user: User, now: int, *, disable: bool = True
    ) -> EndedAccess:
        who = {"which_user": user.id, "now": now}
        if disable and user.disabled_at is None:
            transaction.run(self._withdrawal.disable, who)
            user = replace(user, disabled_at=now)
        ended = transaction.run(self._statements.end_sessions, who)
        lost = self._is_in_doubt(transaction, user.id)
        found = EndedAccess(user, ended, withdrawn=0, lost=lost, sealed=False, leased=False)
        for row in transaction.many(self._withdrawal.lock_token_sets, who):
            token_set = dict(zip(_TOKEN_SET, row, strict=True))
            found = replace(
                found,
                leased=found.leased or _leased_for(token_set) > 0,
                lost=found.lost or token_set["status"] == "lost",
            )
            for withdraw in (self._withdraw_predecessor, self._withdraw):
                try:
                    moved = withdraw(transaction, token_set)
                except VaultSealed:
                    found = replace(found, sealed=True)
                else:
                    found = found if moved is None else found.with_escrow(moved)
        return found

    def _withdraw_predecessor(
        self, transaction: Transaction, row: Mapping[str, Any]
    ) -> Escrow | None:
        """Move the pair before that of a locked row into escrow, where there is one.

        Raises:
            VaultSealed: It cannot be opened, and stays.
        """
        moved = self._put_away_predecessor(transaction, row, int(row["at"]))
        if moved is not None:
            this = {"which_tokens": row["id"]}
            transaction.run(self._withdrawal.forget_predecessor, this)
        return moved

    def _withdraw(self, transaction: Transaction, row: Mapping[str, Any]) -> Escrow | None:
        """Move the tokens of a locked row into escrow, unless they are over.

        Raises:
            VaultSealed: They cannot be opened, and stay.
        """
        if row["status"] != "ok":
            return None
        user_id, environment, generation = row["user_id"], row["environment"], row["generation"]
        cells = row["access_token"], row["refresh_token"], row["expires_at"], generation
        tokens = self._open_tokens(user_id, environment, cells)
        at = int(row["at"])
        moved = self._put_away(transaction, tokens, row, _what_is_known(row), at)
        sealed = self._seal.seal_row(
            tokens, user_id=user_id, environment=environment, generation=generation + 1
        )
        values = {**sealed, "generation": generation + 1, "updated_at": at}
        transaction.run(self._withdrawal.withdraw, {**values, "which_tokens": row["id"]})
        return moved


def _leased_for(row: Mapping[str, Any]) -> int:
    return 0 if row["lease_owner"] is None else max(0, int(row["lease_until"]) - int(row["at"]))


def _what_is_known(row: Mapping[str, Any]) -> str:
    """Return the note for the tokens of a row: whether their refresh token may have been spent."""
    if _leased_for(row) > 0:
        return REFRESHING
    return UNANSWERED if row["lease_owner"] is not None or row["ambiguous"] else DISABLED
