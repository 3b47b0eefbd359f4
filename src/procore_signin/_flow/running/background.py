"""Threads that carry a flow to its end, whatever happens to those who asked for it.

A thread that waits can be interrupted: a signal handler raises (a job's soft time limit, Ctrl-C),
a job queue sets an exception on it, gevent kills its greenlet. What must not be lost is therefore
never done on the thread of a caller, who only waits for it (rows R13, C13; decision 27).
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final, NoReturn

from procore_signin._flow.running.outcome import FORK_SEEN_SECONDS, Outcome
from procore_signin._flow.steps import Call
from procore_signin._forks import is_a_child, look_after
from procore_signin.errors import ProcoreUnavailable

THREADS: Final = "procore-signin"
"""How the names of all threads of ours begin."""

KEPT_SECONDS: Final = 5.0
"""How long a thread without work is kept. To begin one costs as much as half a sign-in."""

LOOK_SECONDS: Final = 0.1
"""How soon a thread without work sees that the process ends."""

LONGEST_EXIT_SECONDS: Final = 25.0
"""How long a forked child waits before `os._exit`: job queues kill those that take much longer."""

LEAVE_SECONDS: Final = 0.01
"""How soon a process that leaves sees that nothing is under way any more."""

SETTLE_SECONDS: Final = 0.002
"""How soon a caller that waits for the threads sees that nothing is under way any more."""

LATER_AT_ONCE: Final = 8
"""So many pieces of work that no one waits for are done at the same time; the others queue."""


_living: Final[weakref.WeakSet[Background]] = weakref.WeakSet()


@atexit.register
def _leave() -> None:
    """Wait once more: a second Ctrl-C has ended the interpreter's own wait for threads."""
    for each in tuple(_living):
        each.wait_to_leave(LONGEST_EXIT_SECONDS)


class Background:
    """Threads for work, kept for a moment after it, and the knowledge of what has not ended.

    They are no daemons: a process that ends waits for work that is under way. `ending` tells the
    work that it does. A caller may be interrupted between any two steps: it only puts work into a
    queue, and the threads themselves see to it that there are enough of them.
    """

    def __init__(self) -> None:
        self.after_fork()
        look_after(self)
        _living.add(self)

    def after_fork(self) -> None:
        """Begin anew in a child: the threads, and what they were doing, stay in the parent."""
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        # One thread waits at a time: `SimpleQueue.get` of CPython 3.11 waits forever if its time is
        # over while another thread takes the job that woke it.
        self._turn = threading.Lock()
        # Those not begun yet: on its way from the queue to a thread a job is in neither of them.
        self._open: deque[_Job] = deque()
        self._idle = 0
        self._busy: set[int] = set()
        self._postponed: deque[tuple[Hashable | None, Callable[[], None]]] = deque()
        self._keys: set[Hashable] = set()
        self._working = 0
        self._closed = False
        self._exit_is_held = False
        self._closing_since: float | None = None
        self._alone_since: float | None = None

    def start(self, work: Callable[[], None]) -> bool:
        """Have `work`, which raises nothing, done on another thread.

        It sees the caller's context variables.

        Returns:
            False where no thread can be had: this process has too many, or is ending. Then nothing
            was done.
        """
        job: _Job = [partial(contextvars.copy_context().run, work)]
        self._closed = False
        if not self._exit_is_held and is_a_child():
            self._hold_exit()
        self._jobs.put(job)
        self._open.append(job)
        if self._too_few() and not self._add_thread():
            return _taken(job) is None
        return True

    def _hold_exit(self) -> None:
        """Have `os._exit` wait for what is under way.

        Children of job queues end with it, RQ's after each job and Celery's after their last, and
        it waits for no thread: a pair that Procore has just answered with would be gone.
        """
        self._exit_is_held = True
        leave = os._exit

        def leave_when_done(status: int) -> NoReturn:
            try:
                self.wait_to_leave(LONGEST_EXIT_SECONDS)
            finally:
                # An interrupt that came out of here would send the child on into the program of its
                # parent, from which `os._exit` is to keep it.
                leave(status)

        os._exit = leave_when_done

    def wait_to_leave(self, seconds: float) -> None:
        """Wait for what is under way, `seconds` at most, and let no interrupt end that.

        Without a lock: a signal handler may call this on a thread that holds ours.
        """
        until = time.monotonic() + seconds
        while self._unfinished() and time.monotonic() < until:
            # A second Ctrl-C comes here, or the soft time limit of a job.
            with contextlib.suppress(BaseException):
                self._closing_since = self._closing_since or time.monotonic()
                time.sleep(LEAVE_SECONDS)

    def _too_few(self) -> bool:
        return self._jobs.qsize() > self._idle

    def _add_thread(self) -> bool:
        try:
            # No daemon, whichever thread asks: a server's own often are, and theirs would be too.
            threading.Thread(target=self._serve, name=THREADS, daemon=False).start()
        except RuntimeError:
            return False
        return True

    def _serve(self) -> None:
        with self._lock:
            self._idle += 1
        quiet = 0.0
        while True:
            job = self._next_job()
            quiet = 0.0 if job is not None else quiet + LOOK_SECONDS
            with self._lock:
                self._idle -= 1
                too_few = self._too_few()  # those who count on this thread, which is busy now
                if job is not None:
                    self._busy.add(threading.get_ident())
                elif too_few or self._is_kept(quiet):
                    self._idle += 1
                    continue
                else:
                    return
            if too_few:
                self._add_thread()
            try:
                work = _taken(job)
                self._forget_taken()
                if work is not None:
                    work()
            finally:
                with self._lock:
                    self._busy.discard(threading.get_ident())
                    self._idle += 1

    def _forget_taken(self) -> None:
        with self._lock:
            while self._open and not self._open[0]:
                self._open.popleft()

    def _next_job(self) -> _Job | None:
        """Return a job, or None where none comes within `LOOK_SECONDS` or little more."""
        turn = self._turn
        if not turn.acquire(timeout=LOOK_SECONDS):
            return None
        try:
            return self._jobs.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            return None
        finally:
            turn.release()

    def _is_kept(self, quiet: float) -> bool:
        return quiet < KEPT_SECONDS and not self._closed and threading.main_thread().is_alive()

    def later(self, work: Callable[[], None], key: Hashable | None) -> None:
        """Have `work` done by the way, unless a piece of work with the same `key` waits or runs."""
        with self._lock:
            if key is not None:
                if key in self._keys:
                    return
                self._keys.add(key)
            self._postponed.append((key, work))
        if not self.start(self._work_off):
            self._work_off()

    def _work_off(self) -> None:
        with self._lock:
            if self._working >= LATER_AT_ONCE:
                return  # those who work take it
            self._working += 1
        while True:
            with self._lock:
                if not self._postponed:
                    self._working -= 1
                    return
                key, work = self._postponed.popleft()
            try:
                work()
            finally:
                with self._lock:
                    self._keys.discard(key)

    @property
    def closing(self) -> bool:
        """Whether the front door is being closed."""
        return self._closing_since is not None

    def ending(self) -> float:
        """Return for how many seconds the front door, or the process, has been ending; or 0.

        Where the main thread has ended, the process waits for the others. It is ending once it
        waits for none but ours: a program may go on for years on another thread.
        """
        since = self._closing_since
        if since is None:
            if not _are_alone():
                self._alone_since = None
                return 0.0
            since = self._alone_since = self._alone_since or time.monotonic()
        return max(time.monotonic() - since, 0.001)

    def close(self, seconds: float) -> int:
        """Wait until everything has ended, `seconds` at most, and return how much has not.

        The threads end too. It may be used again afterwards.
        """
        self._closing_since = time.monotonic()
        try:
            return self.settle(seconds)
        finally:
            self._closed, self._closing_since = True, None

    def settle(self, seconds: float) -> int:
        """Wait until nothing is under way, `seconds` at most, and return how much still is."""
        if self._too_few():
            self._add_thread()
        until = time.monotonic() + seconds
        # Without a condition: an interrupt of a caller that waits for one may leave its lock held.
        while self._unfinished() and time.monotonic() < until:
            time.sleep(SETTLE_SECONDS)
        return self._unfinished()

    def _unfinished(self) -> int:
        return len(self._busy - {threading.get_ident()}) + sum(map(bool, tuple(self._open)))


def _are_alone() -> bool:
    """Return whether the process waits for threads of ours alone."""
    main = threading.main_thread()
    others = (each for each in threading.enumerate() if not each.daemon and each is not main)
    return not main.is_alive() and all(each.name.startswith(THREADS) for each in others)


_Job = list[Callable[[], None]]
"""Holds the work until someone takes it, and is empty afterwards: it is done once."""


def _taken(job: _Job) -> Callable[[], None] | None:
    try:
        return job.pop()
    except IndexError:
        return None


class Asked:
    """Between a flow that is carried on and the caller that asked for it.

    Args:
        call: Calls the application.
        listening: Whether there is a caller who will `wait`, and `leave` at the end; else the
            application is called where the flow is carried on.
    """

    def __init__(self, call: Callable[[Call], Any], *, listening: bool) -> None:
        self.outcome: Final[Outcome[Any]] = Outcome()
        self._call: Final = call
        self._lock: Final = threading.Lock()
        self._listening = listening
        self._wanted: tuple[Call, Outcome[Any]] | None = None
        self._news: Final = queue.SimpleQueue[None]()

    def wait(self) -> Any:
        """Wait for the outcome, call the application meanwhile, and return or raise the outcome."""
        while not self.outcome.done:
            with contextlib.suppress(queue.Empty):
                self._news.get(timeout=FORK_SEEN_SECONDS)
            if self.outcome.inherited():
                raise stayed_in_the_parent()
            wanted = self._wanted
            if wanted is not None and not wanted[1].done:
                _do(self._call, *wanted)
        return self.outcome.result()

    def call(self, step: Call) -> Any:
        """Call the application where the caller is, or here where there is none any more."""
        outcome: Outcome[Any] = Outcome()
        with self._lock:
            listening = self._listening
            if listening:
                self._wanted = step, outcome
                self._news.put(None)
        if listening:
            outcome.wait()
            self._wanted = None
            with contextlib.suppress(_CallerLeftError):
                return outcome.result()
        return self._call(step)

    def tell(self, value: Any, error: BaseException | None) -> bool:
        """Tell the waiting callers the outcome. False where they had been told another one."""
        first = self.outcome.tell(value, error)
        self._news.put(None)
        return first

    def leave(self) -> None:
        """Have the application called where the flow is carried on: the caller is not there."""
        with self._lock:
            self._listening = False
        wanted = self._wanted
        if wanted is not None:
            wanted[1].tell(None, _CallerLeftError())


class _CallerLeftError(Exception):
    """The caller does not wait any more."""


def stayed_in_the_parent() -> ProcoreUnavailable:
    """Return the error for a caller that waits in a forked child for work of its parent."""
    return ProcoreUnavailable(
        "What this call waited for goes on in the parent of this process. Try again.",
        retry_after=1,
        ambiguous=True,
    )


def _do(call: Callable[[Call], Any], step: Call, outcome: Outcome[Any]) -> None:
    try:
        value = call(step)
    except BaseException as error:  # noqa: BLE001  # the flow decides what each error means
        outcome.tell(None, error)
    else:
        outcome.tell(value)
