"""What those get who wait for an outcome: that of others as well, or that of another thread.

`ThreadPoolExecutor.submit` and `loop.run_in_executor` take and release locks in Python code. A
signal handler that raises in the middle of that leaves a lock held: the event loop then waits for
it forever, or the thread does (row R13).
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

from procore_signin.errors import ProcoreUnavailable

T = TypeVar("T")


def copy_of(error: BaseException) -> BaseException:
    """Return the same error for one more waiter.

    One error raised by a thousand waiters would collect all of their frames. An error of someone
    else's that cannot be copied without loss is shared all the same.
    """
    # Copying an exception calls its class with `args`. A class whose constructor takes something
    # else raises then, or makes an error that says something else: such an error is not copied.
    try:
        same = copy.copy(error)
    except Exception:  # noqa: BLE001  # their class may want arguments that no one kept
        return error
    if type(same) is not type(error) or str(same) != str(error):
        return error
    same.__cause__ = error  # a copy has no traceback: this one shows where it happened
    return same


def for_another(error: BaseException) -> BaseException:
    """Return what another waiter gets: a copy, or an error of ours for another's interrupt."""
    if isinstance(error, Exception):
        return copy_of(error)
    return ProcoreUnavailable(
        "What this call waited for was interrupted. Try again.", retry_after=1, ambiguous=True
    )


def tell(waiter: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
    """Give a waiter the outcome or the error, unless it has gone away meanwhile."""
    if waiter.done():
        return
    if error is None:
        waiter.set_result(outcome)
    else:
        waiter.set_exception(error)


class _Idle:
    """How many threads wait for work: a semaphore of which each step is one of the interpreter."""

    def __init__(self) -> None:
        self._idle: Final[deque[None]] = deque()

    def acquire(self, timeout: float | None = None) -> bool:  # noqa: ARG002  # always 0
        try:
            self._idle.pop()
        except IndexError:
            return False
        return True

    def release(self) -> None:
        self._idle.append(None)


class Threads(ThreadPoolExecutor):
    """As the base class; `submit` may be interrupted and used again."""

    def __init__(self, most: int, name: str) -> None:
        super().__init__(most, thread_name_prefix=name)
        self._idle_semaphore: Any = _Idle()


def on_a_thread(
    loop: asyncio.AbstractEventLoop, threads: Executor, work: Callable[[], T]
) -> asyncio.Future[T]:
    """Have `work` done on one of `threads`; as `loop.run_in_executor`.

    Returns:
        What comes of it, for `loop`. Who cancels that before `work` has begun, prevents it.

    Raises:
        RuntimeError: There are no threads any more.
    """
    done: asyncio.Future[T] = loop.create_future()

    def do() -> None:
        if done.cancelled():
            return
        value: T | None = None
        failed: BaseException | None = None
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001  # whatever it is, who waits must know
            failed = error
        with suppress(RuntimeError):  # the event loop has ended: no one waits any more
            loop.call_soon_threadsafe(tell, done, value, failed)

    threads.submit(do)
    return done
