"""Connections to a server: as many as there are places in a line, and some of them kept.

SQLAlchemy's pool has locks in Python code, which an interrupt of a caller can leave held (row R13).
Here each step is one operation of the interpreter.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from procore_signin._forks import Owned, abandon
from procore_signin._store.engine.capacity_limiter import CapacityLimiter

_RECYCLE_SECONDS: Final = 1800.0
"""How old a connection may become: what stands in between may forget it without a farewell."""


class Aged(Protocol):
    """What has an age."""

    @property
    def made_at(self) -> float:
        """When it was begun, by `time.monotonic`."""


class Lender(Protocol):
    """What keeps places in the line for connections that are idle."""

    def lend(self) -> None:
        """Leave one soon. From any thread."""


class Connection(Aged, Protocol):
    """A connection of a driver."""

    def close(self) -> None:
        """Close it."""


C = TypeVar("C", bound=Connection)


class Pool(Owned, Generic[C]):
    """Connections of one kind. Safe from any thread.

    Who wants one takes a place in `line` first. What was taken and is not given back is closed by
    the collector at the latest: no connection comes back in the middle of something.

    Args:
        connect: Makes a connection, at rest.
        most: How many are in use at most.

    Attributes:
        line: Of those who want one.
        connect: Makes one.
        closed: Whether it is closed.
    """

    def __init__(self, connect: Callable[[], C], most: int) -> None:
        super().__init__()
        self.line: Final = CapacityLimiter(most, self.lend)
        self.connect: Final = connect
        self._kept: Final = (most + 1) // 2
        self._idle: Final[deque[C]] = deque()
        self._lenders: Final[dict[int, weakref.ref[Lender]]] = {}
        self._renewed_at = 0.0
        self.closed = False

    def take(self) -> C:
        """Return a connection that no one else uses. Raises what the driver raises."""
        while True:
            # deque.pop and append are atomic: no lock on the way of every page
            try:
                connection = self._idle.pop()
            except IndexError:
                return self.connect()
            if self.is_fresh(connection):
                return connection
            connection.close()

    def give_back(self, connection: C) -> None:
        """Keep a connection that is at rest for the next one, or close it."""
        if self.inherited():
            abandon(connection)
            return
        if len(self._idle) >= self._kept or not self.is_fresh(connection):
            connection.close()
            return
        self._idle.append(connection)
        if self.closed:
            self._drain()

    def add(self, lender: Lender) -> None:
        """Have `lender` leave a place whenever someone waits for one."""
        number = id(lender)
        self._lenders[number] = weakref.ref(lender, lambda _: self._lenders.pop(number, None))

    def lend(self, but: Lender | None = None) -> None:
        """Ask all who keep a place while they are idle to leave one, but for one of them."""
        for known in tuple(self._lenders.values()):
            lender = known()
            if lender is not None and lender is not but:
                lender.lend()

    def renew(self) -> None:
        """Close the idle ones now, and those in use when they come back: they may be broken."""
        self._renewed_at = time.monotonic()
        self._drain()

    def close(self) -> None:
        """Close the idle ones now, and each other one when it comes back."""
        self.closed = True
        self._drain()

    def forsake(self) -> None:
        """In a forked child: leave everything to the parent."""
        abandon(self, *self._idle)

    def is_fresh(self, connection: Aged) -> bool:
        """Tell whether a connection may be used again."""
        made_at = connection.made_at
        return made_at > self._renewed_at and time.monotonic() - made_at < _RECYCLE_SECONDS

    def _drain(self) -> None:
        while True:
            try:
                connection = self._idle.popleft()
            except IndexError:
                return
            connection.close()
