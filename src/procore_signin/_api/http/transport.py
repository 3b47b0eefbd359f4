"""The transport of requests to Procore's API, and the only code that sends the token.

The token is not in the headers of the `httpx2.Request` that callers, hooks and tracebacks see. It
is kept in an extension of the request, added to the headers here, and valid for one sending: a
request that httpx2 makes itself, to follow a redirect, has no token and is refused (rows P1, P3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from procore_signin._api import company
from procore_signin._api.errors import NotSent
from procore_signin._api.http.body import (
    ENCODING,
    AsyncBoundedStream,
    BoundedStream,
    Inflow,
    bounded,
)
from procore_signin._api.http.origin import Origin, refuse_elsewhere
from procore_signin._api.options import ApiOptions
from procore_signin._protocol.secret import Secret
from procore_signin._transport.deadline import waits

BEARER: Final = "procore_signin.bearer"
"""Extension of a request: the token to send it with, once."""

ROUTE: Final = "procore_signin.route"
"""Extension of a response: its `Route`, for `downloads.py`."""

_OURS: Final = {b"authorization", b"host", b"accept-encoding"}


@dataclass(frozen=True, slots=True)
class Route:
    """The origin, connections and options that a response came by.

    Attributes:
        origin: The origin that its client may send a token to.
        wire: The connections.
        options: The options of its client.
    """

    origin: Origin
    wire: httpx2.BaseTransport | httpx2.AsyncBaseTransport
    options: ApiOptions


class ApiTransport(httpx2.BaseTransport):
    """Checks and sends requests, on connections that it does not own.

    Args:
        api_origin: The only place to send to, such as `https://api.procore.com`.
        wire: The connections.
        options: Deadline and sizes.
    """

    def __init__(self, api_origin: str, wire: httpx2.BaseTransport, options: ApiOptions) -> None:
        self._origin = Origin.of(api_origin)
        self._wire = wire
        self._options = options

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response to `request`, whatever its status.

        Raises:
            NotSent: The request goes to another origin, or has no token or a bad header.
            ApiUnreachable: No response came in time.
            UnexpectedAnswer: The response is too large or has another encoding.
        """
        response = self._wire.handle_request(outgoing(request, self._origin, self._options))
        return incoming(response, request, Route(self._origin, self._wire, self._options))


class AsyncApiTransport(httpx2.AsyncBaseTransport):
    """The async `ApiTransport`."""

    def __init__(
        self, api_origin: str, wire: httpx2.AsyncBaseTransport, options: ApiOptions
    ) -> None:
        self._origin = Origin.of(api_origin)
        self._wire = wire
        self._options = options

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As `ApiTransport.handle_request`."""
        sent = outgoing(request, self._origin, self._options)
        response = await self._wire.handle_async_request(sent)
        return await async_incoming(
            response, request, Route(self._origin, self._wire, self._options)
        )


def incoming(response: httpx2.Response, request: httpx2.Request, route: Route) -> httpx2.Response:
    """Return `response` with a bounded body, or close it and raise `UnexpectedAnswer`."""
    try:
        inflow = Inflow(response, request, route.options.max_body)
    except BaseException:  # in every case, the connection is released
        response.close()
        raise
    assert isinstance(response.stream, httpx2.SyncByteStream)  # noqa: S101  # for the type checker
    response.extensions[ROUTE] = route
    return bounded(response, BoundedStream(response.stream, inflow))


async def async_incoming(
    response: httpx2.Response, request: httpx2.Request, route: Route
) -> httpx2.Response:
    """The async `incoming`."""
    try:
        inflow = Inflow(response, request, route.options.max_body)
    except BaseException:  # as above
        await response.aclose()
        raise
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101  # for the type checker
    response.extensions[ROUTE] = route
    return bounded(response, AsyncBoundedStream(response.stream, inflow))


def outgoing(request: httpx2.Request, origin: Origin, options: ApiOptions) -> httpx2.Request:
    """Return the request that is really sent: to `origin`, with its token and a deadline.

    Raises:
        NotSent: It goes to another origin, has no token, or has an invalid company id.
    """
    bearer = request.extensions.pop(BEARER, None)
    refuse_elsewhere(request, origin)
    call: dict[str, Any] = {"method": request.method, "path": request.url.path}
    if not isinstance(bearer, Secret):
        raise NotSent(
            "A request was not sent, because it is not one that the token was given for",
            hint="Redirects are not followed, and a call cannot bring its own auth. Use"
            " follow_download for a file that Procore keeps elsewhere.",
            **call,
        )
    named = [value for name, value in request.headers.raw if name.lower() == _COMPANY]
    if len(named) > 1 or not all(map(company.is_company_header, named)):
        raise NotSent(
            f"A request was not sent, because its {company.HEADER} is not a company id", **call
        )
    headers = [(name, value) for name, value in request.headers.raw if name.lower() not in _OURS]
    headers += [
        (b"Host", request.url.netloc),
        (b"Accept-Encoding", ENCODING.encode()),
        (b"Authorization", b"Bearer " + bearer.reveal().encode()),
    ]
    return httpx2.Request(
        request.method,
        request.url,
        headers=headers,
        stream=request.stream,
        extensions=deadline_of(request.extensions.get("timeout", {}), options),
    )


def deadline_of(timeouts: Mapping[str, float | None], options: ApiOptions) -> dict[str, Any]:
    """Return the extensions of a request that starts now, with `timeouts` and the deadline."""
    return {"timeout": waits(timeouts, options.deadline, options.monotonic)}


_COMPANY: Final = company.HEADER.lower().encode()
