"""Listening sockets that are not shared: both addresses of `localhost` (row K9).

A browser that opens `localhost` tries `[::1]` first. A program that listens there gets the session
cookie, the code and the state. So if the redirect URI names `localhost`, the server opens both
addresses itself, without sharing them (`SO_REUSEPORT`), before a worker starts.

Granian listens at one address and shares it. A worker of ours therefore runs its server twice, on
one event loop and one application: see decision 28.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final

from granian._granian import SocketHolder
from granian.server import MPServer

BACKLOG: Final = 1024
_NO_SUCH_ADDRESS: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}


def listen(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Listen at `port` of every one of `hosts`, without sharing them.

    An address that the machine does not have, such as `::1` without IPv6, is left out: no other
    program can listen there either. The first address is required.

    Raises:
        OSError: An address is taken or not permitted; `filename` names it. No socket stays open.
    """
    sockets: list[socket.socket] = []
    for host in hosts:
        try:
            sockets.append(_listen(host, port))
        except OSError as error:
            number = error.errno or 0
            if sockets and number in _NO_SUCH_ADDRESS:
                continue
            for opened in sockets:
                opened.close()
            raise OSError(number, os.strerror(number), host) from None
    return sockets


def _listen(host: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if sys.platform == "win32":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:  # for leftover connections of an earlier server; it does not share the listener
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":  # both families, whatever the system's default
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.bind((host, port))
        # Immediately: until it listens, another program may bind the same address.
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


class ServerAt(MPServer):
    """Granian on sockets that are already open.

    Args:
        sockets: One or more listening sockets. They are closed when the server stops.
        options: As for Granian's own server.
    """

    def __init__(self, *arguments: Any, sockets: Sequence[socket.socket], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._shd: Any
        self._sfd: Any
        self._sso: Any
        self._sockets: Final = list(sockets)

    def loading(self, load: Callable[[], Any]) -> Callable[[], Any]:
        """Wrap `load`, which makes the application, for workers that serve every socket."""
        return partial(_load_and_serve, load, self._sockets[1:])

    def _init_shared_socket(self) -> None:
        first = self._sockets[0]
        self._ssp = None
        self._shd, self._sfd, self._sso = _holder(first), first.fileno(), first

    def _drop_shared_socket(self) -> None:
        for opened in self._sockets:
            opened.close()
        self._sso = None


def _load_and_serve(load: Callable[[], Any], more: Sequence[socket.socket]) -> Any:
    """Make the application in its worker, before the worker's server is created."""
    if more:
        signals: Any = import_module("granian._signals")
        workers: Any = import_module("granian.server.mp")
        signals.WorkerSignal = partial(_Stop, signals.WorkerSignal, 1 + len(more))
        workers.ASGIWorker = partial(_Servers, workers.ASGIWorker, more)
    return load()


class _Servers:
    """Granian's server, several times: one for each socket."""

    def __init__(
        self,
        real: Callable[..., Any],
        more: Sequence[socket.socket],
        worker_id: int,
        first: tuple[Any, Any],
        *options: Any,
    ) -> None:
        sockets = [first, *((None, _holder(each)) for each in more)]
        self._servers: Final = [real(worker_id, each, *options) for each in sockets]
        self._kept: Final = more  # kept open while their numbers are in use

    def serve_mtr(self, scheduler: object, loop: object, stop: _Stop) -> None:
        for server, signal in zip(self._servers, stop.signals, strict=True):
            server.serve_mtr(scheduler, loop, signal)

    def serve_str(self, scheduler: object, loop: object, stop: _Stop) -> None:
        for server, signal in zip(self._servers, stop.signals, strict=True):
            server.serve_str(scheduler, loop, signal)


class _Stop:
    """Granian's stop signal for several servers: sent to all, reported when all have stopped."""

    def __init__(self, real: Callable[[], Any], number: int) -> None:
        self.signals: Final = [real() for _ in range(number)]
        self._one_at_a_time: Final = threading.Lock()
        self._running = number

    def set(self) -> None:
        for signal in self.signals:
            signal.set()

    def add_cb(self, stopped: Callable[[], None]) -> None:
        def one_has() -> None:  # called from the servers' own threads
            with self._one_at_a_time:
                self._running -= 1
                last = self._running == 0
            if last:
                stopped()

        for signal in self.signals:
            signal.add_cb(one_has)


def _holder(opened: socket.socket) -> Any:
    """Return `opened` as Granian's holder, whose other arguments depend on the system."""
    make: Any = SocketHolder  # whose stub names no arguments
    is_unix_socket = False
    if sys.platform == "win32":
        return make(opened.fileno())
    if sys.platform.startswith(("linux", "freebsd")):
        return make(opened.fileno(), is_unix_socket, BACKLOG)
    return make(opened.fileno(), is_unix_socket)
