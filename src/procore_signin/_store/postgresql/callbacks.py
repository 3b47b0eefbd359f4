"""What an event loop calls back here. After an interrupt everything under way there begins anew.

A signal handler raises wherever the interpreter happens to be, or a job queue sets an exception on
the thread: in the middle of a callback, between a result of one caller and that of the next. No one
knows then what was done (row R13). So no connection is used again, and all who wait are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVarTuple

Ts = TypeVarTuple("Ts")


class Callbacks:
    """The callbacks of one event loop.

    Args:
        loop: The event loop.
        interrupted: Called when something was raised in a callback, which then goes on its way.
    """

    __slots__ = ("_interrupted", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, interrupted: Callable[[], None]) -> None:
        self.loop: Final = loop
        self._interrupted: Final = interrupted

    def run(self, work: Callable[[*Ts], object], *arguments: *Ts) -> None:
        """Do `work`, here and now."""
        try:
            work(*arguments)
        except BaseException:  # an interrupt may meet any line: what it broke off is taken up
            self._interrupted()
            raise

    def soon(self, work: Callable[[*Ts], object], *arguments: *Ts) -> None:
        """Do `work` next."""
        self.loop.call_soon(self.run, work, *arguments)

    def later(
        self, seconds: float, work: Callable[[*Ts], object], *arguments: *Ts
    ) -> asyncio.TimerHandle:
        """Do `work` after so many seconds."""
        return self.loop.call_later(seconds, self.run, work, *arguments)
