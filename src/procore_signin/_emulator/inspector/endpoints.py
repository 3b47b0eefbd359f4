"""The flow inspector: the tutorial's sequence diagram, drawn live from the journal.

`Inspector.answer` is a plain ASGI application for every path for which `handles` is true:

    GET  /_emulator/                    the page
    GET  /_emulator/events              server-sent events: what changed, as it happens
    GET  /_emulator/exchanges/<number>  one exchange: JSON, or HTML for a browser
    POST /_emulator/clear               forget every exchange
    GET  /_emulator/static/<file>       stylesheet and script, also of the emulator's other pages
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import aclosing, suppress
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qs

from procore_signin._emulator.inspector.pages import InspectorPages, exchange_json, mark_of
from procore_signin._emulator.inspector.story import Story
from procore_signin._emulator.journal import Journal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HEARTBEAT: Final = 15.0
"""Seconds of silence after which a comment is sent, so that a dead connection is noticed."""

_STATIC: Final[Mapping[str, str]] = {
    "emulator.css": "text/css; charset=utf-8",
    "inspector.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # "no-referrer" would make a form's Origin "null"
    (b"cache-control", b"no-store"),
)


def handles(path: str) -> bool:
    """Say whether `Inspector.answer` serves this path."""
    return path in {"/_emulator/", "/_emulator/events", "/_emulator/clear"} or path.startswith(
        ("/_emulator/exchanges/", "/_emulator/static/")
    )


class Inspector:
    """Shows one journal.

    Args:
        journal: Whose exchanges to draw.
        app_url: Where the application that signs in is opened, such as `http://localhost:4567`.
        version: The emulator's version, for the foot of the page.
        heartbeat: Seconds of silence after which an event stream sends a comment.
    """

    def __init__(
        self, journal: Journal, *, app_url: str, version: str, heartbeat: float = HEARTBEAT
    ) -> None:
        self._journal = journal
        self._pages = InspectorPages(app_url=app_url, version=version)
        self._heartbeat = heartbeat
        self._story = Story()
        self._told_up_to = 0
        self._cleared_up_to = 0

    async def answer(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request of the ASGI server."""
        path, method, root = scope["path"], scope["method"], scope.get("root_path", "")
        allowed = "POST" if path == "/_emulator/clear" else "GET"
        if not (method == allowed or (method == "HEAD" and allowed == "GET")):
            await _reply(
                send, 405, "text/plain", f"Use {allowed}.", ((b"allow", allowed.encode()),)
            )
        elif path == "/_emulator/":
            await _reply(send, 200, "text/html; charset=utf-8", self.page_html(root))
        elif path == "/_emulator/events" and method == "GET":
            await self._send_events(scope, receive, send)
        elif path == "/_emulator/clear":
            await self._clear(scope, send)
        elif path.startswith("/_emulator/exchanges/"):
            await self._send_exchange(scope, send, path.removeprefix("/_emulator/exchanges/"))
        else:
            await _send_static(send, path.removeprefix("/_emulator/static/"))

    def page_html(self, root: str = "") -> str:
        """Return the whole page as it stands now; `root` is where the emulator is mounted."""
        self._catch_up()
        return self._pages.page(self._story, self._mark(), root)

    async def event_stream(self, after: str, root: str = "") -> AsyncGenerator[bytes, None]:
        """Yield server-sent events: `chapter` for what changed, `cleared` when all is gone.

        Every `chapter` carries, as JSON, the id and HTML of one sign-in as it now stands, whether
        it is the newest, and what to say about it. The stream ends after `cleared`.

        Args:
            after: The mark up to which the receiver knows the story: the page's, or the id of the
                last event. An unknown one, as of a restarted emulator, gets `cleared`.
            root: Path prefix under which the emulator is mounted, or nothing.
        """
        subscription = self._journal.subscribe()
        try:
            known = self._known(after)
            cleared_up_to = self._journal.cleared_up_to
            yield b"retry: 1000\n\n"
            while known is not None and cleared_up_to == self._journal.cleared_up_to:
                events, known = self._news(known, root)
                for event in events:
                    yield event
                if not await subscription.wait(self._heartbeat):
                    yield b": still here\n\n"
            yield b"event: cleared\ndata: {}\n\n"
        finally:
            self._journal.unsubscribe(subscription)

    def _catch_up(self) -> None:
        if self._cleared_up_to != self._journal.cleared_up_to:
            self._story = Story()
            self._cleared_up_to = self._told_up_to = self._journal.cleared_up_to
        for exchange in self._journal.exchanges(after=self._told_up_to):
            self._story.add(exchange)
            self._told_up_to = exchange.number

    def _mark(self) -> str:
        newest = self._journal.exchange(self._told_up_to)
        return str(self._told_up_to) if newest is None else mark_of(newest)

    def _known(self, mark: str) -> int | None:
        """Return the number in a mark, or None when it is not of this journal as it is now."""
        before = mark.partition(".")[0]
        number = int(before) if _is_number(before) else -1
        if "." in mark:
            exchange = self._journal.exchange(number)
            return number if exchange is not None and mark_of(exchange) == mark else None
        return (
            number if self._journal.cleared_up_to <= number <= self._journal.last_number else None
        )

    def _news(self, known: int, root: str) -> tuple[list[bytes], int]:
        """Return the events of everything newer than `known`, and what is known after them."""
        self._catch_up()
        sign_ins = list(self._story.sign_ins)
        changed = [
            chapter
            for chapter in (*sign_ins, self._story.others)
            if chapter.exchanges and chapter.exchanges[-1].number > known
        ]
        begun = [place for place, one in enumerate(sign_ins) if one.exchanges[0].number > known]
        if begun and begun[0] > 0 and sign_ins[begun[0] - 1] not in changed:
            # It is no longer the newest, so its steps to come are no longer drawn.
            changed.append(sign_ins[begun[0] - 1])
        events = []
        for chapter in sorted(changed, key=lambda chapter: chapter.exchanges[-1].number):
            data = json.dumps(self._pages.news(self._story, chapter, known, root))
            mark = mark_of(chapter.exchanges[-1])
            events.append(f"event: chapter\nid: {mark}\ndata: {data}\n\n".encode())
        return events, self._told_up_to

    async def _send_events(self, scope: Message, receive: Receive, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        after = _header(scope, b"last-event-id") or query.get("after", ["0"])[0]
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream; charset=utf-8"), *_HEADERS],
            }
        )
        sending = asyncio.create_task(self._send_stream(send, after, scope.get("root_path", "")))
        leaving = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending

    async def _send_stream(self, send: Send, after: str, root: str) -> None:
        async with aclosing(self.event_stream(after, root)) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_exchange(self, scope: Message, send: Send, number: str) -> None:
        self._catch_up()
        exchange = self._journal.exchange(int(number)) if _is_number(number) else None
        if exchange is None:
            message = "There is no such exchange, or it is no longer kept."
            await _reply(send, 404, "text/plain; charset=utf-8", message)
        elif "text/html" in (_header(scope, b"accept") or ""):
            html = self._pages.exchange(self._story, exchange, scope.get("root_path", ""))
            await _reply(send, 200, "text/html; charset=utf-8", html)
        else:
            await _reply(send, 200, "application/json", json.dumps(exchange_json(exchange)))

    async def _clear(self, scope: Message, send: Send) -> None:
        origin = _header(scope, b"origin")
        if origin is not None and origin.partition("://")[2] != _header(scope, b"host"):
            # Another site's page must not reach into the emulator through the browser.
            await _reply(send, 403, "text/plain", "Only this emulator's own page may do this.")
            return
        self._journal.clear()
        location = f"{scope.get('root_path', '')}/_emulator/".encode("latin-1")
        await _reply(send, 303, "text/plain", "Cleared.", ((b"location", location),))


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_static(send: Send, name: str) -> None:
    if name not in _STATIC:
        await _reply(send, 404, "text/plain", "There is no such file.")
        return
    content = resources.files("procore_signin._emulator").joinpath("static", name).read_text()
    await _reply(send, 200, _STATIC[name], content)


async def _reply(
    send: Send,
    status: int,
    content_type: str,
    body: str,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    content = body.encode()
    start = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(content)).encode()),
        *_HEADERS,
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": content, "more_body": False})


def _header(scope: Message, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def _is_number(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) < 20  # noqa: PLR2004 - no giant ints
