"""The connections of one event loop to one server: those that are kept, and who waits for one."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from procore_signin._forks import Owned, abandon
from procore_signin._store.engine.capacity_limiter import Place
from procore_signin._store.engine.circuit_breaker import CircuitBreaker
from procore_signin._store.engine.database import Patience
from procore_signin._store.engine.deadline import until
from procore_signin._store.engine.failures import Failed, failed_by
from procore_signin._store.engine.pool import Pool
from procore_signin._store.engine.shared_outcome import on_a_thread
from procore_signin._store.engine.statement import Texts
from procore_signin._store.postgresql.callbacks import Callbacks
from procore_signin._store.postgresql.connection import LimitedConnection
from procore_signin._store.postgresql.loop_connection import LoopConnection

_LOOK_SECONDS: Final = 0.05
"""How often one looks whether another event loop, or a thread, has left a place."""

Got = Callable[[LoopConnection | None, Failed | None], None]


@dataclass(frozen=True, slots=True)
class Server:
    """What the event loops and threads of a process share of one server.

    Attributes:
        label: Its name for messages.
        texts: Its statements.
        patience: How often to try again.
        lock_timeout: Seconds that a statement may wait for a lock.
        timeout: Seconds that a piece of work may take in all.
        breaker: Whether it has stopped answering.
        readers: The threads' connections for reads; its line and its age hold for connections too.
        writers: The same for writes.
        note: Told of a failure and when its work began.
        wrote: Told that something was written.
    """

    label: str
    texts: Texts
    patience: Patience
    lock_timeout: float
    timeout: float
    breaker: CircuitBreaker
    readers: Pool[LimitedConnection]
    writers: Pool[LimitedConnection]
    note: Callable[[Failed, float], None]
    wrote: Callable[[], None]


class LoopPool(Owned):
    """Hands out connections, one piece of work after the other. For its event loop's thread alone.

    Args:
        server: The server.
        pool: Whose connections these are as well.
        callbacks: Of the event loop, which is running.
        threads: Make connections: what takes long there knows no event loop.
    """

    def __init__(
        self,
        server: Server,
        pool: Pool[LimitedConnection],
        callbacks: Callbacks,
        threads: Executor,
    ) -> None:
        super().__init__()
        self._server: Final = server
        self.pool: Final = pool
        self._callbacks: Final = callbacks
        self._loop: Final = callbacks.loop
        self._threads: Final = threads
        self._idle: list[LoopConnection] = []
        # Kept here also while someone uses them: an event loop that ends forgets who did, and their
        # places would stay taken.
        self._all: set[LoopConnection] = set()
        self._connecting: Final[dict[Place, list[LimitedConnection]]] = {}
        self._era = 0
        self._waiting: deque[tuple[float, Got]] = deque()
        self._look: asyncio.TimerHandle | None = None
        self._owed = False
        pool.add(self)

    def take(self, moment: float, got: Got) -> None:
        """Call `got` with a connection that is at rest, or with why there is none by `moment`."""
        seconds = self._server.breaker.lasts()
        if self.inherited():  # this is the parent's work
            return
        if self.pool.closed:
            got(None, Failed("closed"))
        elif seconds is not None:
            if seconds > 0:
                self.later(seconds, partial(self.take, moment, got))
            else:
                got(None, Failed("silent"))
        elif (connection := self._idle_one()) is not None:
            got(connection, None)
        elif not self._connect(moment, got):
            self._waiting.append((moment, got))
            self._look_again()

    def lend(self) -> None:
        """Leave a place for another event loop or a thread. From any thread."""
        with suppress(RuntimeError):  # this event loop is closed, and no place is kept for it
            self._loop.call_soon_threadsafe(self._callbacks.run, self._lend)

    def _lend(self) -> None:
        if self.inherited():
            return
        if self._idle:
            self._idle.pop(0).close()
        else:
            self._owed = any(connection.open for connection in self._all)

    def give_back(self, connection: LoopConnection) -> None:
        """Have the next one use `connection`, if it is at rest; else it closes."""
        if self._owed:  # those who wait here wait as long as those who asked: no one is first twice
            self._owed = False
            connection.close()
            self._look_again()
            return
        if not connection.at_rest or self.pool.closed or not self.pool.is_fresh(connection):
            connection.close()
        elif self._waiting:
            self._waiting.popleft()[1](connection, None)
            return
        else:  # it keeps its place in the line, and so makes no connection more than may be open
            self._idle.append(connection)
        self._serve()

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Have `work` done after a pause, unless there is an interrupt before."""
        self._callbacks.later(seconds, self._in_era, self._era, work)

    def _in_era(self, era: int, work: Callable[[], None]) -> None:
        if era == self._era:
            work()

    def begin_anew(self) -> None:
        """Close all, and forget who waits, after an interrupt or the end of the event loop."""
        self._era += 1
        for connection in tuple(self._all):
            connection.drop()
        self._all = set()
        for place, made in tuple(self._connecting.items()):
            self.pool.line.leave(place)
            _close(made)
        self._connecting.clear()
        self._idle.clear()
        self._waiting.clear()
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def close(self) -> None:
        """Close what is idle; after the event loop, what was in use as well: no one else will."""
        if self._loop.is_closed():
            self.begin_anew()
        while self._idle:
            self._idle.pop().close()
        while self._waiting:
            self._waiting.popleft()[1](None, Failed("closed"))
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _idle_one(self) -> LoopConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.at_rest and self.pool.is_fresh(connection):
                return connection
            connection.close()
        return None

    def _connect(self, moment: float, got: Got) -> bool:
        """Begin to connect; False where as many are in use as may be."""
        place, line = Place(), self.pool.line
        made = self._connecting[place] = list[LimitedConnection]()
        if not line.take(place, 0):
            line.leave(place)
            del self._connecting[place]
            self.pool.lend(self)
            return False

        def connect() -> None:
            with until(moment):
                made.append(self.pool.connect())
            if self._loop.is_closed():  # no one else will close it
                _close(made)

        try:
            future = on_a_thread(self._loop, self._threads, connect)
        except RuntimeError:  # the main thread has ended: there are no new threads
            future = self._loop.create_future()
            try:
                connect()
                future.set_result(None)
            except Exception as error:  # noqa: BLE001  # `_connected` tells what it is
                future.set_exception(error)
        era = self._era

        def connected(future: asyncio.Future[None]) -> None:
            self._callbacks.run(self._connected, era, place, made, got, future)

        future.add_done_callback(connected)
        return True

    def _connected(
        self,
        era: int,
        place: Place,
        made: list[LimitedConnection],
        got: Got,
        future: asyncio.Future[None],
    ) -> None:
        line = self.pool.line
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if self.inherited():  # it is the parent's, which is told as well
            abandon(future, made)
            return
        if era != self._era:  # no one waits for it any more
            _close(made)
            return
        if error is None:
            connection = LoopConnection(self._callbacks, made[0], line, place)
            self._all = {connection, *(each for each in self._all if not each.gone)}
            self._connecting.pop(place, None)
            got(connection, None)
            return
        line.leave(place)
        self._connecting.pop(place, None)
        got(None, error if isinstance(error, Failed) else failed_by(error))
        self._serve()

    def _serve(self) -> None:
        """Let those who wait have what there is by now."""
        now = time.monotonic()
        while self._waiting:
            moment, got = self._waiting[0]
            if now < moment and not self._connect(moment, got):
                break
            self._waiting.popleft()
            if now >= moment:
                got(None, Failed("locked"))
        self._look_again()

    def _look_again(self) -> None:
        if self._waiting and self._look is None:
            self._look = self._callbacks.later(_LOOK_SECONDS, self._looked)

    def _looked(self) -> None:
        self._look = None
        self._serve()


def _close(made: list[LimitedConnection]) -> None:
    """Close the connection that was made, if no one has done so."""
    with suppress(IndexError):
        made.pop().close()
