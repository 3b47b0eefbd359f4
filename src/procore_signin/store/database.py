"""The door to the database: short reads, and writes that are one transaction each."""

from __future__ import annotations

import logging
import os
import sqlite3
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, Select
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import SQLAlchemyError

from procore_signin.store.failures import Failure, code_of, describe, failure_of

T = TypeVar("T")

LOGGING_NAME: Final = "procore_signin"
"""Tells our engines' loggers from the host application's."""

# At DEBUG SQLAlchemy logs every row that it reads: e-mail addresses, hashes, sealed tokens. So this
# logger does not follow the host application's level. At INFO it would log statements without their
# values, for whoever sets it so.
logging.getLogger(f"sqlalchemy.engine.Engine.{LOGGING_NAME}").setLevel(logging.WARNING)

_ATTEMPTS: Final = 8
_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.1
_WORTH_REPEATING: Final[frozenset[Failure]] = frozenset({"collision", "locked", "disconnected"})


class Query:
    """A SELECT that is compiled once.

    Its text can run on the driver's own cursor. On SQLite that takes a session look-up from 17 µs
    to 5 µs; on a server the round trip hides the difference, so SQLAlchemy runs it there.
    """

    __slots__ = ("_fixed", "_names", "statement", "text")

    def __init__(self, statement: Select[Any], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.statement: Final = statement
        self.text: Final = str(compiled)
        self._names: Final[tuple[str, ...]] = tuple(compiled.positiontup or ())
        self._fixed: Final = compiled.params  # such as the OFFSET 0 that SQLite's LIMIT brings

    def arguments(self, values: Mapping[str, object]) -> list[object]:
        """Return the values in the order in which the text wants them."""
        return [values[name] if name in values else self._fixed[name] for name in self._names]


class Restart(Exception):
    """Another transaction was faster: run this one again from its start."""


class Database(Protocol):
    """Reads and transactions, with each driver's failures told apart.

    Every method raises `StoreUnavailable` when the database does not do the work, and
    `RuntimeError` when it refuses a statement that it should not refuse. Safe from any thread.
    """

    label: str
    dialect: Dialect

    def one(self, query: Query, values: Mapping[str, object]) -> Sequence[Any] | None:
        """Return the only row, or None. Sees what was committed before; takes no lock."""

    def many(self, query: Query, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """Return every row."""

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one durable transaction and return what it returned.

        `work` may run several times, after a collision or a lost connection, so it must do nothing
        but use the connection. Whatever it raises undoes the transaction and is raised again.
        """

    def after_fork(self) -> None:
        """Drop, without closing, the connections that a forked child shares with its parent."""

    def close(self) -> None:
        """Close every connection that is not in use; the others close when their work ends."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for others.

    Attributes:
        seconds: The longest wait for a lock, and for a whole transaction with its repetitions.
        clock: Seconds of a monotonic clock.
        sleep: Waits some seconds.
    """

    seconds: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def repeat(self, once: Callable[[], T], *, label: str) -> T:
        """Return what `once` returns; run it again after a failure that undid its work.

        Raises:
            StoreUnavailable, RuntimeError: As `failures.describe` says.
        """
        started = self.clock()
        for attempt in count(1):
            failure: Failure = "collision"
            code = ""
            try:
                return once()
            except Restart:
                pass
            except (SQLAlchemyError, sqlite3.Error) as error:
                failure, code = failure_of(error), code_of(error)
            if (
                failure not in _WORTH_REPEATING
                or attempt == _ATTEMPTS
                or self.clock() - started >= self.seconds
            ):
                break
            self.sleep(min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE))
        raise describe(failure, label, code)


_open: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def forget_after_fork(database: Database) -> None:
    """Have `database.after_fork` called in every child that this process forks."""
    _open.add(database)


def _after_fork() -> None:
    for database in tuple(_open):
        database.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
