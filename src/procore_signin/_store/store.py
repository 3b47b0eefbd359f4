"""The store: people, their sessions, their sealed tokens and the ledger of sign-ins.

What can be asked of it stands beside its SQL, one file a subject: `ledger.py`, `sign_in.py`,
`sessions.py`, `users.py`, `tokens.py`, `refresh.py`, `escrows.py`, `withdrawal.py`, `access.py`,
`probe.py`, and `rotation/` for the change of keys. Read `states.py` first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, TypeVar

from procore_signin._store.engine.address import Address, parse_address
from procore_signin._store.engine.command import Command, Query
from procore_signin._store.engine.database import Database, Group, Patience
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.server import ServerDatabase
from procore_signin._store.keys.keyring import KeyRing
from procore_signin._store.keys.seal import Seal
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.probe import check_tables

T = TypeVar("T")

DATABASE_TIMEOUT: Final = 4.0
DATABASE_CONNECTIONS: Final = 20
_LOCK_SHARE: Final = 0.75
"""How much of the time may go by waiting for others' locks: then the server says so in time."""


class Store:
    """An open database and the seal of its tokens.

    Synchronous, and safe to call from any thread. Times are given and kept as UTC unix seconds.
    Opening a store connects to nothing.

    Args:
        url: As `PROCORE_DATABASE_URL`: `sqlite:///…`, `postgresql://…`, `mysql://…`, `mariadb://…`.
        keys: Seal and open the tokens.
        timeout: The longest that a call may take, in seconds; the time for connecting and for a
            server that says nothing is in it.
        lock_timeout: The longest wait for others' work, in seconds; None for three quarters of
            `timeout`, which is never less than that asks for.
        connections: The most connections to a server, half for reads and half for writes. SQLite
            opens one for writing and one for each thread that reads at the same time.
        random_bytes: A cryptographic source, for nonces.
        clock: Seconds of a monotonic clock, to bound repetitions.
        sleep: Waits some seconds between repetitions.

    Raises:
        ValueError: `url` is none, or its driver is not installed; the message says what to do.

    Attributes:
        timeout: Seconds that one call may take, SQLite's disk left aside.
    """

    def __init__(
        self,
        url: str,
        keys: KeyRing,
        *,
        timeout: float = DATABASE_TIMEOUT,
        lock_timeout: float | None = None,
        connections: int = DATABASE_CONNECTIONS,
        random_bytes: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        address = parse_address(url)
        locks = timeout * _LOCK_SHARE if lock_timeout is None else lock_timeout
        whole = max(timeout, locks / _LOCK_SHARE)
        self._database: Final = _open(
            address, Patience(locks, clock, sleep), timeout=whole, connections=connections
        )
        self.timeout: Final = whole
        self._on_file: Final = address.path is not None
        self._seal: Final = TokenSeal(Seal(keys, purpose="store", random_bytes=random_bytes))

    @property
    def label(self) -> str:
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

    def group(self) -> Group | None:
        """Begin a transaction for commands of several callers: see `Database.group`."""
        return self._database.group(self._seal)

    def close(self) -> None:
        """Close all connections. The store is of no use afterwards."""
        self._database.close()


def _open(address: Address, patience: Patience, *, timeout: float, connections: int) -> Database:
    if address.path is None:
        return ServerDatabase(address, patience, timeout=timeout, connections=connections)
    # Here, because importing procore_signin imports no database driver, sqlite3 included.
    from procore_signin._store.sqlite.database import SqliteDatabase  # noqa: PLC0415 - see above

    return SqliteDatabase(address.path, address.label, patience)
