"""Giving up what a lost key sealed: it can never be opened again (row V3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import Final

from sqlalchemy import BindParameter, bindparam, case, delete, or_, select, update

from procore_signin._store.engine.command import Command, Query
from procore_signin._store.engine.statement import (
    Row,
    Sql,
    Statements,
    change,
    change_each,
    many,
)
from procore_signin._store.escrows import NEVER, OWNER, UNANSWERED, leave_doubt, lock_named
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.rotation.rewrap import ESCROWED, sealed_with
from procore_signin._store.schema import sign_in_ledger, token_sets
from procore_signin._store.store import Store


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What was deleted because its key is lost.

    Attributes:
        users: Whose tokens.
        escrows: How many escrows were cleared.
    """

    users: tuple[int, ...]
    escrows: int

    @property
    def token_sets(self) -> int:
        """How many token sets it is in all."""
        return len(self.users) + self.escrows


def give_up_key(store: Store, key_id: str, *, limit: int = 100) -> GivenUp | None:
    """Delete some token sets that a lost key sealed, forever. Their users sign in again.

    That these tokens live on is not forgotten: ending such a user's access is never called
    certain (row I7). Rewrap first: what a key of the ring still opens is then sealed with another
    one, and safe.

    Args:
        store: Where.
        key_id: The key.
        limit: How many of each kind at most.

    Returns:
        What was given up; None when nothing is left.
    """
    lost = store.ask(LostTo(key_id, limit=limit))
    if not lost.sets and not lost.escrows and not lost.predecessors:
        return None
    store.do(GiveUpLost(lost))
    return GivenUp(tuple(user_id for _, user_id, *_ in lost.sets), len(lost.escrows))


@dataclass(frozen=True, slots=True, repr=False)
class Lost:
    """What a key sealed: rows with the primary key first, and last the sealed text.

    Attributes:
        sets: Token sets.
        escrows: Entries of the ledger.
        predecessors: Token sets whose pair before it sealed.
    """

    sets: Sequence[Row]
    escrows: Sequence[Row]
    predecessors: Sequence[Row]


_SET: Final = (
    token_sets.c.id,
    token_sets.c.user_id,
    token_sets.c.environment,
    token_sets.c.updated_at,
)
_ESCROW: Final = (
    sign_in_ledger.c.state_hash,
    sign_in_ledger.c.environment,
    sign_in_ledger.c.procore_id,
    sign_in_ledger.c.escrow,
)


@lru_cache(maxsize=4)
def _lost_to(key_id: str) -> tuple[Sql, Sql, Sql]:
    owned = select(*_SET, token_sets.c.access_token).where(
        or_(
            sealed_with(token_sets.c.access_token, key_id),
            sealed_with(token_sets.c.refresh_token, key_id),
        )
    )
    escrowed = select(*_ESCROW).where(*ESCROWED, sealed_with(sign_in_ledger.c.escrow, key_id))
    older = select(*_SET, token_sets.c.predecessor).where(
        sealed_with(token_sets.c.predecessor, key_id)
    )
    most: BindParameter[int] = bindparam("limit")
    return (
        Sql(owned.order_by(token_sets.c.id).limit(most)),
        Sql(escrowed.limit(most)),
        Sql(older.limit(most)),
    )


@dataclass(frozen=True, slots=True, repr=False)
class LostTo(Query[Lost]):
    """What a key sealed, some of each kind."""

    key_id: str
    _: KW_ONLY
    limit: int

    def run(self, seal: TokenSeal) -> Statements[Lost]:
        sets, escrows, predecessors = _lost_to(self.key_id)
        some = {"limit": self.limit}
        return Lost(
            (yield from many(sets, some)),
            (yield from many(escrows, some)),
            (yield from many(predecessors, some)),
        )


_this_set: Final = token_sets.c.id == bindparam("which_tokens")
_DELETE: Final = Sql(
    delete(token_sets).where(_this_set, token_sets.c.access_token == bindparam("was_access"))
)
_FORGET_PREDECESSOR: Final = Sql(
    update(token_sets)
    .where(_this_set, token_sets.c.predecessor == bindparam("was_before"))
    .values(predecessor=None)
)
_CLEAR: Final = Sql(
    update(sign_in_ledger)
    .where(
        sign_in_ledger.c.state_hash == bindparam("which_state"),
        sign_in_ledger.c.escrow == bindparam("was"),
    )
    .values(
        escrow=None,
        escrowed_at=None,
        procore_id=None,
        outcome=UNANSWERED,  # no one can say that they are dead
        user_id=OWNER,
        expires_at=case((OWNER.is_(None), sign_in_ledger.c.expires_at), else_=NEVER),
    )
)


@dataclass(frozen=True, slots=True, repr=False)
class GiveUpLost(Command[None]):
    """Delete what no key opens, unless someone else has written it anew."""

    lost: Lost

    def run(self, seal: TokenSeal) -> Statements[None]:
        for number, user_id, environment, written, access in self.lost.sets:
            this = {"which_tokens": number, "was_access": access}
            if (yield from change(_DELETE, this)):
                yield from leave_doubt(user_id, environment, written)
        for number, user_id, environment, written, before in self.lost.predecessors:
            this = {"which_tokens": number, "was_before": before}
            if (yield from change(_FORGET_PREDECESSOR, this)):
                yield from leave_doubt(user_id, environment, written)
        cleared = []
        for state_hash, environment, procore_id, escrow in self.lost.escrows:
            # A user who was deleted and has signed in again has the doubt about this grant.
            whose = yield from lock_named(environment, procore_id)
            cleared.append({"which_state": state_hash, "was": escrow, "owner": whose.user_id})
        yield from change_each(_CLEAR, cleared)
