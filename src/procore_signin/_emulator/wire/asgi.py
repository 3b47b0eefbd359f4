"""The ASGI application: from the server's messages to a `Request`, and back.

Plain ASGI with no framework between: three requests make a sign-in, and a test suite makes many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from procore_signin._emulator.control.endpoints import Control
from procore_signin._emulator.inspector.endpoints import Inspector, handles
from procore_signin._emulator.pages import VERSION
from procore_signin._emulator.procore import LocalProcore
from procore_signin._emulator.wire.body import Bodies, BodyRefused, ClientLeft
from procore_signin._emulator.wire.handling import NO_FAULT, handle
from procore_signin._emulator.wire.messages import Headers, Reply, Request, text_reply
from procore_signin._emulator.wire.responses import deliver, unless_left
from procore_signin._emulator.world.hosts import is_this_machine

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))


class EmulatorApp:
    """The whole emulator as an ASGI application, to serve or to mount under any path prefix.

    Args:
        procore: The emulated Procore.
    """

    def __init__(self, procore: LocalProcore) -> None:
        self.procore = procore
        self.bodies = Bodies()
        self._control = Control(procore)
        self._inspector = Inspector(procore.journal, app_url=procore.app_url, version=VERSION)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one HTTP request, or the server's start and stop."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise NotImplementedError(f"The emulator speaks HTTP, not {scope['type']}")
        pairs = _pairs(scope)
        headers = _by_name(pairs)
        refused = _refuse_stranger(scope, headers)
        if refused is not None:
            await deliver(refused, NO_FAULT, send)
            return
        root = scope.get("root_path", "")
        path = scope["path"].removeprefix(root)
        if handles(path):
            await self._inspector.answer({**scope, "path": path, "root_path": root}, receive, send)
            return
        request = Request(
            method=scope["method"],
            path=path.rstrip("/") or "/",
            query=_query(scope["query_string"]),
            headers=headers,
            origin=f"{scope.get('scheme', 'http')}://{headers['host']}",
            root=root,
        )
        controls = path.startswith("/_emulator")
        reads_body = self._control.reads_body if controls else self.procore.reads_body
        if reads_body(request):
            try:
                body = await self.bodies.read(headers, receive)
            except BodyRefused as refusal:
                await deliver(refusal.reply, NO_FAULT, send)
                return
            except ClientLeft:
                return
            request = request.with_body(body)
        if controls:
            await deliver(self._control.answer(request), NO_FAULT, send)
        else:
            await self._exchange(request, pairs, receive, send)

    async def _exchange(
        self, request: Request, pairs: Headers, receive: Receive, send: Send
    ) -> None:
        """Respond to a request to the emulated Procore, with the fault that is due, if any."""
        carried_out = handle(self.procore, request, pairs)
        try:
            while True:  # noqa: ASYNC110  # the waits of `handle`, not a poll
                await asyncio.sleep(next(carried_out))
        except StopIteration as end:
            reply, effect = end.value
        if effect.delivery == "drip":
            await unless_left(deliver(reply, effect, send), receive)
        else:
            await deliver(reply, effect, send)


def is_origin_of(origin: str, host: str) -> bool:
    """Say whether an `Origin` is that of the `Host` that was asked; names have no case."""
    return origin.partition("://")[2].lower() == host.lower()


def _refuse_stranger(scope: Message, headers: dict[str, str]) -> Reply | None:
    """Refuse what no client of a local emulator sends.

    A web page elsewhere may reach this machine through the browser: under a name of its own that
    resolves to 127.0.0.1, or with a form that changes something under `/_emulator`.
    """
    host = headers.get("host")
    try:
        name = urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        name = None
    if not is_this_machine(name):
        return text_reply(
            421,
            "The emulator accepts only localhost, names that end in .localhost, 127.0.0.1 and "
            "[::1] only, not this host.\n",
        )
    if scope["method"] in {"GET", "HEAD"} or "/_emulator" not in scope["path"]:
        return None
    site = headers.get("sec-fetch-site", "none")
    origin = headers.get("origin", f"http://{host}")
    if site not in {"none", "same-origin"} or not is_origin_of(origin, host or ""):
        return text_reply(403, "Another site's page may not control the emulator.\n")
    return None


def _pairs(scope: Message) -> Headers:
    return tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
    )


def _by_name(pairs: Headers) -> dict[str, str]:
    headers = dict(pairs)
    if len(headers) == len(pairs):
        return headers
    repeated: dict[str, list[str]] = {}
    for name, value in pairs:
        repeated.setdefault(name, []).append(value)
    return {
        name: ("; " if name == "cookie" else ", ").join(values) for name, values in repeated.items()
    }


def _query(raw: bytes) -> str:
    """Return the query as text, bytes beyond ASCII percent-encoded."""
    return raw.decode() if raw.isascii() else quote(raw, safe=_ASCII)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
