"""Tokens that no one wants any more: kept in the ledger until Procore has certainly ended them.

The process that revokes what is in an escrow holds its row meanwhile, so that two of them do not
take each other's work for a lost response. What cannot be known is written down too: a row whose
outcome is `UNANSWERED` and that holds no tokens says that tokens of the person may live that no one
knows. It stays for as long as the person does (docs/decisions/0025).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, ColumnElement, bindparam, case, func, insert, or_, select, update
from sqlalchemy.engine import Dialect

from procore_signin._forks import Made
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.base import StoreBase
from procore_signin._store.engine.clock import database_now
from procore_signin._store.engine.statement import Statement, Transaction
from procore_signin._store.records import Escrow, TokenRow
from procore_signin._store.schema import sign_in_ledger, users
from procore_signin._store.statements import insert_if_absent, unfinished
from procore_signin.errors import VaultSealed

UNANSWERED: Final = "unanswered"
"""The ledger's outcome while a refresh token is being tried. The process that finds it must assume
that the response was lost, and that the server made a pair which no one knows."""

REFRESHING: Final = "refreshing"
"""The outcome of a row whose refresh token another process had just sent to Procore. That process
says what became of it; until then no one knows."""

SUPERSEDED: Final = "superseded"
"""The outcome of a row that holds a pair whose successor no one has seen accepted."""

LATE: Final = "late"
"""The outcome of a row that holds a pair which came when no one wanted it any more."""

DOUBTS: Final = (UNANSWERED, REFRESHING)
"""The outcomes of a row without tokens that says that some may live which no one knows."""

HOLD_SECONDS: Final = 60
"""How long one revocation may hold a row before others think that its process has ended: longer
than the four requests of ten seconds that it makes between two of its notes."""

NEVER: Final = 253_402_300_799
"""When a row expires that tells of a doubt: at the end of the year 9999."""

_this: Final = sign_in_ledger.c.state_hash == bindparam("which_state")
_kept: Final = sign_in_ledger.c.escrow.is_not(None)


@dataclass(frozen=True, slots=True)
class Held:
    """What came of the wish to revoke what is in an escrow.

    Attributes:
        state: `ours`: no one else touches it for `HOLD_SECONDS`; `busy`: someone else holds it;
            `over`: it is empty, someone else has finished.
        escrow: What is in it now, where it is ours.
        outcome: The row's note, or None.
        age: Seconds since it was put there, by the clock that all share.
    """

    state: Literal["ours", "busy", "over"]
    escrow: Escrow | None = None
    outcome: str | None = None
    age: int = 0


class _Statements:
    def __init__(self, dialect: Dialect) -> None:
        now = database_now(dialect)
        seconds: ColumnElement[Any] = bindparam("seconds")
        until = sign_in_ledger.c.held_until
        # Later than a whole hold from now: the clock was set back, and no one holds it.
        free = or_(until.is_(None), until <= now, until > now + seconds)
        owned = sign_in_ledger.c.held_by == bindparam("holder")

        def made(element: Any, *columns: str) -> Statement:
            return Statement(element, dialect, columns)

        self.lock_owner = made(
            select(users.c.id)
            .where(users.c.id == bindparam("which_user"))
            .with_for_update(read=True, key_share=True)
        )
        self.lock_named = made(
            select(users.c.id)
            .where(
                users.c.environment == bindparam("which_environment"),
                users.c.procore_id == bindparam("which_procore_id"),
            )
            .with_for_update(read=True, key_share=True)
        )
        self.insert = made(
            insert(sign_in_ledger).inline(), *(column.name for column in sign_in_ledger.c)
        )
        self.insert_absent = made(
            insert_if_absent(sign_in_ledger, dialect),
            *(column.name for column in sign_in_ledger.c),
        )
        # An attempt that was to end and could not, because the database was away, ends here.
        # MariaDB assigns from left to right: the status comes last.
        self.fill = made(
            update(sign_in_ledger)
            .where(_this)
            .ordered_values(
                (sign_in_ledger.c.escrow, bindparam("tokens")),
                (sign_in_ledger.c.escrowed_at, bindparam("now")),
                (
                    sign_in_ledger.c.user_id,
                    func.coalesce(bindparam("owner", type_=BigInteger), sign_in_ledger.c.user_id),
                ),
                (
                    sign_in_ledger.c.finished_at,
                    func.coalesce(sign_in_ledger.c.finished_at, bindparam("now")),
                ),
                (
                    sign_in_ledger.c.outcome,
                    case((unfinished, LATE), else_=sign_in_ledger.c.outcome),
                ),
                (
                    sign_in_ledger.c.status,
                    case((unfinished, "failed"), else_=sign_in_ledger.c.status),
                ),
            )
        )
        self.hold = made(
            update(sign_in_ledger)
            .where(_this, _kept, ~unfinished, free)
            .values(held_by=bindparam("holder"), held_until=now + seconds)
        )
        self.held = made(
            select(
                sign_in_ledger.c.environment,
                sign_in_ledger.c.escrow,
                sign_in_ledger.c.escrowed_at,
                sign_in_ledger.c.outcome,
                now.label("at"),
            ).where(_this)
        )
        self.owner = made(select(sign_in_ledger.c.user_id).where(_this))
        self.release = made(
            update(sign_in_ledger).where(_this, owned).values(held_by=None, held_until=None)
        )
        contents: dict[str, Any] = {
            "escrow": bindparam("tokens"),
            "escrowed_at": bindparam("now"),
            "outcome": bindparam("outcome"),
        }
        self.replace = made(update(sign_in_ledger).where(_this, _kept).values(**contents))
        self.replace_held = made(
            update(sign_in_ledger)
            .where(_this, _kept, owned)
            .values(**contents, held_until=now + seconds)
        )
        empty: dict[str, Any] = {
            "escrow": None,
            "escrowed_at": None,
            "outcome": bindparam("outcome"),
            "held_by": None,
            "held_until": None,
        }
        self.clear_held = made(update(sign_in_ledger).where(_this, _kept, owned).values(**empty))
        self.doubt_held = made(
            update(sign_in_ledger)
            .where(_this, _kept, owned)
            .values(
                **empty,
                expires_at=case(
                    (sign_in_ledger.c.user_id.is_(None), bindparam("now")), else_=NEVER
                ),
            )
        )
        refreshing = (_this, sign_in_ledger.c.outcome == REFRESHING)
        self.answered = made(
            update(sign_in_ledger)
            .where(*refreshing)
            .values(outcome=LATE, expires_at=sign_in_ledger.c.created_at)
        )
        self.unanswered = made(update(sign_in_ledger).where(*refreshing).values(outcome=UNANSWERED))
        doubts_of_user = (
            sign_in_ledger.c.user_id == bindparam("which_user"),
            or_(*(sign_in_ledger.c.outcome == doubt for doubt in DOUBTS)),
            sign_in_ledger.c.escrow.is_(None),
        )
        self.doubts = made(select(sign_in_ledger.c.state_hash).where(*doubts_of_user).limit(1))
        self.forget_doubts = made(
            update(sign_in_ledger).where(*doubts_of_user).values(expires_at=bindparam("now"))
        )


class Escrows(StoreBase):
    """Puts tokens away, lets one process at a time revoke them, and remembers doubts."""

    @Made
    def _escrows(self) -> _Statements:
        return _Statements(self._database.dialect)

    def give_up_tokens(
        self,
        tokens: TokenSet,
        *,
        state_hash: str,
        environment: str,
        user_id: int | None,
        procore_id: int | None = None,
        refreshed: TokenRow | None,
        now: int,
    ) -> None:
        """Put tokens into escrow that no one wants. May be repeated.

        Args:
            tokens: Which.
            state_hash: The row that keeps them: an attempt's, which ends with this, or another.
            environment: Where.
            user_id: Whose, or None. Someone who is gone meanwhile counts as None.
            procore_id: The same by Procore's number: of someone who may be unknown here.
            refreshed: The row whose refresh brought them: that it has a response is noted.
            now: Unix seconds.
        """
        sealed = self._seal.seal_escrow(tokens, state_hash=state_hash, environment=environment)

        def work(transaction: Transaction) -> None:
            owner = None if user_id is None else self._lock_owner(transaction, user_id)
            if procore_id is not None:
                named = {"which_environment": environment, "which_procore_id": procore_id}
                found = transaction.one(self._escrows.lock_named, named)
                owner = None if found is None else int(found[0])
            if refreshed is not None:
                self._refresh_over(transaction, refreshed)
            place = {"which_state": state_hash, "tokens": sealed, "now": now, "owner": owner}
            if transaction.run(self._escrows.fill, place):
                return
            row = _row(state_hash, environment, owner, LATE, now)
            row |= {"escrow": sealed, "escrowed_at": now}
            transaction.insert_absent(self._escrows.insert_absent, row)

        self._database.write(work)

    def hold_escrow(self, state_hash: str, *, holder: str, now: int) -> Held:
        """Take the right to revoke what is in an escrow, for `HOLD_SECONDS`.

        No one gets it while the sign-in that put it there is under way: fail that first.

        Args:
            state_hash: Which.
            holder: Who asks: a text that no one else has.
            now: Unix seconds of this host; used where the database has no clock of its own.
        """
        place = {
            "which_state": state_hash,
            "holder": holder,
            "seconds": HOLD_SECONDS,
            "now": now,
        }

        def work(transaction: Transaction) -> Held:
            ours = transaction.run(self._escrows.hold, place) == 1
            row = transaction.one(self._escrows.held, place)
            if row is None or row[1] is None:
                return Held("over", outcome=None if row is None else row[3])
            environment, sealed, escrowed_at, outcome, at = row
            if not ours:
                return Held("busy", outcome=outcome)
            escrow = self._open_escrow(state_hash, environment, sealed, escrowed_at)
            return Held("ours", escrow, outcome, int(at) - escrowed_at)

        return self._database.write(work)

    def release_escrow(self, state_hash: str, *, holder: str) -> None:
        """Give the right back. What is in the escrow stays there."""
        values = {"which_state": state_hash, "holder": holder}
        self._database.write(lambda transaction: transaction.run(self._escrows.release, values))

    def replace_escrow(
        self, escrow: Escrow, *, outcome: str | None, now: int, holder: str | None = None
    ) -> bool:
        """Write an escrow anew: other tokens, or another outcome of its attempt.

        One that was cleared meanwhile stays so.

        Args:
            escrow: Which one, and the tokens that it is to hold.
            outcome: A fixed word, or None.
            now: Unix seconds. The janitor leaves it alone for a while from then on.
            holder: Who must be holding it, and goes on to; None where it does not matter.

        Returns:
            False where it was cleared, or someone else holds it by now.
        """
        if escrow.tokens is None:
            raise ValueError("There are no tokens to keep.")
        values = {
            "which_state": escrow.state_hash,
            "tokens": self._seal.seal_escrow(
                escrow.tokens, state_hash=escrow.state_hash, environment=escrow.environment
            ),
            "outcome": outcome,
            "now": now,
            "holder": holder,
            "seconds": HOLD_SECONDS,
        }
        statement = self._escrows.replace if holder is None else self._escrows.replace_held
        return self._database.write(lambda transaction: transaction.run(statement, values) == 1)

    def keep_renewed(
        self, escrow: Escrow, renewed: TokenSet, *, outcome: str | None, now: int, holder: str
    ) -> str | None:
        """Keep the pair that trying the refresh token of an escrow brought, beside the pair there.

        Until the new one was accepted the old one may live, so both stay in the ledger.

        Args:
            escrow: Which one, as it was held.
            renewed: What its refresh token brought.
            outcome: The note for the escrow, now that the response is here.
            now: Unix seconds.
            holder: Who holds the escrow, and goes on to; it holds the new row as well.

        Returns:
            The new row; None where someone else holds the escrow by now. The pair is kept there
            all the same.
        """
        if escrow.tokens is None:
            raise ValueError("There are no tokens to keep.")
        place = _place("renewed", escrow.state_hash, holder)
        old = self._seal.seal_escrow(
            escrow.tokens, state_hash=escrow.state_hash, environment=escrow.environment
        )
        new = self._seal.seal_escrow(renewed, state_hash=place, environment=escrow.environment)
        more = {"now": now, "holder": holder, "seconds": HOLD_SECONDS}
        this = {"which_state": escrow.state_hash, "tokens": old, "outcome": outcome, **more}

        def work(transaction: Transaction) -> bool:
            found = transaction.one(self._escrows.owner, this)
            user_id = None if found is None else found[0]
            owner = None if user_id is None else self._lock_owner(transaction, user_id)
            ours = transaction.run(self._escrows.replace_held, this) == 1
            row = _row(place, escrow.environment, owner, LATE, now)
            row |= {"escrow": new, "escrowed_at": now}
            transaction.insert_absent(self._escrows.insert_absent, row)
            transaction.run(self._escrows.hold, {"which_state": place, **more})
            return ours

        return place if self._database.write(work) else None

    def finish_escrow(self, state_hash: str, *, holder: str, outcome: str | None, now: int) -> bool:
        """Forget the tokens in an escrow, because nothing more can be done about them.

        Args:
            state_hash: Which.
            holder: Who holds it.
            outcome: The note that stays. With one of `DOUBTS` the row stays for as long as the
                person: tokens may live.
            now: Unix seconds.

        Returns:
            False where someone else holds it by now, or it is empty.
        """
        values = {"which_state": state_hash, "holder": holder, "outcome": outcome, "now": now}
        statement = self._escrows.doubt_held if outcome in DOUBTS else self._escrows.clear_held
        return self._database.write(lambda transaction: transaction.run(statement, values) == 1)

    def _lock_owner(self, transaction: Transaction, user_id: int) -> int | None:
        """Keep a person from going; None where there is none of that number.

        Before any row of theirs is locked: the code that ends their access locks in that order too.
        """
        return (
            user_id if transaction.one(self._escrows.lock_owner, {"which_user": user_id}) else None
        )

    def _open_escrow(
        self, state_hash: str, environment: str, sealed: str, escrowed_at: int
    ) -> Escrow:
        try:
            tokens = self._seal.open_escrow(sealed, state_hash=state_hash, environment=environment)
        except VaultSealed:
            return Escrow(state_hash, environment, None, escrowed_at)
        return Escrow(state_hash, environment, tokens, escrowed_at)

    def _put_away(
        self,
        transaction: Transaction,
        tokens: TokenSet,
        row: Mapping[str, Any],
        outcome: str,
        now: int,
    ) -> Escrow:
        """Put a pair of a locked row of `token_sets` into an escrow of its own.

        Args:
            transaction: The one that changes the row.
            tokens: The pair.
            row: Its columns, by name. Each of its generations has two places: for its own pair, and
                for the pair before.
            outcome: `SUPERSEDED` for the pair before; anything else for its own.
            now: Unix seconds.
        """
        kind = SUPERSEDED if outcome == SUPERSEDED else "withdrawn"
        state_hash, environment = _place(kind, row["id"], row["generation"]), row["environment"]
        sealed = self._seal.seal_escrow(tokens, state_hash=state_hash, environment=environment)
        kept = {"escrow": sealed, "escrowed_at": now}
        place = _row(state_hash, environment, row["user_id"], outcome, now)
        transaction.run(self._escrows.insert, place | kept)
        return Escrow(state_hash, environment, tokens, now)

    def _put_away_predecessor(
        self,
        transaction: Transaction,
        row: Mapping[str, Any],
        now: int,
        *newer: TokenSet,
    ) -> Escrow | None:
        """Put the pair before into escrow, where there is one that may still be honoured.

        Never one that shares a token with those in `newer`, which someone goes on using.

        Raises:
            VaultSealed: It cannot be opened.
        """
        if row["predecessor"] is None:
            return None
        tokens = self._seal.open_predecessor(
            row["predecessor"],
            user_id=row["user_id"],
            environment=row["environment"],
        )
        if any(share(tokens, each) for each in newer):
            return None
        return self._put_away(transaction, tokens, row, SUPERSEDED, now)

    def _refresh_over(
        self, transaction: Transaction, row: TokenRow, *, answered: bool = True
    ) -> None:
        """Note what became of a refresh of a row whose tokens were withdrawn meanwhile."""
        statement = self._escrows.answered if answered else self._escrows.unanswered
        place = _place("withdrawn", row.id, row.generation)
        transaction.run(statement, {"which_state": place})

    def _doubt(self, transaction: Transaction, user_id: int, environment: str, now: int) -> None:
        """Note that tokens of a person may live which no one knows. Once is enough."""
        place = _place("doubt", user_id, environment)
        row = _row(place, environment, user_id, UNANSWERED, now)
        transaction.insert_absent(self._escrows.insert_absent, {**row, "expires_at": NEVER})

    def _is_in_doubt(self, transaction: Transaction, user_id: int) -> bool:
        return transaction.one(self._escrows.doubts, {"which_user": user_id}) is not None


def share(one: TokenSet, other: TokenSet) -> bool:
    """Tell whether two pairs have a token in common: to revoke one would end the other."""
    return one.access_token == other.access_token or (
        one.refresh_token is not None and one.refresh_token == other.refresh_token
    )


def _place(*what: object) -> str:
    return sha256(" ".join(str(each) for each in what).encode()).hexdigest()


def _row(
    state_hash: str, environment: str, user_id: int | None, outcome: str, now: int
) -> dict[str, object]:
    """Return a row without an escrow, which may be purged at once."""
    return {
        "state_hash": state_hash,
        "environment": environment,
        "status": "failed",
        "user_id": user_id,
        "outcome": outcome,
        "escrow": None,
        "created_at": now,
        "expires_at": now,  # for one with an escrow: as soon as that is cleared
        "finished_at": now,
        "escrowed_at": None,
        "code_hash": None,
        "joined_at": None,
        "held_by": None,
        "held_until": None,
    }
