"""What becomes of work on another thread, for all callers that wait for it."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import Final, Generic, TypeVar

from procore_signin._forks import Owned

T = TypeVar("T")

FORK_SEEN_SECONDS: Final = 1.0
"""How soon a caller that waits sees what no one told it: that it is in a forked child by now, and
the work in the parent, or that the thread that told it was interrupted."""


class Outcome(Owned, Generic[T]):
    """A value or an error, told once.

    `concurrent.futures.Future` takes and releases its lock in Python code. A signal handler that
    raises in the middle of that leaves the lock held, and every other caller waits forever (row
    R13). Here each step is one operation of the interpreter, which no interrupt divides.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: Final[dict[str, tuple[T | None, BaseException | None]]] = {}
        self._bells: Final[deque[threading.Lock]] = deque()
        self._followers: Final[deque[Outcome[T]]] = deque()

    @property
    def done(self) -> bool:
        """Whether it has been told."""
        return "outcome" in self._told

    def tell(self, value: T | None, error: BaseException | None = None) -> bool:
        """Tell it to all callers that wait or will wait. False where it had been told before."""
        outcome = value, error
        first = self._told.setdefault("outcome", outcome) is outcome
        self._ring()
        return first

    def follow(self, leader: Outcome[T]) -> None:
        """Tell here what `leader` is told."""
        leader._followers.append(self)  # of the same class
        if leader.done:
            leader._ring()

    def wait(self) -> bool:
        """Wait until it is told. False in a forked child, to which no one tells it any more."""
        bell = threading.Lock()
        bell.acquire()
        self._bells.append(bell)
        while not self.done:
            bell.acquire(timeout=FORK_SEEN_SECONDS)
            if self.inherited() and not self.done:
                return False
        return True

    def result(self) -> T:
        """Return the value, or raise the error, of an outcome that is `done`."""
        value, error = self._told["outcome"]
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # told without an error, so it is a T

    @property
    def error(self) -> BaseException | None:
        """The error of an outcome that is `done`, or None."""
        return self._told["outcome"][1]

    def _ring(self) -> None:
        value, error = self._told["outcome"]
        with suppress(IndexError):  # each is taken once, whichever threads come here
            while True:
                self._bells.popleft().release()
        with suppress(IndexError):
            while True:
                self._followers.popleft().tell(value, error)
