"""SQLite: a file beside the application. Write-ahead log, every commit flushed to the disk."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import Dialect
from sqlalchemy.pool import QueuePool

from procore_signin.store.address import Address
from procore_signin.store.database import LOGGING_NAME, Patience, Query, forget_after_fork
from procore_signin.store.failures import code_of, describe, failure_of

T = TypeVar("T")

_FILE_MODE: Final = 0o600
_abandoned: Final[list[object]] = []
"""Connections that a forked child inherited. Closing one there would harm the parent's locks
(sqlite.org/howtocorrupt.html §2.6), so they are kept for ever."""


def connect(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Open the file, which must exist, for use by one thread at a time.

    Transactions are begun by us (`isolation_level=None`). FULL makes every commit durable also
    through a power cut; NORMAL, usual with a write-ahead log, would lose the latest ones.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")
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


def writer_engine(address: Address, *, timeout: float) -> Engine:
    """Return an engine of one connection: SQLite has one writer, and the pool makes them queue."""
    path = _path(address)
    return create_engine(
        address.url,
        creator=lambda: connect(path, timeout=timeout),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=timeout,
        hide_parameters=True,
        logging_name=LOGGING_NAME,
    )


def begin(connection: Connection, mode: str = "IMMEDIATE") -> None:
    """Begin a writing transaction at once.

    A transaction that began by reading cannot always become a writing one: SQLite then says
    "database is locked" without waiting.
    """
    connection.exec_driver_sql(f"BEGIN {mode}")


class SqliteDatabase:
    """One queue for writers, and a read connection for each thread that reads at this moment."""

    def __init__(self, address: Address, patience: Patience) -> None:
        self.label = address.label
        self._path = _path(address)
        self._patience = patience
        self._writers = writer_engine(address, timeout=patience.seconds)
        self.dialect: Dialect = self._writers.dialect
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False
        forget_after_fork(self)

    def one(self, query: Query, values: Mapping[str, object]) -> Sequence[Any] | None:
        """See `Database.one`."""
        rows = self.many(query, values)
        return rows[0] if rows else None

    def many(self, query: Query, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """See `Database.many`. No server, no transaction: the driver's cursor on a held connection.

        All rows are fetched, which ends SQLite's read and lets the write-ahead log be reset.
        """
        connection: sqlite3.Connection | None = None
        try:
            connection = self._borrow()
            rows: list[tuple[Any, ...]] = connection.execute(
                query.text, query.arguments(values)
            ).fetchall()
        except sqlite3.Error as error:
            failure, code = failure_of(error), code_of(error)
        else:
            self._give_back(connection)
            return rows
        if connection is not None:
            connection.close()
        raise describe(failure, self.label, code)

    def write(self, work: Callable[[Connection], T]) -> T:
        """See `Database.write`."""

        def once() -> T:
            with self._writers.begin() as connection:
                begin(connection)
                return work(connection)

        if self._closed:
            raise describe("unavailable", self.label, "closed")
        return self._patience.repeat(once, label=self.label)

    def after_fork(self) -> None:
        """See `Database.after_fork`."""
        _abandoned.extend((*self._idle, self._writers.pool))
        self._idle = deque()
        self._writers.dispose(close=False)

    def close(self) -> None:
        """See `Database.close`."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        self._writers.dispose()

    def _borrow(self) -> sqlite3.Connection:
        # deque.pop and append are atomic: no lock on the path of every page
        try:
            return self._idle.pop()
        except IndexError:
            pass
        if self._closed:
            raise describe("unavailable", self.label, "closed")
        connection = connect(self._path, timeout=self._patience.seconds)
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        self._idle.append(connection)
        if self._closed:
            self.close()


def _path(address: Address) -> Path:
    if address.path is None:
        raise ValueError(f"{address.label} is no SQLite file.")
    return address.path
