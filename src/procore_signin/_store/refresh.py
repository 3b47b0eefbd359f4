"""The lease on a token set: who may refresh it, what is known of the outcome, and the new pair.

Leases and lifetimes are told by the clock that all users of the database share (`clock.py`).

A lease has an owner. A row whose lease has no owner is in a pause: Procore did not answer a moment
ago, and no one is to ask again before it is over (rows R1 to R6).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, ClassVar, Final

from sqlalchemy import bindparam, case, func, or_, select, update

from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.engine.clock import SHARED_NOW
from procore_signin._store.engine.command import Command, LookUp
from procore_signin._store.engine.statement import (
    Change,
    InsertAbsent,
    Last,
    One,
    Row,
    Sql,
    Statements,
    Together,
    Values,
)
from procore_signin._store.escrows import (
    LOCK_OWNER,
    SUPERSEDED,
    doubt_about,
    escrow_of,
    inserts_where,
    leave_doubt,
    lock_named,
    predecessor_of,
    refresh_over,
    share,
)
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.records import GrantStatus, TokenRow
from procore_signin._store.schema import token_sets, users
from procore_signin.errors import VaultSealed

_LONGEST: Final = 300
"""Seconds that a lease or pause may be meant to last whose length was not written down."""

_COLUMNS: Final = (
    *("id", "generation", "access_token", "refresh_token", "expires_at", "updated_at"),
    *("status", "ambiguous", "lease_owner", "lease_until", "lease_seconds", "predecessor"),
)
_ROW: Final = (*_COLUMNS, "disabled_at", "procore_id", "at")
"""In this order `_token_row` reads it."""

_this: Final = token_sets.c.id == bindparam("which_tokens")
_unchanged: Final = token_sets.c.generation == bindparam("which_generation")
_owned: Final = token_sets.c.lease_owner == bindparam("which_owner")
_enabled: Final = (
    select(users.c.id)
    .where(users.c.id == token_sets.c.user_id, users.c.disabled_at.is_(None))
    .exists()
)
_joined: Final = select(
    *(token_sets.c[name] for name in _COLUMNS),
    *(users.c.disabled_at, users.c.procore_id),
    SHARED_NOW.label("at"),
).join_from(token_sets, users, users.c.id == token_sets.c.user_id)
_BY_ID: Final = Sql(_joined.where(_this))


@dataclass(frozen=True, slots=True, repr=False)
class TokenRowOf(LookUp[TokenRow | None]):
    """The token set of a user with all that a refresh has to know, or None.

    Attributes:
        user_id: Whose.
        environment: Where.
        now: Unix seconds of this host; used where the database has no clock of its own.

    Raises:
        VaultSealed: The tokens cannot be opened. Only this user has to sign in again.
    """

    user_id: int
    environment: str
    _: KW_ONLY
    now: int

    by_key: ClassVar = True
    sql: ClassVar = Sql(
        _joined.where(
            token_sets.c.user_id == bindparam("which_user"),
            token_sets.c.environment == bindparam("which_environment"),
        )
    )

    def values(self) -> Values:
        return {
            "which_user": self.user_id,
            "which_environment": self.environment,
            "now": self.now,
        }

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> TokenRow | None:
        return _token_row(rows[0], seal, self) if rows else None


_free: Final = or_(token_sets.c.lease_until.is_(None), token_sets.c.lease_until <= SHARED_NOW)
# MariaDB assigns from left to right and would see the new owner: the count comes first.
_TAKE: Final = Sql(
    update(token_sets)
    .where(_this, _unchanged, token_sets.c.status == "ok", _free, _enabled)
    .ordered_values(
        (
            token_sets.c.ambiguous,
            case(
                (token_sets.c.lease_owner.is_not(None), token_sets.c.ambiguous + 1),
                else_=token_sets.c.ambiguous,
            ),
        ),
        (token_sets.c.lease_owner, bindparam("owner")),
        (token_sets.c.lease_until, SHARED_NOW + bindparam("seconds")),
        (token_sets.c.lease_seconds, bindparam("seconds")),
    )
)


@dataclass(frozen=True, slots=True, repr=False)
class TakeLease(Command[TokenRow | None]):
    """Take the exclusive right to refresh `row` for `seconds`.

    A lease that another refresher let expire counts as an ambiguous outcome: it may have spent the
    refresh token.

    It returns the row as it is now, ours; None when someone else holds it, when it is in a pause,
    or when it is not the row any more that was read.
    """

    row: TokenRow
    _: KW_ONLY
    owner: str
    seconds: int
    now: int

    def run(self, seal: TokenSeal) -> Statements[TokenRow | None]:
        values = _of(self.row, self.now, owner=self.owner, seconds=self.seconds)
        found, taken = yield Last(Together((Change(_TAKE, values), One(_BY_ID, values))))
        return None if found != 1 or taken is None else _token_row(taken, seal, self.row)


_meant: Final = func.coalesce(token_sets.c.lease_seconds, _LONGEST)
_REDATE: Final = Sql(
    update(token_sets)
    .where(_this, _unchanged, token_sets.c.lease_until > SHARED_NOW + _meant)
    .values(lease_until=SHARED_NOW + _meant)
)


@dataclass(frozen=True, slots=True, repr=False)
class RedateLease(Command[TokenRow | None]):
    """Have a lease or pause of a clock that was set back last no longer than it was meant to.

    Counted from now: the holder of the lease may still be at work (row R14). It returns the row as
    it is now, or None where it is gone.
    """

    row: TokenRow
    _: KW_ONLY
    now: int

    def run(self, seal: TokenSeal) -> Statements[TokenRow | None]:
        place = _of(self.row, self.now)
        _, found = yield Last(Together((Change(_REDATE, place), One(_BY_ID, place))))
        return None if found is None else _token_row(found, seal, self.row)


_NOTE_AMBIGUOUS: Final = Sql(
    update(token_sets).where(_this, _unchanged).values(ambiguous=token_sets.c.ambiguous + 1)
)


@dataclass(frozen=True, slots=True, repr=False)
class NoteAmbiguous(Command[None]):
    """Write down that no one knows what became of a request that carried the refresh token.

    Attributes:
        row: The row as it was taken.
        now: Unix seconds of this host.
        again: Whether the same token is sent once more. If it was withdrawn meanwhile, the process
            that ends it can then not find out by trying it what the first request did: a doubt
            stays.
    """

    row: TokenRow
    _: KW_ONLY
    now: int
    again: bool = False

    def run(self, seal: TokenSeal) -> Statements[None]:
        if (yield Last(Change(_NOTE_AMBIGUOUS, _of(self.row, self.now)))) == 1:
            return
        row, environment = self.row, self.row.environment  # it has moved on
        whose = yield from lock_named(environment, row.procore_id if self.again else None)
        withdrawn = yield from refresh_over(row, row.lease_owner, answered=False)
        if withdrawn and whose.user_id is not None:
            yield from leave_doubt(whose.user_id, environment, self.now)


_RELEASE: Final = Sql(
    update(token_sets)
    .where(_this, _unchanged, _owned)
    .values(
        lease_owner=None,
        lease_until=SHARED_NOW + bindparam("seconds"),
        lease_seconds=bindparam("seconds"),
    )
)


@dataclass(frozen=True, slots=True, repr=False)
class ReleaseLease(Command[None]):
    """Give the lease back without a new pair; no one asks again for `retry_in` seconds."""

    row: TokenRow
    _: KW_ONLY
    owner: str
    retry_in: int
    now: int

    def run(self, seal: TokenSeal) -> Statements[None]:
        values = _of(self.row, self.now, which_owner=self.owner, seconds=self.retry_in)
        if (yield Last(Change(_RELEASE, values))) != 1:
            yield from refresh_over(self.row, self.owner)  # as above


_renew: Final = (
    update(token_sets)
    .where(_this, _unchanged, _enabled)
    .values(
        generation=bindparam("generation"),
        access_token=bindparam("access"),
        refresh_token=bindparam("refresh"),
        expires_at=SHARED_NOW + bindparam("seconds"),
        status="ok",
        lease_owner=None,
        lease_until=None,
        ambiguous=0,
        predecessor=bindparam("before"),
        updated_at=SHARED_NOW,
    )
)
_Known = tuple[GrantStatus, int, str | None]
"""Status, doubts, and the pair before, sealed: what decides what a row leaves behind."""

_KNOWN: Final = ("which_status", "which_ambiguous", "which_predecessor")
_as_known: Final = tuple(
    token_sets.c[name.removeprefix("which_")].is_not_distinct_from(bindparam(name))
    for name in _KNOWN
)
_COMMIT: Final = Sql(_renew.where(*_as_known))
_LOCK: Final = Sql(select(token_sets.c.id).where(_this).with_for_update())
_KEEP, _KEEP_ABSENT = inserts_where(_this, _unchanged, _enabled, *_as_known)
"""What writes something down where `_COMMIT` will find its row, if that is locked."""


@dataclass(frozen=True, slots=True, repr=False)
class CommitRefresh(Command[TokenRow | None]):
    """Replace the pair of `row` by `tokens`, if it is still the generation that was refreshed.

    Whichever process holds the lease by now, the newest pair is kept (row R4). May be repeated when
    the response to the commit was lost: a row that already holds this pair is returned as it is.

    It returns the row with the new pair; None when a newer sign-in, a disconnect or a disabling
    came in between. Then revoke `tokens`.

    Attributes:
        row: The row as it was taken.
        tokens: The new pair; `expires_at` by this host's clock.
        now: Unix seconds of this host.
    """

    row: TokenRow
    tokens: TokenSet
    _: KW_ONLY
    now: int

    def run(self, seal: TokenSeal) -> Statements[TokenRow | None]:
        row, values = self.row, self._values(seal)
        known: _Known = (row.status, row.ambiguous, row.predecessor)
        while True:
            place = {**values, **dict(zip(_KNOWN, known, strict=True))}
            left = list(self._left_behind(seal, known, place))
            # The user before the row: the code that ends their access locks in that order too.
            locks = (One(LOCK_OWNER, {"which_user": row.user_id}), One(_LOCK, place))
            *_, changed, found = yield Last(
                Together(
                    (*(locks if left else ()), *left, Change(_COMMIT, place), One(_BY_ID, place))
                )
            )
            if found is None:
                return None
            if changed:
                return _token_row(found, seal, row)
            now = dict(zip(_ROW, found, strict=True))
            if now["generation"] != row.generation:
                return self._repeated(found, seal)
            newer: _Known = (now["status"], now["ambiguous"], now["predecessor"])
            if newer == known:  # so the user is disabled
                return None
            known = newer

    def _left_behind(
        self, seal: TokenSeal, known: _Known, place: Values
    ) -> Iterator[Change | InsertAbsent]:
        """Return what writes down what the row leaves behind, besides the pair that was spent.

        A pair before that one may live, if no one has seen its successor accepted; and so may a
        pair in a response that was lost before this one came. Nothing is written down where the row
        does not go on by this command.
        """
        row, (status, ambiguous, predecessor) = self.row, known
        # Marked `lost` means that someone took this refresher for dead and counted its request,
        # whose response is here now.
        doubt = ambiguous > (1 if status == "lost" else 0)
        whose = {"user_id": row.user_id, "environment": row.environment}
        columns = {**whose, "id": row.id, "generation": row.generation, "predecessor": predecessor}
        try:
            before = predecessor_of(seal, columns, row.tokens, self.tokens)
        except VaultSealed:
            before, doubt = None, True
        if before is not None:
            kept, _ = escrow_of(seal, before, columns, SUPERSEDED, self.now)
            yield Change(_KEEP, {**place, **kept})
        if doubt:
            kept = doubt_about(row.user_id, row.environment, self.now)
            yield InsertAbsent(_KEEP_ABSENT, {**place, **kept})

    def _repeated(self, found: Row, seal: TokenSeal) -> TokenRow | None:
        """Return the row if it holds our pair: the response to an earlier commit was lost."""
        try:
            renewed = _token_row(found, seal, self.row)
        except VaultSealed:  # a newer sign-in's, sealed with a key that this process lacks
            return None
        next_one = renewed.generation == self.row.generation + 1
        return renewed if next_one and renewed.access_token == self.tokens.access_token else None

    def _values(self, seal: TokenSeal) -> Values:
        row, tokens, generation = self.row, self.tokens, self.row.generation + 1
        whose: dict[str, Any] = {"user_id": row.user_id, "environment": row.environment}
        sealed = seal.seal_row(tokens, **whose, generation=generation)
        spent = None
        if not share(row.tokens, tokens):  # it may be honoured until its successor is used
            spent = seal.seal_predecessor(row.tokens, **whose)
        return _of(
            row,
            self.now,
            generation=generation,
            before=spent,
            access=sealed["access_token"],
            refresh=sealed["refresh_token"],
            seconds=max(0, tokens.expires_at - self.now),
        )


_SETTLE: Final = Sql(update(token_sets).where(_this, _unchanged).values(predecessor=None))


@dataclass(frozen=True, slots=True, repr=False)
class Settle(Command[None]):
    """Forget the pair before the one of `row`: its successor was accepted, so it is dead."""

    row: TokenRow
    _: KW_ONLY
    now: int

    def run(self, seal: TokenSeal) -> Statements[None]:
        yield Last(Change(_SETTLE, _of(self.row, self.now)))


_END: Final = Sql(
    update(token_sets)
    .where(_this, _unchanged, _owned)
    .values(
        status=case((token_sets.c.ambiguous > 0, "lost"), else_="revoked"),
        lease_owner=None,
        lease_until=None,
    )
)


@dataclass(frozen=True, slots=True, repr=False)
class EndGrant(Command[GrantStatus | None]):
    """Mark the grant of `row` as over: `lost` if an outcome was ambiguous, else `revoked`.

    The row stays, so that the user and the operator can see what happened.

    It returns what it was marked as; None when the lease is not `owner`'s any more, or the row has
    moved on: someone else knows better, read it again.
    """

    row: TokenRow
    _: KW_ONLY
    owner: str
    now: int

    def run(self, seal: TokenSeal) -> Statements[GrantStatus | None]:
        values = _of(self.row, self.now, which_owner=self.owner)
        found, ended = yield Last(Together((Change(_END, values), One(_BY_ID, values))))
        if found != 1:
            yield from refresh_over(self.row, self.owner)
            return None
        status: GrantStatus | None = None if ended is None else ended[_COLUMNS.index("status")]
        return status


def _of(row: TokenRow, now: int, **more: object) -> Values:
    """Return the values that name a row as it was read."""
    return {"which_tokens": row.id, "which_generation": row.generation, "now": now, **more}


def _token_row(row: Row, seal: TokenSeal, of: TokenRowOf | TokenRow) -> TokenRow:
    # One by one: by their names it takes twice as long, and every call with a token does it.
    number, generation, access, refresh, expires_at, updated_at = row[:6]
    status, ambiguous, lease_owner, lease_until, lease_seconds, predecessor = row[6:12]
    disabled_at, procore_id, at = row[12], row[13], int(row[14])
    user_id, environment = of.user_id, of.environment
    whose: Any = {"user_id": user_id, "environment": environment, "generation": generation}
    left = 0 if lease_until is None else max(0, lease_until - at)
    owned = lease_owner is not None
    meant = _LONGEST if lease_seconds is None else lease_seconds
    return TokenRow(
        number,
        user_id,
        environment,
        generation,
        seal.open_access(access, **whose),
        partial(seal.open_row, access, refresh, expires_at, **whose),
        status,
        ambiguous,
        expires_in=expires_at - at,
        lifetime=max(1, expires_at - updated_at),
        leased=owned and left > 0,
        retry_in=0 if owned else left,
        disabled=disabled_at is not None,
        procore_id=procore_id,
        misdated=left > meant,
        predecessor=predecessor,
        lease_owner=lease_owner,
    )
