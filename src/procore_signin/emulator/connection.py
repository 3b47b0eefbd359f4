"""One client's connection to the emulator's server: HTTP/1.1 on `httptools`."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Protocol, cast
from urllib.parse import unquote

import httptools

from procore_signin.emulator.asgi import MAX_BODY, App, Message
from procore_signin.emulator.delivery import ConnectionDropped

MAX_HEAD: Final = 65_536
"""Bytes of a request line and its headers; more is answered with 431."""

_MAX_PIPELINED: Final = 32
_LINGER: Final = 1.0
"""Seconds that a refused client gets to notice."""

_LOG: Final = logging.getLogger(__name__)
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_BODILESS: Final = frozenset({204, 304})


class Incoming:
    """One request as it is read."""

    __slots__ = ("body", "complete", "headers", "keep_alive", "method", "target")

    def __init__(self) -> None:
        self.method = ""
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.keep_alive = True
        self.complete = False


class Host(Protocol):
    """What a connection needs of its server.

    Attributes:
        connections: The open ones; each adds and removes itself.
        log: Takes one line for each request, without its query, or None.
    """

    connections: set[Connection]
    log: Callable[[str], None] | None

    def http_date(self) -> bytes:
        """Return the value of the `date` header."""
        ...

    def refuse_for(self, seconds: float) -> None:
        """Refuse every connection from now on for so many seconds."""
        ...


class Connection(asyncio.Protocol):
    """Reads requests one after the other and runs the application for each.

    The application is not cancelled when the client goes away: a real server would finish the work
    too, and that is exactly what a client that gave up has to reckon with.

    Args:
        app: The ASGI application.
        host: The server it is a connection of.
    """

    def __init__(self, app: App, host: Host) -> None:
        self.date = host.http_date
        self.gone = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self._app = app
        self._host = host
        self._parser = httptools.HttpRequestParser(self)
        self._incoming = Incoming()
        self._head_read = 0
        self._in_head = True
        self._waiting: deque[Incoming] = deque()
        self._task: asyncio.Task[None] | None = None
        self._outgoing: Outgoing | None = None
        self._stopping = False
        self._deaf = False

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the server's open connections."""
        self.transport = cast("asyncio.Transport", transport)
        self._host.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell a running application that nobody listens any more."""
        self._host.connections.discard(self)
        self.gone.set()
        self.writable.set()

    def pause_writing(self) -> None:
        """Make the application wait: the client reads slowly."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Let the application go on."""
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._deaf or self._stopping or self.transport.is_closing():
            return
        if self._in_head:
            self._head_read += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # An upgrade is an offer (RFC 9110 §7.8): the request stands, and is the last one.
            self._stop_after_this()
        except httptools.HttpParserError:
            self._refuse(400)
            return
        if self._in_head and self._head_read > MAX_HEAD:
            self._refuse(431)

    def eof_received(self) -> bool:
        """Keep the write side open while an answer is under way."""
        return self._task is not None

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._incoming = Incoming()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request target."""
        self._incoming.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        self._incoming.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Take note of the method, and let a client that asks send its body."""
        self._in_head = False
        self._head_read = 0
        incoming = self._incoming
        incoming.method = self._parser.get_method().decode("ascii")
        incoming.keep_alive = self._parser.should_keep_alive()
        if (b"expect", b"100-continue") in incoming.headers:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._incoming.body += body
        if len(self._incoming.body) > MAX_BODY:
            self._refuse(413)

    def on_message_complete(self) -> None:
        """Answer the request, after those before it."""
        if self.transport.is_closing():
            return
        self._incoming.complete = True
        self._waiting.append(self._incoming)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._answer_waiting())
            self._task.add_done_callback(self._ended)
        elif len(self._waiting) >= _MAX_PIPELINED:
            self.transport.pause_reading()

    # What the server calls.

    def stop(self) -> asyncio.Task[None] | None:
        """Close when idle; otherwise tell the application to come to an end, then close.

        Returns:
            What is still under way, or None.
        """
        self._stopping = True
        self.gone.set()
        if self._task is None:
            self.transport.close()
        return self._task

    def kill(self) -> None:
        """Close at once."""
        if self._task is not None:
            self._task.cancel()
        self.transport.abort()

    async def _answer_waiting(self) -> None:
        while self._waiting:
            incoming = self._waiting.popleft()
            outgoing = self._outgoing = Outgoing(self, incoming)
            try:
                await self._app(outgoing.scope(), outgoing.receive, outgoing.send)
            except ConnectionDropped as dropped:
                # The one whose connection is reset must already be refused when it tries again.
                self._close(reset=dropped.reset)
                if dropped.refuse_for is not None:
                    self._host.refuse_for(dropped.refuse_for)
            except ConnectionError:  # the client went away in the middle of a response
                self.transport.abort()
            if self._host.log is not None:
                self._host.log(outgoing.line())
            if not outgoing.finished or not incoming.keep_alive or self._stopping:
                self.transport.close()
                return
        self.transport.resume_reading()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            _LOG.error("The emulator failed to answer a request", exc_info=error)
            if self._outgoing is not None and self._outgoing.status:
                self.transport.abort()  # half of an answer is on its way already
            else:
                self._refuse(500)
        elif self._stopping:
            self.transport.close()

    def _stop_after_this(self) -> None:
        self._incoming.keep_alive = False

    def _refuse(self, status: int) -> None:
        """Answer without the application, and close."""
        if self._deaf or self.transport.is_closing():
            return
        if self._task is not None:  # the answers before this one come first
            self._stopping = True
            return
        self._deaf = True
        self.transport.write(
            _STATUS_LINES[status] + b"content-length: 0\r\nconnection: close\r\n\r\n"
        )
        # Closing with unread bytes would reset the connection, and the answer might be lost: listen
        # a little longer, to nothing.
        self.transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER, self.transport.abort)

    def _close(self, *, reset: bool) -> None:
        if not reset:
            self.transport.close()
            return
        sock = self.transport.get_extra_info("socket")
        # Linger on with no time: closing throws away what is buffered and sends a TCP reset.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Outgoing:
    """The application's side of one request: its scope, `receive` and `send`."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_head",
        "_incoming",
        "_path",
        "_received",
        "finished",
        "status",
    )

    def __init__(self, connection: Connection, incoming: Incoming) -> None:
        self._connection = connection
        self._incoming = incoming
        self._received = False
        self._head: bytes | None = None
        self._chunked = False
        self._path = ""
        self.status = 0
        self.finished = False

    def scope(self) -> Message:
        """Return the ASGI scope."""
        raw_path, _, query = self._incoming.target.partition(b"?")
        path = raw_path.decode("latin-1")
        self._path = unquote(path) if "%" in path else path
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self._incoming.method,
            "scheme": "http",
            "path": self._path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self._incoming.headers,
            "client": self._connection.transport.get_extra_info("peername"),
            "server": self._connection.transport.get_extra_info("sockname"),
        }

    async def receive(self) -> Message:
        """Return the body, then wait for the client to leave or the server to stop."""
        if not self._received:
            self._received = True
            body = bytes(self._incoming.body)
            return {"type": "http.request", "body": body, "more_body": False}
        await self._connection.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Write a part of the response.

        Raises:
            ConnectionResetError: The client is no longer there.
        """
        transport = self._connection.transport
        if transport.is_closing():
            raise ConnectionResetError
        if message["type"] == "http.response.start":
            self._begin(message)
            return
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        data = self._encode(body, more=more)
        if data:
            transport.write(data)
        self.finished = not more
        if not self._connection.writable.is_set():
            await self._connection.writable.wait()

    def line(self) -> str:
        """Return this exchange as a line for a log: no query, no code, no body."""
        holds_code = self._path.startswith("/oauth/authorize/")
        shown = "/oauth/authorize/..." if holds_code else ascii(self._path)[1:-1]
        return f"{self._incoming.method} {shown} {self.status}"

    def _begin(self, message: Message) -> None:
        self.status = message["status"]
        headers: list[tuple[bytes, bytes]] = message.get("headers", [])
        lines = [_STATUS_LINES.get(self.status) or f"HTTP/1.1 {self.status} \r\n".encode()]
        lines += [b"%b: %b\r\n" % header for header in headers]
        lines.append(b"date: %b\r\n" % self._connection.date())
        has_length = any(name == b"content-length" for name, _ in headers)
        if not has_length and self.status not in _BODILESS:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self._incoming.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    def _encode(self, body: bytes, *, more: bool) -> bytes:
        head, self._head = self._head or b"", None
        if self._incoming.method == "HEAD" or self.status in _BODILESS:
            return head
        if not self._chunked:
            return head + body
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return head + chunk + (b"" if more else b"0\r\n\r\n")
