"""Writers of one process, one after the other."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

_LOOK_SECONDS: Final = 0.05
"""How soon a writer sees that it is first, if the one before was interrupted while leaving."""


class Place:
    """A writer's place in a line: known before it is taken, so that it can always be left."""

    __slots__ = ("bell",)

    def __init__(self) -> None:
        self.bell: Final = threading.Lock()
        self.bell.acquire()


class Line:
    """A line of writers, of which the first one writes.

    Not a lock: a signal handler may raise between the call that takes a lock and the block that
    releases it, and then no one writes any more (row R13). Taking and leaving a place is one
    operation of the interpreter each, and leaving may be repeated.
    """

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: Final[deque[Place]] = deque()

    def take(self, place: Place, seconds: float) -> bool:
        """Wait until `place` is the first one, and return whether it is.

        Args:
            place: A new one. `leave` it in any case, also where this raises.
            seconds: The longest wait.
        """
        self._places.append(place)
        if self._places[0] is place:
            return True
        until = time.monotonic() + seconds
        while self._places[0] is not place:
            left = until - time.monotonic()
            if left <= 0:
                return False
            place.bell.acquire(timeout=min(left, _LOOK_SECONDS))
        return True

    def leave(self, place: Place) -> None:
        """Give `place` up, whether it was taken or not, and call the one that is first then."""
        try:  # noqa: SIM105  # `suppress` takes longer than all the rest, as below
            self._places.remove(place)
        except ValueError:  # left before, or never taken
            pass
        try:  # noqa: SIM105
            self._places[0].bell.release()
        except (IndexError, RuntimeError):  # no one waits, or it was called before
            pass
