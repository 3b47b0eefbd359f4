"""Which keys the database needs, and sealing everything anew with the active one (row V3).

A sealed value names its key in its head, `v1.<key id>.`, so the database itself tells who needs
which key. A value is replaced only if it is still the text that was opened: each sealing has a
nonce of its own, so a refresh or a sign-in that came in between changed the text, and wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, bindparam, case, delete, func, or_, select, update
from sqlalchemy.engine import Dialect

from procore_signin._store.engine.statement import Statement, Transaction
from procore_signin._store.escrows import NEVER, UNANSWERED, Escrows
from procore_signin._store.keys.seal import VERSION
from procore_signin._store.schema import sign_in_ledger, token_sets
from procore_signin.errors import VaultSealed

_HEAD: Final = f"{VERSION}."
_ESCROWED: Final = (sign_in_ledger.c.escrowed_at >= 0, sign_in_ledger.c.escrow.is_not(None))
_SEALED: Final = (
    token_sets.c.access_token,
    token_sets.c.refresh_token,
    token_sets.c.predecessor,
)
_ATTEMPT_LENGTH: Final = 8
_LONGEST_KEY_ID: Final = 32


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


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What one batch of a rewrap did, in token sets: those of people, and those in escrow.

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


def _key_id(sealed: Column[Any], dialect: Dialect) -> ColumnElement[Any]:
    rest = func.substr(sealed, len(_HEAD) + 1, _LONGEST_KEY_ID + 1)
    place = func.strpos if dialect.name == "postgresql" else func.instr
    known = sealed.like(f"{_HEAD}%.%")
    return case((known, func.substr(rest, 1, place(rest, ".") - 1)), else_="")


def _sealed_with(sealed: Column[Any], key_id: str) -> ColumnElement[bool]:
    """Not LIKE: SQLite's takes no account of case, and a key id may hold the wildcard `_`."""
    head = f"{_HEAD}{key_id}."
    return func.substr(sealed, 1, len(head)) == head


class _Statements:
    def __init__(self, dialect: Dialect, key_ids: tuple[str, ...]) -> None:
        active = key_ids[0]
        refresh_or_none = func.coalesce(token_sets.c.refresh_token, "")
        predecessor_or_none = func.coalesce(token_sets.c.predecessor, "")

        def made(element: Any) -> Statement:
            return Statement(element, dialect, ())

        def counted(sealed: Column[Any], *where: ColumnElement[bool]) -> Statement:
            ids = select(_key_id(sealed, dialect).label("key_id")).where(*where).subquery()
            return made(select(ids.c.key_id, func.count()).group_by(ids.c.key_id))

        self.access_tokens = counted(token_sets.c.access_token)
        self.refresh_tokens = counted(
            token_sets.c.refresh_token, token_sets.c.refresh_token.is_not(None)
        )
        self.escrows = counted(sign_in_ledger.c.escrow, *_ESCROWED)
        self.predecessors = counted(token_sets.c.predecessor, token_sets.c.predecessor.is_not(None))

        def foreign(sealed: Column[Any]) -> ColumnElement[bool]:
            return ~or_(*(_sealed_with(sealed, key_id) for key_id in key_ids))

        self.foreign_tokens = made(
            select(
                _key_id(token_sets.c.access_token, dialect),
                _key_id(token_sets.c.refresh_token, dialect),
                _key_id(token_sets.c.predecessor, dialect),
            )
            .where(or_(*(foreign(each) for each in _SEALED)))
            .distinct()
        )
        self.foreign_escrows = made(
            select(_key_id(sign_in_ledger.c.escrow, dialect))
            .where(*_ESCROWED, foreign(sign_in_ledger.c.escrow))
            .distinct()
        )
        older_tokens = or_(*(~_sealed_with(each, active) for each in _SEALED))
        older_escrows = (*_ESCROWED, ~_sealed_with(sign_in_ledger.c.escrow, active))
        self.count_tokens = made(select(func.count()).select_from(token_sets).where(older_tokens))
        self.count_escrows = made(
            select(func.count()).select_from(sign_in_ledger).where(*older_escrows)
        )
        self.token_sets = made(
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
            .where(token_sets.c.id > bindparam("after"), older_tokens)
            .order_by(token_sets.c.id)
            .limit(bindparam("limit"))
        )
        self.replace_tokens = made(
            update(token_sets)
            .where(
                token_sets.c.id == bindparam("which_tokens"),
                token_sets.c.access_token == bindparam("was_access"),
                refresh_or_none == bindparam("was_refresh"),
                predecessor_or_none == bindparam("was_before"),
            )
            .values(
                access_token=bindparam("access"),
                refresh_token=bindparam("refresh"),
                predecessor=bindparam("before"),
            )
        )
        self.sealed_escrows = made(
            select(
                sign_in_ledger.c.state_hash, sign_in_ledger.c.environment, sign_in_ledger.c.escrow
            )
            .where(sign_in_ledger.c.state_hash > bindparam("after"), *older_escrows)
            .order_by(sign_in_ledger.c.state_hash)
            .limit(bindparam("limit"))
        )
        this_escrow = (
            sign_in_ledger.c.state_hash == bindparam("which_state"),
            sign_in_ledger.c.escrow == bindparam("was"),
        )
        self.replace_escrow = made(
            update(sign_in_ledger).where(*this_escrow).values(escrow=bindparam("tokens"))
        )
        self.clear_escrow = made(
            update(sign_in_ledger)
            .where(*this_escrow)
            .values(
                escrow=None,
                escrowed_at=None,
                outcome=UNANSWERED,  # no one can say that they are dead
                expires_at=case(
                    (sign_in_ledger.c.user_id.is_(None), sign_in_ledger.c.expires_at), else_=NEVER
                ),
            )
        )
        self.forget_predecessor = made(
            update(token_sets)
            .where(
                token_sets.c.id == bindparam("which_tokens"),
                token_sets.c.predecessor == bindparam("was_before"),
            )
            .values(predecessor=None)
        )
        self.delete_tokens = made(
            delete(token_sets).where(
                token_sets.c.id == bindparam("which_tokens"),
                token_sets.c.access_token == bindparam("was_access"),
            )
        )


class Rewrap(Escrows):
    """The keys in use, and the change from one to the next, while everything runs."""

    @cached_property
    def _rewrap(self) -> _Statements:
        return _Statements(self._database.dialect, self._key_ids)

    def key_use(self) -> list[KeyUse]:
        """Return which keys the sealed values need, the ring's own first, in its order.

        Every key of the ring is in the list, used or not; then those that the ring lacks, and last
        the empty id, which stands for values of no known form. Reads both tables from end to end.
        """
        counts: dict[str, dict[str, int]] = {key_id: {} for key_id in self._key_ids}
        counted = (
            ("access_tokens", self._rewrap.access_tokens),
            ("refresh_tokens", self._rewrap.refresh_tokens),
            ("escrows", self._rewrap.escrows),
            ("escrows", self._rewrap.predecessors),
        )
        found = set()
        for column, statement in counted:
            for key_id, count in self._database.many(statement, {}):
                of_key = counts.setdefault(key_id, {})
                of_key[column] = of_key.get(column, 0) + int(count)
                found.add(key_id)
        foreign = sorted(found - {*self._key_ids, ""})
        order = (*self._key_ids, *foreign, *([""] if "" in found else []))
        return [KeyUse(key_id, **counts[key_id]) for key_id in order]

    def unknown_key_ids(self) -> tuple[str, ...]:
        """Return the ids of keys that sealed values need and the ring lacks, in order (row V3).

        Values of no known form are left out: no key would open them, and they harm one person each.
        Reads `token_sets` from end to end once; 100,000 people took 0.1 s on SQLite.
        """
        rows = (
            *self._database.many(self._rewrap.foreign_tokens, {}),
            *self._database.many(self._rewrap.foreign_escrows, {}),
        )
        return tuple(sorted({key_id for row in rows for key_id in row} - {*self._key_ids, ""}))

    def older_token_sets(self) -> int:
        """Return how many token sets, of people and in escrow, the active key did not seal."""
        rows = (
            *self._database.many(self._rewrap.count_tokens, {}),
            *self._database.many(self._rewrap.count_escrows, {}),
        )
        return sum(int(count) for (count,) in rows)

    def rewrap(self, *, limit: int = 100) -> Iterator[Rewrapped]:
        """Seal every value anew that the active key did not seal, and yield after each batch.

        In the order of the primary keys, `limit` rows in a transaction. It may be stopped, also by
        force, and started again at any time: what is done is done, and is not found again. Values
        that cannot be opened are told and stay as they are (row V4).
        """
        after = 0
        while rows := self._database.many(
            self._rewrap.token_sets, {"after": after, "limit": limit}
        ):
            yield self._rewrap_tokens(rows)
            after = rows[-1][0]
        state_hash = ""
        while rows := self._database.many(
            self._rewrap.sealed_escrows, {"after": state_hash, "limit": limit}
        ):
            yield self._rewrap_escrows(rows)
            state_hash = rows[-1][0]

    def _rewrap_tokens(self, rows: Sequence[Sequence[Any]]) -> Rewrapped:
        changes: list[dict[str, object]] = []
        unopened = []
        for number, user_id, environment, access, refresh, expires_at, generation, before in rows:
            try:
                tokens = self._open_tokens(
                    user_id, environment, (access, refresh, expires_at, generation)
                )
            except VaultSealed:
                unopened.append(user_id)
                continue
            predecessor = before
            try:
                predecessor = self._anew(before, user_id, environment)
            except VaultSealed:  # the pair in use goes on without it
                unopened.append(user_id)
            sealed = self._seal.seal_row(
                tokens, user_id=user_id, environment=environment, generation=generation
            )
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
        return self._write(self._rewrap.replace_tokens, changes, users=tuple(unopened))

    def _anew(self, predecessor: str | None, user_id: int, environment: str) -> str | None:
        if predecessor is None:
            return None
        place: dict[str, Any] = {"user_id": user_id, "environment": environment}
        return self._seal.seal_predecessor(
            self._seal.open_predecessor(predecessor, **place), **place
        )

    def _rewrap_escrows(self, rows: Sequence[Sequence[Any]]) -> Rewrapped:
        changes: list[dict[str, object]] = []
        unopened = []
        for state_hash, environment, sealed in rows:
            try:
                tokens = self._seal.open_escrow(
                    sealed, state_hash=state_hash, environment=environment
                )
            except VaultSealed:
                unopened.append(state_hash[:_ATTEMPT_LENGTH])
                continue
            anew = self._seal.seal_escrow(tokens, state_hash=state_hash, environment=environment)
            changes.append({"which_state": state_hash, "was": sealed, "tokens": anew})
        return self._write(self._rewrap.replace_escrow, changes, attempts=tuple(unopened))

    def give_up(self, key_id: str, *, limit: int = 100) -> GivenUp | None:
        """Delete some token sets that a lost key sealed, forever. Their people sign in again.

        That these tokens live on is not forgotten: ending such a person's access is never called
        certain (row I7). Rewrap first: what a key of the ring still opens is then sealed with
        another one, and safe.

        Args:
            key_id: The key.
            limit: How many of each kind at most.

        Returns:
            What was given up; None when nothing is left.
        """
        dialect = self._database.dialect
        row = (
            token_sets.c.id,
            token_sets.c.user_id,
            token_sets.c.environment,
            token_sets.c.updated_at,
        )
        owned = select(*row, token_sets.c.access_token).where(
            or_(
                _sealed_with(token_sets.c.access_token, key_id),
                _sealed_with(token_sets.c.refresh_token, key_id),
            )
        )
        older = select(*row, token_sets.c.predecessor).where(
            _sealed_with(token_sets.c.predecessor, key_id)
        )
        escrowed = select(sign_in_ledger.c.state_hash, sign_in_ledger.c.escrow).where(
            *_ESCROWED, _sealed_with(sign_in_ledger.c.escrow, key_id)
        )
        sets = self._database.many(
            Statement(owned.order_by(token_sets.c.id).limit(limit), dialect, ()), {}
        )
        escrows = self._database.many(Statement(escrowed.limit(limit), dialect, ()), {})
        predecessors = self._database.many(Statement(older.limit(limit), dialect, ()), {})
        if not sets and not escrows and not predecessors:
            return None

        def work(transaction: Transaction) -> None:
            for number, user_id, environment, written, access in sets:
                this = {"which_tokens": number, "was_access": access}
                if transaction.run(self._rewrap.delete_tokens, this):
                    self._doubt(transaction, user_id, environment, written)
            for number, user_id, environment, written, before in predecessors:
                this = {"which_tokens": number, "was_before": before}
                if transaction.run(self._rewrap.forget_predecessor, this):
                    self._doubt(transaction, user_id, environment, written)
            transaction.run_each(
                self._rewrap.clear_escrow,
                ({"which_state": state_hash, "was": escrow} for state_hash, escrow in escrows),
            )

        self._database.write(work)
        return GivenUp(tuple(user_id for _, user_id, *_ in sets), len(escrows))

    def _write(
        self,
        statement: Statement,
        changes: list[dict[str, object]],
        *,
        users: tuple[int, ...] = (),
        attempts: tuple[str, ...] = (),
    ) -> Rewrapped:
        done = self._database.write(lambda transaction: transaction.run_each(statement, changes))
        return Rewrapped(done, len(changes) - done, users, attempts)
