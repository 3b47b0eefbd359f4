"""The emulated Procore for clients in its own process: no socket, no server, no event loop.

A request goes in as values and the reply comes out, with the same faults and the same journal as
over HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from math import ceil
from typing import Final
from urllib.parse import unquote, urlsplit

from procore_signin._emulator.faults.kinds import Effect
from procore_signin._emulator.procore import LocalProcore
from procore_signin._emulator.wire.asgi import EmulatorApp
from procore_signin._emulator.wire.handling import handle
from procore_signin._emulator.wire.messages import Headers, Reply, Request

DEFAULT_URL: Final = "http://127.0.0.1:4568"


class Unanswered(Exception):
    """No whole response came, as a fault wanted it.

    Attributes:
        sent: False if the connection was refused, so that nothing can have been carried out.
        in_time: False if the time was up.
    """

    def __init__(self, *, sent: bool, in_time: bool = True) -> None:
        super().__init__("a fault of the emulator ended this exchange")
        self.sent = sent
        self.in_time = in_time


class InProcess:
    """Where clients in this process reach an emulated Procore. Safe to share between threads.

    Args:
        procore: The emulated Procore.
        url: The origin that it has in its own links, unless a request names another.
        monotonic: Returns seconds that never run backwards.
        sleep: Waits some seconds.

    Attributes:
        url: As given.
        app: The same emulator as an ASGI application.
    """

    def __init__(
        self,
        procore: LocalProcore,
        *,
        url: str = DEFAULT_URL,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url: Final = url
        self.app: Final = EmulatorApp(procore)
        self._procore = procore
        self._monotonic = monotonic
        self._sleep = sleep
        self._refuses = 0
        self._refuses_until = 0.0

    def ask(
        self, method: str, url: str, headers: Headers, body: bytes, *, deadline: float
    ) -> Reply:
        """Return the reply to a request, whole.

        Args:
            method: Such as `GET`.
            url: Absolute, with the query. Its origin is the one in the emulator's links.
            headers: Names in lower case.
            body: The body.
            deadline: Seconds after which the caller gives up.

        Raises:
            Unanswered: A fault wanted it, or the time was up.
        """
        asked = self._asked(method, url, headers, body, deadline)
        try:
            while True:
                self._sleep(next(asked))
        except StopIteration as end:
            reply: Reply = end.value
            return reply

    async def aask(
        self, method: str, url: str, headers: Headers, body: bytes, *, deadline: float
    ) -> Reply:
        """As `ask`, for a caller on an event loop."""
        asked = self._asked(method, url, headers, body, deadline)
        try:
            while True:  # noqa: ASYNC110  # the waits of `handle`, not a poll
                await asyncio.sleep(next(asked))
        except StopIteration as end:
            reply: Reply = end.value
            return reply

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse every request while the block runs, as if the server were down."""
        self._refuses += 1
        try:
            yield
        finally:
            self._refuses -= 1

    def _asked(
        self, method: str, url: str, headers: Headers, body: bytes, deadline: float
    ) -> Generator[float, None, Reply]:
        until = self._monotonic() + deadline
        if self._refuses or self._monotonic() < self._refuses_until:
            raise Unanswered(sent=False)
        carried_out = handle(self._procore, _request(method, url, headers, body), headers)
        try:
            while True:
                yield from self._wait(next(carried_out), until)
        except StopIteration as end:
            reply, effect = end.value
        if effect.delivery == "drip":
            yield from self._wait(effect.interval * ceil(len(reply.body) / effect.amount), until)
        if effect.refuse_for is not None:
            self._refuses_until = self._monotonic() + effect.refuse_for
        if not _is_whole(reply, effect):
            raise Unanswered(sent=True)
        whole: Reply = reply
        date = formatdate(self._procore.state.clock(), usegmt=True)
        return whole.with_headers(("date", date))

    def _wait(self, seconds: float, until: float) -> Generator[float, None, None]:
        left = until - self._monotonic()
        yield max(0.0, min(seconds, left))
        if seconds > left:
            raise Unanswered(sent=True, in_time=False)


def _request(method: str, url: str, headers: Headers, body: bytes) -> Request:
    parts = urlsplit(url)
    return Request(
        method=method,
        path=unquote(parts.path).rstrip("/") or "/",
        query=parts.query,
        headers=dict(headers),
        body=body,
        origin=f"{parts.scheme}://{parts.netloc}",
    )


def _is_whole(reply: Reply, effect: Effect) -> bool:
    if effect.delivery in {"drop", "truncate"}:
        return False
    return effect.content_length is None or effect.content_length == len(reply.body)
