"""Limit connections: none lasts forever, and under pressure the largest client loses some (row O8).

Granian limits the number of connections, whatever client they belong to, and has a deadline only
for request heads. So one client could hold all of them. A thread of each worker prevents that: it
counts the sockets. When too few are left, it closes connections without a request under way, of the
client that has most of them, until half are free.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from procore_signin._settings.trusted_proxies import TrustedProxies
from procore_signin._web.http.limits import network_of
from procore_signin.events import Event, emit

HEAD_SECONDS: Final = 20
"""Seconds for the head of a request, and for idling between two requests."""

UNREAD_SECONDS: Final = 20
"""Seconds that a client may leave sent data unread."""

LONGEST_HEAD: Final = 64 * 1024
"""Bytes. nginx allows 32 KiB, Node 16 KiB."""

MOST: Final = 4096
"""Connections at once, in each worker. One costs about 20 KB and one descriptor."""

LOOK_SECONDS: Final = 0.25
LEAVE_SECONDS: Final = 1.0

_SPARE: Final = 256  # descriptors for the database, for Procore, for files
_FEWEST: Final = 64
_FOLDERS: Final = ("/proc/self/fd", "/dev/fd")

Peer = tuple[str, int]
Client = Peer | tuple[str, str] | None
"""A peer as the server names it: Granian gives the port as text, and a unix socket has none."""


def most_connections() -> int:
    """Raise the limit of descriptors if possible, and return the most connections for one worker.

    The limit of open descriptors is often 1,024 by default, and far higher on request.
    """
    if sys.platform == "win32":
        return MOST
    import resource  # noqa: PLC0415  # not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + _SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS: kern.maxfilesperproc is less
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(_FEWEST, min(MOST, soft - _SPARE))


def bound_unread_answers(seconds: float = UNREAD_SECONDS) -> None:
    """Make the system close connections whose client reads nothing (RFC 5482).

    A connection inherits the option from its listening socket. Only Linux has it.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is None:
        return
    for descriptor in _descriptors():
        with contextlib.suppress(OSError), _copy(descriptor) as each:
            if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                each.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))


class Crowd:
    """The connections of this process to one port, and which to close if there are too many.

    Args:
        port: The port that clients connect to.
        busy: The clients with a request under way, which are left alone.
        trusted: Our own proxies, whose connections are closed last.
        most: The most connections.
    """

    def __init__(
        self, port: int, busy: Collection[Client], trusted: TrustedProxies, *, most: int
    ) -> None:
        self._port: Final = port
        self._busy: Final = busy
        self._trusted: Final = trusted
        self._most: Final = most
        self._leaving: float | None = None

    def leave(self) -> None:
        """Note that the server stops: a client with half a request would delay that."""
        self._leaving = self._leaving or time.monotonic()

    def look(self) -> int:
        """Close the connections that have to go now, and return their number."""
        if self._leaving is None:
            return self.thin_out()
        # By then the server itself has closed idle ones.
        if time.monotonic() - self._leaving > LEAVE_SECONDS:
            busy = self._running()
            for peer, descriptor in self._connections():
                if peer not in busy:
                    self._close(descriptor, peer)
        return 0

    def thin_out(self) -> int:
        """Close the surplus connections and return their number."""
        enough = self._most * 3 // 4
        if _count() <= enough:  # all descriptors, which is almost free to count
            return 0
        found = dict(self._connections())
        going = self._to_close(found) if len(found) > enough else []
        for peer in going:
            self._close(found[peer], peer)
        return len(going)

    def _running(self) -> frozenset[Peer]:
        return frozenset((str(each[0]), int(each[1])) for each in tuple(self._busy) if each)

    def _connections(self) -> Iterator[tuple[Peer, int]]:
        for descriptor in _descriptors():
            peer = self._peer_of(descriptor)
            if peer is not None:
                yield peer, descriptor

    def _peer_of(self, descriptor: int) -> Peer | None:
        """Return the peer of this descriptor, or None if it is not a connection to our port."""
        with contextlib.suppress(OSError), _copy(descriptor) as copy:
            here, there = copy.getsockname(), copy.getpeername()
            if isinstance(here, tuple) and here[1] == self._port:
                return there[0], there[1]
        return None

    def _close(self, descriptor: int, peer: Peer) -> None:
        """Shut down the connection, so that its owner reads its end, unless it is another's now."""
        with contextlib.suppress(OSError), _copy(descriptor) as copy:
            if copy.getpeername()[:2] == peer:
                copy.shutdown(socket.SHUT_RDWR)

    def _to_close(self, found: Collection[Peer]) -> list[Peer]:
        """Return which of `found` to close, so that half of the limit is free again."""
        ours: defaultdict[str, list[Peer]] = defaultdict(list)
        others: defaultdict[str, list[Peer]] = defaultdict(list)
        busy = self._running()
        for peer in found:
            if peer not in busy:
                groups = ours if self._trusted.includes(peer[0]) else others
                groups[network_of(peer[0])].append(peer)
        excess = len(found) - self._most // 2
        going = _from_the_largest(others.values(), excess)
        if len(found) - len(going) > self._most * 9 // 10:
            going += _from_the_largest(ours.values(), excess - len(going))
        return going


def _from_the_largest(groups: Iterable[list[Peer]], number: int) -> list[Peer]:
    """Return `number` peers, or all: the largest groups are cut down to one common size."""
    by_size = sorted(groups, key=len, reverse=True)
    taken = 0
    for place, group in enumerate(by_size, start=1):
        next_size = len(by_size[place]) if place < len(by_size) else 0
        step = (len(group) - next_size) * place  # what levelling these down to the next one frees
        if taken + step >= number:
            size = len(group) - -(-(number - taken) // place)
            return [peer for each in by_size[:place] for peer in each[max(0, size) :]]
        taken += step
    return [peer for each in by_size for peer in each]


def watch(crowd: Crowd, *, seconds: float = LOOK_SECONDS) -> Callable[[], None]:
    """Thin `crowd` out regularly on a thread, and return a function that ends it."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(seconds):
            closed = crowd.look()
            if closed:
                emit(Event.CONNECTIONS_CLOSED, count=closed)

    threading.Thread(target=look, name="procore-signin-connections", daemon=True).start()
    return over.set


def _count() -> int:
    return sum(1 for _ in _descriptors())


def _descriptors() -> Iterator[int]:
    for folder in _FOLDERS:
        with contextlib.suppress(OSError):
            yield from [int(each) for each in os.listdir(folder)]  # noqa: PTH208  # a path for each would take five times as long
            return


@contextmanager
def _copy(descriptor: int) -> Iterator[socket.socket]:
    """Yield a copy of a socket of this process: its owner may close it meanwhile.

    Raises:
        OSError: It is closed, or not a socket.
    """
    copy = os.dup(descriptor)
    try:
        copied = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
    with copied:
        yield copied
