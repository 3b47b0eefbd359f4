"""The body of a request: read by the endpoint that needs it, and not for long (row O8).

A mapping hands a request on as soon as its headers are there. Host, path, method, origin and
length are judged first, and the endpoint asks for the body when it knows whose session it is. So a
stranger who sends half of a form makes no one wait. Who may send one has a deadline for the whole
of it, and one client can have a few of them under way.
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
"""How long a whole body may take. Ours fit into one packet."""

BODIES_AT_ONCE: Final = 8
"""How many bodies of one client may be under way, in each process."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class BodyRefused(Exception):
    """The body was not taken.

    Args:
        problem: What the client is told.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem: Final = problem


def body_of(request: BrowserRequest) -> Flow[bytes]:
    """Return the body of `request`, read now.

    Raises:
        BodyRefused: It is too long, too slow, or broke off. The router answers it.
    """
    body: bytes = yield from call(request.read_body, request)
    return body


class Bodies:
    """Reads bodies for one site.

    Args:
        seconds: How long a whole body may take.
        at_once: How many of one client, whose IPv6 addresses count as one, may be under way.
    """

    def __init__(self, *, seconds: float = BODY_SECONDS, at_once: int = BODIES_AT_ONCE) -> None:
        self._seconds: Final = seconds
        self._at_once: Final = at_once
        self.after_fork()
        look_after(self)

    def after_fork(self) -> None:
        """Begin anew in a child: what is under way is the parent's."""
        self._under_way: dict[str, int] = {}
        self._lock = threading.Lock()

    async def receive(self, receive: Receive, request: BrowserRequest) -> bytes:
        """Return the body that an ASGI server hands on in parts.

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
        """Return the body that a WSGI server lets us read, which blocks until it is there.

        Args:
            read: Returns all of it, or at most one byte more than is allowed.
            request: Which brings it.
            connection: Of the client, where the server tells. Where it does not, the server's own
                time limit holds.

        Raises:
            BodyRefused: As in `receive`.
        """
        with self._one_more(request), self._hurried(connection) as is_late:
            try:
                body = read()
            except OSError:  # what the servers raise when the client goes away, or is sent away
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
        """End a read that blocks for too long, by telling the system that nothing more comes."""
        late = threading.Event()
        if connection is None:
            yield late.is_set
            return

        def end() -> None:
            late.set()
            with contextlib.suppress(OSError):  # it is closed already
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
    return int(length) if length.isdigit() else 0  # the router has looked how long it is
