"""A database that says nothing any more is asked by one thread; everyone else is told at once.

Without this each caller would find out by waiting, on one of a few threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from procore_signin._forks import look_after
from procore_signin._store.engine.deadline import until
from procore_signin._store.engine.failures import Failed

ASK_SECONDS: Final = 2.0
"""How long a response is waited for."""

PAUSE_SECONDS: Final = 0.5
_FIRST_SECONDS: Final = 0.25
"""How long callers wait for the first response: it may have been one slow statement alone."""


class CircuitBreaker:
    """Whether the database has stopped answering. Safe from any thread.

    Args:
        ask: Asks the database for a sign of life. Raises `Failed`.
    """

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask: Final = ask
        self.after_fork()
        look_after(self)

    def after_fork(self) -> None:
        """Begin anew in a child: the thread stays behind, and the next call finds out."""
        self._lock = threading.Lock()
        self._answered: threading.Event | None = None
        self._began = 0.0
        self._closed = threading.Event()

    def check(self) -> None:
        """Return if the database may be asked.

        Raises:
            Failed: It has not answered others, and does not now.
        """
        answered, seconds = self._answered, self.lasts()
        if answered is not None and seconds is not None and not answered.wait(seconds):
            raise Failed("silent")

    def lasts(self) -> float | None:
        """Return for how long one waits for a response before being told; None: it may be asked."""
        if self._answered is None:
            return None
        return max(0.0, self._began + _FIRST_SECONDS - time.monotonic())

    def begin(self) -> None:
        """Note that a call had no response in time."""
        with self._lock:
            if self._answered is not None or self._closed.is_set():
                return
            answered, self._began = threading.Event(), time.monotonic()
            thread = threading.Thread(
                target=self._listen, args=(answered,), name="procore-signin-listen", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends
                return
            self._answered = answered

    def close(self) -> None:
        """End the thread, soon."""
        self._closed.set()

    def _listen(self, answered: threading.Event) -> None:
        while not self._closed.is_set() and not self._says_something():
            self._closed.wait(PAUSE_SECONDS)
        with self._lock:
            self._answered = None
        answered.set()

    def _says_something(self) -> bool:
        try:
            with until(time.monotonic() + ASK_SECONDS):
                self._ask()
        except Failed as failed:
            return failed.failure != "silent"
        return True
