"""Until when the database is waited for: one moment for everything that a piece of work does.

Waiting for a free connection, connecting, each statement, the commit and the rollback all end at
it. The drivers ask `left()` each time that they wait, so that no layer between has to hand it on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from procore_signin._forks import Undivided

CONNECTING: Final = Undivided()
"""Around the making of a connection, which may take locks of OpenSSL (row F3)."""

_until: Final[ContextVar[float]] = ContextVar("until", default=math.inf)


def left() -> float:
    """Return the seconds until the deadline: negative after it, infinite where there is none."""
    return _until.get() - time.monotonic()


@contextmanager
def until(moment: float) -> Iterator[None]:
    """Let what runs in a block wait until `moment`, whatever holds around the block.

    Args:
        moment: By `time.monotonic`, in seconds.
    """
    before = _until.set(moment)
    try:
        yield
    finally:
        _until.reset(before)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Let what runs in a block wait so long, unless a deadline holds around it already."""
    if _until.get() != math.inf:
        yield
        return
    with until(time.monotonic() + seconds):
        yield
