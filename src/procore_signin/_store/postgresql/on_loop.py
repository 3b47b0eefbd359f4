"""PostgreSQL on an event loop: what `Store.do` and `Store.ask` are there, without a thread.

Nothing below this file waits or awaits: each piece of work is called back when its results are
there. So it goes on to its end for a caller that is cancelled, and costs no task.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, TypeVar

from procore_signin._store.engine.command import Command, Query
from procore_signin._store.engine.failures import Failed, Failure
from procore_signin._store.engine.shared_outcome import tell
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.postgresql.callbacks import Callbacks
from procore_signin._store.postgresql.loop_pool import LoopPool, Server
from procore_signin._store.postgresql.reading import Asked, Reader
from procore_signin._store.postgresql.writing import Writing

T = TypeVar("T")

_LATE_SECONDS: Final = 2.0
"""How much longer than it may take work is waited for: after that, what was to end it is lost."""

_LOOK_SECONDS: Final = 1.0
"""How often one looks for such work."""


class LoopDatabase:
    """The database for the flows of one event loop.

    Args:
        server: The server, which all event loops and threads of the process share.
        seal: Seals and opens tokens.
        loop: The event loop, which is running.
        threads: Make connections.
    """

    def __init__(
        self, server: Server, seal: TokenSeal, loop: asyncio.AbstractEventLoop, threads: Executor
    ) -> None:
        self._server: Final = server
        self._seal: Final = seal
        self._loop: Final = loop
        self._callbacks: Final = Callbacks(loop, self._interrupted)
        self._for_reads: Final = LoopPool(server, server.readers, self._callbacks, threads)
        self._for_writes: Final = LoopPool(server, server.writers, self._callbacks, threads)
        self._reader: Final = Reader(server, self._for_reads, self._callbacks)
        # Until when each may take.
        self._reads: Final[dict[asyncio.Future[Any], float]] = {}
        self._writes: Final[dict[asyncio.Future[Any], float]] = {}
        self._look_at = 0.0
        self._quiet: asyncio.Future[None] | None = None

    async def ask(self, query: Query[T]) -> T:
        """See `Store.ask`."""
        waiter: asyncio.Future[T] = self._loop.create_future()
        moment = time.monotonic() + self._server.timeout
        asked = Asked(query, self._seal, moment, waiter)
        self._reads[waiter] = moment
        try:
            self._watch(moment)
            self._callbacks.run(self._reader.ask, asked)
            return await waiter
        finally:
            self._reads.pop(waiter, None)

    async def do(self, command: Command[T]) -> T:
        """See `Store.do`. It is carried out also for a caller that is cancelled meanwhile."""
        waiter: asyncio.Future[T] = self._loop.create_future()
        told = partial(self._wrote, waiter)
        writing = Writing(command, self._seal, self._server, self._for_writes, told)
        moment = time.monotonic() + self._server.timeout
        self._watch(moment)
        self._writes[waiter] = moment
        self._callbacks.run(writing.begin)
        return await waiter

    def _wrote(
        self, waiter: asyncio.Future[Any], outcome: Any, error: BaseException | None
    ) -> None:
        tell(waiter, outcome, error)
        self._writes.pop(waiter, None)
        self._note_quiet()

    def _watch(self, moment: float) -> None:
        """See to it that work that may take until `moment` keeps its caller no longer.

        An interrupt in asyncio's own lines takes a callback along before it is ours (row R13), and
        in a forked child no one does the work at all (row F3).
        """
        now = moment - self._server.timeout
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        under_way = (*self._reads.values(), *self._writes.values())
        if any(moment + _LATE_SECONDS < time.monotonic() for moment in under_way):
            if self._for_reads.inherited():
                self._tell_all()
            else:
                self._interrupted()
        elif under_way:
            self._watch(time.monotonic() + self._server.timeout)

    def _interrupted(self) -> None:
        """Tell all who wait, and use nothing again of what was under way."""
        self._reader.begin_anew()
        self._for_reads.begin_anew()
        self._for_writes.begin_anew()
        self._tell_all()

    def _tell_all(self) -> None:
        told: dict[Failure, dict[asyncio.Future[Any], float]] = {
            "disconnected": self._reads,
            "uncertain": self._writes,
        }
        for failure, waiters in told.items():
            for waiter in tuple(waiters):
                tell(waiter, None, Failed(failure).raised(self._server.label))
            waiters.clear()
        self._note_quiet()

    def _note_quiet(self) -> None:
        if self._quiet is not None and not self._writes:
            tell(self._quiet, None, None)

    async def drained(self) -> None:
        """Wait until no write is under way."""
        while self._writes:
            self._quiet = self._loop.create_future()
            await asyncio.wait([self._quiet])

    def close(self) -> None:
        """Close the connections that no one uses; also after the event loop has been closed."""
        self._for_reads.close()
        self._for_writes.close()
