"""The two drivers of flows. Only this file knows both colours, waiting and awaiting."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from procore_signin.errors import ProcoreSignInError, ProcoreUnavailable
from procore_signin.flow.group_commit import GroupCommit
from procore_signin.flow.steps import Call, Flow, Later, Once, Send, Shield, Step, Wait, Work
from procore_signin.flow.waiters import copy_of
from procore_signin.forks import look_after
from procore_signin.store import Store
from procore_signin.transport.contract import AsyncTransport, Transport

T = TypeVar("T")

LOGGER: Final = logging.getLogger("procore_signin")
NETWORK_DATABASE_THREADS: Final = 8
LONGEST_FLOW_SECONDS: Final = 60.0


class Runner:
    """Runs flows and waits for each step, on the caller's thread.

    Args:
        store: Where work is done.
        transport: Sends requests.
        sleep: Lets seconds pass.
        complete: Runs a coroutine of the application's to its end.
    """

    def __init__(
        self,
        store: Store,
        transport: Transport,
        *,
        sleep: Callable[[float], None] = time.sleep,
        complete: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run,
    ) -> None:
        self._store = store
        self._transport = transport
        self._sleep = sleep
        self._complete = complete
        self.after_fork()
        look_after(self)

    def after_fork(self) -> None:
        """Begin anew in a child: what other threads were doing is not under way here."""
        self._under_way: dict[Hashable, Future[Any]] = {}
        self._lock = threading.Lock()
        self._unfinished = 0
        self._finished = threading.Condition()
        self._closing = False

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
                with self._kept():
                    return self._drive(flow, afterwards)
            case Later(flow=flow):
                return afterwards.append(flow)
            case Once(key=key, flow=flow):
                return self._share(key, flow, afterwards)
            case Call():
                outcome = step.function(*step.arguments)
                return self._complete(outcome) if inspect.iscoroutine(outcome) else outcome
            case _:
                self._sleep(step.seconds)
                return _end_idle(step, closing=self._closing)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Have `close` wait for as long as the block runs."""
        with self._finished:
            self._unfinished += 1
        try:
            yield
        finally:
            with self._finished:
                self._unfinished -= 1
                self._finished.notify_all()

    def close(self) -> None:
        """Wait for what other threads must not lose, and for nobody else.

        No longer than that can take: after a fork the other threads exist in the parent only.
        """
        self._closing = True
        with self._finished:
            self._finished.wait_for(lambda: not self._unfinished, LONGEST_FLOW_SECONDS)
        self._closing = False  # nobody is idle any more; a front door may be opened again

    def _share(self, key: Hashable, flow: Flow[Any], afterwards: list[Flow[Any]]) -> Any:
        """Run `flow` for every thread that asks for `key` meanwhile, or wait for who does."""
        with self._lock:
            others = self._under_way.get(key)
            if others is None:
                ours: Future[Any] = Future()
                self._under_way[key] = ours
        if others is not None:
            return _outcome(others)
        try:
            with self._kept():
                ours.set_result(self._drive(flow, afterwards))
        except BaseException as error:  # noqa: BLE001  # whatever it is, those who wait must know
            ours.set_exception(error)
        finally:
            with self._lock:
                del self._under_way[key]
        return _outcome(ours)


def _end_idle(step: Wait, *, closing: bool) -> None:
    """End a wait for others when the process ends: whoever goes on does their work."""
    if step.idle and closing:
        raise ProcoreUnavailable(
            "This process is ending; another one goes on", retry_after=1, ambiguous=False
        )


def _outcome(future: Future[Any]) -> Any:
    """Return what a shared flow returned, or raise a copy of what it raised."""
    error = future.exception()
    if error is not None:
        raise copy_of(error)
    return future.result()


class AsyncRunner:
    """Runs flows on an asyncio event loop.

    SQLite is read on the loop, because a look-up costs less than a change of thread, and written
    in groups, because it admits one writer: see `group_commit.py`. A network database is used on
    worker threads.

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
        self._reads_inline: Final = store.reads_inline
        self._begin()
        look_after(self)

    def after_fork(self) -> None:
        """Begin anew in a child: threads and tasks stay behind in the parent."""
        self._begin()

    def _begin(self) -> None:
        self._threads = ThreadPoolExecutor(
            max_workers=1 if self._store.single_writer else NETWORK_DATABASE_THREADS,
            thread_name_prefix="procore-signin-store",
        )
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="procore-signin-flush")
        self._groups: WeakKeyDictionary[asyncio.AbstractEventLoop, GroupCommit] = (
            WeakKeyDictionary()
        )
        self._unfinished: set[asyncio.Task[Any]] = set()
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}
        self._closing = False

    async def run(self, flow: Flow[T]) -> T:
        """Run `flow` to its end and return its value. Raises what the flow raises."""
        return await self._drive(flow, None)

    async def _drive(self, flow: Flow[T], loop: asyncio.AbstractEventLoop | None) -> T:
        """Run `flow` on `loop`, the running one; None where nobody has asked which that is."""
        try:
            step = next(flow)
            while True:
                try:
                    if isinstance(step, Work) and self._reads_inline and not step.writes:
                        outcome = step.do(self._store)
                    else:
                        if loop is None:  # to ask is a system call
                            loop = asyncio.get_running_loop()
                        outcome = await self._perform(step, loop)
                except BaseException as error:  # noqa: BLE001  # the flow decides what each error means
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _perform(self, step: Step, loop: asyncio.AbstractEventLoop) -> Any:
        match step:
            case Work():
                return await self._work(step, loop)
            case Send(request=request):
                return await self._transport.send(request)
            case Shield(flow=flow):
                return await asyncio.shield(self._start(flow, loop))
            case Once(key=key, flow=flow):
                return await self._share(key, flow, loop)
            case Call():
                return await self._call(step)
            case Later(flow=flow):
                return self._start(flow, loop).add_done_callback(_log_failure)
            case _:
                await self._sleep(step.seconds)
                return _end_idle(step, closing=self._closing)

    async def _call(self, step: Call) -> Any:
        """Await an async function; keep a plain one, which may block, off the event loop."""
        if inspect.iscoroutinefunction(step.function):
            return await step.function(*step.arguments)
        outcome = await asyncio.to_thread(step.function, *step.arguments)
        return await outcome if inspect.isawaitable(outcome) else outcome

    async def _work(self, step: Work, loop: asyncio.AbstractEventLoop) -> Any:
        if step.long or not self._store.single_writer:
            return await loop.run_in_executor(self._threads, step.do, self._store)
        group_commit = self._groups.get(loop)
        if group_commit is None:
            group_commit = GroupCommit(self._store, loop, self._threads, self._flusher)
            self._groups[loop] = group_commit
        return await group_commit.do(step.do)

    async def _share(self, key: Hashable, flow: Flow[Any], loop: asyncio.AbstractEventLoop) -> Any:
        """Run `flow` for every task that asks for `key` meanwhile, or wait for who does."""
        task = self._under_way.get(key)
        if task is None:
            task = self._start(flow, loop)
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key))
        await asyncio.wait([task])
        error = None if task.cancelled() else task.exception()
        if error is not None:
            raise copy_of(error)
        return task.result()

    def _start(self, flow: Flow[Any], loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any]:
        """Run `flow` as a task of its own; asyncio itself would keep only a weak reference."""
        task = loop.create_task(self._drive(flow, loop))
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return task

    async def aclose(self) -> None:
        """Wait for what must not be lost, and for nobody else, then end the threads."""
        self._closing = True
        while self._unfinished:
            await asyncio.wait(self._unfinished)
        writes = self._groups.get(asyncio.get_running_loop())
        if writes is not None:
            await writes.drained()
        self._threads.shutdown()
        self._flusher.shutdown()


def _log_failure(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        LOGGER.warning("Postponed work failed: %s", error)
