"""An event loop of our own, on which flows run whatever happens to the caller's.

A signal handler that raises, a second Ctrl-C or an exception that is set on the caller's thread can
end any callback of its event loop, also the one that brings Procore's response. What must not be
lost is therefore done on another thread, on an event loop that no one else knows of; callers wait
for the outcome (row R13, decision 39).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from procore_signin._flow.running.background import Background, stayed_in_the_parent
from procore_signin._flow.running.closing import LONGEST_FLOW_SECONDS
from procore_signin._flow.running.outcome import FORK_SEEN_SECONDS, Outcome
from procore_signin._flow.steps import Flow
from procore_signin._forks import abandon, look_after
from procore_signin._store.engine.shared_outcome import tell
from procore_signin.errors import ProcoreUnavailable

LOGGER: Final = logging.getLogger("procore_signin")

BEAT_SECONDS: Final = 1.0
"""How soon the loop goes on by itself where what was to wake it was lost."""

STANDING_SECONDS: Final = 5.0
"""How long an event loop may stand still in the middle of a call of the application. Programs run
theirs again and again; one that has left it would wait for that call at its end."""

INTERRUPTED_SECONDS: Final = 0.05
"""A pause after each exception that ends the loop, for one that comes again at once."""

_Wanted = tuple[Hashable, Flow[Any], Outcome[Any], contextvars.Context]


_caller: Final = contextvars.ContextVar[asyncio.AbstractEventLoop | None](
    "procore_signin_caller", default=None
)
"""For whom a flow runs on the loop of our own."""


class NoLoopError(Exception):
    """There is no event loop of our own: no descriptors are left, or threads are greenlets."""


class OwnLoop:
    """Runs flows on an event loop on a thread of `background`, for as long as there are any.

    So the process waits for them where it waits for that thread. A caller may be interrupted
    between any two steps: it only starts work. The lock is taken by our own threads alone.

    Args:
        background: Has the thread.
        begin: Begins a flow on the loop and returns its task, which has an `outcome`; tasks that a
            flow begins there are to be given to `add`.
        ended: Told of a loop on which nothing runs any more, before it is closed.
    """

    def __init__(
        self,
        background: Background,
        begin: Callable[[Flow[Any], asyncio.AbstractEventLoop], Any],
        ended: Callable[[asyncio.AbstractEventLoop], None],
    ) -> None:
        self._background: Final = background
        self._start: Final = begin
        self._ended: Final = ended
        self._begin_anew()
        look_after(self)

    def after_fork(self) -> None:
        """Begin anew in a child: the loop stays behind, and must not be closed there."""
        abandon(self.loop, self._tasks, self._under_way, self._wanted)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._under_way: dict[Hashable, Outcome[Any]] = {}
        self._wanted: deque[_Wanted] = deque()

    def share(self, key: Hashable, flow: Flow[Any]) -> Outcome[Any] | None:
        """Have `flow` run for all who ask for `key` meanwhile; return what it will come to.

        Returns:
            None where no thread can be had. Then nothing was done.
        """
        shared = self._under_way.get(key)
        return self._wish(key, flow, contextvars.copy_context()) if shared is None else shared

    def carry(self, flow: Flow[Any], caller: asyncio.AbstractEventLoop) -> Outcome[Any] | None:
        """Have `flow` run for one caller, on whose event loop the application is called.

        Returns:
            As `share`.
        """
        context = contextvars.copy_context()
        context.run(_caller.set, caller)
        return self._wish(object(), flow, context)

    def _wish(
        self, key: Hashable, flow: Flow[Any], context: contextvars.Context
    ) -> Outcome[Any] | None:
        outcome: Outcome[Any] = Outcome()
        wanted = key, flow, outcome, context
        return outcome if self._background.start(partial(self._carry, wanted)) else None

    def add(self, task: asyncio.Task[Any]) -> None:
        """Go on until `task` has ended, which runs on the loop."""
        self._tasks.add(task)
        task.add_done_callback(self._stop_at_the_end)

    def _stop_at_the_end(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            task.get_loop().stop()

    def _carry(self, wanted: _Wanted) -> None:
        key, _, outcome, _ = wanted
        with self._lock:
            first = self._under_way.setdefault(key, outcome)
            if first is not outcome:
                outcome.follow(first)
                return
            if self.loop is not None:
                self._wanted.append(wanted)
                self.loop.call_soon_threadsafe(self._begin)
                return
            try:
                # Where gevent has replaced threads by greenlets, the caller's loop runs here.
                loop = None if _is_on_a_loop() else asyncio.SelectorEventLoop()
            except OSError:
                loop = None
            if loop is None:
                del self._under_way[key]
                outcome.tell(None, NoLoopError())
                return
            self._wanted.append(wanted)
            self.loop = loop
        self._run(loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon(self._beat, loop)
        while True:
            try:
                loop.run_forever()
            except BaseException:  # set on this thread too: the flows are here all the same
                LOGGER.exception("The event loop of our own was interrupted")
                time.sleep(INTERRUPTED_SECONDS)
            with self._lock:
                if self._over() or not (self._wanted or self._tasks):
                    self.loop = None
                    left, self._under_way = self._under_way, {}
                    self._wanted.clear()
                    break
        for outcome in left.values():  # none, unless the process has been ending for so long
            outcome.tell(None, _given_up())
        self._ended(loop)
        loop.close()

    def _over(self) -> bool:
        """Return whether the process has been ending for longer than any flow takes."""
        return self._background.ending() > LONGEST_FLOW_SECONDS

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._begin()
        if self._over():
            loop.stop()
        loop.call_later(BEAT_SECONDS, self._beat, loop)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        while self._wanted:
            key, flow, outcome, context = self._wanted.popleft()
            task = context.run(self._start, flow, loop)
            task.outcome.add_done_callback(partial(_tell, outcome))  # dismissed, or at the end
            task.add_done_callback(partial(self._finish, key, outcome))

    def _finish(self, key: Hashable, outcome: Outcome[Any], task: Any) -> None:
        self._under_way.pop(key, None)
        _tell(outcome, task.outcome)  # not only as above: this may be the loop's last turn


def _tell(outcome: Outcome[Any], done: asyncio.Future[Any]) -> None:
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    outcome.tell(None if error is not None else done.result(), error)


def _given_up() -> ProcoreUnavailable:
    return ProcoreUnavailable("This process is ending", retry_after=1, ambiguous=True)


def _is_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Waiter(Outcome[Any]):
    """Wakes one caller, on its own event loop, when an outcome is told."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop: Final = loop
        self.woken: Final[asyncio.Future[None]] = loop.create_future()

    def tell(self, value: Any, error: BaseException | None = None) -> bool:
        """Wake the caller."""
        with suppress(RuntimeError):  # its event loop has ended, and the caller with it
            self._loop.call_soon_threadsafe(tell, self.woken, None, None)
        return super().tell(value, error)


async def told(outcome: Outcome[Any], loop: asyncio.AbstractEventLoop) -> None:
    """Wait on `loop`, the running one, until `outcome` is told.

    An interrupt, or a forked child that has closed what it inherited, may take the call along that
    wakes this caller: so it also looks.

    Raises:
        ProcoreUnavailable: This is a forked child, to which no one tells it.
    """
    waiter = Waiter(loop)
    waiter.follow(outcome)
    while not outcome.done:
        if outcome.inherited():
            raise stayed_in_the_parent()
        await asyncio.wait([waiter.woken], timeout=FORK_SEEN_SECONDS)


async def call_there(
    call: Callable[[asyncio.AbstractEventLoop], Coroutine[Any, Any, Any]],
    here: asyncio.AbstractEventLoop,
) -> Any:
    """Have the application called on the event loop of the caller, where its connections are.

    What tells that loop may be lost to an interrupt, so it is told again. Where it does not run any
    more, the application is called `here`.

    Args:
        call: Calls it on an event loop.
        here: The running one, of our own.

    Raises:
        asyncio.CancelledError: The caller's event loop has ended, or stands still, in the middle of
            it.
    """
    caller = _caller.get()
    if caller is None:
        return await call(here)
    wanted, begun, outcome = [call], list[asyncio.Task[Any]](), Outcome[Any]()

    def begin() -> None:
        with suppress(IndexError):  # begun before
            begun.append(caller.create_task(wanted.pop()(caller)))
            begun[0].add_done_callback(partial(_tell, outcome))

    waiter = Waiter(here)
    waiter.follow(outcome)
    seen_running = time.monotonic()
    while not outcome.done:
        with suppress(RuntimeError):  # it is closed
            if wanted:
                caller.call_soon_threadsafe(begin)
            await asyncio.wait([waiter.woken], timeout=FORK_SEEN_SECONDS)
        if begun and begun[0].done():
            _tell(outcome, begun[0])
        elif caller.is_running():
            seen_running = time.monotonic()
        else:
            with suppress(IndexError):
                return await wanted.pop()(here)
            if caller.is_closed() or time.monotonic() - seen_running > STANDING_SECONDS:
                raise asyncio.CancelledError
    return outcome.result()
