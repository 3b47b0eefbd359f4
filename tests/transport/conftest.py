"""A server that misbehaves on command, and both transports behind one blocking face."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Protocol

import pytest
import trustme

from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._transport import httpcore
from procore_signin._transport.contract import AsyncTransport
from procore_signin._transport.httpcore import AsyncHttpcoreTransport, HttpcoreTransport
from procore_signin._transport.pyreqwest import AsyncPyreqwestTransport, PyreqwestTransport


class Connection:
    """One connection that a client made, with the verbs that a behaviour is told in."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        self._sock = sock
        self._server = server

    def read_request(self) -> bytes:
        """Return the next request, head and body, or what came of it before the end."""
        received = b""
        while b"\r\n\r\n" not in received:
            more = self._sock.recv(65_536)
            if not more:
                return received
            received += more
        head, _, body = received.partition(b"\r\n\r\n")
        lengths = [
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ]
        while len(body) < sum(lengths):
            body += self._sock.recv(65_536)
        request = head + b"\r\n\r\n" + body
        self._server.requests.append(request)
        self._server.request_seen.release()
        return request

    def send(self, data: bytes) -> None:
        """Send `data`, and count it."""
        self._sock.sendall(data)
        self._server.bytes_sent += len(data)

    def send_endlessly(self, data: bytes) -> None:
        """Send `data` again and again until the client leaves, at most a gigabyte."""
        while not self._server.stopping.is_set() and self._server.bytes_sent < 1 << 30:
            self.send(data)

    def drip(self, data: bytes) -> None:
        """Send one byte each 20 ms until the client leaves."""
        for index in range(len(data)):
            if self._server.stopping.wait(0.02):
                return
            self.send(data[index : index + 1])

    def stay_silent(self) -> None:
        """Say nothing until the test ends."""
        self._server.stopping.wait(30)

    def reset(self) -> None:
        """End the connection as a crash does (RST)."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def half_close(self) -> None:
        """Say that nothing more will come, and keep listening (FIN)."""
        self._sock.shutdown(socket.SHUT_WR)
        self.stay_silent()

    def cut(self) -> None:
        """End the connection without TLS's goodbye."""
        socket.socket(fileno=self._sock.detach()).close()


Behaviour = Callable[[Connection], None]


class Server:
    """A loopback server: one thread for each connection, which does what `behaviour` says.

    Attributes:
        url: Its address, ending in a slash.
        connections: How many were made.
        requests: The bytes of each request that a behaviour read.
        bytes_sent: How many bytes went into the network.
        stopping: Set at the end of the test.
        request_seen: Released with each of them.
    """

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.bytes_sent = 0
        self.stopping = threading.Event()
        self.request_seen = threading.Semaphore(0)
        self._behaviour = behaviour
        self._tls = tls
        self._accepted: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._accepted.append(sock)
            if self.stopping.is_set():  # too late for `stop` to see this one
                sock.close()
                return
            self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(5)
        # The client leaves whenever it has had enough: that is what is being tested.
        with contextlib.suppress(OSError):
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._accepted.append(sock)
            self._behaviour(Connection(sock, self))
        sock.close()

    def stop(self) -> None:
        """End every connection and thread."""
        self.stopping.set()
        for sock in (self._listener, *self._accepted):
            with contextlib.suppress(OSError):  # it may have ended by itself
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


class Serve(Protocol):
    """Starts a server that behaves so, until the test ends."""

    def __call__(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Server: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(behaviour, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


class Sender(Protocol):
    """What both transports look like to a test."""

    def send(self, request: HttpRequest) -> HttpResponse: ...
    def close(self) -> None: ...


class BlockingAsyncTransport:
    """The asynchronous transport, driven by an event loop of its own."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._runner = asyncio.Runner()

    def send(self, request: HttpRequest) -> HttpResponse:
        return self._runner.run(self._transport.send(request))

    def close(self) -> None:
        self._runner.run(self._transport.aclose())

    def end(self) -> None:
        self._runner.close()


class NewTransport(Protocol):
    """Makes a transport, sync or async, that is closed when the test ends."""

    def __call__(
        self,
        *,
        deadline: float = 5.0,
        max_body: int = 65_536,
        root_certificates: bytes | None = None,
    ) -> Sender: ...


KINDS: dict[str, Callable[..., Any]] = {
    "sync": PyreqwestTransport,
    "async": AsyncPyreqwestTransport,
    "sync, after a fork": HttpcoreTransport,
    "async, after a fork": AsyncHttpcoreTransport,
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The name of a transport."""
    return str(request.param)


TRUST = cache(httpcore._trust)
"""Which authorities to trust: to read them takes 50 ms, a quarter of some of these deadlines."""


@pytest.fixture
def new_transport(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[NewTransport]:
    monkeypatch.setattr(httpcore, "_trust", TRUST)
    with contextlib.ExitStack() as stack:

        def make(
            *,
            deadline: float = 5.0,
            max_body: int = 65_536,
            root_certificates: bytes | None = None,
        ) -> Sender:
            if kind.endswith("after a fork"):
                TRUST(root_certificates)
            transport: Any = KINDS[kind](
                deadline=deadline, max_body=max_body, root_certificates=root_certificates
            )
            if kind.startswith("async"):
                transport = BlockingAsyncTransport(transport)
                stack.callback(transport.end)
            stack.callback(transport.close)
            sender: Sender = transport
            return sender

        yield make


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that only tests trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def loopback_tls(authority: trustme.CA) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context
