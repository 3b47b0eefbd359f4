"""PostgreSQL through psycopg, MariaDB and MySQL through PyMySQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import BoundedSemaphore
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import Pool, PoolProxiedConnection

from procore_signin._forks import abandon, look_after
from procore_signin._store.engine.address import Address, Backend
from procore_signin._store.engine.command import Command
from procore_signin._store.engine.database import Patience, Transaction
from procore_signin._store.engine.deadline import at_most, left, until
from procore_signin._store.engine.failures import Failed, failed_by
from procore_signin._store.engine.silence import Silence
from procore_signin._store.engine.statement import Many, Row, Sql, Values, texts_for
from procore_signin._store.engine.writable import FULL_SECONDS, may_write, take_room
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin.errors import ProcoreSignInError, StoreUnavailable

T = TypeVar("T")

_CONNECT_TIMEOUT: Final = 5
_LONGEST_STATEMENT: Final = 30
_GRACE_SECONDS: Final = 2
"""How much longer than a statement may take PostgreSQL is waited for. It ends the statement itself,
if it is there."""

_REST_SECONDS: Final = 0.5
"""How long a transaction that came to nothing may take to be undone."""

_SILENT_SECONDS: Final = 1.0
"""A database that has said nothing for so long is asked by `Silence` alone; what had less time was
perhaps late by itself."""

_RECYCLE_SECONDS: Final = 1800


def writer_engine(
    address: Address,
    *,
    timeout: float,
    longest_statement: int = _LONGEST_STATEMENT,
) -> Engine:
    """Return an engine whose transactions are READ COMMITTED.

    That is PostgreSQL's default. On MariaDB it replaces REPEATABLE READ, under which a row that
    another transaction just committed stays invisible after a duplicate-key error, and locking
    reads of absent rows take gap locks that deadlock first sign-ins.
    """
    engine = _engine(address, "READ COMMITTED", timeout, 1, longest_statement)
    if address.backend == "postgresql":
        # Not at the top: who uses MariaDB need not have psycopg.
        from procore_signin._store.engine.postgresql import limits  # noqa: PLC0415

        @event.listens_for(engine, "begin")
        def set_limits(connection: Connection) -> None:
            connection.exec_driver_sql(limits(timeout, longest_statement))

    return engine


class ServerDatabase:
    """Two pools, so that readers never queue behind writers that wait for a lock.

    Args:
        address: Where the server is.
        patience: How long to wait for others' locks.
        timeout: Seconds that a piece of work may take in all, from the wait for a free connection
            to the commit, where no deadline is set around it.
        connections: How many may be open at most, half of them for reads and half for writes.
    """

    def __init__(
        self, address: Address, patience: Patience, *, timeout: float, connections: int
    ) -> None:
        self.label = address.label
        self._address: Final = address
        self._patience = patience
        self._timeout: Final = timeout
        self._each: Final = max(1, connections // 2)
        self._begin()
        self.dialect: Dialect = self._writers.dialect
        self._texts: Final = texts_for(self.dialect)
        self._driver: Final = self._writers.dialect.loaded_dbapi
        self._silence: Final = Silence(self._ask)
        self._full_since: float | None = None
        self._closed = False
        look_after(self)

    def _begin(self) -> None:
        seconds, each = self._patience.seconds, self._each
        self._start = _beginning(self._address.backend, seconds)
        by_hand = self._address.backend == "postgresql"  # it begins with its limits, in one message
        level: IsolationLevel = "AUTOCOMMIT" if by_hand else "READ COMMITTED"
        self._writers = _engine(
            self._address, level, seconds, each, _LONGEST_STATEMENT, undoes=True
        )
        self._readers = _engine(self._address, "AUTOCOMMIT", seconds, each, _LONGEST_STATEMENT)
        self._free: dict[Engine, BoundedSemaphore] = {
            engine: BoundedSemaphore(each) for engine in (self._writers, self._readers)
        }

    def rows(self, sql: Sql, values: Values) -> Sequence[Row]:
        """See `Database.rows`. Each read is a statement of its own, without a transaction."""
        with at_most(self._timeout):
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
        with at_most(self._timeout):
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
        self._silence.close()
        self._writers.dispose()
        self._readers.dispose()

    def _on_connection(
        self, engine: Engine, work: Callable[[Transaction], T], *, commit: bool = False
    ) -> T:
        if self._closed:
            raise Failed("closed")
        self._silence.check()
        free = self._free[engine]
        if not free.acquire(timeout=max(0.0, left())):
            raise Failed("locked")
        try:
            texts, duplicate = self._texts, self._driver.IntegrityError
            return self._once(
                engine, lambda cursor: work(Transaction(cursor, texts, duplicate)), commit=commit
            )
        finally:
            free.release()

    def _once(self, engine: Engine, work: Callable[[Any], T], *, commit: bool = False) -> T:
        """Run `work` on a cursor, once. Raises `Failed`."""
        connection: PoolProxiedConnection | None = None
        committing, pool, began = False, engine.pool, time.monotonic()
        try:
            connection = pool.connect()
            cursor = connection.cursor()
            if commit:
                self._start(cursor)
            result = work(cursor)
            cursor.close()
            if commit:
                committing = True
                connection.commit()
                self._full_since = None
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
        self._note(failed, began)
        raise Failed("uncertain", failed.code) if committing and lost else failed

    def _note(self, failed: Failed, began: float) -> None:
        """Remember what concerns the calls that come next."""
        if failed.failure == "silent" and time.monotonic() - began >= _SILENT_SECONDS:
            self._silence.begin()
        if failed.failure == "full":
            self._full_since = began

    def _ask(self) -> None:
        """Ask for a sign of life, on a connection that no caller waits for."""
        self._once(self._readers, lambda cursor: cursor.execute("SELECT 1"))

    def check_writable(self) -> None:
        """See `Database.check_writable`."""
        try:
            with at_most(self._timeout):
                self._patience.repeat(self._may_write, label=self.label)
        except StoreUnavailable as error:
            if error.reason == "read_only":
                # A session keeps that as it was when it began: see `_is_lost`.
                self._readers.dispose()
            raise

    def _may_write(self) -> None:
        if self._closed:
            raise Failed("closed")
        self._silence.check()
        self._once(self._readers, may_write(self._address.backend))
        self._check_room()

    def _check_room(self) -> None:
        since = self._full_since
        if since is None:
            return
        if self._address.backend != "postgresql":
            if time.monotonic() - since < FULL_SECONDS:
                raise Failed("full")
        else:
            self._once(self._writers, self._take_room)
        self._full_since = None

    def _take_room(self, cursor: Any) -> None:
        self._start(cursor)
        try:
            take_room(cursor)
        except self._driver.Error as error:
            # Without the right to temporary tables only the next write can tell.
            if failed_by(error).failure != "refused":
                raise

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
        failure = failed_by(error).failure
        lost: bool = failure == "silent" or engine.dialect.is_disconnect(error, connection, None)
        if lost or failure == "read_only":
            connection.invalidate(error)
            engine.dispose()
        return lost


def _give_back(connection: PoolProxiedConnection, pool: Pool, engine: Engine) -> None:
    """Put `connection` into its pool, which undoes what was not committed."""
    with until(time.monotonic() + max(_REST_SECONDS, min(left(), _LONGEST_STATEMENT))):
        connection.close()
    if engine.pool is not pool:  # it was disposed of meanwhile, but for this connection
        pool.dispose()


def _beginning(backend: Backend, timeout: float) -> Callable[[Any], None]:
    """Return what begins a transaction on a cursor."""
    if backend == "postgresql":
        # Not at the top: who uses MariaDB need not have psycopg.
        from procore_signin._store.engine.postgresql import begin  # noqa: PLC0415

        return begin(timeout, _LONGEST_STATEMENT)
    return lambda cursor: None  # noqa: ARG005  # the first statement begins it


def _engine(
    address: Address,
    isolation_level: IsolationLevel,
    timeout: float,
    most: int,
    longest_statement: int,
    *,
    undoes: bool = False,
) -> Engine:
    """Return an engine.

    Args:
        address: Where the server is.
        isolation_level: For its transactions; AUTOCOMMIT for none, or for those begun by hand.
        timeout: Seconds to wait for others' locks.
        most: Connections at most.
        longest_statement: Seconds that a statement may take.
        undoes: Whether a connection may come back in a transaction under AUTOCOMMIT.
    """
    kept = (most + 1) // 2
    engine = create_engine(
        address.url,
        isolation_level=isolation_level,
        skip_autocommit_rollback=not undoes,
        pool_size=kept,
        max_overflow=most - kept + 1,  # one for `Silence`
        pool_timeout=timeout,
        pool_recycle=_RECYCLE_SECONDS,
        hide_parameters=True,
        connect_args=_connect_arguments(address.backend, timeout, longest_statement),
    )
    if address.backend == "postgresql":
        # As above.
        from procore_signin._store.engine.postgresql import connecting  # noqa: PLC0415

        event.listen(engine, "do_connect", connecting(longest_statement + _GRACE_SECONDS))
    else:
        from procore_signin._store.engine.mariadb import connect  # noqa: PLC0415  # likewise

        event.listen(engine, "do_connect", connect)
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
        "init_command": "SET SESSION innodb_lock_wait_timeout={0}, lock_wait_timeout={0}".format(
            max(1, round(timeout))
        ),
    }
