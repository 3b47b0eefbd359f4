"""Token sets, one for each user and environment: what is in them, and the end of those ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Final

from sqlalchemy import bindparam, delete, func, select

from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.engine.clock import SHARED_NOW
from procore_signin._store.engine.command import Command, LookUp, Query
from procore_signin._store.engine.statement import Row, Sql, Statements, Values, change, many
from procore_signin._store.escrows import leave_doubt, lock_owner
from procore_signin._store.keys.seal import VERSION
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.records import GrantStatus
from procore_signin._store.schema import token_sets

_LONGEST_HEAD: Final = len(VERSION) + 1 + 32 + 1
"""As much of a sealed value as names its key: version, dot, key id, dot."""

_of_user: Final = token_sets.c.user_id == bindparam("which_user")


@dataclass(frozen=True, slots=True, repr=False)
class TokensOf(LookUp[TokenSet | None]):
    """A user's tokens for one environment, or None where there are none of use.

    Raises:
        VaultSealed: They cannot be opened. This harms no one else; a new sign-in replaces them.
    """

    user_id: int
    environment: str

    by_key: ClassVar = True
    sql: ClassVar = Sql(
        select(
            token_sets.c.access_token,
            token_sets.c.refresh_token,
            token_sets.c.expires_at,
            token_sets.c.generation,
        ).where(
            _of_user,
            token_sets.c.environment == bindparam("which_environment"),
            token_sets.c.status == "ok",
        )
    )

    def values(self) -> Values:
        return {"which_user": self.user_id, "which_environment": self.environment}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> TokenSet | None:
        if not rows:
            return None
        *cells, generation = rows[0]
        return seal.open_row(
            *cells, user_id=self.user_id, environment=self.environment, generation=generation
        )


_OWNERS: Final = select(token_sets.c.user_id, token_sets.c.environment).limit(1)
_ENDS: Final = (
    Sql(_OWNERS.order_by(token_sets.c.id)),
    Sql(_OWNERS.order_by(token_sets.c.id.desc())),
)


@dataclass(frozen=True, slots=True, repr=False)
class FirstAndLastOwner(Query[tuple[tuple[int, str], ...]]):
    """User id and environment of the oldest and the newest token set: two look-ups at most."""

    def run(self, seal: TokenSeal) -> Statements[tuple[tuple[int, str], ...]]:
        found: dict[tuple[int, str], None] = {}
        for sql in _ENDS:
            for user_id, environment in (yield from many(sql, {})):
                found[user_id, environment] = None
        return tuple(found)


@dataclass(frozen=True, slots=True)
class TokenState:
    """All that can be told of a token set without opening it.

    Attributes:
        environment: Where it is for.
        status: See `GrantStatus`.
        generation: Counts the pairs.
        expires_in: Seconds that the access token has left; negative when it has expired.
        refreshable: Whether there is a refresh token.
        leased_for: Seconds that a refresh under way may still take; 0 where there is none.
        retry_in: Seconds until Procore may be asked again; 0 when it may be now.
        ambiguous: How many requests with this refresh token had no known outcome.
        key_ids: Which keys sealed it; None stands for a value of no known form.
        created_at: The first sign-in that brought tokens; UTC unix seconds.
        updated_at: When this pair was written.
    """

    environment: str
    status: GrantStatus
    generation: int
    expires_in: int
    refreshable: bool
    leased_for: int
    retry_in: int
    ambiguous: int
    key_ids: tuple[str | None, ...]
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True, repr=False)
class TokenStates(LookUp[list[TokenState]]):
    """What can be told of a user's token sets. Nothing sealed leaves the database (row O6)."""

    user_id: int
    _: KW_ONLY
    now: int

    sql: ClassVar = Sql(
        select(
            token_sets.c.environment,
            token_sets.c.status,
            token_sets.c.generation,
            token_sets.c.expires_at,
            token_sets.c.lease_owner,
            token_sets.c.lease_until,
            token_sets.c.ambiguous,
            func.substr(token_sets.c.access_token, 1, _LONGEST_HEAD),
            func.substr(token_sets.c.refresh_token, 1, _LONGEST_HEAD),
            token_sets.c.created_at,
            token_sets.c.updated_at,
            SHARED_NOW.label("at"),
        )
        .where(_of_user)
        .order_by(token_sets.c.environment)
    )

    def values(self) -> Values:
        return {"which_user": self.user_id, "now": self.now}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> list[TokenState]:
        return [_token_state(row) for row in rows]


def _token_state(row: Row) -> TokenState:
    environment, status, generation, expires_at, owner, until, ambiguous = row[:7]
    access, refresh, created_at, updated_at, at = row[7:]
    left = 0 if until is None else max(0, int(until) - int(at))
    heads = [access] if refresh is None else [access, refresh]
    return TokenState(
        environment=environment,
        status=status,
        generation=generation,
        expires_in=expires_at - int(at),
        refreshable=refresh is not None,
        leased_for=0 if owner is None else left,
        retry_in=left if owner is None else 0,
        ambiguous=ambiguous,
        key_ids=tuple(dict.fromkeys(key_id_of(head) for head in heads)),
        created_at=created_at,
        updated_at=updated_at,
    )


def key_id_of(sealed: str) -> str | None:
    """Return the id of the key that sealed a value, told by its head; None for no known form."""
    version, dot, rest = sealed.partition(".")
    key_id, second_dot, _ = rest.partition(".")
    return key_id if version == VERSION and dot and second_dot and key_id else None


@dataclass(frozen=True, slots=True)
class EndedGrant:
    """A token set that is `lost` or `revoked`.

    Attributes:
        id: The row's number.
        user_id: Whose.
        environment: Where.
        status: See `GrantStatus`.
        updated_at: When it was last written.
    """

    id: int
    user_id: int
    environment: str
    status: GrantStatus
    updated_at: int


_over: Final = (
    token_sets.c.status != "ok",
    token_sets.c.predecessor.is_(None),
    token_sets.c.updated_at < bindparam("before"),
)


@dataclass(frozen=True, slots=True, repr=False)
class EndedGrants(LookUp[list[EndedGrant]]):
    """Token sets that are over, that keep no pair before, and that were last written before a time.

    Attributes:
        before: Unix seconds.
        after: Only those with a greater number, to go on where a list ended.
        limit: How many at most.
    """

    _: KW_ONLY
    before: int
    after: int = 0
    limit: int = 1000

    sql: ClassVar = Sql(
        select(
            token_sets.c.id,
            token_sets.c.user_id,
            token_sets.c.environment,
            token_sets.c.status,
            token_sets.c.updated_at,
        )
        .where(token_sets.c.id > bindparam("after"), *_over)
        .order_by(token_sets.c.id)
        .limit(bindparam("limit"))
    )

    def values(self) -> Values:
        return {"before": self.before, "after": self.after, "limit": self.limit}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> list[EndedGrant]:
        return [EndedGrant(*row) for row in rows]


_PURGE: Final = Sql(delete(token_sets).where(token_sets.c.id == bindparam("which_tokens"), *_over))


@dataclass(frozen=True, slots=True, repr=False)
class PurgeGrants(Command[int]):
    """Delete token sets that are over still; it returns how many were.

    That tokens of a user may live which no one knows is not forgotten with them (row I7).

    Attributes:
        grants: Those of `EndedGrants`.
        before: As there.
    """

    grants: Sequence[EndedGrant]
    _: KW_ONLY
    before: int

    def run(self, seal: TokenSeal) -> Statements[int]:
        deleted = 0
        for grant in self.grants:
            lost = grant.status == "lost" and (yield from lock_owner(grant.user_id)) is not None
            this = {"which_tokens": grant.id, "before": self.before}
            gone = yield from change(_PURGE, this)
            if gone and lost:  # a late commit may have made it good meanwhile
                yield from leave_doubt(grant.user_id, grant.environment, grant.updated_at)
            deleted += gone
        return deleted
