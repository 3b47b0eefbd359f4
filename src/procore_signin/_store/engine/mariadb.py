"""MariaDB and MySQL through PyMySQL, with one deadline for a whole piece of work.

PyMySQL's own timeouts are for one read of its socket.
"""

from __future__ import annotations

import time
from typing import Any, Final

import pymysql
from sqlalchemy.engine import Dialect

from procore_signin._forks import OPENSSL
from procore_signin._store.engine.address import Address
from procore_signin._store.engine.deadline import left
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.writable import may_write_mariadb

_CONNECT_TIMEOUT: Final = 5
_LEAST_SECONDS: Final = 0.05


class LimitedConnection(pymysql.connections.Connection):  # type: ignore[misc]  # PyMySQL has no types
    """A connection that waits for the server until the deadline."""

    made_at: float = 0.0
    """When it was begun."""
    _longest: float | None = None

    def _limit(self) -> float | None:
        until = left()
        longest = until if self._longest is None else min(self._longest, until)
        return max(_LEAST_SECONDS, longest)

    def _set_longest(self, seconds: float | None) -> None:
        self._longest = seconds

    # PyMySQL reads them before each wait for its socket.
    _read_timeout = property(_limit, _set_longest)
    _write_timeout = property(_limit, _set_longest)


class MariadbDriver:
    """What `ServerDatabase` has to know of MariaDB and MySQL.

    Args:
        address: Where the server is.
        lock_timeout: Seconds that a statement may wait for a lock.
        longest_statement: Seconds that it may take.
    """

    errors: type[Exception] = pymysql.Error
    duplicate: type[Exception] = pymysql.IntegrityError
    can_tell_room = False
    """Whether the server can be asked for room without leaving a trace."""

    def __init__(self, address: Address, lock_timeout: float, longest_statement: int) -> None:
        kind: Any = address.url.get_dialect()
        self.dialect: Final[Dialect] = kind(dbapi=kind.import_dbapi())
        arguments, options = self.dialect.create_connect_args(address.url)
        self._arguments: Final = arguments
        self._options: Final = {**options, **connect_options(lock_timeout, longest_statement)}

    def connect(self, *, writes: bool) -> LimitedConnection:
        """Connect, to write in transactions that are READ COMMITTED or to read without any.

        Under REPEATABLE READ, which is MariaDB's default, a row that another transaction just
        committed stays invisible after a duplicate-key error, and locking reads of absent rows take
        gap locks that deadlock first sign-ins.
        """
        options = {**self._options, "autocommit": not writes}
        connection = connect(None, None, self._arguments, options)
        if writes:
            with connection.cursor() as cursor:
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        return connection

    def begin(self, cursor: Any) -> None:
        """Begin a transaction: the first statement does."""

    def is_lost(self, connection: LimitedConnection, error: Exception) -> bool:
        """Tell whether `error` means that `connection` broke."""
        return bool(self.dialect.is_disconnect(error, connection, None))  # type: ignore[arg-type]  # SQLAlchemy's own name for what PyMySQL raises

    def may_write(self, cursor: Any) -> None:
        """Raise `Failed` or an error of the driver where the server takes no writes."""
        may_write_mariadb(cursor)


def connect_options(lock_timeout: float, longest_statement: int) -> dict[str, object]:
    """Return PyMySQL's options besides those of the address."""
    return {
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": longest_statement,
        "write_timeout": longest_statement,
        "charset": "utf8mb4",
        # without it MariaDB cuts long values and clamps large numbers, and reports success
        "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
        "init_command": "SET SESSION innodb_lock_wait_timeout={0}, lock_wait_timeout={0}".format(
            max(1, round(lock_timeout))
        ),
    }


def connect(_dialect: object, _record: object, arguments: Any, options: Any) -> LimitedConnection:
    """Connect, for SQLAlchemy's event `do_connect`.

    Raises:
        Failed: The address has a parameter that PyMySQL does not know.
    """
    began = time.monotonic()
    longest = max(_LEAST_SECONDS, min(options["connect_timeout"], left() / 2))
    try:
        with OPENSSL.block():
            connection = LimitedConnection(*arguments, **options | {"connect_timeout": longest})
    except TypeError:  # its message quotes a name of the address, and nothing else
        pass
    else:
        connection.made_at = began
        return connection
    raise Failed("parameter")
