"""The writes of many flows on SQLite, committed together: one flush to the disk for all of them.

Statements run on the event loop, like reads, because each takes microseconds; a thread waits for
the disk. A write that comes meanwhile is in the next group. No one is told of a write before
it is durable.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Any, Final, TypeVar

from procore_signin._store.engine.command import Command
from procore_signin._store.engine.database import Group, NotTogetherError
from procore_signin._store.engine.waiters import copy_of, tell
from procore_signin._store.store import Store

T = TypeVar("T")

_Wanted = tuple[Command[Any], asyncio.Future[Any]]
_Told = tuple[asyncio.Future[Any], Any, BaseException | None]


class GroupCommit:
    """Does the writes of one event loop's flows.

    Args:
        store: Where; it has a `single_writer`.
        loop: That event loop.
        threads: Do what has to be done alone.
        flusher: Waits for the disk, and does nothing else: while it does not come to that, no one
            in this process can write.
    """

    def __init__(
        self,
        store: Store,
        loop: asyncio.AbstractEventLoop,
        threads: Executor,
        flusher: Executor,
    ) -> None:
        self._store: Final = store
        self._loop: Final = loop
        self._threads: Final = threads
        self._flusher: Final = flusher
        self._queue: list[_Wanted] = []
        self._worker: asyncio.Task[None] | None = None

    async def do(self, command: Command[T]) -> T:
        """Do a command, and return or raise what came of it once that is durable.

        It is carried out also for a caller that is cancelled meanwhile.
        """
        waiter: asyncio.Future[T] = self._loop.create_future()
        self._queue.append((command, waiter))
        if self._worker is None:
            self._start()
        return await waiter

    async def drained(self) -> None:
        """Wait until nothing is under way."""
        while self._worker is not None:
            await asyncio.wait([self._worker])

    def _start(self) -> None:
        self._worker = self._loop.create_task(self._work_off())
        self._worker.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._worker = None
        if self._queue:  # a task that is cancelled before its first step does nothing at all
            self._start()

    async def _work_off(self) -> None:
        while self._queue:
            wanted, self._queue = self._queue, []
            group = self._store.group()
            if group is not None:
                wanted = await self._together(group, wanted)
            for command, waiter in wanted:
                await self._alone(command, waiter)

    async def _together(self, group: Group, wanted: list[_Wanted]) -> list[_Wanted]:
        """Do everything in one transaction; return what has to be done alone."""
        told: list[_Told] = []
        alone: list[_Wanted] = []
        for command, waiter in wanted:
            try:
                told.append((waiter, group.do(command), None))
            except NotTogetherError:
                alone.append((command, waiter))
            except BaseException as error:  # noqa: BLE001  # whatever it is, its caller must know
                told.append((waiter, None, error))
        try:
            await self._flush(group)
        except NotTogetherError:
            return wanted
        except Exception as failed:  # noqa: BLE001  # as above
            # Also what a command found may be what another one of this group had written.
            told = [(waiter, None, copy_of(failed)) for waiter, _, _ in told]
        for waiter, outcome, failure in told:
            tell(waiter, outcome, failure)
        return alone

    async def _flush(self, group: Group) -> None:
        flushed: asyncio.Future[None] = self._loop.create_future()

        def flush() -> None:
            failed: BaseException | None = None
            try:
                group.commit()
            except BaseException as error:  # noqa: BLE001  # as above
                failed = error
            self._loop.call_soon_threadsafe(tell, flushed, None, failed)

        try:
            self._flusher.submit(flush)
        except RuntimeError:  # its thread has ended with the runner: the last caller waits here
            group.commit()
        else:
            await _outcome(flushed)

    async def _alone(self, command: Command[T], waiter: asyncio.Future[T]) -> None:
        try:
            try:
                done = self._loop.run_in_executor(self._threads, self._store.do, command)
            except RuntimeError:  # as in `_flush`
                outcome = self._store.do(command)
            else:
                outcome = await _outcome(done)
        except BaseException as error:  # noqa: BLE001  # as above
            tell(waiter, None, error)
        else:
            tell(waiter, outcome, None)


async def _outcome(future: asyncio.Future[T]) -> T:
    """Wait for `future`, even if this task is cancelled: others wait to be told.

    `asyncio.run` cancels every task when it ends, ours among them, and waits for all of them.
    """
    while True:
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if future.done():
                return future.result()
