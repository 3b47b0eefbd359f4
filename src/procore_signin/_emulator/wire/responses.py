"""How a reply leaves: whole, or as a fault wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from procore_signin._emulator.faults.kinds import Effect
from procore_signin._emulator.wire.messages import Reply

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ConnectionDropped(Exception):
    """Tells the emulator's server to close the connection without finishing the response.

    Under another ASGI server it is an ordinary failure: that server closes the connection too, or
    responds with 500 if nothing was sent yet.

    Attributes:
        reset: Close with a TCP reset instead of an orderly end.
        refuse_for: Seconds during which further connections are refused, or None.
    """

    def __init__(self, *, reset: bool = False, refuse_for: float | None = None) -> None:
        super().__init__("a fault closes this connection")
        self.reset = reset
        self.refuse_for = refuse_for


async def unless_left(sending: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Send until all is sent or the client leaves: not every server says so when it is sent to."""
    tasks = [asyncio.create_task(sending), asyncio.create_task(_leaving(receive))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        sent, _ = await asyncio.gather(*tasks, return_exceptions=True)
    if isinstance(sent, Exception):
        raise sent


async def _leaving(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def deliver(reply: Reply, effect: Effect, send: Send) -> None:
    """Send a reply; to a client that left there is nothing to send.

    Raises:
        ConnectionDropped: The fault wants the connection closed here.
    """
    with suppress(OSError):  # how servers say that the client left (ASGI 2.4)
        await _deliver(reply, effect, send)


async def _deliver(reply: Reply, effect: Effect, send: Send) -> None:
    if effect.delivery == "drop":
        raise ConnectionDropped(reset=effect.reset, refuse_for=effect.refuse_for)
    length = len(reply.body) if effect.content_length is None else effect.content_length
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    # RFC 9110 §8.6: no content-length with No Content.
    if reply.status != HTTPStatus.NO_CONTENT and not effect.unsized:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if effect.delivery == "drip":
        await _drip(reply.body, effect, send)
    elif effect.delivery == "truncate":
        await _part(reply.body[: effect.amount], send)
        raise ConnectionDropped(reset=effect.reset)
    else:
        await send({"type": "http.response.body", "body": reply.body})
    if effect.content_length is not None and effect.content_length != len(reply.body):
        raise ConnectionDropped


async def _drip(body: bytes, effect: Effect, send: Send) -> None:
    for start in range(0, len(body), effect.amount):
        await _part(body[start : start + effect.amount], send)
        await asyncio.sleep(effect.interval)
    await send({"type": "http.response.body", "body": b""})


async def _part(body: bytes, send: Send) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
