"""SQLite: a file beside the application. Write-ahead log, every commit flushed to the disk."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect

from procore_signin._forks import abandon, look_after
from procore_signin._store.engine.address import PLAIN, Label, Naming
from procore_signin._store.engine.capacity_limiter import CapacityLimiter, Place
from procore_signin._store.engine.command import Command
from procore_signin._store.engine.database import Group, Patience, Transaction
from procore_signin._store.engine.failures import Failed, failed_by
from procore_signin._store.engine.statement import Row, Sql, Values, texts_for
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.sqlite.group_commit import SqliteGroup

T = TypeVar("T")

_FILE_MODE: Final = 0o600
_A_READ: Final = 0.0005
"""Seconds: how long one takes, more or less."""


def connect(path: Path, *, timeout: float, durable: bool = True) -> sqlite3.Connection:
    """Open the file, which must exist, for use by one thread at a time.

    Transactions are begun by us (`isolation_level=None`). FULL makes every commit durable also
    through a power cut; NORMAL, usual with a write-ahead log, would lose the latest ones.

    Args:
        path: Absolute.
        timeout: The longest wait for another connection's lock, in seconds.
        durable: False to flush nothing: for a file that no one needs after a test.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def create_file(path: Path) -> None:
    """Make the file, empty and readable by its owner alone, unless it is there.

    SQLite gives its `-wal` and `-shm` files the same mode.

    Raises:
        OSError: The folder is missing or may not be written to.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FILE_MODE))
    except FileExistsError:
        return


class SqliteDatabase:
    """One connection for writers, one for groups of them, and one for each thread that reads now.

    Writers queue. Connections stay open: opening one and reading the schema costs more than the
    read itself.
    """

    def __init__(
        self,
        path: Path,
        label: Label,
        patience: Patience,
        naming: Naming = PLAIN,
        *,
        durable: bool = True,
    ) -> None:
        self.label = label
        self._durable: Final = durable
        self.dialect: Dialect = sqlite.dialect()
        self._texts: Final = texts_for(self.dialect, naming)
        self._path = path
        self._patience = patience
        self._line = CapacityLimiter()
        self._writer: sqlite3.Connection | None = None
        self._idle: deque[sqlite3.Connection] = deque()
        self._together: sqlite3.Connection | None = None
        self._group: SqliteGroup | None = None
        self._closed = False
        self._at_fork = Place()
        self._reading: dict[int, None] = {}
        self._forking = False
        look_after(self)

    def rows(self, sql: Sql, values: Values) -> Sequence[Row]:
        """See `Database.rows`.

        All rows are fetched, which ends SQLite's read and lets the write-ahead log start afresh.
        """
        thread = threading.get_ident()
        connection: sqlite3.Connection | None = None
        try:
            self._reading[thread] = None
            if self._forking:
                self._wait_for_the_fork(thread)
            statement = self._texts[sql]
            connection = self._borrow()
            rows = connection.execute(statement.text, statement.arguments(values)).fetchall()
        except sqlite3.Error as error:
            failed = failed_by(error)
        except Failed as error:
            failed = error
        else:
            # Ours no more before it is everyone's: after an interrupt here the collector closes it.
            back, connection = connection, None
            self._give_back(back)
            return rows
        finally:
            if connection is not None:
                connection.close()
            self._reading.pop(thread, None)
        raise failed.raised(self.label)

    def do(self, command: Command[T], seal: TokenSeal) -> T:
        """See `Database.do`."""
        return self._patience.repeat(self._once, command, seal, label=self.label)

    def check_writable(self) -> None:
        """See `Database.check_writable`: nothing but the right to write is looked at."""
        if self._path.exists() and not os.access(self._path, os.W_OK):
            raise Failed("read_only").raised(self.label)

    def _once(self, command: Command[T], seal: TokenSeal) -> T:
        """Run a command between BEGIN IMMEDIATE and COMMIT.

        A transaction that began by reading cannot always become a writing one: SQLite then says
        "database is locked" without waiting.
        """
        line = self._line  # a fork in the middle of a command gives the child another one
        place = Place()
        try:
            if not line.take(place, self._patience.seconds):
                raise Failed("locked")
            if self._writer is None:
                self._writer = self._open()
            elif self._writer.in_transaction:  # of a command that was interrupted at its end
                self._writer.rollback()
            with self._writer:  # commits, or rolls back what raised
                cursor = self._writer.execute("BEGIN IMMEDIATE")
                transaction = Transaction(cursor, self._texts, sqlite3.IntegrityError)
                return transaction.do(command.run(seal))
        except sqlite3.Error as error:
            failed = failed_by(error)
            if failed.failure != "locked" and self._writer is not None:
                self._writer.close()
                self._writer = None
        finally:
            try:
                line.leave(place)
            finally:  # once more: the first time may have been interrupted
                line.leave(place)
        raise failed

    def group(
        self, seal: TokenSeal, seconds: float = 0, known: list[Group] | None = None
    ) -> SqliteGroup | None:
        """See `Database.group`."""
        place, taken, begun = Place(), False, None
        try:
            taken = self._line.take(place, seconds)
            if taken:
                if self._together is None:
                    # The caller that begins a group has no time to wait for others' locks.
                    self._together = self._open(timeout=0)
                self._together.execute("BEGIN IMMEDIATE")
                end = partial(self._end_group, place)
                begun = self._group = SqliteGroup(
                    self._together, self._texts, seal, self.label, end
                )
                if known is not None:
                    known.append(begun)
        except sqlite3.Error as error:
            # Each command alone meets the same, waits for it or says what it is.
            if failed_by(error).failure != "locked":
                self._drop_together()
        except Failed:
            pass
        finally:
            if begun is None:
                try:
                    if taken:
                        self._end_group(place, usable=not self._is_in_transaction())
                finally:  # once more: the first time may have been interrupted
                    self._line.leave(place)
        return begun

    def _is_in_transaction(self) -> bool:
        """Return whether an interrupt has left the groups' connection in one, and locked."""
        return self._together is not None and self._together.in_transaction

    def _end_group(self, place: Place, usable: bool) -> None:  # noqa: FBT001  # a callback's
        self._group = None
        try:
            if not usable:
                self._drop_together()
        finally:
            self._line.leave(place)

    def _drop_together(self) -> None:
        dropped, self._together = self._together, None
        if dropped is not None:
            dropped.close()

    def before_fork(self) -> None:
        """See `Database.before_fork`.

        SQLite knows in memory which locks this process holds. A child that is forked in the middle
        of a transaction would take its parent's lock for its own, and forever. And it has locks
        of its own for what its threads share, which also those hold for moments that only read.
        """
        self._at_fork = Place()
        self._line.take(self._at_fork, self._patience.seconds)
        self._forking = True
        ours, until = {threading.get_ident()}, self._patience.clock() + self._patience.seconds
        while self._reading.keys() - ours and self._patience.clock() < until:
            self._patience.sleep(_A_READ)

    def after_fork_in_parent(self) -> None:
        """See `Database.after_fork_in_parent`."""
        self._forking = False
        self._line.leave(self._at_fork)

    def _wait_for_the_fork(self, thread: int) -> None:
        """Let the process fork before `thread` reads."""
        while self._forking:
            self._reading.pop(thread, None)
            self._patience.sleep(_A_READ)
            self._reading[thread] = None

    def after_fork(self) -> None:
        """See `Database.after_fork`."""
        self._forking = False
        self._reading = {}
        abandon(*self._idle, self._writer, self._together)
        self._idle = deque()
        self._writer = self._together = None
        self._group = None
        self._line = CapacityLimiter()

    def close(self) -> None:
        """See `Database.close`."""
        self._closed = True
        thread = threading.get_ident()
        try:
            # SQLite holds a lock of all its connections while it closes one, as while it opens one.
            self._reading[thread] = None
            if self._forking:
                self._wait_for_the_fork(thread)
            while self._idle:
                self._idle.pop().close()
        finally:
            self._reading.pop(thread, None)
        place = Place()
        try:
            self._line.take(place, math.inf)
            for connection in (self._writer, self._together):
                if connection is not None:
                    connection.close()
            self._writer = self._together = None
        finally:
            self._line.leave(place)

    def _open(self, *, timeout: float | None = None) -> sqlite3.Connection:
        if self._closed:
            raise Failed("closed")
        timeout = self._patience.seconds if timeout is None else timeout
        return connect(self._path, timeout=timeout, durable=self._durable)

    def _borrow(self) -> sqlite3.Connection:
        # deque.pop and append are atomic: no lock on the way of every page
        try:
            return self._idle.pop()
        except IndexError:
            connection = self._open()
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        self._idle.append(connection)
        while self._closed and self._idle:
            self._idle.pop().close()
