"""As much of a browser as a sign-in needs: one connection, cookies, and links that it reads."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from html import unescape
from typing import Final
from urllib.parse import urlsplit

_LINK: Final = re.compile(rb'href=["\']([^"\']*/oauth/authorize\?[^"\']*)["\']')
_STATE: Final = re.compile(r"[?&]state=([^&]+)")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_COOKIE: Final = re.compile(rb"\r\nset-cookie: *([^=;\r]+)=([^;\r]*)([^\r]*)", re.IGNORECASE)
_LOCATION: Final = re.compile(rb"\r\nlocation: *([^\r]+)", re.IGNORECASE)


class WrongAnswerError(Exception):
    """A server did not do what a sign-in needs."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: its status, its raw head and its body."""

    status: int
    head: bytes
    body: bytes

    @property
    def location(self) -> str:
        """The path and query that it redirects to, or an empty text."""
        found = _LOCATION.search(self.head)
        return "" if found is None else found[1].decode()


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.open = True
        self._received = b""
        self._waiting: asyncio.Future[Reply] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # tells the type
        self.transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        self.open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(
                WrongAnswerError("The connection ended before the response")
            )

    def request(self, content: bytes) -> asyncio.Future[Reply]:
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(content)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or self._waiting is None or self._waiting.done():
            return
        length = _LENGTH.search(head)
        if length is not None:
            if len(body) < int(length[1]):
                return
        elif b"chunked" in head.lower() and not body.endswith(b"0\r\n\r\n"):
            return
        self._received = b""
        if b"connection: close" in head.lower():
            self.open = False
            self.transport.close()
        self._waiting.set_result(Reply(int(head[9:12]), head, body))


@dataclass
class Browser:
    """Asks one server for pages, and keeps its cookies.

    Attributes:
        port: Where the server listens, on 127.0.0.1; it is named `localhost`.
        cookies: By name.
    """

    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    _connection: _Connection | None = None

    async def get(self, path: str, accept: str = "text/html") -> Reply:
        """Ask for `path` and keep the cookies that come with the response."""
        if self._connection is None or not self._connection.open:
            loop = asyncio.get_running_loop()
            _, self._connection = await loop.create_connection(_Connection, "127.0.0.1", self.port)
        cookies = "; ".join(f"{name}={text}" for name, text in self.cookies.items())
        reply = await self._connection.request(
            f"GET {path} HTTP/1.1\r\nhost: localhost:{self.port}\r\naccept: {accept}\r\n"
            f"user-agent: bench\r\ncookie: {cookies or 'none=0'}\r\n\r\n".encode()
        )
        for name, text, rest in _COOKIE.findall(reply.head):
            if text == b"" or b"max-age=0" in rest.lower():
                self.cookies.pop(name.decode(), None)
            else:
                self.cookies[name.decode()] = text.decode()
        return reply

    async def begin(self, start: str) -> str:
        """Ask for the page that begins a sign-in and return the state in its link or redirect."""
        reply = await self.get(start)
        found = _LINK.search(reply.body)
        link = reply.location if found is None else unescape(found[1].decode())
        state = _STATE.search(link)
        if state is None:
            raise WrongAnswerError(f"{start} answered {reply.status} without a link to Procore")
        return state[1]

    async def come_back(self, callback: str, state: str) -> str:
        """Bring a code to the callback and return the path it redirects to."""
        reply = await self.get(f"{callback}?code=a-code-of-the-benchmark&state={state}")
        if reply.status not in {302, 303}:
            raise WrongAnswerError(f"{callback} answered {reply.status}: {reply.body[:300]!r}")
        parts = urlsplit(reply.location)
        return parts.path

    async def see(self, path: str, accept: str = "text/html") -> None:
        """Ask for a page of someone signed in; its text must name the person."""
        reply = await self.get(path, accept)
        if reply.status != 200 or b"@" not in reply.body:
            raise WrongAnswerError(f"{path} answered {reply.status} {reply.location}")

    def close(self) -> None:
        """Close the connection and forget the cookies."""
        if self._connection is not None:
            self._connection.open = False
            self._connection.transport.close()
