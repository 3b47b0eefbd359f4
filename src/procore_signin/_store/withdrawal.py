"""Withdrawals: one process at a time revokes what is in an escrow, and notes how far it came.

It holds the row of the ledger meanwhile, so that two of them do not take each other's work for a
lost response. The states that such a row goes through are in `states.py`.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, bindparam, case, or_, select, update

from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.engine.clock import SHARED_NOW
from procore_signin._store.engine.command import Command
from procore_signin._store.engine.statement import (
    Change,
    InsertAbsent,
    One,
    Sql,
    Statements,
    Together,
    change,
)
from procore_signin._store.escrows import (
    DOUBTS,
    HOLD_SECONDS,
    INSERT_ABSENT,
    LATE,
    NEVER,
    OWNER,
    PROCORE_ID,
    lock_owner_of,
    open_escrow,
    place_of,
    row_at,
)
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.records import Escrow
from procore_signin._store.schema import UNFINISHED, sign_in_ledger


@dataclass(frozen=True, slots=True)
class Held:
    """What came of the wish to revoke what is in an escrow.

    Attributes:
        state: `ours`: no one else touches it for `HOLD_SECONDS`; `busy`: someone else holds it;
            `over`: it is empty, someone else has finished.
        escrow: What is in it now, where it is ours.
        outcome: The row's note, or None.
        age: Seconds since it was put there, by the clock that all share.
        procore_id: Whose it is by Procore's number, where that is known.
    """

    state: Literal["ours", "busy", "over"]
    escrow: Escrow | None = None
    outcome: str | None = None
    age: int = 0
    procore_id: int | None = None


_this: Final = sign_in_ledger.c.state_hash == bindparam("which_state")
_kept: Final = sign_in_ledger.c.escrow.is_not(None)
_owned: Final = sign_in_ledger.c.held_by == bindparam("holder")
_seconds: Final[ColumnElement[Any]] = bindparam("seconds")
_until: Final = sign_in_ledger.c.held_until
# Much later than a whole hold from now: the clock was set back, and no one holds it. A little
# later: this command was made a moment ago, and had to wait for the one that holds it.
_free: Final = or_(_until.is_(None), _until <= SHARED_NOW, _until > SHARED_NOW + 2 * _seconds)

_HOLD: Final = Sql(
    update(sign_in_ledger)
    .where(_this, _kept, ~UNFINISHED, _free)
    .values(held_by=bindparam("holder"), held_until=SHARED_NOW + _seconds)
)
_HELD: Final = Sql(
    select(
        sign_in_ledger.c.environment,
        sign_in_ledger.c.escrow,
        sign_in_ledger.c.escrowed_at,
        sign_in_ledger.c.outcome,
        PROCORE_ID,
        SHARED_NOW.label("at"),
    ).where(_this)
)


@dataclass(frozen=True, slots=True, repr=False)
class HoldEscrow(Command[Held]):
    """Take the right to revoke what is in an escrow, for `HOLD_SECONDS`.

    No one gets it while the sign-in that put it there is under way: fail that first.

    Attributes:
        state_hash: Which.
        holder: Who asks: a text that no one else has.
        now: Unix seconds of this host; used where the database has no clock of its own.
    """

    state_hash: str
    _: KW_ONLY
    holder: str
    now: int

    def run(self, seal: TokenSeal) -> Statements[Held]:
        place = {
            "which_state": self.state_hash,
            "holder": self.holder,
            "seconds": HOLD_SECONDS,
            "now": self.now,
        }
        changed, row = yield Together((Change(_HOLD, place), One(_HELD, place)))
        if row is None or row[1] is None:
            return Held("over", outcome=None if row is None else row[3])
        environment, sealed, escrowed_at, outcome, procore_id, at = row
        if changed != 1:
            return Held("busy", outcome=outcome)
        escrow = open_escrow(seal, self.state_hash, environment, sealed, escrowed_at)
        return Held("ours", escrow, outcome, int(at) - escrowed_at, procore_id)


_RELEASE: Final = Sql(
    update(sign_in_ledger).where(_this, _owned).values(held_by=None, held_until=None)
)


@dataclass(frozen=True, slots=True, repr=False)
class ReleaseEscrow(Command[None]):
    """Give the right back. What is in the escrow stays there."""

    state_hash: str
    _: KW_ONLY
    holder: str

    def run(self, seal: TokenSeal) -> Statements[None]:
        yield from change(_RELEASE, {"which_state": self.state_hash, "holder": self.holder})


_REPLACE: Final = Sql(
    update(sign_in_ledger)
    .where(_this, _kept, _owned)
    .values(
        escrow=bindparam("tokens"),
        escrowed_at=bindparam("now"),
        outcome=bindparam("outcome"),
        held_until=SHARED_NOW + _seconds,
    )
)


@dataclass(frozen=True, slots=True, repr=False)
class ReplaceEscrow(Command[bool]):
    """Write an escrow anew: other tokens, or another outcome of its attempt.

    One that was cleared meanwhile stays so. It returns False where it was, or someone else holds it
    by now.

    Attributes:
        escrow: Which one, and the tokens that it is to hold.
        outcome: A fixed word, or None.
        now: Unix seconds. The janitor leaves it alone for a while from then on.
        holder: Who must be holding it, and goes on to.
    """

    escrow: Escrow
    _: KW_ONLY
    outcome: str | None
    now: int
    holder: str

    def __post_init__(self) -> None:
        _check(self.escrow)

    def run(self, seal: TokenSeal) -> Statements[bool]:
        values = _replaced(seal, self.escrow, self.outcome, self.now, self.holder)
        return (yield from change(_REPLACE, values)) == 1


def _check(escrow: Escrow) -> TokenSet:
    if escrow.tokens is None:
        raise ValueError("There are no tokens to keep.")
    return escrow.tokens


def _replaced(
    seal: TokenSeal, escrow: Escrow, outcome: str | None, now: int, holder: str
) -> dict[str, object]:
    state_hash, environment = escrow.state_hash, escrow.environment
    return {
        "which_state": state_hash,
        "tokens": seal.seal_escrow(_check(escrow), state_hash=state_hash, environment=environment),
        "outcome": outcome,
        "now": now,
        "holder": holder,
        "seconds": HOLD_SECONDS,
    }


@dataclass(frozen=True, slots=True, repr=False)
class KeepRenewed(Command[str | None]):
    """Keep the pair that trying the refresh token of an escrow brought, beside the pair there.

    Until the new one was accepted the old one may live, so both stay in the ledger. It returns the
    new row; None where someone else holds the escrow by now. The pair is kept there all the same.

    Attributes:
        escrow: Which one, as it was held.
        renewed: What its refresh token brought.
        outcome: The note for the escrow, now that the response is here.
        now: Unix seconds.
        holder: Who holds the escrow, and goes on to; it holds the new row as well.
    """

    escrow: Escrow
    renewed: TokenSet
    _: KW_ONLY
    outcome: str | None
    now: int
    holder: str

    def __post_init__(self) -> None:
        _check(self.escrow)

    def run(self, seal: TokenSeal) -> Statements[str | None]:
        environment = self.escrow.environment
        place = place_of("renewed", self.escrow.state_hash, self.holder)
        this = _replaced(seal, self.escrow, self.outcome, self.now, self.holder)
        whose = yield from lock_owner_of(self.escrow.state_hash)
        row = row_at(place, environment, whose.user_id, LATE, self.now)
        row |= {
            "escrow": seal.seal_escrow(self.renewed, state_hash=place, environment=environment),
            "escrowed_at": self.now,
            "procore_id": whose.procore_id,
        }
        ours, _, _ = yield Together(
            (
                Change(_REPLACE, this),
                InsertAbsent(INSERT_ABSENT, row),
                Change(_HOLD, {**this, "which_state": place}),
            )
        )
        return place if ours == 1 else None


_empty: Final[dict[str, Any]] = {
    "escrow": None,
    "escrowed_at": None,
    "outcome": bindparam("outcome"),
    "held_by": None,
    "held_until": None,
    "procore_id": None,
}
_CLEAR: Final = Sql(update(sign_in_ledger).where(_this, _kept, _owned).values(**_empty))
_DOUBT: Final = Sql(
    update(sign_in_ledger)
    .where(_this, _kept, _owned)
    .values(
        **_empty,
        user_id=OWNER,
        expires_at=case((OWNER.is_(None), bindparam("now")), else_=NEVER),
    )
)


@dataclass(frozen=True, slots=True, repr=False)
class FinishEscrow(Command[bool]):
    """Forget the tokens in an escrow, because nothing more can be done about them.

    It returns False where someone else holds it by now, or it is empty.

    Attributes:
        state_hash: Which.
        holder: Who holds it.
        outcome: The note that stays. With one of `DOUBTS` the row stays for as long as the user:
            tokens may live. Someone who was deleted and has signed in again is that user.
        now: Unix seconds.
    """

    state_hash: str
    _: KW_ONLY
    holder: str
    outcome: str | None
    now: int

    def run(self, seal: TokenSeal) -> Statements[bool]:
        values = {
            "which_state": self.state_hash,
            "holder": self.holder,
            "outcome": self.outcome,
            "now": self.now,
        }
        if self.outcome not in DOUBTS:
            return (yield from change(_CLEAR, values)) == 1
        whose = yield from lock_owner_of(self.state_hash)
        return (yield from change(_DOUBT, {**values, "owner": whose.user_id})) == 1
