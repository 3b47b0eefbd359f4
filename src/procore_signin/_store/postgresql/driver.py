"""PostgreSQL through psycopg."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Any, Final

import psycopg
from sqlalchemy.engine import Dialect

from procore_signin._store.engine.address import Address
from procore_signin._store.engine.server import ServerDatabase
from procore_signin._store.engine.writable import may_write_postgresql
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.postgresql.connection import (
    LimitedConnection,
    begin,
    connect,
    connect_options,
)
from procore_signin._store.postgresql.loop_pool import Server
from procore_signin._store.postgresql.on_loop import LoopDatabase

_GRACE_SECONDS: Final = 2
"""How much longer than a statement may take the server is waited for. It ends the statement itself,
if it is there."""


class PostgresqlDriver:
    """What `ServerDatabase` has to know of PostgreSQL.

    The statements have PostgreSQL's own places, `$1`: so they need no other text on an event loop.

    Args:
        address: Where the server is.
        lock_timeout: Seconds that a statement may wait for a lock.
        longest_statement: Seconds that it may take.
    """

    errors: type[Exception] = psycopg.Error
    duplicate: type[Exception] = psycopg.IntegrityError
    can_tell_room = True
    """Whether the server can be asked for room without leaving a trace."""

    def __init__(self, address: Address, lock_timeout: float, longest_statement: int) -> None:
        kind: Any = address.url.get_dialect()
        self.dialect: Final[Dialect] = kind(dbapi=kind.import_dbapi(), paramstyle="numeric_dollar")
        arguments, options = self.dialect.create_connect_args(address.url)
        self._arguments: Final = arguments
        self._options: Final = {
            **options,
            **connect_options(),
            "autocommit": True,
            "cursor_factory": psycopg.RawCursor,
        }
        self._longest_wait: Final = longest_statement + _GRACE_SECONDS
        self.begin: Final = begin(lock_timeout, longest_statement)

    def connect(self, *, writes: bool) -> LimitedConnection:  # noqa: ARG002  # as for MariaDB
        """Connect, to read without a transaction, or to write in those that `begin` begins."""
        return connect(self._arguments, self._options, self._longest_wait)

    def is_lost(self, connection: LimitedConnection, error: Exception) -> bool:
        """Tell whether `error` means that `connection` broke."""
        return bool(self.dialect.is_disconnect(error, connection, None))  # type: ignore[arg-type]  # SQLAlchemy's own name for what psycopg raises

    def may_write(self, cursor: Any) -> None:
        """Raise `Failed` or an error of the driver where the server takes no writes."""
        may_write_postgresql(cursor)


class PostgresqlDatabase(ServerDatabase):
    """PostgreSQL for threads, and for event loops."""

    def on_loop(
        self, seal: TokenSeal, loop: asyncio.AbstractEventLoop, threads: Executor
    ) -> LoopDatabase | None:
        """Return the database for the flows of one event loop; None where it has no `add_reader`.

        That is Windows' own.
        """
        if type(loop).add_reader is asyncio.AbstractEventLoop.add_reader:
            return None
        server = Server(
            self.label,
            self._texts,
            self._patience,
            self._patience.seconds,
            self._timeout,
            self._breaker,
            self._readers,
            self._writers,
            self._note,
            self._wrote,
        )
        return LoopDatabase(server, seal, loop, threads)
