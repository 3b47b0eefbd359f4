"""The door to the database: short reads, and commands that are one transaction each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple, runtime_checkable

from procore_signin._store.engine.address import Label
from procore_signin._store.engine.command import Command, Query
from procore_signin._store.engine.failures import DUPLICATE_KEY, Failed, Failure, code_of
from procore_signin._store.engine.statement import (
    Bound,
    Change,
    ChangeEach,
    InsertAbsent,
    Last,
    Many,
    One,
    Row,
    Sql,
    Statements,
    Texts,
    Together,
    Values,
)
from procore_signin._store.keys.token_seal import TokenSeal

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_ATTEMPTS: Final = 8
_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.1
_WORTH_REPEATING: Final[frozenset[Failure]] = frozenset(
    {"collision", "locked", "crowded", "disconnected"}
)


class NotTogetherError(Exception):
    """A command has to be run again, by itself: nothing of it happened."""


class Group(Protocol):
    """Commands of several callers in one transaction."""

    def do(self, command: Command[T]) -> T:
        """Run a command, and return what it returns.

        No one may be told before `commit` has returned: until then it can come to nothing.

        Raises:
            NotTogetherError: It failed in a way that waiting or repeating may cure, or after it
                had changed something. Then the group is spoiled, as `commit` will say.
            Exception: Whatever the command raises.
        """

    def commit(self) -> None:
        """Make everything durable, and let others write. Waits for the disk; only the first time.

        Raises:
            NotTogetherError: The group was spoiled. Nothing of it happened: run each command again,
                by itself, and in this order.
            StoreUnavailable, RuntimeError: As `Failed.raised` says. Nothing of it happened.
        """

    def undo(self) -> None:
        """Undo everything, unless it was committed, and let others write."""


class OnLoop(Protocol):
    """Commands and queries of one event loop's flows, for which no thread waits."""

    async def ask(self, query: Query[T]) -> T:
        """See `Store.ask`."""

    async def do(self, command: Command[T]) -> T:
        """See `Store.do`. It is carried out also for a caller that is cancelled meanwhile."""

    async def drained(self) -> None:
        """Wait until no write is under way."""

    def close(self) -> None:
        """Close the connections that no one uses; also after the event loop has been closed."""


@runtime_checkable
class ForLoops(Protocol):
    """A database that event loops can use without threads."""

    def on_loop(
        self, seal: TokenSeal, loop: asyncio.AbstractEventLoop, threads: Executor
    ) -> OnLoop | None:
        """Return what runs commands and queries on an event loop; None where this one cannot."""


class Database(Protocol):
    """Reads and transactions, with each driver's failures told apart.

    Every method raises `StoreUnavailable` when the database does not do the work, and
    `RuntimeError` when it refuses a statement that it should not refuse. Safe from any thread.
    """

    label: Label

    def rows(self, sql: Sql, values: Values) -> Sequence[Row]:
        """Return every row. Sees what was committed before; takes no lock."""

    def do(self, command: Command[T], seal: TokenSeal) -> T:
        """Run a command in one durable transaction and return what it returned."""

    def check_writable(self) -> None:
        """Find out, without leaving a trace, whether rows can be written.

        Raises:
            StoreUnavailable: They cannot, or the database does not respond.
        """

    def group(
        self, seal: TokenSeal, seconds: float = 0, known: list[Group] | None = None
    ) -> Group | None:
        """Begin a transaction for commands of several callers.

        Until it is committed, no one else writes.

        Args:
            seal: Seals and opens tokens.
            seconds: How long to wait for others of this process who are writing.
            known: Gets the transaction at once: an interrupt may take along what is returned.

        Returns:
            None where each command has to be done alone: others are writing for longer, or this
            database has no such thing.
        """

    def before_fork(self) -> None:
        """Have no transaction open, if a moment's patience is enough for that."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork(self) -> None:
        """Drop, without closing, the connections that a forked child shares with its parent."""

    def close(self) -> None:
        """Close every connection that is not in use; the others close when their work ends."""


class Transaction:
    """Runs statements on one cursor. Who made it begins and ends the transaction.

    Args:
        cursor: PEP 249's.
        texts: The statements' texts for its database.
        duplicate: What the driver raises where a key is taken.
    """

    __slots__ = ("_cursor", "_duplicate", "_texts")

    def __init__(self, cursor: Any, texts: Texts, duplicate: type[Exception]) -> None:
        self._cursor: Final[Any] = cursor
        self._texts: Final = texts
        self._duplicate: Final = duplicate

    def do(self, statements: Statements[T]) -> T:
        """Run the statements of a command, and return what all of it comes to.

        One that fails ends everything: no command has anything to say to that.
        """
        try:
            bound = next(statements)
            while True:
                bound = statements.send(self.run(bound))
        except StopIteration as end:
            value: T = end.value
            return value

    def run(self, bound: Bound) -> Any:
        """Run one statement and return its outcome."""
        cursor = self._cursor
        if isinstance(bound, Change):  # what is frequent comes first; a `match` takes twice as long
            statement = self._texts[bound.sql]
            cursor.execute(statement.text, statement.arguments(bound.values))
            return cursor.rowcount
        if isinstance(bound, (One, Many)):
            statement = self._texts[bound.sql]
            cursor.execute(statement.text, statement.arguments(bound.values))
            rows = cursor.fetchall()  # all, which ends SQLite's read
            return rows if isinstance(bound, Many) else rows[0] if rows else None
        if isinstance(bound, Together):
            return [self.run(each) for each in bound.bound]
        if isinstance(bound, Last):
            return self.run(bound.bound)
        if isinstance(bound, ChangeEach):
            return self._change_each(bound)
        return self._insert_absent(bound)

    def _change_each(self, bound: ChangeEach) -> int:
        if not bound.each:
            return 0
        statement = self._texts[bound.sql]
        self._cursor.executemany(statement.text, [statement.arguments(row) for row in bound.each])
        return int(self._cursor.rowcount)

    def _insert_absent(self, bound: InsertAbsent) -> Any | None:
        cursor, statement = self._cursor, self._texts[bound.sql]
        try:
            cursor.execute(statement.text, statement.arguments(bound.values))
        except self._duplicate as error:
            if code_of(error) != DUPLICATE_KEY:
                raise
            return None
        if cursor.description is None:
            return cursor.lastrowid if cursor.rowcount == 1 else None
        row = cursor.fetchone()
        return None if row is None else row[0]


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

    def repeat(self, once: Callable[[*Ts], T], *arguments: *Ts, label: str) -> T:
        """Return what `once` returns; run it again where its failure undid all of its work.

        Raises:
            StoreUnavailable, RuntimeError: As `Failed.raised` says.
        """
        started = self.clock()
        for attempt in count(1):
            try:
                return once(*arguments)
            except Failed as failed:
                last = failed
            pause = self.pause(last, attempt, self.clock() - started)
            if pause is None:
                break
            self.sleep(pause)
        raise last.raised(label)

    def pause(self, failed: Failed, attempt: int, spent: float) -> float | None:
        """Return for how many seconds to wait before running work again; None: not again.

        Args:
            failed: What happened the last time.
            attempt: Which time that was, from 1.
            spent: Seconds since the first time began.
        """
        if failed.failure not in _WORTH_REPEATING or attempt >= _ATTEMPTS or spent >= self.seconds:
            return None
        longest: float = _FIRST_PAUSE * 2 ** (attempt - 1)
        return min(longest, _LONGEST_PAUSE)
