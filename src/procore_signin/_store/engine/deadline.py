"""Until when the database is waited for: one moment for everything that a piece of work does.

Waiting for a free connection, connecting, each statement, the commit and the rollback all end at
it. The drivers ask `left()` each time that they wait, so that no layer between has to hand it on.
"""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from typing import Final
from weakref import ref

_Deadline = tuple["ref[until]", "_Deadline | None"]
"""A deadline for as long as its block runs, and the one around it.

After an interrupt between the block's beginning and its end (row R13) it holds for no one any more:
its block is gone then, and with it the only reference.
"""

_latest: Final[ContextVar[_Deadline | None]] = ContextVar("latest", default=None)


def _innermost() -> _Deadline | None:
    deadline = _latest.get()
    while deadline is not None and deadline[0]() is None:
        deadline = deadline[1]
    return deadline


def _moment() -> float:
    deadline = _innermost()
    block = None if deadline is None else deadline[0]()
    return math.inf if block is None else block.moment


def left() -> float:
    """Return the seconds until the deadline: negative after it, infinite where there is none."""
    return _moment() - time.monotonic()


class until:  # noqa: N801  # for `with`
    """Let what runs in a block wait until `moment`, whatever holds around the block.

    Args:
        moment: By `time.monotonic`, in seconds.
    """

    __slots__ = ("__weakref__", "_around", "moment")

    def __init__(self, moment: float) -> None:
        self.moment: Final = moment

    def __enter__(self) -> None:
        self._around = _innermost()
        _latest.set((ref(self), self._around))

    def __exit__(self, *_: object) -> None:
        _latest.set(self._around)


class at_most(until):  # noqa: N801  # as above
    """Let what runs in a block wait so long, unless a deadline holds around it already."""

    __slots__ = ()

    def __init__(self, seconds: float) -> None:
        around = _moment()
        super().__init__(time.monotonic() + seconds if around == math.inf else around)
