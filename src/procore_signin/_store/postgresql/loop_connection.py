"""One connection to PostgreSQL on an event loop, through libpq's pipelines.

psycopg has its own async connection; it takes three times the processor time of this for a look-up,
and the SQL and the types of neither (decision 37). What is here is libpq's: `psycopg.pq`.

Statements that end with one Sync are a *unit*: one round trip. A unit without BEGIN has one
statement. Of several units that are sent at once, each fails by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGresult

from procore_signin._forks import Owned
from procore_signin._store.engine.capacity_limiter import CapacityLimiter, Place
from procore_signin._store.postgresql.callbacks import Callbacks
from procore_signin._store.postgresql.connection import LimitedConnection

Told = tuple[bytes, Sequence[bytes | None] | None]
"""A statement as libpq takes it, and its values as text."""

Results = list[list[PGresult]]
"""What came of each unit: the result of each statement, errors among them."""

_SYNC: Final = pq.ExecStatus.PIPELINE_SYNC


def _surplus() -> psycopg.OperationalError:
    return psycopg.OperationalError("the server sent what no statement asked for")


class LoopConnection(Owned):
    """A connection that sends units and calls back when all results are there.

    Args:
        callbacks: Of the event loop, which is running.
        connection: At rest, and used by no one else from now on.
        line: Where the connection's place is, which is left when the connection closes.
        place: That place.
    """

    def __init__(
        self,
        callbacks: Callbacks,
        connection: LimitedConnection,
        line: CapacityLimiter,
        place: Place,
    ) -> None:
        super().__init__()
        self._callbacks: Final = callbacks
        self._loop: Final = callbacks.loop
        self._connection: Final = connection
        self._line: Final = line
        self._place: Final = place
        self._pgconn: Final = connection.pgconn
        self._results: Results = []
        self._unit: list[PGresult] = []
        self._wanted = 0
        self._done: Callable[[Results, Exception | None], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing = False
        self.open = True
        self.made_at: Final = connection.made_at
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        self._socket: Final = self._pgconn.socket
        self._loop.add_reader(self._socket, callbacks.run, self._on_readable)

    @property
    def at_rest(self) -> bool:
        """Whether it is in no transaction, and nothing is under way."""
        return (
            self.open
            and self._done is None
            and self._pgconn.transaction_status == pq.TransactionStatus.IDLE
        )

    @property
    def gone(self) -> bool:
        """Whether nothing is left to be closed."""
        return self._connection.closed or self._connection.given_up

    def send(
        self,
        units: Sequence[Sequence[Told]],
        moment: float,
        done: Callable[[Results, Exception | None], None],
    ) -> None:
        """Send units, of which none may be under way.

        Args:
            units: Statements up to a Sync each.
            moment: When the server is given up, by `time.monotonic`.
            done: Called once, with the results that came and what broke the connection, if it did.
        """
        self._results, self._unit, self._wanted, self._done = [], [], len(units), done
        pgconn = self._pgconn
        try:
            for unit in units:
                for text, values in unit:
                    pgconn.send_query_params(text, values)
                    # What libpq has read by now it would take for the response to this.
                    if not pgconn.is_busy():
                        raise _surplus()
                pgconn.pipeline_sync()
            self._flush()
        except psycopg.Error as error:
            self._callbacks.soon(self._break, error)
            return
        seconds = max(0.0, moment - time.monotonic())
        self._timer = self._callbacks.later(seconds, self._give_up, seconds)

    def close(self) -> None:
        """Close the connection; the server undoes what is not committed."""
        if self._retire():
            self._connection.close()

    def drop(self) -> None:
        """Close it after an interrupt, which may have come while it was being closed."""
        if not self.gone:
            self.open = True
            self.close()

    def _retire(self) -> bool:
        """Take it off the loop. False where that has been done."""
        if not self.open:
            return False
        self.open = False
        if self._timer is not None:
            self._timer.cancel()
        if not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
            if self._writing:
                self._loop.remove_writer(self._socket)
        self._line.leave(self._place)
        return True

    def _flush(self) -> None:
        """Send what the system takes, and the rest when it takes more."""
        rest = self._pgconn.flush() == 1
        if rest != self._writing:
            self._writing = rest
            if rest:
                self._loop.add_writer(self._socket, self._callbacks.run, self._on_writable)
            else:
                self._loop.remove_writer(self._socket)

    def _on_writable(self) -> None:
        if self.inherited():
            return
        try:
            self._flush()
        except psycopg.Error as error:
            self._break(error)

    def _on_readable(self) -> None:
        if self.inherited():  # a child that goes on with its parent's event loop, and its epoll
            return
        if self._done is None:  # at rest the server says only that it goes
            self.close()
            return
        pgconn, ended = self._pgconn, False
        try:
            pgconn.consume_input()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    if ended:  # libpq says so forever once it cannot read what comes
                        self._break(_surplus())
                        return
                    ended = True
                    continue
                ended = False
                if result.status != _SYNC:
                    self._unit.append(result)
                    continue
                self._results.append(self._unit)
                self._unit = []
                if len(self._results) == self._wanted:
                    self._finish(None)
                    return
        except psycopg.Error as error:
            self._break(error)

    def _finish(self, broken: Exception | None) -> None:
        done, self._done = self._done, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if done is not None:
            done(self._results, broken)

    def _break(self, error: Exception) -> None:
        """Give what came to the caller, the unit that was cut off among it."""
        self.close()
        if self._unit:
            self._results.append(self._unit)
        self._finish(error)

    def _give_up(self, seconds: float) -> None:
        """Have the server stopped beside the caller: see `LimitedConnection`."""
        self._timer = None
        if not self.inherited() and self._retire():
            self._connection.give_up()
            if self._unit:
                self._results.append(self._unit)
            self._finish(
                psycopg.OperationalError(f"timed out: nothing came for {seconds:.3g} seconds")
            )
