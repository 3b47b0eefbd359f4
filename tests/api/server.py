"""A loopback server that misbehaves on command."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

Behaviour: TypeAlias = "Callable[[socket.socket, Server], None]"


@dataclass
class Server:
    """A loopback server that does to each connection what its behaviour says.

    Attributes:
        behaviour: Gets the connection and the server.
        tls: The server's side of TLS, if it has one.
        connections: How many were made.
        requests: The head of each request that was read.
        stopping: Set when the test ends.
    """

    behaviour: Behaviour
    tls: ssl.SSLContext | None = None
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self.origin = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def read(self, sock: socket.socket) -> bytes:
        """Return the head of the next request; empty when the client left."""
        head = b""
        while b"\r\n\r\n" not in head:
            part = sock.recv(65_536)
            if not part:
                return b""
            head += part
        self.requests.append(head)
        return head

    def stop(self) -> None:
        self.stopping.set()
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):  # it may have ended by itself
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(10)
        # The client leaves whenever it has had enough: that is what is being tested.
        with contextlib.suppress(OSError):
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            self.behaviour(sock, self)
        sock.close()
