"""Clean up in the background of an application: a task for async, a thread for sync."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from collections.abc import AsyncIterator
from typing import Final

from procore_signin._client import AsyncProcoreSignIn, ProcoreSignIn
from procore_signin._flow.janitor import sweep
from procore_signin._forks import Event, Lock, look_after
from procore_signin.errors import ProcoreSignInError

LOGGER: Final = logging.getLogger("procore_signin")
SWEEP_SECONDS: Final = 60.0
THREAD_NAME: Final = "procore-signin-janitor"


@contextlib.asynccontextmanager
async def sweeping(
    procore: AsyncProcoreSignIn, *, seconds: float = SWEEP_SECONDS
) -> AsyncIterator[None]:
    """Sweep at once, then every `seconds`, while the block runs."""
    task = asyncio.create_task(_sweep_on_loop(procore, seconds))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _sweep_on_loop(procore: AsyncProcoreSignIn, seconds: float) -> None:
    while True:
        try:
            await procore.run(sweep(procore.context))
        except ProcoreSignInError as error:
            _log(error)
        await asyncio.sleep(seconds)


class Janitor:
    """Sweeps in its own thread, which ends when the front door is closed or collected.

    Args:
        procore: The front door.
        seconds: Seconds from one sweep to the next, and before the first.
    """

    def __init__(self, procore: ProcoreSignIn, *, seconds: float = SWEEP_SECONDS) -> None:
        self._procore: Final = procore
        self._seconds: Final = seconds
        self._lock: Final = Lock()
        self._started: Event | None = None
        look_after(self)

    def after_fork(self) -> None:
        """Start again at the next request: the thread exists only in the parent."""
        self._started = None

    def start(self) -> None:
        """Start sweeping in this process, unless it has been started since the front door opened.

        Call it when a request comes, not when the application is created: a server may fork in
        between, and threads do not survive that.
        """
        closed = self._procore.closed
        if self._started is closed:
            return
        with self._lock:
            if self._started is not closed:
                self._started = closed
                door = weakref.ref(self._procore, lambda _: closed.set())
                threading.Thread(
                    target=_sweep_in_thread,
                    args=(door, closed, self._seconds),
                    name=THREAD_NAME,
                    daemon=True,
                ).start()


def _sweep_in_thread(found: weakref.ref[ProcoreSignIn], closed: Event, seconds: float) -> None:
    while not closed.wait(seconds):
        procore = found()
        if procore is None:
            return
        try:
            procore.run(sweep(procore.context))
        except ProcoreSignInError as error:
            if not closed.is_set():  # it was closed during the sweep
                _log(error)
        del procore  # so that it can be collected while this thread sleeps


def _log(error: ProcoreSignInError) -> None:
    LOGGER.warning("The janitor will try again: %s", error)
