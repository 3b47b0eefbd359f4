"""The async runner: performs each step of a flow on an event loop, and awaits it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Final, TypeVar

from procore_signin._flow.running.background import SETTLE_SECONDS, Background
from procore_signin._flow.running.closing import LONGEST_FLOW_SECONDS, end_idle
from procore_signin._flow.running.database_state import DatabaseState, is_told_by_state
from procore_signin._flow.running.interrupts import can_be_interrupted
from procore_signin._flow.running.own_loop import NoLoopError, OwnLoop, call_there, told
from procore_signin._flow.running.probing import Probing
from procore_signin._flow.steps import (
    Ask,
    Call,
    Dismiss,
    Do,
    Flow,
    Later,
    Once,
    Probe,
    Send,
    Shield,
    Step,
    Wait,
)
from procore_signin._forks import FORKS, abandon, look_after
from procore_signin._store import Store
from procore_signin._store.engine.command import Command
from procore_signin._store.engine.database import OnLoop
from procore_signin._store.engine.deadline import until
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.shared_outcome import Threads, for_another, on_a_thread, tell
from procore_signin._store.sqlite.group_commit import GroupCommit
from procore_signin._transport.contract import AsyncTransport
from procore_signin.errors import StoreUnavailable

T = TypeVar("T")
W = TypeVar("W")

LOGGER: Final = logging.getLogger("procore_signin")
NETWORK_DATABASE_THREADS: Final = 8
LONG_SECONDS: Final = 30.0
"""How long work may take that nothing else waits for."""

_LATE_SECONDS: Final = 1.0
"""How much longer a thread is waited for. It ends by itself, unless something blocks it that knows
no deadline, such as the system's look-up of a name."""


class AsyncRunner:
    """Runs flows on an asyncio event loop.

    SQLite is read on the loop, because a look-up costs less than a change of thread, and written
    in groups, because it admits one writer: see `group_commit.py`. PostgreSQL is used on the loop,
    and MariaDB on worker threads.

    Args:
        store: Runs commands and answers queries.
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
        self._single_writer: Final = store.single_writer
        self._probing: Final = Probing(store)
        self._database: Final = DatabaseState()
        self._background: Final = Background()
        self._own: Final = OwnLoop(self._background, self._start, self._leave_loop)
        # Others may be bound to the event loop of their caller.
        self._for_any_loop: Final[bool] = getattr(transport, "for_any_loop", False)
        self._begin()
        look_after(self)

    def after_fork(self) -> None:
        """Begin anew in a child: threads and tasks stay behind in the parent."""
        # Not dropped: a task that goes runs what its flow does at the end, as if it had ended here.
        abandon(self._unfinished, self._under_way, self._groups, self._on_loops)
        abandon(self._threads, self._flusher)
        self._begin()

    def _begin(self) -> None:
        most = 1 if self._single_writer else NETWORK_DATABASE_THREADS
        self._threads = Threads(most, "procore-signin-store")
        self._flusher = Threads(1, "procore-signin-flush")
        self._groups: dict[asyncio.AbstractEventLoop, GroupCommit] = {}
        self._on_loops: dict[asyncio.AbstractEventLoop, OnLoop | None] = {}
        self._unfinished: set[_Carried] = set()
        self._under_way: dict[Hashable, _Carried] = {}
        self._postponed: dict[Hashable, _Carried] = {}
        self._closing_since: float | None = None

    def run(self, flow: Flow[T]) -> Coroutine[Any, Any, T]:
        """Run `flow` to its end and return its value. Raises what the flow raises."""
        return self._drive(flow, None)

    async def _drive(  # noqa: C901  # one loop, in which each step ends in its own way
        self, flow: Flow[T], loop: asyncio.AbstractEventLoop | None
    ) -> T:
        """Run `flow` on `loop`, the running one; None where no one has asked which that is.

        A child that is forked meanwhile does no more of it: the flow is its parent's.
        """
        generation = FORKS.generation
        try:
            step = next(flow)
            while True:
                try:
                    if isinstance(step, Ask) and self._reads_inline and not step.query.long:
                        outcome = self._store.ask(step.query)
                    else:
                        if loop is None:  # to ask is a system call
                            loop = asyncio.get_running_loop()
                        outcome = await self._perform(step, loop)
                except BaseException as error:
                    if FORKS.generation != generation:
                        abandon(flow)
                        raise
                    if isinstance(error, StoreUnavailable):
                        self._database.failed(error)
                    step = flow.throw(error)
                else:
                    if self._database.failing is not None and isinstance(step, (Do, Ask)):
                        self._database.worked(wrote=isinstance(step, Do))
                    if FORKS.generation != generation:
                        abandon(flow)
                        raise asyncio.CancelledError
                    step = flow.send(outcome)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _perform(  # noqa: C901, PLR0911  # one for each step
        self, step: Step, loop: asyncio.AbstractEventLoop
    ) -> Any:
        match step:
            case Ask(query=query):
                on_loop = None if query.long else self._on_loop(loop)
                if on_loop is not None:
                    return await on_loop.ask(query)
                return await self._elsewhere(self._store.ask, query, loop, long=query.long)
            case Do(command=command):
                return await self._do(command, loop)
            case Send(request=request):
                return await self._transport.send(request)
            case Shield(flow=flow):
                return await self._carried(flow, loop)
            case Once(key=key, flow=flow):
                return await self._share(key, flow, loop)
            case Probe():
                return await self._probe()
            case Call() if loop is self._own.loop:
                return await call_there(partial(self._call, step), loop)
            case Call():
                return await self._call(step, loop)
            case Later(flow=flow, key=key):
                return self._later(flow, key, loop)
            case Dismiss(error=error):
                return _dismiss(error)
            case _:
                return await self._wait(step, loop)

    async def _wait(self, step: Wait, loop: asyncio.AbstractEventLoop) -> float:
        await self._sleep(step.seconds)
        since = self._closing_since
        end_idle(step, closing=since is not None or self._background.closing)
        if since is None and loop is self._own.loop:
            return self._background.ending()
        if since is None:
            since = _Carried.loop_ending_since()
        return 0.0 if since is None else max(time.monotonic() - since, 0.001)

    async def _call(self, step: Call, loop: asyncio.AbstractEventLoop) -> Any:
        """Await an async function; keep a plain one, which may block, off the event loop."""
        if inspect.iscoroutinefunction(step.function):
            # A task of its own: the application may set time limits to it, which cancel it.
            return await loop.create_task(step.function(*step.arguments))
        outcome = await asyncio.to_thread(_plainly, step)
        return await outcome if inspect.isawaitable(outcome) else outcome

    async def _elsewhere(
        self, use: Callable[[W], T], wanted: W, loop: asyncio.AbstractEventLoop, *, long: bool
    ) -> T:
        """Use the store on a thread; with a server the wait for a thread is part of the time."""
        if self._single_writer:
            try:
                done = on_a_thread(loop, self._threads, partial(use, wanted))
            except RuntimeError:  # the main thread has ended: there are no new threads
                return use(wanted)
            return await done
        seconds = LONG_SECONDS if long else self._store.timeout

        def work(moment: float = time.monotonic() + seconds) -> T:
            with until(moment):
                return use(wanted)

        try:
            done = on_a_thread(loop, self._threads, work)
        except RuntimeError:  # as above
            return work()
        try:
            # No `asyncio.timeout`: it cancels the task, and a flow that is carried on takes no
            # notice.
            await asyncio.wait({done}, timeout=seconds + _LATE_SECONDS)
        except asyncio.CancelledError:
            done.cancel()
            raise
        if not done.done():
            done.cancel()
            raise Failed("silent").unavailable(self._store.label)
        return done.result()

    async def _do(self, command: Command[T], loop: asyncio.AbstractEventLoop) -> T:
        on_loop = None if command.long else self._on_loop(loop)
        if on_loop is not None:
            return await on_loop.do(command)
        if command.long or not self._single_writer:
            return await self._elsewhere(self._store.do, command, loop, long=command.long)
        group_commit = self._groups.get(loop)
        if group_commit is None:
            for other in [other for other in tuple(self._groups) if other.is_closed()]:
                self._groups.pop(other, None)
            store = self._store
            group_commit = GroupCommit(store.group, store.do, loop, self._threads, self._flusher)
            self._groups[loop] = group_commit
        return await group_commit.do(command)

    def _on_loop(self, loop: asyncio.AbstractEventLoop) -> OnLoop | None:
        """Return what runs commands and queries on `loop`, or None where threads do."""
        if loop in self._on_loops:
            return self._on_loops[loop]
        for other in [other for other in tuple(self._on_loops) if other.is_closed()]:
            self._close_on(other)
        on_loop = self._on_loops[loop] = self._store.on_loop(loop, self._threads)
        return on_loop

    def _close_on(self, loop: asyncio.AbstractEventLoop) -> None:
        on_loop = self._on_loops.pop(loop, None)
        if on_loop is not None:
            on_loop.close()

    async def _probe(self) -> StoreUnavailable | None:
        error = await self._probing.ask()
        self._database.note(error)
        return error

    async def _carried(self, flow: Flow[Any], loop: asyncio.AbstractEventLoop) -> Any:
        """Have `flow` carried to its end whatever happens here, and wait for its outcome.

        On the event loop of our own a sign-in costs a third more. So it runs there only where an
        exception could meet any line of this one.
        """
        if self._for_any_loop and loop is not self._own.loop and can_be_interrupted():
            outcome = self._own.carry(flow, loop)
            if outcome is not None:
                await told(outcome, loop)
                if not isinstance(outcome.error, NoLoopError):
                    return outcome.result()
        # A caller that is cancelled takes its own future along, and nothing of the flow.
        return await self._start(flow, loop).outcome

    async def _share(self, key: Hashable, flow: Flow[Any], loop: asyncio.AbstractEventLoop) -> Any:
        """Run `flow` for everyone who asks for `key` meanwhile, or wait for who does."""
        outcome = self._own.share(key, flow) if self._for_any_loop else None
        if outcome is not None:
            await told(outcome, loop)
            error = outcome.error
            if error is None:
                return outcome.result()
            if not isinstance(error, NoLoopError):
                raise for_another(error)
        # One that has ended is there where an interrupt came before the callback was added.
        shared = self._under_way.get(key)
        if shared is None or shared.done() or shared.get_loop() is not loop:
            shared = self._under_way[key] = self._start(flow, loop)
            shared.add_done_callback(partial(_forget, self._under_way, key))
        else:
            flow.close()
        await asyncio.wait([shared.outcome])
        error = shared.outcome.exception()
        if error is not None:
            raise for_another(error)
        return shared.outcome.result()

    def _later(
        self, flow: Flow[Any], key: Hashable | None, loop: asyncio.AbstractEventLoop
    ) -> None:
        known = self._postponed.get(key)
        waits = known is not None and not known.done() and known.get_loop() is loop
        if key is not None and waits:
            flow.close()
            return
        task = self._start(flow, loop)
        task.add_done_callback(_log_failure)
        if key is not None:
            self._postponed[key] = task
            task.add_done_callback(partial(_forget, self._postponed, key))

    def _start(self, flow: Flow[Any], loop: asyncio.AbstractEventLoop) -> _Carried:
        """Run `flow` as a task of its own; asyncio itself would keep only a weak reference."""
        task = _Carried(self._drive(flow, loop), loop)
        if loop is self._own.loop:
            self._own.add(task)
            return task
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return task

    def _leave_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._groups.pop(loop, None)
        self._close_on(loop)

    async def aclose(self) -> None:
        """Wait for what must not be lost, no longer than that can take, then end the threads."""
        loop = asyncio.get_running_loop()
        self._closing_since = began = time.monotonic()
        while True:
            here = [task for task in tuple(self._unfinished) if task.get_loop() is loop]
            unfinished = len(here) + self._background.settle(0)
            left = LONGEST_FLOW_SECONDS - (time.monotonic() - began)
            if not unfinished:
                break
            if left <= 0:
                LOGGER.warning("Closed while %d flow(s) had not ended", unfinished)
                break
            if here:
                await asyncio.wait(here, timeout=left)
            else:
                await asyncio.sleep(SETTLE_SECONDS)
        writes = self._groups.get(loop)
        if writes is not None:
            await writes.drained()
        on_loop = self._on_loops.get(loop)
        if on_loop is not None:
            await on_loop.drained()
        for each in [each for each in tuple(self._on_loops) if each is loop or each.is_closed()]:
            self._close_on(each)
        self.leave()

    def leave(self) -> None:
        """End the threads; what is under way on an event loop meets a store that is closed."""
        self._background.close(0)
        self._probing.close()
        self._threads.shutdown()
        self._flusher.shutdown()


class _Carried(asyncio.Task[Any]):
    """A task that ends when its flow has ended, and not when someone cancels it.

    `asyncio.run` cancels every task when it ends, and then waits for all of them.

    Attributes:
        outcome: What those get who wait: the flow's outcome, unless it dismissed them before.
        ending_since: When it was first cancelled, as the end of an event loop does it, or None.
    """

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.outcome: asyncio.Future[Any] = loop.create_future()
        self.ending_since: float | None = None
        self._generation: Final = FORKS.generation
        super().__init__(coroutine, loop=loop)
        self.add_done_callback(_tell_outcome)

    def cancel(self, msg: Any | None = None) -> bool:
        """Go on, for as long as a process goes on that ends; in a forked child, end."""
        if FORKS.generation != self._generation:
            return super().cancel(msg)
        self.ending_since = self.ending_since or time.monotonic()
        return False

    @staticmethod
    def loop_ending_since() -> float | None:
        """Return since when the event loop that waits for the running task has been ending."""
        task = asyncio.current_task()
        return task.ending_since if isinstance(task, _Carried) else None


def _forget(known: dict[Hashable, _Carried], key: Hashable, task: asyncio.Task[Any]) -> None:
    if known.get(key) is task:  # and not the one of another event loop
        del known[key]


def _tell_outcome(task: asyncio.Task[Any]) -> None:
    assert isinstance(task, _Carried)  # noqa: S101  # for the type checker
    if task.cancelled():  # what it awaited was
        _tell_error(task.outcome, for_another(asyncio.CancelledError()))
        return
    error = task.exception()
    if error is None:
        tell(task.outcome, task.result(), None)
    else:
        _tell_error(task.outcome, error)


def _tell_error(outcome: asyncio.Future[Any], error: BaseException) -> None:
    tell(outcome, None, error)
    if not outcome.cancelled():
        outcome.exception()  # seen: perhaps no one waits


def _plainly(step: Call) -> Any:
    try:
        return step.function(*step.arguments)
    except StopIteration as error:
        # As where an async function raises it: a future cannot be told one, and would wait forever.
        raise RuntimeError("A function of the application raised StopIteration") from error


def _dismiss(error: Exception) -> None:
    task = asyncio.current_task()
    if isinstance(task, _Carried):
        _tell_error(task.outcome, error)


def _log_failure(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not is_told_by_state(error):
        LOGGER.warning("Postponed work failed: %s", error)
