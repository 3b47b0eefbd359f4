"""One request and its response as bytes, between a connection and the ASGI application."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import unquote

from procore_signin._emulator.wire.asgi import Message

STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_BODILESS: Final = frozenset({204, 304})
_CLOSE: Final = (b"connection", b"close")
_LONGEST_SHOWN: Final = 200
"""Characters of a path in a line of a log."""


class Incoming:
    """One request as it is read.

    Attributes:
        body: What has come of the body and was not handed on.
        complete: All of it has come.
        may_continue: The client may be told to go on (RFC 9110 §10.1.1: not by HTTP/1.0).
    """

    __slots__ = ("body", "complete", "headers", "keep_alive", "may_continue", "method", "target")

    def __init__(self) -> None:
        self.method = ""
        self.target = bytearray()
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.keep_alive = True
        self.may_continue = True
        self.complete = False

    def wants_to_be_told(self) -> bool:
        """Say whether the client asks to be told to go on with its body; once."""
        if not self.may_continue:
            return False
        self.may_continue = False
        expected = (value for name, value in self.headers if name == b"expect")
        return any(value.strip().lower() == b"100-continue" for value in expected)


class Line(Protocol):
    """What a response needs of its connection.

    Attributes:
        transport: Where the bytes go.
        arrived: Set when something came, or nothing more will.
        gone: Set when the client has left or the server stops.
        writable: Not set while the client reads slowly.
    """

    transport: asyncio.Transport
    arrived: asyncio.Event
    gone: asyncio.Event
    writable: asyncio.Event

    @property
    def ends(self) -> bool:
        """Whether nothing more will be read from this client."""
        ...

    def date(self) -> bytes:
        """Return the value of the `date` header."""
        ...

    def read_on(self) -> None:
        """Read more from the client, unless many of its requests wait."""
        ...

    def waits(self) -> None:
        """Wait for the client from now on."""
        ...

    def has_work(self) -> None:
        """Wait for the client no longer."""
        ...


class Outgoing:
    """The application's side of one request: its scope, `receive` and `send`."""

    __slots__ = (
        "_chunked",
        "_head",
        "_incoming",
        "_line",
        "_path",
        "_received",
        "finished",
        "status",
    )

    def __init__(self, line: Line, incoming: Incoming) -> None:
        self._line = line
        self._incoming = incoming
        self._received = False
        self._head: bytes | None = None
        self._chunked = False
        self._path = ""
        self.status = 0
        self.finished = False

    def scope(self) -> Message:
        """Return the ASGI scope."""
        raw_path, _, query = bytes(self._incoming.target).partition(b"?")
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
            "client": self._line.transport.get_extra_info("peername"),
            "server": self._line.transport.get_extra_info("sockname"),
        }

    async def receive(self) -> Message:
        """Return what has come of the body; after it, wait for the client to leave.

        A body that breaks off ends with the client's leaving too.
        """
        line, incoming = self._line, self._incoming
        if self._received:
            await line.gone.wait()
            return {"type": "http.disconnect"}
        if incoming.wants_to_be_told() and not line.transport.is_closing():
            line.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not incoming.body and not incoming.complete:
            if line.ends:
                return {"type": "http.disconnect"}
            line.arrived.clear()
            line.waits()
            await line.arrived.wait()
            line.has_work()
        body = bytes(incoming.body)
        incoming.body.clear()
        self._received = incoming.complete
        line.read_on()
        return {"type": "http.request", "body": body, "more_body": not incoming.complete}

    async def send(self, message: Message) -> None:
        """Write a part of the response.

        Raises:
            ConnectionResetError: The client is no longer there.
        """
        transport = self._line.transport
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
        if not self._line.writable.is_set():
            self._line.waits()
            await self._line.writable.wait()
            self._line.has_work()

    def line(self) -> str:
        """Return this exchange as a line for a log: no query, no code, no body."""
        holds_code = self._path.startswith("/oauth/authorize/")
        shown = "/oauth/authorize/..." if holds_code else ascii(self._path[:_LONGEST_SHOWN])[1:-1]
        return f"{self._incoming.method} {shown} {self.status}"

    def _begin(self, message: Message) -> None:
        self.status = message["status"]
        headers: list[tuple[bytes, bytes]] = message.get("headers", [])
        lines = [STATUS_LINES.get(self.status) or f"HTTP/1.1 {self.status} \r\n".encode()]
        lines += [b"%b: %b\r\n" % header for header in headers]
        lines.append(b"date: %b\r\n" % self._line.date())
        has_length = any(name == b"content-length" for name, _ in headers)
        if not has_length and self.status not in _BODILESS:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        if _CLOSE in headers:
            self._incoming.keep_alive = False
        elif not self._incoming.keep_alive or not self._incoming.complete:
            # A response sent before the body was read is also the last one.
            self._incoming.keep_alive = False
            lines.append(b"%b: %b\r\n" % _CLOSE)
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
