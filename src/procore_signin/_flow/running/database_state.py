"""What is wrong with the database, told once: when it begins, when it changes, when it is over."""

from __future__ import annotations

import logging
from typing import Final

from procore_signin._forks import Lock
from procore_signin._store.engine.failures import PASSING
from procore_signin.errors import StoreUnavailable
from procore_signin.events import Event, emit, lines

LOGGER: Final = logging.getLogger("procore_signin")
_ONLY_WRITES_SHOW: Final = frozenset({"full", "read_only", "unmigrated"})


def is_told_by_state(error: BaseException) -> bool:
    """Return whether `error` is told once by `DatabaseState`, and not by each request."""
    return isinstance(error, StoreUnavailable) and error.reason not in {None, *PASSING}


class DatabaseState:
    """What the latest pieces of work met in the database. Safe from any thread.

    Attributes:
        failing: The reason for which it fails, or None.
    """

    def __init__(self) -> None:
        self.failing: str | None = None
        self._lock: Final = Lock()

    def note(self, error: StoreUnavailable | None) -> None:
        """Note what a probe found: why nothing can be stored, or None."""
        if error is not None:
            self.failed(error)
        elif self.failing is not None:
            self.worked(wrote=True)

    def failed(self, error: StoreUnavailable) -> None:
        """Note a piece of work that failed, and tell why if that is news."""
        if error.reason == self.failing or not is_told_by_state(error):
            return
        with self._lock:
            is_news, self.failing = error.reason != self.failing, error.reason
        if is_news:
            emit(Event.DATABASE_FAILED, reason=error.reason)
            if lines.admits(f"{Event.DATABASE_FAILED} {error.reason} (explained)"):
                LOGGER.error("%s", error)

    def worked(self, *, wrote: bool) -> None:
        """Note a piece of work that did not fail.

        Args:
            wrote: Whether it shows that rows can be written: a read says nothing about that.
        """
        with self._lock:
            reason = self.failing
            if reason is None or (reason in _ONLY_WRITES_SHOW and not wrote):
                return
            self.failing = None
        emit(Event.DATABASE_BACK, reason=reason)
