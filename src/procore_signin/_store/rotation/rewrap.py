"""Which keys the database needs, and sealing everything anew with the active one (row V3).

A sealed value names its key in its head, `v1.<key id>.`, so the database itself tells who needs
which key. A value is replaced only if it is still the text that was opened: each sealing has a
nonce of its own, so a refresh or a sign-in that came in between changed the text, and wins.

What is read from end to end is read, opened and sealed outside of any transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from procore_signin._store.engine.command import Command, Query
from procore_signin._store.engine.statement import Sql, Statements, Values, change_each, many
from procore_signin._store.keys.seal import VERSION
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.schema import sign_in_ledger, token_sets
from procore_signin._store.store import Store
from procore_signin.errors import VaultSealed

Key = TypeVar("Key")
Name = TypeVar("Name")

_HEAD: Final = f"{VERSION}."
ESCROWED: Final = (sign_in_ledger.c.escrowed_at >= 0, sign_in_ledger.c.escrow.is_not(None))
"""That there is something in an escrow, by an index."""

_SEALED: Final = (
    token_sets.c.access_token,
    token_sets.c.refresh_token,
    token_sets.c.predecessor,
)
_ATTEMPT_LENGTH: Final = 8
_LONGEST_KEY_ID: Final = 32


class _Place(FunctionElement[int]):
    """Where one text is in another, counted from 1."""

    inherit_cache = True
    type = Integer()


@compiles(_Place)
def _instr(element: _Place, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(func.instr(*element.clauses), **options)


@compiles(_Place, "postgresql")
def _strpos(element: _Place, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(func.strpos(*element.clauses), **options)


def _key_id(sealed: Column[Any]) -> ColumnElement[Any]:
    rest = func.substr(sealed, len(_HEAD) + 1, _LONGEST_KEY_ID + 1)
    known = sealed.like(f"{_HEAD}%.%")
    return case((known, func.substr(rest, 1, _Place(rest, ".") - 1)), else_="")


def sealed_with(sealed: Column[Any], key_id: str) -> ColumnElement[bool]:
    """Not LIKE: SQLite's takes no account of case, and a key id may hold the wildcard `_`."""
    head = f"{_HEAD}{key_id}."
    return func.substr(sealed, 1, len(head)) == head


@dataclass(frozen=True, slots=True)
class KeyUse:
    """How many sealed values one key is needed for.

    Attributes:
        key_id: Which key; empty for values of no known form, which no key opens.
        access_tokens: In `token_sets`.
        refresh_tokens: In `token_sets`.
        escrows: Pairs that wait for their end: in `sign_in_ledger`, and beside newer ones in
            `token_sets`.
    """

    key_id: str
    access_tokens: int = 0
    refresh_tokens: int = 0
    escrows: int = 0

    @property
    def total(self) -> int:
        """How many values it is in all."""
        return self.access_tokens + self.refresh_tokens + self.escrows


def _counted(sealed: Column[Any], *where: ColumnElement[bool]) -> Sql:
    ids = select(_key_id(sealed).label("key_id")).where(*where).subquery()
    return Sql(select(ids.c.key_id, func.count()).group_by(ids.c.key_id))


_COUNTED: Final = (
    ("access_tokens", _counted(token_sets.c.access_token)),
    (
        "refresh_tokens",
        _counted(token_sets.c.refresh_token, token_sets.c.refresh_token.is_not(None)),
    ),
    ("escrows", _counted(sign_in_ledger.c.escrow, *ESCROWED)),
    ("escrows", _counted(token_sets.c.predecessor, token_sets.c.predecessor.is_not(None))),
)


@dataclass(frozen=True, slots=True, repr=False)
class KeyUses(Query[list[KeyUse]]):
    """Which keys the sealed values need, the ring's own first, in its order.

    Every key of the ring is in the list, used or not; then those that the ring lacks, and last the
    empty id, which stands for values of no known form. Reads both tables from end to end.
    """

    def run(self, seal: TokenSeal) -> Statements[list[KeyUse]]:
        counts: dict[str, dict[str, int]] = {key_id: {} for key_id in seal.key_ids}
        found = set()
        for column, sql in _COUNTED:
            for key_id, count in (yield from many(sql, {})):
                of_key = counts.setdefault(key_id, {})
                of_key[column] = of_key.get(column, 0) + int(count)
                found.add(key_id)
        foreign = sorted(found - {*seal.key_ids, ""})
        order = (*seal.key_ids, *foreign, *([""] if "" in found else []))
        return [KeyUse(key_id, **counts[key_id]) for key_id in order]


@lru_cache(maxsize=4)
def _foreign(key_ids: tuple[str, ...]) -> tuple[Sql, Sql]:
    """Return what finds the ids of other keys than these: in token sets, and in escrows."""

    def foreign(sealed: Column[Any]) -> ColumnElement[bool]:
        return ~or_(*(sealed_with(sealed, key_id) for key_id in key_ids))

    of_sets = select(*(_key_id(each) for each in _SEALED))
    of_escrows = select(_key_id(sign_in_ledger.c.escrow))
    return (
        Sql(of_sets.where(or_(*(foreign(each) for each in _SEALED))).distinct()),
        Sql(of_escrows.where(*ESCROWED, foreign(sign_in_ledger.c.escrow)).distinct()),
    )


@dataclass(frozen=True, slots=True, repr=False)
class UnknownKeyIds(Query[tuple[str, ...]]):
    """The ids of keys that sealed values need and the ring lacks, in order (row V3).

    Values of no known form are left out: no key would open them, and they harm one user each.
    Reads `token_sets` from end to end once; 100,000 users took 0.1 s on SQLite.
    """

    def run(self, seal: TokenSeal) -> Statements[tuple[str, ...]]:
        found: set[str] = set()
        for sql in _foreign(seal.key_ids):
            found.update(*(yield from many(sql, {})))
        return tuple(sorted(found - {*seal.key_ids, ""}))


def _older_sets(active: str) -> ColumnElement[bool]:
    return or_(*(~sealed_with(each, active) for each in _SEALED))


def _older_escrows(active: str) -> tuple[ColumnElement[bool], ...]:
    return (*ESCROWED, ~sealed_with(sign_in_ledger.c.escrow, active))


@lru_cache(maxsize=4)
def _count(active: str) -> tuple[Sql, Sql]:
    count = select(func.count())
    return (
        Sql(count.select_from(token_sets).where(_older_sets(active))),
        Sql(count.select_from(sign_in_ledger).where(*_older_escrows(active))),
    )


@dataclass(frozen=True, slots=True, repr=False)
class OlderTokenSets(Query[int]):
    """How many token sets, of users and in escrow, the active key did not seal."""

    def run(self, seal: TokenSeal) -> Statements[int]:
        count = 0
        for sql in _count(seal.key_ids[0]):
            for row in (yield from many(sql, {})):
                count += int(row[0])
        return count


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What one batch of a rewrap did, in token sets: those of users, and those in escrow.

    Attributes:
        done: How many are now sealed with the active key.
        overtaken: How many changed meanwhile and were left as someone else wrote them.
        users: Whose tokens cannot be opened. They stay as they are.
        attempts: Whose escrow cannot be opened, by the first 8 digits of the state's hash.
    """

    done: int
    overtaken: int
    users: tuple[int, ...] = ()
    attempts: tuple[str, ...] = ()


def rewrap(store: Store, *, limit: int = 100) -> Iterator[Rewrapped]:
    """Seal every value anew that the active key did not seal, and yield after each batch.

    In the order of the primary keys, `limit` rows in a transaction. It may be stopped, also by
    force, and started again at any time: what is done is done, and is not found again. Values that
    cannot be opened are told and stay as they are (row V4).
    """
    after = 0
    while (sets := store.ask(SetsAnew(after=after, limit=limit))) is not None:
        done = store.do(WriteSets(sets.changes))
        yield Rewrapped(done, len(sets.changes) - done, users=sets.unopened)
        after = sets.last
    state_hash = ""
    while (escrows := store.ask(EscrowsAnew(after=state_hash, limit=limit))) is not None:
        done = store.do(WriteEscrows(escrows.changes))
        yield Rewrapped(done, len(escrows.changes) - done, attempts=escrows.unopened)
        state_hash = escrows.last


@dataclass(frozen=True, slots=True, repr=False)
class Anew(Generic[Key, Name]):
    """Sealed values of some rows, sealed anew and not written yet.

    Attributes:
        changes: What is to be written.
        unopened: Whose cannot be opened.
        last: The primary key of the last row.
    """

    changes: Sequence[Values]
    unopened: tuple[Name, ...]
    last: Key


@lru_cache(maxsize=4)
def _page_of_sets(active: str) -> Sql:
    return Sql(
        select(
            token_sets.c.id,
            token_sets.c.user_id,
            token_sets.c.environment,
            token_sets.c.access_token,
            token_sets.c.refresh_token,
            token_sets.c.expires_at,
            token_sets.c.generation,
            token_sets.c.predecessor,
        )
        .where(token_sets.c.id > bindparam("after"), _older_sets(active))
        .order_by(token_sets.c.id)
        .limit(bindparam("limit"))
    )


@dataclass(frozen=True, slots=True, repr=False)
class SetsAnew(Query[Anew[int, int] | None]):
    """Some token sets that the active key did not seal, sealed anew; None when none is left."""

    _: KW_ONLY
    after: int
    limit: int

    def run(self, seal: TokenSeal) -> Statements[Anew[int, int] | None]:
        page = {"after": self.after, "limit": self.limit}
        rows = yield from many(_page_of_sets(seal.key_ids[0]), page)
        if not rows:
            return None
        changes: list[Values] = []
        unopened: list[int] = []
        for number, user_id, environment, access, refresh, expires_at, generation, before in rows:
            whose: dict[str, Any] = {"user_id": user_id, "environment": environment}
            try:
                tokens = seal.open_row(access, refresh, expires_at, **whose, generation=generation)
            except VaultSealed:
                unopened.append(user_id)
                continue
            predecessor = before
            if before is not None:
                try:
                    pair = seal.open_predecessor(before, **whose)
                    predecessor = seal.seal_predecessor(pair, **whose)
                except VaultSealed:  # the pair in use goes on without it
                    unopened.append(user_id)
            sealed = seal.seal_row(tokens, **whose, generation=generation)
            changes.append(
                {
                    "which_tokens": number,
                    "was_access": access,
                    "was_refresh": refresh or "",
                    "was_before": before or "",
                    "access": sealed["access_token"],
                    "refresh": sealed["refresh_token"],
                    "before": predecessor,
                }
            )
        return Anew(changes, tuple(unopened), rows[-1][0])


_this_set: Final = token_sets.c.id == bindparam("which_tokens")
_WRITE_SET: Final = Sql(
    update(token_sets)
    .where(
        _this_set,
        token_sets.c.access_token == bindparam("was_access"),
        func.coalesce(token_sets.c.refresh_token, "") == bindparam("was_refresh"),
        func.coalesce(token_sets.c.predecessor, "") == bindparam("was_before"),
    )
    .values(
        access_token=bindparam("access"),
        refresh_token=bindparam("refresh"),
        predecessor=bindparam("before"),
    )
)


@dataclass(frozen=True, slots=True, repr=False)
class WriteSets(Command[int]):
    """Write token sets that were sealed anew, those that no one else has changed; how many."""

    changes: Sequence[Values]

    def run(self, seal: TokenSeal) -> Statements[int]:
        return (yield from change_each(_WRITE_SET, self.changes))


@lru_cache(maxsize=4)
def _page_of_escrows(active: str) -> Sql:
    return Sql(
        select(sign_in_ledger.c.state_hash, sign_in_ledger.c.environment, sign_in_ledger.c.escrow)
        .where(sign_in_ledger.c.state_hash > bindparam("after"), *_older_escrows(active))
        .order_by(sign_in_ledger.c.state_hash)
        .limit(bindparam("limit"))
    )


@dataclass(frozen=True, slots=True, repr=False)
class EscrowsAnew(Query[Anew[str, str] | None]):
    """Some escrows that the active key did not seal, sealed anew; None when none is left."""

    _: KW_ONLY
    after: str
    limit: int

    def run(self, seal: TokenSeal) -> Statements[Anew[str, str] | None]:
        page = {"after": self.after, "limit": self.limit}
        rows = yield from many(_page_of_escrows(seal.key_ids[0]), page)
        if not rows:
            return None
        changes: list[Values] = []
        unopened: list[str] = []
        for state_hash, environment, sealed in rows:
            where: dict[str, Any] = {"state_hash": state_hash, "environment": environment}
            try:
                tokens = seal.open_escrow(sealed, **where)
            except VaultSealed:
                unopened.append(state_hash[:_ATTEMPT_LENGTH])
                continue
            anew = seal.seal_escrow(tokens, **where)
            changes.append({"which_state": state_hash, "was": sealed, "tokens": anew})
        return Anew(changes, tuple(unopened), rows[-1][0])


_this_escrow: Final = (
    sign_in_ledger.c.state_hash == bindparam("which_state"),
    sign_in_ledger.c.escrow == bindparam("was"),
)
_WRITE_ESCROW: Final = Sql(
    update(sign_in_ledger).where(*_this_escrow).values(escrow=bindparam("tokens"))
)


@dataclass(frozen=True, slots=True, repr=False)
class WriteEscrows(Command[int]):
    """Write escrows that were sealed anew, those that no one else has changed; how many."""

    changes: Sequence[Values]

    def run(self, seal: TokenSeal) -> Statements[int]:
        return (yield from change_each(_WRITE_ESCROW, self.changes))
