"""Reading the body of a request: not longer, not later and not more of them than can be held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from procore_signin._emulator.wire.messages import Reply, text_reply

MAX_BODY: Final = 1_048_576
"""The longest body of a request, in bytes; the response to a longer one is 413."""

BODY_DEADLINE: Final = 10.0
"""Seconds from a request's head to the end of its body; the response to a later one is 408."""

_ORDINARY: Final = 65_536
_MOST_HELD: Final = 64 * MAX_BODY
"""Bytes of all bodies that are being read, from which only ordinary ones are taken."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientLeft(Exception):
    """The client broke off its request: there is no connection to respond on."""


class BodyRefused(Exception):
    """The body is not read to its end; `reply` says why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        # The rest of the body is still to come: nothing after it can be read either.
        self.reply: Final[Reply] = text_reply(status, f"{why}\n", ("connection", "close"))


class Bodies:
    """Reads bodies whole, under bounds of length, time and memory.

    Args:
        deadline: See `BODY_DEADLINE`.
    """

    def __init__(self, deadline: float = BODY_DEADLINE) -> None:
        self.deadline = deadline
        self._held = 0

    async def read(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """Return the whole body.

        Raises:
            BodyRefused: It is too long, by what its head says already or as it grows, or too slow.
            ClientLeft: It breaks off.
        """
        if is_too_long(headers):
            raise _long()
        try:
            async with asyncio.timeout(self.deadline):
                return await self._collect(receive)
        except TimeoutError:
            why = f"The rest of the body did not come within {self.deadline:g} seconds."
            raise BodyRefused(HTTPStatus.REQUEST_TIMEOUT, why) from None

    async def _collect(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                part: bytes = message.get("body", b"")
                parts.append(part)
                size += len(part)
                self._held += len(part)
                if size > MAX_BODY:
                    raise _long()
                if not message.get("more_body"):
                    return b"".join(parts)
                if self._held > _MOST_HELD and size > _ORDINARY:
                    why = "The emulator holds as many unfinished bodies as it can."
                    raise BodyRefused(HTTPStatus.SERVICE_UNAVAILABLE, why)
        finally:
            self._held -= size


def is_too_long(headers: Mapping[str, str]) -> bool:
    """Say whether the announced length is more than is taken; a server checks that it is one."""
    digits = headers.get("content-length", "").lstrip("0")
    return digits.isdecimal() and (len(digits) > len(str(MAX_BODY)) or int(digits) > MAX_BODY)


def _long() -> BodyRefused:
    return BodyRefused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The emulator takes bodies of {MAX_BODY} bytes at most.",
    )
