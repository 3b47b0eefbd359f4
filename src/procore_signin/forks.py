"""The one place that knows about forks: what must not go over to a child is told here.

After `os.fork` a child has the parent's memory and one of its threads. A socket would be shared by
both, a lock that another thread held stays held for ever, and work that another thread was doing
is never finished. So whatever holds a socket, a thread, an event loop, a lock or a list of work
under way registers here, and starts afresh in the child. `tests/test_forks.py` finds what does not.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Final, Protocol


class Forkable(Protocol):
    """Something that a child must not share with its parent."""

    def after_fork(self) -> None:
        """Begin anew in the child. Never close what the parent still uses."""


class Holding(Forkable, Protocol):
    """Something that must be at rest while the process forks."""

    def before_fork(self) -> None:
        """Come to rest, if a moment's patience is enough for that."""

    def after_fork_in_parent(self) -> None:
        """Go on."""


class _Forks:
    """Whom to tell. Its own lock is held while a process forks, so that it is free in the child."""

    def __init__(self) -> None:
        self._lock: Final = threading.RLock()
        self._known: Final[weakref.WeakSet[Forkable]] = weakref.WeakSet()
        self._told: list[Forkable] = []

    def add(self, each: Forkable) -> None:
        with self._lock:
            self._known.add(each)

    def before(self) -> None:
        self._lock.acquire()  # one fork at a time: what is at rest meanwhile is for this one
        self._told = list(self._known)  # the same ones are told afterwards
        for each in self._told:
            rest = getattr(each, "before_fork", None)
            if rest is not None:
                rest()

    def in_parent(self) -> None:
        told, self._told = self._told, []
        for each in told:
            go_on = getattr(each, "after_fork_in_parent", None)
            if go_on is not None:
                go_on()
        self._lock.release()

    def in_child(self) -> None:
        told, self._told = self._told, []
        for each in told:
            each.after_fork()
        self._lock.release()


_forks: Final = _Forks()
_abandoned: Final[list[object]] = []


def look_after(each: Forkable) -> None:
    """Have `each` told when this process forks, for as long as it exists.

    Args:
        each: Its `after_fork` is called in the child; `before_fork` and `after_fork_in_parent`,
            where it has them, around the fork.
    """
    _forks.add(each)


def abandon(*inherited: object) -> None:
    """Keep what a forked child inherited for ever, never to be used or closed.

    Closing a connection would say goodbye to the server in the parent's name, and with SQLite harm
    the parent's locks (sqlite.org/howtocorrupt.html §2.6).
    """
    _abandoned.extend(inherited)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_forks.before,
        after_in_parent=_forks.in_parent,
        after_in_child=_forks.in_child,
    )
