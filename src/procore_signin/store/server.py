"""PostgreSQL through psycopg, MariaDB and MySQL through PyMySQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection, IsolationLevel
from sqlalchemy.exc import SQLAlchemyError

from procore_signin.store.address import Address, Backend
from procore_signin.store.database import LOGGING_NAME, Patience, Query, forget_after_fork
from procore_signin.store.failures import code_of, describe, failure_of

T = TypeVar("T")

_CONNECT_TIMEOUT: Final = 5
_LONGEST_STATEMENT: Final = 30
_RECYCLE_SECONDS: Final = 1800


def writer_engine(
    address: Address,
    *,
    timeout: float,
    pool_size: int = 1,
    longest_statement: int = _LONGEST_STATEMENT,
) -> Engine:
    """Return an engine whose transactions are READ COMMITTED.

    That is PostgreSQL's default. On MariaDB it replaces REPEATABLE READ, under which a row that
    another transaction just committed stays invisible after a duplicate-key error, and locking
    reads of absent rows take gap locks that deadlock first sign-ins.
    """
    return _engine(address, "READ COMMITTED", timeout, pool_size, longest_statement)


class ServerDatabase:
    """Two pools, so that readers never queue behind writers that wait for a lock."""

    def __init__(self, address: Address, patience: Patience, *, pool_size: int) -> None:
        self.label = address.label
        self._patience = patience
        self._writers = writer_engine(address, timeout=patience.seconds, pool_size=pool_size)
        self._readers = _engine(
            address, "AUTOCOMMIT", patience.seconds, pool_size, _LONGEST_STATEMENT
        )
        self.dialect: Dialect = self._writers.dialect
        self._closed = False
        forget_after_fork(self)

    def one(self, query: Query, values: Mapping[str, object]) -> Sequence[Any] | None:
        """See `Database.one`."""
        rows = self.many(query, values)
        return rows[0] if rows else None

    def many(self, query: Query, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """See `Database.many`. Each read is a statement of its own, without a transaction."""

        def once() -> Sequence[Sequence[Any]]:
            with self._readers.connect() as connection:
                return connection.execute(query.statement, values).fetchall()

        self._check_open()
        return self._patience.repeat(once, label=self.label)

    def write(self, work: Callable[[Connection], T]) -> T:
        """See `Database.write`.

        A connection that breaks during the commit is not tried again: it may have happened.
        """

        def once() -> T:
            with self._writers.connect() as connection:
                transaction = connection.begin()
                result = work(connection)
                try:
                    transaction.commit()
                except SQLAlchemyError as error:
                    failure, code = failure_of(error), code_of(error)
                    if failure != "disconnected":
                        raise
                else:
                    return result
            raise describe(failure, self.label, code)

        self._check_open()
        return self._patience.repeat(once, label=self.label)

    def after_fork(self) -> None:
        """See `Database.after_fork`."""
        self._writers.dispose(close=False)
        self._readers.dispose(close=False)

    def close(self) -> None:
        """See `Database.close`."""
        self._closed = True
        self._writers.dispose()
        self._readers.dispose()

    def _check_open(self) -> None:
        if self._closed:
            raise describe("unavailable", self.label, "closed")


def _engine(
    address: Address,
    isolation_level: IsolationLevel,
    timeout: float,
    pool_size: int,
    longest_statement: int,
) -> Engine:
    engine = create_engine(
        address.url,
        isolation_level=isolation_level,
        skip_autocommit_rollback=True,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=timeout,
        pool_recycle=_RECYCLE_SECONDS,
        hide_parameters=True,
        logging_name=LOGGING_NAME,
        connect_args=_connect_arguments(address.backend, timeout, longest_statement),
    )
    if address.backend == "postgresql":
        event.listen(engine, "connect", _postgresql_limits(timeout, longest_statement))
    return engine


def _connect_arguments(
    backend: Backend, timeout: float, longest_statement: int
) -> dict[str, object]:
    if backend == "postgresql":
        return {"connect_timeout": _CONNECT_TIMEOUT, "client_encoding": "utf8"}
    return {
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": longest_statement,
        "write_timeout": longest_statement,
        "charset": "utf8mb4",
        # without it MariaDB cuts long values and clamps large numbers, and reports success
        "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
        "init_command": f"SET SESSION innodb_lock_wait_timeout={max(1, round(timeout))}",
    }


def _postgresql_limits(
    timeout: float, longest_statement: int
) -> Callable[[DBAPIConnection, object], None]:
    def set_limits(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET lock_timeout = {round(timeout * 1000)}")
        cursor.execute(f"SET statement_timeout = {longest_statement * 1000}")
        cursor.close()
        connection.commit()

    return set_limits
