"""A line in which the first ones work and the others wait for their turn."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

_LOOK_SECONDS: Final = 0.05
"""How soon one that waits sees that it is its turn, if the one before was interrupted while
leaving."""


class Place:
    """A place in a line: known before it is taken, so that it can always be left."""

    __slots__ = ("bell",)

    def __init__(self) -> None:
        self.bell: Final = threading.Lock()
        self.bell.acquire()


class CapacityLimiter:
    """A line of which the first `width` work, for instance the one writer of SQLite.

    Not a lock or semaphore: a signal handler may raise between the call that takes one and the
    block that releases it, and then no one works any more (row R13). Taking and leaving a place is
    one operation of the interpreter each, and leaving may be repeated.

    Args:
        width: How many work at once.
        crowded: Called again and again while someone waits.
    """

    __slots__ = ("_crowded", "_places", "_width")

    def __init__(self, width: int = 1, crowded: Callable[[], None] | None = None) -> None:
        self._places: Final[deque[Place]] = deque()
        self._width: Final = width
        self._crowded: Final = crowded

    def take(self, place: Place, seconds: float) -> bool:
        """Wait until `place` is among the first, and return whether it is.

        Args:
            place: A new one. `leave` it in any case, also where this raises.
            seconds: The longest wait.
        """
        self._places.append(place)
        if self._places[0] is place or self._is_in(place):
            return True
        until = time.monotonic() + seconds
        while not self._is_in(place):
            left = until - time.monotonic()
            if left <= 0:
                return False
            if self._crowded is not None:
                self._crowded()
            place.bell.acquire(timeout=min(left, _LOOK_SECONDS))
        return True

    def _is_in(self, place: Place) -> bool:
        return self._places.index(place) < self._width

    def leave(self, place: Place) -> None:
        """Give `place` up, whether it was taken or not, and call the one that comes in for it."""
        try:  # noqa: SIM105  # `suppress` takes longer than all the rest, as below
            self._places.remove(place)
        except ValueError:  # left before, or never taken
            pass
        try:  # noqa: SIM105
            self._places[self._width - 1].bell.release()
        except (IndexError, RuntimeError):  # no one waits, or it was called before
            pass
