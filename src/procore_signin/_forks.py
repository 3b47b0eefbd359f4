"""Forks: objects that a child process must not share register here.

After `os.fork` a child has the parent's memory and one of its threads. A socket would be shared by
both, a lock that another thread held stays held forever, and work that another thread was doing is
never finished. So every object that holds a socket, a thread, an event loop, a lock or a list of
work under way registers here, and is reset in the child. `tests/test_forks.py` finds those that do
not.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, Generic, Protocol, TypeVar

try:
    import concurrent.futures.thread  # noqa: F401  # its own lock is to be taken before ours
except RuntimeError as error:  # it wants to be told when the main thread ends
    raise RuntimeError(
        "procore_signin cannot be loaded any more: the main thread of this program has ended. Load "
        "it before, with `from procore_signin import …` at the top of the program."
    ) from error

T = TypeVar("T")


class Forkable(Protocol):
    """Something that a child must not share with its parent."""

    def after_fork(self) -> None:
        """Reset in the child. Never close what the parent still uses."""


class Holding(Forkable, Protocol):
    """Something that must be idle while the process forks."""

    def before_fork(self) -> None:
        """Become idle, if that takes only a moment."""

    def after_fork_in_parent(self) -> None:
        """Resume."""


class _Forks:
    """What to notify, in the order of registration; before a fork in reverse order.

    The lock is held while the process forks: registering waits meanwhile, and only one fork happens
    at a time. It is reentrant, because a fork handler may itself fork. Objects that are idle then
    stay idle until the outermost fork is over.

    Attributes:
        generation: How many forks lie between this process and the one that imported this module.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._lock = threading.RLock()
        self._known: Final[dict[int, weakref.ref[Forkable]]] = {}
        self._depth = 0
        self._resting: dict[int, Forkable] = {}

    def add(self, each: Forkable) -> None:
        number = id(each)

        def forget(gone: weakref.ref[Forkable]) -> None:
            if self._known.get(number) is gone:  # another object may have its id by now
                del self._known[number]

        with self._lock:
            self._known[number] = weakref.ref(each, forget)

    def before(self) -> None:
        trouble: list[BaseException] = []
        while True:
            try:
                self._lock.acquire()
            except BaseException as error:  # noqa: BLE001  # of a signal: the fork happens all the same
                trouble.append(error)
            else:
                break
        self._depth += 1
        for each in reversed(self._all()):
            if id(each) not in self._resting:
                self._resting[id(each)] = each  # also notify it after the fork
                _tell(each, "before_fork", trouble)
        _complain(trouble)

    def in_parent(self) -> None:
        self._depth -= 1
        trouble: list[BaseException] = []
        while self._resting and not self._depth:
            # One by one: during a nested fork, the others stay idle.
            _tell(self._resting.popitem()[1], "after_fork_in_parent", trouble)
        self._lock.release()
        _complain(trouble)

    def in_child(self) -> None:
        self.generation += 1
        # A server with its own fork, such as uWSGI, may notify only the child.
        self._depth = max(0, self._depth - 1)
        self._lock = threading.RLock()  # threads that waited for the old lock do not exist here
        for _ in range(self._depth):
            self._lock.acquire()
        rested, self._resting = self._resting, {}
        trouble: list[BaseException] = []
        for each in self._all():
            _tell(each, "after_fork", trouble)
        del rested  # not earlier: an object without other references must be abandoned first
        _complain(trouble)

    def _all(self) -> list[Forkable]:
        found = (known() for known in list(self._known.values()))
        return [each for each in found if each is not None]


def _tell(each: Forkable, what: str, trouble: list[BaseException]) -> None:
    do = getattr(each, what, None)
    if do is None:
        return
    try:
        do()
    except BaseException as error:  # noqa: BLE001  # the others must be told all the same
        trouble.append(error)


def _complain(trouble: list[BaseException]) -> None:
    """Raise the first error; Python prints it, because a fork cannot be stopped."""
    if trouble:
        raise trouble[0]


FORKS: Final = _Forks()
_abandoned: Final[list[object]] = []


def look_after(each: Forkable) -> None:
    """Notify `each` when this process forks, for as long as it exists.

    Args:
        each: Its `after_fork` is called in the child; `before_fork` and `after_fork_in_parent`, if
            it has them, around the fork. An error in one does not stop the others.
    """
    FORKS.add(each)


def abandon(*inherited: object) -> None:
    """Keep inherited objects forever in a forked child, never used and never closed.

    Closing an inherited connection would end the parent's, and with SQLite release the parent's
    locks (sqlite.org/howtocorrupt.html §2.6).
    """
    _abandoned.extend(each for each in inherited if each is not None)


def is_a_child() -> bool:
    """Return whether this process was forked after it had imported this module."""
    return FORKS.generation > 0


class Owned:
    """Something that only the process that created it may use."""

    def __init__(self) -> None:
        self._generation: Final = FORKS.generation

    def inherited(self) -> bool:
        """Return whether this process or an ancestor was forked since it was created."""
        return self._generation != FORKS.generation


class Lock:
    """A lock for `with`. It is free in a child, unless the thread that forked holds it.

    That thread exists in the child as well, and releases it there. Reentrant.

    `with` gets the methods of the interpreter's own lock: between a method in Python that has taken
    a lock and the block that releases it, a signal handler may raise, and the lock stays held
    (row R13).
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        look_after(self)

    __enter__ = property(attrgetter("_lock.__enter__"))
    __exit__ = property(attrgetter("_lock.__exit__"))

    def after_fork(self) -> None:
        """Forget the threads that do not exist here."""
        if _gave_up(self._lock):
            self._lock.acquire()  # this thread holds it, and its block will release it
        else:
            self._lock = threading.RLock()


def _gave_up(lock: threading.RLock) -> bool:
    """Release `lock` once, if this thread holds it."""
    try:
        lock.release()
    except RuntimeError:
        return False
    return True


class Undivided:
    """Work that a fork waits for, in a `with` block: it holds locks that no one can reset.

    Each thread has a lock of its own, and the fork takes them all. `with` gets that lock itself, so
    an interrupt leaves none held: see `Lock`.
    """

    LONGEST_WAIT: Final = 1.0
    """Seconds, in all. What takes longer waits for the network, and not inside a lock."""

    def __init__(self) -> None:
        self.after_fork()
        look_after(self)

    def block(self) -> threading.RLock:
        """Return what the work is to be done in. While the process forks, no one gets in."""
        thread = threading.get_ident()
        block = self._blocks.get(thread)
        if block is None:
            with self._admission:
                block = self._blocks[thread] = threading.RLock()
        return block

    def before_fork(self) -> None:
        """Let no one come in, and wait for those who are inside."""
        until = time.monotonic() + self.LONGEST_WAIT
        self._taken.append(self._admission)
        self._admission.acquire()
        for block in tuple(self._blocks.values()):
            self._taken.append(block)
            block.acquire(timeout=max(0.0, until - time.monotonic()))

    def after_fork_in_parent(self) -> None:
        """Let others come in again."""
        for each in self._taken:
            _gave_up(each)
        self._taken.clear()

    def after_fork(self) -> None:
        """Begin anew: those inside stay in the parent."""
        self._admission = threading.RLock()
        self._blocks: dict[int, threading.RLock] = {}  # as many as there were threads at once
        self._taken: list[threading.RLock] = []


OPENSSL: Final = Undivided()
"""Around each use of OpenSSL that lets other threads run: a context, a handshake, the first bytes
that are read after it, a connection to a database server.

OpenSSL has locks of its own, for its random numbers and for what it looks up. A forked child finds
those held forever that another thread held at the fork.
"""


class Made(Generic[T]):
    """Like `functools.cached_property`, but computed only once across threads.

    Python 3.11's has a lock that a child inherits held, if another thread was computing a value at
    the fork; later versions have no lock.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make: Final = make
        self._name = make.__name__
        self._lock: Final = Lock()

    def __get__(self, holder: object, owner: type | None = None) -> T:
        with self._lock:
            held = holder.__dict__
            if self._name not in held:
                held[self._name] = self._make(holder)
            made: T = held[self._name]
        return made


class Event:
    """Like `threading.Event`, but always usable in a child."""

    __slots__ = ("__weakref__", "_event")

    def __init__(self) -> None:
        self._event = threading.Event()
        look_after(self)

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._event.is_set()

    def set(self) -> None:
        """Wake all threads that wait, now and later."""
        self._event.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most `timeout` seconds; return whether it is."""
        return self._event.wait(timeout)

    def after_fork(self) -> None:
        """Forget the threads that do not exist here."""
        was_set, self._event = self._event.is_set(), threading.Event()
        if was_set:
            self._event.set()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=FORKS.before,
        after_in_parent=FORKS.in_parent,
        after_in_child=FORKS.in_child,
    )
