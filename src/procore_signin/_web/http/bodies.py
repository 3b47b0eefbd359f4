"""The body of a request: read by the endpoint that needs it, with a deadline (row O8).

A mapping passes a request on as soon as its headers are there. Host, path, method, origin and
length are checked first, and the endpoint reads the body after it has found the session. So a
client without a session cannot block anything with half a form. A client that may send a form has a
deadline for it, and can have only a few under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

from procore_signin._flow.steps import Flow, call
from procore_signin._forks import look_after
from procore_signin._web import problems
from procore_signin._web.http.limits import network_of
from procore_signin._web.http.messages import LONGEST_BODY, BrowserRequest
from procore_signin._web.problems import Problem

BODY_SECONDS: Final = 10.0
"""Seconds for a whole body. Our forms fit into one packet."""

BODIES_AT_ONCE: Final = 8
"""The most bodies of one client under way, in each process."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class BodyRefused(Exception):
    """The body was refused.

    Args:
        problem: The problem to show to the client.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem: Final = problem


def body_of(request: BrowserRequest) -> Flow[bytes]:
    """Read and return the body of `request`.

    Raises:
        BodyRefused: It is too long, too slow, or broke off. The router handles this.
    """
    body: bytes = yield from call(request.read_body, request)
    return body


class Bodies:
    """Reads bodies for one site.

    Args:
        seconds: Seconds for a whole body.
        at_once: The most bodies of one client under way. The IPv6 addresses of one client count as
            one.
    """

    def __init__(self, *, seconds: float = BODY_SECONDS, at_once: int = BODIES_AT_ONCE) -> None:
        self._seconds: Final = seconds
        self._at_once: Final = at_once
        self.after_fork()
        look_after(self)

    def after_fork(self) -> None:
        """Start again from zero in a child: the bodies under way are the parent's."""
        self._under_way: dict[str, int] = {}
        self._lock = threading.Lock()

    async def receive(self, receive: Receive, request: BrowserRequest) -> bytes:
        """Return the body from an ASGI server.

        Raises:
            BodyRefused: It is too long, too slow, or broke off, or too many are under way.
        """
        with self._one_more(request):
            try:
                async with asyncio.timeout(self._seconds):
                    return await _received(receive)
            except TimeoutError:
                raise BodyRefused(problems.BODY_TOO_SLOW) from None

    def read(
        self,
        read: Callable[[], bytes],
        request: BrowserRequest,
        connection: socket.socket | None,
    ) -> bytes:
        """Return the body from a WSGI server; blocks until it is complete.

        Args:
            read: Returns the body, at most one byte more than is allowed.
            request: The request.
            connection: The client's connection, if the server provides it. Otherwise the server's
                own time limit applies.

        Raises:
            BodyRefused: As in `receive`.
        """
        with self._one_more(request), self._hurried(connection) as is_late:
            try:
                body = read()
            except OSError:  # the servers' errors for a client that went away or was cut off
                body = None
        if is_late():
            raise BodyRefused(problems.BODY_TOO_SLOW)
        if body is None or len(body) < _promised(request):
            raise BodyRefused(problems.BODY_BROKEN_OFF)
        if len(body) > LONGEST_BODY:
            raise BodyRefused(problems.BODY_TOO_LONG)
        return body

    @contextmanager
    def _one_more(self, request: BrowserRequest) -> Iterator[None]:
        client = network_of(request.client_address)
        with self._lock:
            now = self._under_way.get(client, 0)
            if now >= self._at_once:
                raise BodyRefused(problems.TOO_MANY_BODIES)
            self._under_way[client] = now + 1
        try:
            yield
        finally:
            with self._lock:
                left = self._under_way.get(client, 0) - 1
                if left > 0:
                    self._under_way[client] = left
                else:
                    self._under_way.pop(client, None)

    @contextmanager
    def _hurried(self, connection: socket.socket | None) -> Iterator[Callable[[], bool]]:
        """End a read that blocks for too long, by shutting down the socket's reading side."""
        late = threading.Event()
        if connection is None:
            yield late.is_set
            return

        def end() -> None:
            late.set()
            with contextlib.suppress(OSError):  # it is already closed
                connection.shutdown(socket.SHUT_RD)

        timer = threading.Timer(self._seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield late.is_set
        finally:
            timer.cancel()


async def _received(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise BodyRefused(problems.BODY_BROKEN_OFF)
        body += message.get("body", b"")
        if len(body) > LONGEST_BODY:
            raise BodyRefused(problems.BODY_TOO_LONG)
        if not message.get("more_body", False):
            return bytes(body)


def _promised(request: BrowserRequest) -> int:
    length = request.headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else 0  # the router has checked its length
