"""Connections to the emulator in this process, in place of those to Procore.

Any origin leads there: the application keeps the environment that its settings name.
"""

from __future__ import annotations

from typing import Any, Final

import httpcore2
import httpx2

from procore_signin._api.http.wire import failed
from procore_signin._emulator.wire.in_process import InProcess, Unanswered
from procore_signin._emulator.wire.messages import Headers, Reply
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._transport import limits
from procore_signin.errors import ProcoreUnavailable

_API_DEADLINE: Final = 60.0


class EmulatedTransport:
    """A sync `Transport` to the emulator.

    Args:
        place: Where the emulator is.
    """

    def __init__(self, place: InProcess) -> None:
        self._place = place

    def send(self, request: HttpRequest) -> HttpResponse:
        """Return the response to `request`: see `Transport.send`."""
        try:
            return _response(self._place.ask(*_sent(request), deadline=limits.LONGEST_DEADLINE))
        except Unanswered as error:
            raise _unavailable(request, error) from None

    def close(self) -> None:
        """Keep the emulator: the test ends it."""


class AsyncEmulatedTransport:
    """The async `EmulatedTransport`."""

    def __init__(self, place: InProcess) -> None:
        self._place = place

    async def send(self, request: HttpRequest) -> HttpResponse:
        """As `EmulatedTransport.send`."""
        deadline = limits.LONGEST_DEADLINE
        try:
            return _response(await self._place.aask(*_sent(request), deadline=deadline))
        except Unanswered as error:
            raise _unavailable(request, error) from None

    async def aclose(self) -> None:
        """As `EmulatedTransport.close`."""


class EmulatedWire(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Connections to the emulated API, for both kinds of clients.

    Args:
        place: Where the emulator is.
    """

    def __init__(self, place: InProcess) -> None:
        self._place = place

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response to `request`.

        Raises:
            ApiUnreachable: A fault of the emulator ended the exchange.
        """
        asked = _asked(request, request.read())
        try:
            return _for_httpx(self._place.ask(*asked, deadline=_API_DEADLINE))
        except Unanswered as error:
            failure = failed(request, _as_on_a_wire(error))
        raise failure

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As `handle_request`."""
        asked = _asked(request, await request.aread())
        try:
            return _for_httpx(await self._place.aask(*asked, deadline=_API_DEADLINE))
        except Unanswered as error:
            failure = failed(request, _as_on_a_wire(error))
        raise failure


def _sent(request: HttpRequest) -> tuple[str, str, Headers, bytes]:
    return request.method, request.url, request.headers, request.body


def _response(reply: Reply) -> HttpResponse:
    return HttpResponse(reply.status, dict(reply.headers), reply.body)


def _unavailable(request: HttpRequest, error: Unanswered) -> ProcoreUnavailable:
    if not error.sent:
        return limits.not_sent(request, "the emulator refuses connections")
    if not error.in_time:
        return limits.not_in_time(request, "the emulator waited for too long")
    return limits.cut_off(request, "the emulator closed the connection")


def _asked(request: httpx2.Request, body: bytes) -> tuple[str, str, Headers, bytes]:
    headers = tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in request.headers.raw
    )
    return request.method, str(request.url), headers, body


def _for_httpx(reply: Reply) -> httpx2.Response:
    headers: list[tuple[str, str]] = [*reply.headers, ("content-length", str(len(reply.body)))]
    known: dict[str, Any] = {"http_version": b"HTTP/1.1", "reason_phrase": b""}
    return httpx2.Response(
        reply.status, headers=headers, stream=httpx2.ByteStream(reply.body), extensions=known
    )


def _as_on_a_wire(error: Unanswered) -> Exception:
    if not error.sent:
        return httpcore2.ConnectError("the emulator refuses connections")
    if not error.in_time:
        return httpcore2.ReadTimeout("the emulator waited for too long")
    return httpcore2.RemoteProtocolError("the emulator closed the connection")
