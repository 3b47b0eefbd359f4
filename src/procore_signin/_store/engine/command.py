"""What can be asked of the store: commands, which change rows, and queries, which read them.

Each is a frozen value that stands beside its SQL. It does nothing but yield statements and reckon
with their outcomes, so it may be run again from the start, by any driver (decision 33).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Generic, TypeVar

from procore_signin._store.engine.statement import (
    Bound,
    Many,
    Row,
    Sql,
    Statements,
    Values,
    drive,
    many,
)
from procore_signin._store.keys.token_seal import TokenSeal

T = TypeVar("T")


class Wanted(ABC, Generic[T]):
    """What can be asked of the store.

    Attributes:
        long: Whether it takes more than a moment: then nothing else waits for it.
    """

    __slots__ = ()
    long: ClassVar[bool] = False

    @abstractmethod
    def run(self, seal: TokenSeal) -> Statements[T]:
        """Yield each statement, be sent its outcome, and return what all of it comes to.

        Args:
            seal: Seals and opens tokens.
        """

    def __repr__(self) -> str:
        # Without the values, which are tokens, hashes and personal data.
        return f"{type(self).__name__}(…)"


class Command(Wanted[T]):
    """One transaction: all of it happens, or nothing.

    It may run several times, after a collision or a lost connection. To be run again from the start
    it raises `Failed("collision")`. Whatever it raises undoes the transaction.
    """

    __slots__ = ()


class Query(Wanted[T]):
    """Reads what was committed before, each statement by itself, and takes no lock."""

    __slots__ = ()

    def find(self, rows: Callable[[Sql, Values], Sequence[Row]], seal: TokenSeal) -> T:
        """Return what it finds, where a driver waits for its rows.

        Args:
            rows: Runs a statement with its values and returns every row.
            seal: Opens tokens.
        """
        return drive(self.run(seal), partial(_rows_of, rows))


class LookUp(Query[T]):
    """A query of one statement, which a driver runs without its generator.

    Attributes:
        sql: The statement. Look-ups of one class differ in their values alone.
        by_key: Whether it finds one row at most. Then a driver may put several of one class into
            one statement: the order of rows is of no matter.
    """

    __slots__ = ()
    sql: ClassVar[Sql]
    by_key: ClassVar[bool] = False

    @abstractmethod
    def values(self) -> Values:
        """Return what the statement wants."""

    @abstractmethod
    def read(self, rows: Sequence[Row], seal: TokenSeal) -> T:
        """Return what the rows say."""

    def run(self, seal: TokenSeal) -> Statements[T]:
        """See `Query`."""
        return self.read((yield from many(self.sql, self.values())), seal)

    def find(self, rows: Callable[[Sql, Values], Sequence[Row]], seal: TokenSeal) -> T:
        """See `Query`."""
        return self.read(rows(self.sql, self.values()), seal)


def _rows_of(rows: Callable[[Sql, Values], Sequence[Row]], bound: Bound) -> Sequence[Row]:
    if not isinstance(bound, Many):
        raise TypeError("A query finds rows, and changes none.")
    return rows(bound.sql, bound.values)
