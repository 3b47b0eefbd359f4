"""PostgreSQL through psycopg, MariaDB and MySQL through PyMySQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection, IsolationLevel
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import Pool, PoolProxiedConnection

from procore_signin._forks import abandon, look_after
from procore_signin._store.engine.address import Address, Backend
from procore_signin._store.engine.command import Command
from procore_signin._store.engine.database import Patience, Transaction
from procore_signin._store.engine.failures import Failed, failed_by
from procore_signin._store.engine.statement import Many, Row, Sql, Values, texts_for
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin.errors import ProcoreSignInError

T = TypeVar("T")

_CONNECT_TIMEOUT: Final = 5
_LONGEST_STATEMENT: Final = 30
_GRACE_SECONDS: Final = 2
"""How much longer than a statement may take PostgreSQL is waited for. It ends the statement itself,
if it is there."""

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
        self._address: Final = address
        self._patience = patience
        self._pool_size: Final = pool_size
        self._begin()
        self.dialect: Dialect = self._writers.dialect
        self._texts: Final = texts_for(self.dialect)
        self._driver: Final = self._writers.dialect.loaded_dbapi
        self._closed = False
        look_after(self)

    def _begin(self) -> None:
        seconds, size = self._patience.seconds, self._pool_size
        self._writers = writer_engine(self._address, timeout=seconds, pool_size=size)
        self._readers = _engine(self._address, "AUTOCOMMIT", seconds, size, _LONGEST_STATEMENT)

    def rows(self, sql: Sql, values: Values) -> Sequence[Row]:
        """See `Database.rows`. Each read is a statement of its own, without a transaction."""
        return self._patience.repeat(
            lambda: self._on_connection(
                self._readers, lambda transaction: transaction.run(Many(sql, values))
            ),
            label=self.label,
        )

    def do(self, command: Command[T], seal: TokenSeal) -> T:
        """See `Database.do`.

        A connection that breaks during the commit is not tried again: it may have happened.
        """
        return self._patience.repeat(
            lambda: self._on_connection(
                self._writers,
                lambda transaction: transaction.do(command.run(seal)),
                commit=True,
            ),
            label=self.label,
        )

    def group(self, seal: TokenSeal) -> None:  # the contract's
        """See `Database.group`: a server puts commits that meet together by itself."""

    def before_fork(self) -> None:
        """See `Database.before_fork`: a child shares nothing with the parent's transactions."""

    def after_fork_in_parent(self) -> None:
        """See `Database.after_fork_in_parent`."""

    def after_fork(self) -> None:
        """See `Database.after_fork`.

        An engine has locks of its own, one of which is held while the first connection is made.
        """
        abandon(self._writers, self._readers, self._writers.pool, self._readers.pool)
        self._begin()

    def close(self) -> None:
        """See `Database.close`."""
        self._closed = True
        self._writers.dispose()
        self._readers.dispose()

    def _on_connection(
        self, engine: Engine, work: Callable[[Transaction], T], *, commit: bool = False
    ) -> T:
        if self._closed:
            raise Failed("closed")
        connection: PoolProxiedConnection | None = None
        committing, pool = False, engine.pool
        try:
            connection = pool.connect()
            cursor = connection.cursor()
            result = work(Transaction(cursor, self._texts, self._driver.IntegrityError))
            cursor.close()
            if commit:
                committing = True
                connection.commit()
        except (SQLAlchemyError, self._driver.Error) as error:
            lost = self._is_lost(engine, connection, error)
            failed = failed_by(error, lost=lost)
        except (ProcoreSignInError, Failed):  # what the work found: the connection is at rest
            raise
        except BaseException:  # an interrupt: who knows what is still under way on it (row R13)
            if connection is not None:
                connection.invalidate()
            raise
        else:
            return result
        finally:
            if connection is not None:
                _give_back(connection, pool, engine)
        if committing and failed.failure == "disconnected":
            failed = Failed("uncertain", failed.code)
        raise failed

    def _is_lost(
        self, engine: Engine, connection: PoolProxiedConnection | None, error: Exception
    ) -> bool:
        """Tell whether the connection broke, and then drop it and the idle ones of its age.

        They go too where they may not write: a session of PostgreSQL keeps
        `default_transaction_read_only` as it was when it began, and after a failover the old
        primary's own may only read.
        """
        if connection is None or not isinstance(error, self._driver.Error):
            return False
        lost: bool = engine.dialect.is_disconnect(error, connection, None)
        if lost or failed_by(error).failure == "read_only":
            connection.invalidate(error)
            engine.dispose()
        return lost


def _give_back(connection: PoolProxiedConnection, pool: Pool, engine: Engine) -> None:
    """Put `connection` into its pool, which undoes what was not committed."""
    connection.close()
    if engine.pool is not pool:  # it was disposed of meanwhile, but for this connection
        pool.dispose()


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
        connect_args=_connect_arguments(address.backend, timeout, longest_statement),
    )
    if address.backend == "postgresql":
        # Not at the top: who uses MariaDB need not have psycopg.
        from procore_signin._store.engine.postgresql import connecting  # noqa: PLC0415

        event.listen(engine, "do_connect", connecting(longest_statement + _GRACE_SECONDS))
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
