"""A database server: short reads and transactions on connections that are kept in pools."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy.engine import Dialect

from procore_signin._forks import look_after
from procore_signin._store.engine.address import Address
from procore_signin._store.engine.capacity_limiter import Place
from procore_signin._store.engine.circuit_breaker import CircuitBreaker
from procore_signin._store.engine.command import Command
from procore_signin._store.engine.database import Group, Patience, Transaction
from procore_signin._store.engine.deadline import at_most, left, until
from procore_signin._store.engine.failures import Failed, failed_by
from procore_signin._store.engine.pool import Pool
from procore_signin._store.engine.statement import Many, Row, Sql, Values, texts_for
from procore_signin._store.engine.writable import FULL_SECONDS, take_room
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin.errors import ProcoreSignInError, StoreUnavailable

T = TypeVar("T")

LONGEST_STATEMENT: Final = 30
"""Seconds that a statement may take where nothing sets a deadline."""

_REST_SECONDS: Final = 0.5
"""How long a transaction that came to nothing may take to be undone."""

_SILENT_SECONDS: Final = 1.0
"""A database that has said nothing for so long is asked by `CircuitBreaker` alone; what had less
time was perhaps late by itself."""


class Driver(Protocol):
    """What differs between the servers.

    Attributes:
        errors: What the driver raises.
        duplicate: What it raises where a key is taken.
        can_tell_room: Whether the server can be asked for room without leaving a trace.
    """

    errors: type[Exception]
    duplicate: type[Exception]
    can_tell_room: bool

    @property
    def dialect(self) -> Dialect:
        """What the statements are compiled for."""

    def connect(self, *, writes: bool) -> Any:
        """Return a new connection, at rest: PEP 249's, and a `pool.Connection`."""

    @property
    def begin(self) -> Callable[[Any], None]:
        """Begins a transaction on a cursor."""

    def is_lost(self, connection: Any, error: Exception) -> bool:
        """Tell whether `error` means that `connection` broke."""

    def may_write(self, cursor: Any) -> None:
        """Raise `Failed` or an error of the driver where the server takes no writes."""


class ServerDatabase:
    """Two pools, so that readers never queue behind writers that wait for a lock.

    Args:
        driver: Knows the server.
        address: Where it is.
        patience: How long to wait for others' locks.
        timeout: Seconds that a piece of work may take in all, from the wait for a free connection
            to the commit, where no deadline is set around it.
        connections: How many may be open at most, half of them for reads and half for writes.
    """

    def __init__(
        self,
        driver: Driver,
        address: Address,
        patience: Patience,
        *,
        timeout: float,
        connections: int,
    ) -> None:
        self.label = address.label
        self.dialect: Final = driver.dialect
        self._driver: Final = driver
        self._patience: Final = patience
        self._timeout: Final = timeout
        self._each: Final = max(1, connections // 2)
        self._texts: Final = texts_for(self.dialect, address.naming)
        self._breaker: Final = CircuitBreaker(self._ask)
        self._full_since: float | None = None
        self._closed = False
        self._begin()
        look_after(self)

    def _begin(self) -> None:
        connect, each = self._driver.connect, self._each
        self._writers: Pool[Any] = Pool(lambda: connect(writes=True), each)
        self._readers: Pool[Any] = Pool(lambda: connect(writes=False), each)

    def rows(self, sql: Sql, values: Values) -> Sequence[Row]:
        """See `Database.rows`. Each read is a statement of its own, without a transaction."""
        with at_most(self._timeout):
            return self._patience.repeat(self._read, Many(sql, values), label=self.label)

    def _read(self, wanted: Many) -> Sequence[Row]:
        rows: Sequence[Row] = self._on_connection(
            self._readers, lambda cursor: self._transaction(cursor).run(wanted)
        )
        return rows

    def do(self, command: Command[T], seal: TokenSeal) -> T:
        """See `Database.do`.

        A connection that breaks during the commit is not tried again: it may have happened.
        """
        with at_most(self._timeout):
            return self._patience.repeat(self._write, command, seal, label=self.label)

    def _write(self, command: Command[T], seal: TokenSeal) -> T:
        return self._on_connection(
            self._writers,
            lambda cursor: self._transaction(cursor).do(command.run(seal)),
            commit=True,
        )

    def _transaction(self, cursor: Any) -> Transaction:
        return Transaction(cursor, self._texts, self._driver.duplicate)

    def group(
        self, seal: TokenSeal, seconds: float = 0, known: list[Group] | None = None
    ) -> None:  # the contract's
        """See `Database.group`: a server puts commits that meet together by itself."""

    def before_fork(self) -> None:
        """See `Database.before_fork`: a child shares nothing with the parent's transactions."""

    def after_fork_in_parent(self) -> None:
        """See `Database.after_fork_in_parent`."""

    def after_fork(self) -> None:
        """See `Database.after_fork`."""
        self._writers.forsake()
        self._readers.forsake()
        self._begin()

    def close(self) -> None:
        """See `Database.close`."""
        self._closed = True
        self._breaker.close()
        self._writers.close()
        self._readers.close()

    def _on_connection(
        self, pool: Pool[Any], work: Callable[[Any], T], *, commit: bool = False
    ) -> T:
        if self._closed:
            raise Failed("closed")
        self._breaker.check()
        place = Place()
        try:
            if not pool.line.take(place, max(0.0, left())):
                raise Failed("locked")
            result = self._once(pool, work, commit=commit)
        finally:
            try:
                pool.line.leave(place)
            finally:  # once more: the first time may have been interrupted
                pool.line.leave(place)
        return result

    def _once(self, pool: Pool[Any], work: Callable[[Any], T], *, commit: bool = False) -> T:
        """Run `work` on a cursor, once. Raises `Failed`."""
        connection, undo = None, False
        committing, lost, began = False, False, time.monotonic()
        try:
            connection = pool.take()
            cursor = connection.cursor()
            if commit:
                self._driver.begin(cursor)
            result = work(cursor)
            cursor.close()
            if commit:
                committing = True
                connection.commit()
                self._wrote()
        except self._driver.errors as error:
            lost = connection is not None and self._is_lost(pool, connection, error)
            failed, undo = failed_by(error, lost=lost), not lost
        except (ProcoreSignInError, Failed):  # what the work found: the connection is well
            undo = True
            raise
        else:
            # Ours no more before it is everyone's: after an interrupt here the collector closes it.
            back, connection = connection, None
            pool.give_back(back)
            return result
        finally:  # after an interrupt who knows what is still under way on it (row R13)
            if connection is not None:
                if undo and self._undone(connection):
                    back, connection = connection, None
                    pool.give_back(back)
                else:
                    connection.close()
        self._note(failed, began)
        raise Failed("uncertain", failed.code) if committing and lost else failed

    def _undone(self, connection: Any) -> bool:
        """Undo what was not committed, and return whether the connection is at rest then."""
        try:
            with until(time.monotonic() + max(_REST_SECONDS, min(left(), LONGEST_STATEMENT))):
                connection.rollback()
        except self._driver.errors:
            return False
        return True

    def _note(self, failed: Failed, began: float) -> None:
        """Remember what concerns the calls that come next."""
        if failed.failure == "silent" and time.monotonic() - began >= _SILENT_SECONDS:
            self._breaker.begin()
        if failed.failure == "full":
            self._full_since = began

    def _wrote(self) -> None:
        self._full_since = None

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
                self._readers.renew()
            raise

    def _may_write(self) -> None:
        if self._closed:
            raise Failed("closed")
        self._breaker.check()
        self._once(self._readers, self._driver.may_write)
        self._check_room()

    def _check_room(self) -> None:
        since = self._full_since
        if since is None:
            return
        if self._driver.can_tell_room:
            self._once(self._writers, self._take_room)
        elif time.monotonic() - since < FULL_SECONDS:
            raise Failed("full")
        self._full_since = None

    def _take_room(self, cursor: Any) -> None:
        self._driver.begin(cursor)
        try:
            take_room(cursor)
        except self._driver.errors as error:
            # Without the right to temporary tables only the next write can tell.
            if failed_by(error).failure != "refused":
                raise
        cursor.connection.rollback()

    def _is_lost(self, pool: Pool[Any], connection: Any, error: Exception) -> bool:
        """Tell whether the connection is of no use any more, and then drop the idle ones too.

        They are of its age. They go as well where it may not write: a session of PostgreSQL keeps
        `default_transaction_read_only` as it was when it began, and after a failover the old
        primary's own may only read.
        """
        failure = failed_by(error).failure
        lost = failure == "silent" or self._driver.is_lost(connection, error)
        if lost or failure == "read_only":
            pool.renew()
        return lost
