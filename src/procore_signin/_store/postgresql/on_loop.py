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
from procore_signin._store.engine.waiters import tell
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.postgresql.callbacks import Callbacks
from procore_signin._store.postgresql.reading import Asked, Reader
from procore_signin._store.postgresql.wires import Server, Wires
from procore_signin._store.postgresql.writing import Writing

T = TypeVar("T")


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
        self._for_reads: Final = Wires(server, server.readers, self._callbacks, threads)
        self._for_writes: Final = Wires(server, server.writers, self._callbacks, threads)
        self._reader: Final = Reader(server, self._for_reads, self._callbacks)
        self._reads: Final[set[asyncio.Future[Any]]] = set()
        self._writes: Final[set[asyncio.Future[Any]]] = set()
        self._quiet: asyncio.Future[None] | None = None

    async def ask(self, query: Query[T]) -> T:
        """See `Store.ask`."""
        waiter: asyncio.Future[T] = self._loop.create_future()
        moment = time.monotonic() + self._server.timeout
        asked = Asked(query, self._seal, moment, waiter)
        self._reads.add(waiter)
        try:
            self._callbacks.run(self._reader.ask, asked)
            return await waiter
        finally:
            self._reads.discard(waiter)

    async def do(self, command: Command[T]) -> T:
        """See `Store.do`. It is carried out also for a caller that is cancelled meanwhile."""
        waiter: asyncio.Future[T] = self._loop.create_future()
        told = partial(self._wrote, waiter)
        writing = Writing(command, self._seal, self._server, self._for_writes, told)
        self._writes.add(waiter)
        self._callbacks.run(writing.begin)
        return await waiter

    def _wrote(
        self, waiter: asyncio.Future[Any], outcome: Any, error: BaseException | None
    ) -> None:
        tell(waiter, outcome, error)
        self._writes.discard(waiter)
        self._note_quiet()

    def _interrupted(self) -> None:
        """Tell all who wait, and use nothing again of what was under way."""
        self._reader.begin_anew()
        self._for_reads.begin_anew()
        self._for_writes.begin_anew()
        told: dict[Failure, set[asyncio.Future[Any]]] = {
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
