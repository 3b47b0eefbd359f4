"""Tokens that no one wants any more: kept in the ledger until Procore has certainly ended them.

Here is what puts them there, and what is written down of what no one can know: a row whose outcome
is `UNANSWERED` and that holds no tokens says that tokens of the user may live that no one knows.
It stays for as long as the user does (docs/decisions/0025). `withdrawal.py` takes them out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, bindparam, case, func, insert, or_, select, update

from procore_signin._protocol.token_set import TokenSet
from procore_signin._protocol.value import value
from procore_signin._store.engine.command import Command
from procore_signin._store.engine.statement import (
    InsertAbsent,
    Sql,
    Statements,
    change,
    insert_if_absent,
    one,
)
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.records import OUTCOME_LENGTH, Escrow, TokenRow, storable
from procore_signin._store.schema import UNFINISHED, sign_in_ledger, token_sets, users
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

_COLUMNS: Final = tuple(column.name for column in sign_in_ledger.c)
_this: Final = sign_in_ledger.c.state_hash == bindparam("which_state")


def place_of(*what: object) -> str:
    """Return the key of the row of the ledger that is made for this, and for nothing else."""
    return sha256(" ".join(str(each) for each in what).encode()).hexdigest()


def row_at(
    state_hash: str, environment: str, user_id: int | None, outcome: str, now: int
) -> dict[str, object]:
    """Return a row of the ledger without an escrow, which may be purged at once."""
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
        "procore_id": None,
    }


def share(one: TokenSet, other: TokenSet) -> bool:
    """Tell whether two pairs have a token in common: to revoke one would end the other."""
    return one.access_token == other.access_token or (
        one.refresh_token is not None and one.refresh_token == other.refresh_token
    )


def open_escrow(
    seal: TokenSeal, state_hash: str, environment: str, sealed: str, escrowed_at: int
) -> Escrow:
    """Return what is in an escrow, without its tokens where they cannot be opened."""
    try:
        tokens = seal.open_escrow(sealed, state_hash=state_hash, environment=environment)
    except VaultSealed:
        return Escrow(state_hash, environment, None, escrowed_at)
    return Escrow(state_hash, environment, tokens, escrowed_at)


INSERT_ABSENT: Final = Sql(insert_if_absent(sign_in_ledger), *_COLUMNS)
"""Make a row of the ledger where there is none of its key."""

LOCK_OWNER: Final = Sql(
    select(users.c.id)
    .where(users.c.id == bindparam("which_user"))
    .with_for_update(read=True, key_share=True)
)
"""Keep a user from going."""

_LOCK_NAMED: Final = Sql(
    select(users.c.id)
    .where(
        users.c.environment == bindparam("which_environment"),
        users.c.procore_id == bindparam("which_procore_id"),
    )
    .with_for_update(read=True, key_share=True)
)
OWNER: Final = func.coalesce(bindparam("owner", type_=BigInteger), sign_in_ledger.c.user_id)
"""Whose a row is: `owner`, who became a user after it was written, or the user it has."""

# An attempt ends with this: before, its sign-in is under way, and afterwards its tokens are here.
# MariaDB assigns from left to right: the status comes last.
_FILL: Final = Sql(
    update(sign_in_ledger)
    .where(_this)
    .ordered_values(
        (sign_in_ledger.c.escrow, bindparam("tokens")),
        (sign_in_ledger.c.escrowed_at, bindparam("now")),
        (sign_in_ledger.c.user_id, OWNER),
        (sign_in_ledger.c.procore_id, bindparam("number")),
        (
            sign_in_ledger.c.finished_at,
            func.coalesce(sign_in_ledger.c.finished_at, bindparam("now")),
        ),
        (
            sign_in_ledger.c.outcome,
            case((UNFINISHED, bindparam("outcome")), else_=sign_in_ledger.c.outcome),
        ),
        (
            sign_in_ledger.c.status,
            case((UNFINISHED, "failed"), else_=sign_in_ledger.c.status),
        ),
    )
)


@dataclass(frozen=True, slots=True, repr=False)
class GiveUpTokens(Command[None]):
    """Put tokens into escrow that no one wants. May be repeated.

    Attributes:
        tokens: Which.
        state_hash: The row that keeps them: an attempt's, which ends with this, or another.
        environment: Where.
        procore_id: Whose by Procore's number, or None where no one knows. They may be unknown here,
            or deleted meanwhile, or a new user by now.
        refreshed: The row whose refresh brought them, as it was taken: that it has a response is
            noted.
        now: Unix seconds.
        outcome: Why an attempt ends with this, as a fixed word; cut at 64 characters.
    """

    tokens: TokenSet
    _: KW_ONLY
    state_hash: str
    environment: str
    procore_id: int | None
    refreshed: TokenRow | None
    now: int
    outcome: str = LATE

    def run(self, seal: TokenSeal) -> Statements[None]:
        state_hash, environment = self.state_hash, self.environment
        sealed = seal.seal_escrow(self.tokens, state_hash=state_hash, environment=environment)
        whose = yield from lock_named(environment, self.procore_id)
        if self.refreshed is not None:
            yield from refresh_over(self.refreshed, self.refreshed.lease_owner)
        outcome = storable(self.outcome, OUTCOME_LENGTH)
        place = {"which_state": state_hash, "tokens": sealed, "now": self.now}
        place |= {"owner": whose.user_id, "number": whose.procore_id, "outcome": outcome}
        if (yield from change(_FILL, place)):
            return
        row = row_at(state_hash, environment, whose.user_id, outcome, self.now)
        row |= {"escrow": sealed, "escrowed_at": self.now, "procore_id": whose.procore_id}
        yield InsertAbsent(INSERT_ABSENT, row)


@value(frozen=True, slots=True)
class Whose:
    """What a row of the ledger says of whose it is.

    Attributes:
        user_id: The user, or None.
        procore_id: Procore's number of someone who is no user here; None where there is a user, or
            no one knows.
    """

    user_id: int | None
    procore_id: int | None


def lock_named(environment: str, procore_id: int | None) -> Statements[Whose]:
    """Return what a row says whose tokens someone's are, and keep a user from going meanwhile.

    Before any row of theirs is locked, as in `lock_owner`.

    Args:
        environment: Where.
        procore_id: Their number at Procore, or None where no one knows it.
    """
    if procore_id is None:
        return Whose(None, None)
    named = {"which_environment": environment, "which_procore_id": procore_id}
    found = yield from one(_LOCK_NAMED, named)
    return Whose(None, procore_id) if found is None else Whose(int(found[0]), None)


PROCORE_ID: Final = func.coalesce(
    sign_in_ledger.c.procore_id,
    select(users.c.procore_id).where(users.c.id == sign_in_ledger.c.user_id).scalar_subquery(),
)
"""Procore's number of the one whose a row is, also if the user is deleted a moment later."""

_NUMBER: Final = Sql(select(sign_in_ledger.c.environment, PROCORE_ID).where(_this))


def lock_owner_of(state_hash: str) -> Statements[Whose]:
    """Do the same for the one whose a row of the ledger is."""
    row = yield from one(_NUMBER, {"which_state": state_hash})
    return Whose(None, None) if row is None else (yield from lock_named(*row))


def lock_owner(user_id: int) -> Statements[int | None]:
    """Keep a user from going; None where there is none of that number.

    Before any row of theirs is locked: the code that ends their access locks in that order too.
    """
    return user_id if (yield from one(LOCK_OWNER, {"which_user": user_id})) else None


_INSERT: Final = Sql(insert(sign_in_ledger).inline(), *_COLUMNS)


def inserts_where(*conditions: ColumnElement[bool]) -> tuple[Sql, Sql]:
    """Return how to make a row of the ledger where a row of `token_sets` is as it should be.

    Args:
        conditions: How that is; they name one row at most.

    Returns:
        The statement for a row that is not there; and the one where it may be, for `InsertAbsent`.
    """
    values = (bindparam(column.name, type_=column.type) for column in sign_in_ledger.c)
    found = select(*values).select_from(token_sets).where(*conditions)
    return (
        Sql(insert(sign_in_ledger).inline().from_select(_COLUMNS, found)),
        Sql(insert_if_absent(sign_in_ledger, found)),
    )


def put_away(
    seal: TokenSeal, tokens: TokenSet, row: Mapping[str, Any], outcome: str, now: int
) -> Statements[Escrow]:
    """Put a pair of a locked row of `token_sets` into an escrow of its own: see `escrow_of`."""
    place, escrow = escrow_of(seal, tokens, row, outcome, now)
    yield from change(_INSERT, place)
    return escrow


def escrow_of(
    seal: TokenSeal, tokens: TokenSet, row: Mapping[str, Any], outcome: str, now: int
) -> tuple[dict[str, object], Escrow]:
    """Return the ledger's row for a pair of a row of `token_sets`, and what is in it.

    Args:
        seal: Seals it.
        tokens: The pair.
        row: Columns of the row, by name. Each of its generations has two places: for its own pair,
            and for the pair before. That of a pair which is being refreshed has the name of the
            refresher in its key, so that no one else can tell what became of that.
        outcome: `SUPERSEDED` for the pair before; anything else for its own.
        now: Unix seconds.
    """
    if outcome == REFRESHING:
        state_hash = _place_while_refreshed(row["id"], row["generation"], row["lease_owner"])
    else:
        kind = SUPERSEDED if outcome == SUPERSEDED else "withdrawn"
        state_hash = place_of(kind, row["id"], row["generation"])
    environment = row["environment"]
    sealed = seal.seal_escrow(tokens, state_hash=state_hash, environment=environment)
    place = row_at(state_hash, environment, row["user_id"], outcome, now)
    kept = {"escrow": sealed, "escrowed_at": now}
    return place | kept, Escrow(state_hash, environment, tokens, now)


def _place_while_refreshed(number: int, generation: int, refresher: str | None) -> str:
    return place_of("withdrawn", number, generation, refresher)


def put_away_predecessor(
    seal: TokenSeal, row: Mapping[str, Any], now: int, *newer: TokenSet
) -> Statements[Escrow | None]:
    """Put the pair before into escrow, where there is one that may still be honoured.

    Raises:
        VaultSealed: It cannot be opened.
    """
    tokens = predecessor_of(seal, row, *newer)
    if tokens is None:
        return None
    return (yield from put_away(seal, tokens, row, SUPERSEDED, now))


def predecessor_of(seal: TokenSeal, row: Mapping[str, Any], *newer: TokenSet) -> TokenSet | None:
    """Return the pair before the one of `row`, where there is one that may still be honoured.

    Never one that shares a token with those in `newer`, which someone goes on using.

    Raises:
        VaultSealed: It cannot be opened.
    """
    if row["predecessor"] is None:
        return None
    tokens = seal.open_predecessor(
        row["predecessor"], user_id=row["user_id"], environment=row["environment"]
    )
    return None if any(share(tokens, each) for each in newer) else tokens


_refreshing: Final = (_this, sign_in_ledger.c.outcome == REFRESHING)
_ANSWERED: Final = Sql(
    update(sign_in_ledger)
    .where(*_refreshing)
    .values(outcome=LATE, expires_at=sign_in_ledger.c.created_at)
)
_UNANSWERED: Final = Sql(update(sign_in_ledger).where(*_refreshing).values(outcome=UNANSWERED))


def refresh_over(
    row: TokenRow, refresher: str | None, *, answered: bool = True
) -> Statements[bool]:
    """Note what became of the refresh of a row whose tokens were withdrawn meanwhile.

    It returns whether they were, and no one had said yet what became of it.

    Args:
        row: The row.
        refresher: Whose refresh. It speaks for no other one.
        answered: Whether it had a response, or was never sent.
    """
    place = _place_while_refreshed(row.id, row.generation, refresher)
    note = _ANSWERED if answered else _UNANSWERED
    return (yield from change(note, {"which_state": place})) == 1


_doubts_of_user: Final = (
    sign_in_ledger.c.user_id == bindparam("which_user"),
    or_(*(sign_in_ledger.c.outcome == doubt for doubt in DOUBTS)),
    sign_in_ledger.c.escrow.is_(None),
)
_DOUBTS: Final = Sql(select(sign_in_ledger.c.state_hash).where(*_doubts_of_user).limit(1))
FORGET_DOUBTS: Final = Sql(
    update(sign_in_ledger).where(*_doubts_of_user).values(expires_at=bindparam("now"))
)
"""Let the rows be purged that tell of doubts about a user."""


def leave_doubt(user_id: int, environment: str, now: int) -> Statements[None]:
    """Note that tokens of a user may live which no one knows. Once is enough."""
    yield InsertAbsent(INSERT_ABSENT, doubt_about(user_id, environment, now))


def doubt_about(user_id: int, environment: str, now: int) -> dict[str, object]:
    """Return the ledger's row which notes that."""
    place = place_of("doubt", user_id, environment)
    return {**row_at(place, environment, user_id, UNANSWERED, now), "expires_at": NEVER}


def is_in_doubt(user_id: int) -> Statements[bool]:
    """Tell whether tokens of a user may live which no one knows."""
    return (yield from one(_DOUBTS, {"which_user": user_id})) is not None
