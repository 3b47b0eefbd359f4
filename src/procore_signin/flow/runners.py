"""The two drivers of flows. Only this file knows both colours, waiting and awaiting."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from procore_signin.errors import ProcoreSignInError
from procore_signin.flow.steps import Flow, Later, Send, Shield, Step, Work
from procore_signin.store import Store
from procore_signin.transport.contract import AsyncTransport, Transport

T = TypeVar("T")

LOGGER: Final = logging.getLogger("procore_signin")
NETWORK_DATABASE_THREADS: Final = 8


class Runner:
    """Runs flows and waits for each step, on the caller's thread.

    Args:
        store: Where work is done.
        transport: Sends requests.
        sleep: Lets seconds pass.
    """

    def __init__(
        self, store: Store, transport: Transport, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._store = store
        self._transport = transport
        self._sleep = sleep

    def run(self, flow: Flow[T]) -> T:
        """Run `flow` to its end and return its value. Raises what the flow raises."""
        afterwards: list[Flow[Any]] = []
        try:
            return self._drive(flow, afterwards)
        finally:
            for postponed in afterwards:
                self._finish_quietly(postponed)

    def _finish_quietly(self, flow: Flow[Any]) -> None:
        """Run what nobody waits for: its failure is logged, and harms no answer."""
        try:
            self.run(flow)
        except ProcoreSignInError as error:
            LOGGER.warning("Postponed work failed: %s", error)

    def _drive(self, flow: Flow[T], afterwards: list[Flow[Any]]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self._perform(step, afterwards)
                except BaseException as error:  # noqa: BLE001  # the flow decides what each error means
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            value: T = end.value
            return value

    def _perform(self, step: Step, afterwards: list[Flow[Any]]) -> Any:
        match step:
            case Work(do=do):
                return do(self._store)
            case Send(request=request):
                return self._transport.send(request)
            case Shield(flow=flow):
                return self._drive(flow, afterwards)
            case Later(flow=flow):
                return afterwards.append(flow)
            case _:
                return self._sleep(step.seconds)


class AsyncRunner:
    """Runs flows on an asyncio event loop.

    SQLite is read on the loop, because a look-up costs less than a change of thread, and written
    on one thread, because it admits one writer. A network database is used on worker threads.

    Args:
        store: Where work is done.
        transport: Sends requests.
        sleep: Lets seconds pass.
    """

    def __init__(
        self,
        store: Store,
        transport: AsyncTransport,
        *,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._transport = transport
        self._sleep = sleep
        self._threads = ThreadPoolExecutor(
            max_workers=1 if store.single_writer else NETWORK_DATABASE_THREADS,
            thread_name_prefix="procore-signin-store",
        )
        self._unfinished: set[asyncio.Task[Any]] = set()

    async def run(self, flow: Flow[T]) -> T:
        """Run `flow` to its end and return its value. Raises what the flow raises."""
        try:
            step = next(flow)
            while True:
                try:
                    outcome = await self._perform(step)
                except BaseException as error:  # noqa: BLE001  # the flow decides what each error means
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _perform(self, step: Step) -> Any:
        match step:
            case Work(do=do, writes=writes):
                if self._store.reads_inline and not writes:
                    return do(self._store)
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, do, self._store)
            case Send(request=request):
                return await self._transport.send(request)
            case Shield(flow=flow):
                return await asyncio.shield(self._start(flow))
            case Later(flow=flow):
                task = self._start(flow)
                task.add_done_callback(_log_failure)
                return None
            case _:
                return await self._sleep(step.seconds)

    def _start(self, flow: Flow[Any]) -> asyncio.Task[Any]:
        """Run `flow` as a task of its own; asyncio itself would keep only a weak reference."""
        task = asyncio.create_task(self.run(flow))
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return task

    async def aclose(self) -> None:
        """Wait for what must not be lost, then end the threads."""
        while self._unfinished:
            await asyncio.wait(self._unfinished)
        self._threads.shutdown()


def _log_failure(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        LOGGER.warning("Postponed work failed: %s", error)
