"""The emulator's clock: real time that tests can push forward."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

FURTHEST: Final = 3_155_760_000
"""Seconds by which it can be advanced: a hundred years, for which every date can be written."""


class Clock:
    """UTC unix seconds, from a clock passed in, plus what it was advanced by.

    Args:
        now: Where the time comes from, such as `time.time`.
    """

    __slots__ = ("_ahead", "_lock", "_now")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ahead = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Return the time, UTC unix seconds."""
        return self._now() + self._ahead

    @property
    def ahead(self) -> float:
        """Seconds by which it was advanced since the start."""
        return self._ahead

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`.

        Raises:
            ValueError: `seconds` is negative or not a number, or leads further than a hundred years
                from now. Time that runs backwards would make tokens valid again, which no server
                does.
        """
        with self._lock:
            if not 0 <= seconds <= FURTHEST - self._ahead:
                raise ValueError(
                    "The clock moves forward only, and a hundred years at most: "
                    f"pass a number of seconds from 0 to {FURTHEST - self._ahead:.0f}"
                )
            self._ahead += seconds

    def reset(self) -> None:
        """Return to the time of the clock passed in."""
        with self._lock:
            self._ahead = 0.0
