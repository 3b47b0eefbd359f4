"""The store: users, their sessions, their sealed tokens and the ledger of sign-ins.

What can be asked of it stands beside its SQL, one file a subject: `ledger.py`, `sign_in.py`,
`sessions.py`, `users.py`, `tokens.py`, `refresh.py`, `escrows.py`, `withdrawal.py`, `access.py`,
`probe.py`, and `rotation/` for the change of keys. Read `states.py` first.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Final, Protocol, TypeVar

from procore_signin._store.engine.address import Address, Label, address_of
from procore_signin._store.engine.command import Command, Query
from procore_signin._store.engine.database import Database, ForLoops, OnLoop, Patience
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.server import LONGEST_STATEMENT, ServerDatabase
from procore_signin._store.keys.keyring import KeyRing
from procore_signin._store.keys.seal import Seal
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.probe import check_tables

T = TypeVar("T")

DATABASE_TIMEOUT: Final = 4.0
DATABASE_CONNECTIONS: Final = 20
_LOCK_SHARE: Final = 0.75
"""How much of the time may go by waiting for others' locks: then the server says so in time."""


class Opening(Protocol):
    """Opens a database, with the limits of its store."""

    def __call__(self, patience: Patience, *, timeout: float, connections: int) -> Database:
        """Return the database, which connects when it is first asked."""


class Store:
    """An open database and the seal of its tokens.

    Synchronous, and safe to call from any thread. Times are given and kept as UTC unix seconds.
    Opening a store connects to nothing.

    Args:
        where: The tables' address, or its text as in `PROCORE_DATABASE_URL`: `sqlite:///…`,
            `postgresql://…`, `mysql://…`, `mariadb://…`. Or what opens a database that an
            application has open already.
        keys: Seal and open the tokens.
        timeout: The longest that a call may take, in seconds; the time for connecting and for a
            server that says nothing is in it.
        lock_timeout: The longest wait for others' work, in seconds; None for three quarters of
            `timeout`, which is never less than that asks for.
        connections: The most connections to a server, half for reads and half for writes. SQLite
            opens one for writing and one for each thread that reads at the same time.
        durable: Whether a commit to SQLite's file is flushed to the disk. False only for a file
            that no one needs after a test: flushing takes most of its time.
        random_bytes: A cryptographic source, for nonces.
        clock: Seconds of a monotonic clock, to bound repetitions.
        sleep: Waits some seconds between repetitions.

    Raises:
        ValueError: `where` is no address, or its driver is not installed; the message says what
            to do.

    Attributes:
        timeout: Seconds that one call may take, SQLite's disk left aside.
        group: Begins a transaction for commands of several callers: see `Database.group`.
    """

    def __init__(
        self,
        where: Address | str | Opening,
        keys: KeyRing,
        *,
        timeout: float = DATABASE_TIMEOUT,
        lock_timeout: float | None = None,
        connections: int = DATABASE_CONNECTIONS,
        durable: bool = True,
        random_bytes: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        opening = (
            where if callable(where) else partial(open_database, address_of(where), durable=durable)
        )
        locks = timeout * _LOCK_SHARE if lock_timeout is None else lock_timeout
        whole = max(timeout, locks / _LOCK_SHARE)
        self._database: Final = opening(
            Patience(locks, clock, sleep), timeout=whole, connections=connections
        )
        self.timeout: Final = whole
        self._on_file: Final = not callable(where) and address_of(where).path is not None
        self._seal: Final = TokenSeal(Seal(keys, purpose="store", random_bytes=random_bytes))
        self.group: Final = partial(self._database.group, self._seal)

    @property
    def label(self) -> Label:
        """The database's name for messages, without a password."""
        return self._database.label

    @property
    def reads_inline(self) -> bool:
        """True where a read is so short that an event loop may do it itself: SQLite."""
        return self._on_file

    @property
    def single_writer(self) -> bool:
        """True where writers only queue behind one another, so that one thread suffices: SQLite."""
        return self._on_file

    def do(self, command: Command[T]) -> T:
        """Run a command in one durable transaction and return what it returned.

        Raises:
            StoreUnavailable: The database is down, locked for too long or not migrated. Nothing was
                half done; if the connection broke during the commit, perhaps all was.
            Exception: What the command says. Nothing was written.
        """
        return self._database.do(command, self._seal)

    def ask(self, query: Query[T]) -> T:
        """Return what a query finds.

        Raises:
            StoreUnavailable: As for `do`.
            Exception: What the query says.
        """
        try:
            return query.find(self._database.rows, self._seal)
        except Failed as failed:
            raised = failed.raised(self._database.label)
        raise raised

    def probe(self) -> None:
        """Ask whether the database responds, can be written to, and has this version's tables.

        Raises:
            StoreUnavailable: It does not, or its tables are older or newer.
        """
        self._database.check_writable()
        check_tables(self.ask, self.label)

    def on_loop(self, loop: asyncio.AbstractEventLoop, threads: Executor) -> OnLoop | None:
        """Return what runs commands and queries on an event loop, without a thread.

        Args:
            loop: The event loop, which is running.
            threads: Do what takes long and knows no event loop, such as connecting.

        Returns:
            None where this database has no such thing.
        """
        database = self._database
        return (
            database.on_loop(self._seal, loop, threads) if isinstance(database, ForLoops) else None
        )

    def close(self) -> None:
        """Close all connections. The store is of no use afterwards."""
        self._database.close()


def open_database(
    address: Address,
    patience: Patience,
    *,
    timeout: float,
    connections: int,
    durable: bool = True,
) -> Database:
    """Return the database at `address`, which connects when it is first asked.

    For `durable`, see `Store`.
    """
    # Here, because importing procore_signin imports no database driver, sqlite3 included.
    if address.path is not None:
        from procore_signin._store.sqlite.database import SqliteDatabase  # noqa: PLC0415 - see above

        return SqliteDatabase(
            address.path, address.label, patience, address.naming, durable=durable
        )
    if address.backend == "postgresql":
        from procore_signin._store.postgresql import driver  # noqa: PLC0415

        return driver.PostgresqlDatabase(
            driver.PostgresqlDriver(address, patience.seconds, LONGEST_STATEMENT),
            address,
            patience,
            timeout=timeout,
            connections=connections,
        )
    from procore_signin._store.engine.mariadb import MariadbDriver  # noqa: PLC0415

    mariadb = MariadbDriver(address, patience.seconds, LONGEST_STATEMENT)
    return ServerDatabase(mariadb, address, patience, timeout=timeout, connections=connections)
