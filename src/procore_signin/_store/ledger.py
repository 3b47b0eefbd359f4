"""The ledger: each authorization response counts once, and no grant is left behind.

Sign-in attempts from the moment their authorization response arrives (rows C3, C4, C12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Final

from sqlalchemy import BindParameter, and_, bindparam, delete, or_, select, update

from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.engine.command import Command, LookUp
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.statement import (
    Change,
    InsertAbsent,
    Last,
    Row,
    Sql,
    Statements,
    Values,
    change_each,
    insert_if_absent,
    many,
    one,
)
from procore_signin._store.escrows import open_escrow
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.records import OUTCOME_LENGTH, Escrow, LedgerEntry, check_limit, storable
from procore_signin._store.schema import TAKEN, UNFINISHED, sign_in_ledger
from procore_signin.errors import AttemptInvalid

_MISDATED: Final = 3600

_this: Final = sign_in_ledger.c.state_hash == bindparam("which_state")
_environment: Final = sign_in_ledger.c.environment == bindparam("which_environment")

# The order of these columns is the order of the fields of LedgerEntry.
_COLUMNS: Final = tuple(
    column
    for column in sign_in_ledger.c
    if column.name not in {"escrow", "escrowed_at", "held_by", "held_until", "procore_id"}
)
_ATTEMPT: Final = Sql(select(*_COLUMNS).where(_this))
_INSERT: Final = Sql(
    insert_if_absent(sign_in_ledger),
    *("state_hash", "environment", "status", "created_at", "expires_at", "code_hash"),
)


@dataclass(frozen=True, slots=True, repr=False)
class TakeAttempt(Command[LedgerEntry | None]):
    """Take an attempt before its code is spent.

    It returns None for the one caller that took it; for every other, in all processes, what is
    known of it.

    Attributes:
        state_hash: SHA-256 of its `state`, 64 lower-case hex digits.
        environment: Whose code it is.
        now: Unix seconds.
        expires_at: From when it may be forgotten; no earlier than its cookie expires.
        code_hash: SHA-256 of the code that takes it, 64 lower-case hex digits; None for a response
            without one. Who comes second is let in with the same code only (row A5).
    """

    state_hash: str
    _: KW_ONLY
    environment: str
    now: int
    expires_at: int
    code_hash: str | None = None

    def run(self, seal: TokenSeal) -> Statements[LedgerEntry | None]:
        values = {
            "state_hash": self.state_hash,
            "environment": self.environment,
            "status": "taken",
            "created_at": self.now,
            "expires_at": self.expires_at,
            "code_hash": self.code_hash,
        }
        if (yield Last(InsertAbsent(_INSERT, values))) is not None:
            return None
        entry = yield from entry_of(self.state_hash)
        if entry is None:  # purged between the two statements
            raise Failed("collision")
        return entry


def entry_of(state_hash: str) -> Statements[LedgerEntry | None]:
    """Return what is known of an attempt, or None where no one took it."""
    row = yield from one(_ATTEMPT, {"which_state": state_hash})
    return None if row is None else LedgerEntry(*row)


@dataclass(frozen=True, slots=True, repr=False)
class AttemptOf(LookUp[LedgerEntry | None]):
    """What is known of an attempt, or None where no one took it."""

    state_hash: str

    by_key: ClassVar = True
    sql: ClassVar = _ATTEMPT

    def values(self) -> Values:
        return {"which_state": self.state_hash}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> LedgerEntry | None:
        return LedgerEntry(*rows[0]) if rows else None


_ESCROW: Final = Sql(
    update(sign_in_ledger).where(_this, _environment, TAKEN),
    *("status", "escrow", "escrowed_at"),
)


@dataclass(frozen=True, slots=True, repr=False)
class EscrowTokens(Command[None]):
    """Keep the tokens of an exchange until the sign-in completes or someone revokes them.

    Attributes:
        state_hash: The attempt, taken before in `environment`.
        tokens: What the exchange granted.
        environment: Where.
        now: Unix seconds.

    Raises:
        AttemptInvalid: It is not waiting for an exchange: it failed or was forgotten. Revoke the
            tokens.
    """

    state_hash: str
    tokens: TokenSet
    _: KW_ONLY
    environment: str
    now: int

    def run(self, seal: TokenSeal) -> Statements[None]:
        state_hash, environment = self.state_hash, self.environment
        values = {
            "which_state": state_hash,
            "which_environment": environment,
            "status": "exchanged",
            "escrow": seal.seal_escrow(self.tokens, state_hash=state_hash, environment=environment),
            "escrowed_at": self.now,
        }
        if (yield Last(Change(_ESCROW, values))) != 1:
            raise attempt_over()


_escrowed: Final = (
    select(
        sign_in_ledger.c.state_hash,
        sign_in_ledger.c.environment,
        sign_in_ledger.c.escrow,
        sign_in_ledger.c.escrowed_at,
    )
    .where(
        or_(
            sign_in_ledger.c.escrowed_at < bindparam("before"),
            sign_in_ledger.c.escrowed_at > bindparam("misdated"),
        ),
        sign_in_ledger.c.escrow.is_not(None),
    )
    .order_by(sign_in_ledger.c.escrowed_at, sign_in_ledger.c.state_hash)
    .limit(bindparam("limit"))
)


@dataclass(frozen=True, slots=True, repr=False)
class Escrowed(LookUp[list[Escrow]]):
    """Tokens put in escrow before the time `older_than`, oldest first.

    And those that seem to have been put there more than an hour after it: the clock was set back
    since then (row R14).

    Fail such an attempt first, so that its sign-in cannot complete any more (one that is done stays
    done), then revoke the tokens, then clear the escrow.
    """

    older_than: int
    _: KW_ONLY
    limit: int = 100

    sql: ClassVar = Sql(_escrowed)

    def values(self) -> Values:
        return {
            "before": self.older_than,
            "misdated": self.older_than + _MISDATED,
            "limit": self.limit,
        }

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> list[Escrow]:
        return [open_escrow(seal, *row) for row in rows]


_after: Final[BindParameter[Any]] = bindparam("after")


@dataclass(frozen=True, slots=True, repr=False)
class EscrowedIn(LookUp[list[Escrow]]):
    """A page of `Escrowed` for one environment.

    Attributes:
        environment: Whose tokens: only its processes can revoke them.
        older_than: As for `Escrowed`.
        after: The last one of the page before. So one that stays, because it cannot be opened,
            keeps no one from those behind it.
        limit: The most of one page.
    """

    environment: str
    older_than: int
    _: KW_ONLY
    after: Escrow | None = None
    limit: int = 100

    sql: ClassVar = Sql(
        _escrowed.where(
            _environment,
            sign_in_ledger.c.escrowed_at >= _after,
            or_(
                sign_in_ledger.c.escrowed_at > _after,
                sign_in_ledger.c.state_hash > bindparam("after_state"),
            ),
        )
    )

    def values(self) -> Values:
        after = self.after
        return {
            "which_environment": self.environment,
            "before": self.older_than,
            "misdated": self.older_than + _MISDATED,
            "after": 0 if after is None else after.escrowed_at,
            "after_state": "" if after is None else after.state_hash,
            "limit": self.limit,
        }

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> list[Escrow]:
        return [open_escrow(seal, *row) for row in rows]


@dataclass(frozen=True, slots=True, repr=False)
class HasSignInUnderWay(LookUp[bool]):
    """Whether a sign-in may be bringing tokens of someone whom the ledger cannot name yet.

    Attributes:
        environment: Where.
        since: One whose code was taken before this time has ended; what it left in escrow counts
            all the same.
        now: Unix seconds.
    """

    environment: str
    _: KW_ONLY
    since: int
    now: int

    sql: ClassVar = Sql(
        select(sign_in_ledger.c.state_hash)
        .where(
            _environment,
            sign_in_ledger.c.user_id.is_(None),
            sign_in_ledger.c.procore_id.is_(None),
            or_(
                and_(
                    sign_in_ledger.c.status == "taken",
                    sign_in_ledger.c.created_at > bindparam("since"),
                    sign_in_ledger.c.expires_at > bindparam("now"),
                ),
                # Under way, or it waits for the janitor, or for Procore; and so does a pair that
                # the trial of its refresh token brought.
                and_(sign_in_ledger.c.escrowed_at >= 0, sign_in_ledger.c.escrow.is_not(None)),
            ),
        )
        .limit(1)
    )

    def values(self) -> Values:
        return {"which_environment": self.environment, "since": self.since, "now": self.now}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> bool:
        return bool(rows)


_PUT_OFF: Final = Sql(
    update(sign_in_ledger).where(_this, sign_in_ledger.c.escrow.is_not(None)), "escrowed_at"
)


@dataclass(frozen=True, slots=True, repr=False)
class PutOff(Command[None]):
    """Let others come before escrows that Procore did not confirm, as if put there at `now`."""

    escrows: Sequence[Escrow]
    _: KW_ONLY
    now: int

    long: ClassVar = True

    def run(self, seal: TokenSeal) -> Statements[None]:
        places = ({"which_state": e.state_hash, "escrowed_at": self.now} for e in self.escrows)
        yield from change_each(_PUT_OFF, places)


_FAIL: Final = Sql(
    update(sign_in_ledger).where(_this, UNFINISHED), *("status", "outcome", "finished_at")
)


@dataclass(frozen=True, slots=True, repr=False)
class FailAttempt(Command[bool]):
    """Note that an attempt ended without a sign-in. Tokens in escrow stay there.

    It returns True when it ended it; False when it had ended before, or is unknown.

    Attributes:
        state_hash: Which attempt.
        outcome: Why, as a fixed word; cut at 64 characters.
        now: Unix seconds.
    """

    state_hash: str
    outcome: str
    _: KW_ONLY
    now: int

    def run(self, seal: TokenSeal) -> Statements[bool]:
        values = {
            "which_state": self.state_hash,
            "status": "failed",
            "outcome": storable(self.outcome, OUTCOME_LENGTH),
            "finished_at": self.now,
        }
        return bool((yield Last(Change(_FAIL, values))))


# Tokens in escrow keep their row until someone has revoked them.
_over: Final = (
    sign_in_ledger.c.expires_at <= bindparam("now"),
    sign_in_ledger.c.escrow.is_(None),
)
_OVER: Final = Sql(
    select(sign_in_ledger.c.state_hash)
    .where(*_over)
    .order_by(sign_in_ledger.c.expires_at)
    .limit(bindparam("limit"))
)
_PURGE: Final = Sql(delete(sign_in_ledger).where(_this, *_over))


@dataclass(frozen=True, slots=True, repr=False)
class PurgeAttempts(Command[int]):
    """Delete expired entries of the ledger, at most `limit`; it returns how many (row O6).

    Attempts with tokens in escrow stay until those were revoked.

    Raises:
        ValueError: `limit` is not 1 to 10,000.
    """

    now: int
    limit: int = 1000

    long: ClassVar = True

    def __post_init__(self) -> None:
        check_limit(self.limit)

    def run(self, seal: TokenSeal) -> Statements[int]:
        rows = yield from many(_OVER, {"now": self.now, "limit": self.limit})
        over = ({"which_state": state_hash, "now": self.now} for (state_hash,) in rows)
        return (yield from change_each(_PURGE, over))


def attempt_over() -> AttemptInvalid:
    """Return the error for an attempt that has ended already."""
    return AttemptInvalid("This sign-in has ended already. Start a new one.", reason="used")
