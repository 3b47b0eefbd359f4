"""Files that Procore keeps elsewhere: follow where it points, without the person's token.

A file's address at Procore answers with a redirect to a storage service, whose address is a
credential of its own (Procore's announcements on file access). The token must not get there.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Final

import httpx2

from procore_signin._api.clients import USER_AGENT
from procore_signin._api.errors import UnexpectedAnswer
from procore_signin._api.http.body import ENCODING
from procore_signin._api.http.transport import (
    ROUTE,
    Route,
    async_incoming,
    deadline_of,
    incoming,
)

MAX_FILE: Final = 1024 * 1024 * 1024
"""Bytes. It is streamed, not held in memory."""

FILE_SECONDS: Final = 600.0
MAX_HOPS: Final = 5

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_PUBLIC_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+[a-z][a-z0-9-]{{0,61}}[a-z0-9]")
# Names that RFC 6761, 6762, 8375, 9476 and ICANN keep out of the public DNS.
_NEVER_PUBLIC: Final = re.compile(
    r"(^|\.)(localhost|localdomain|local|internal|intranet|lan|home|corp|private|home\.arpa|alt|onion)$"
)


@contextmanager
def follow_download(
    response: httpx2.Response, *, deadline: float = FILE_SECONDS, max_body: int = MAX_FILE
) -> Iterator[httpx2.Response]:
    """Give the file that `response` points to, its body unread: use `iter_bytes()`.

    ```python
    with follow_download(api.get(file["url"])) as stored:
        for part in stored.iter_bytes(): ...
    ```

    Nothing is sent there but a plain GET: no token, no cookie, no company. The address is not
    logged. Only a host that has a name of the public DNS is asked, by https, and only once its
    certificate has shown that it is the one of that name: a name that leads into your own network
    ends there, whatever it resolves to.

    Args:
        response: A redirect that a client of this package returned.
        deadline: Seconds for each exchange, from connecting to the last byte.
        max_body: The largest file, in bytes.

    Raises:
        UnexpectedAnswer: `response` is no redirect, it leads where no file can be, it leads on and
            on, or the file is too large.
        ApiUnreachable: No response came in time.
        TypeError: `response` came from another client.
    """
    route = _route(response, deadline, max_body)
    assert isinstance(route.wire, httpx2.BaseTransport)  # noqa: S101  # the client was not async
    here = response
    for _ in range(MAX_HOPS):
        request = _next(here, route)
        here = incoming(route.wire.handle_request(request), request, route)
        here.request = request
        if not here.has_redirect_location:
            break
        here.close()
    try:
        yield _arrived(here)
    finally:
        here.close()


@asynccontextmanager
async def afollow_download(
    response: httpx2.Response, *, deadline: float = FILE_SECONDS, max_body: int = MAX_FILE
) -> AsyncIterator[httpx2.Response]:
    """As `follow_download`, for tasks: use `aiter_bytes()`."""
    route = _route(response, deadline, max_body)
    assert isinstance(route.wire, httpx2.AsyncBaseTransport)  # noqa: S101  # the client was async
    here = response
    for _ in range(MAX_HOPS):
        request = _next(here, route)
        answer = await route.wire.handle_async_request(request)
        here = await async_incoming(answer, request, route)
        here.request = request
        if not here.has_redirect_location:
            break
        await here.aclose()
    try:
        yield _arrived(here)
    finally:
        await here.aclose()


def _route(response: httpx2.Response, deadline: float, max_body: int) -> Route:
    route = response.extensions.get(ROUTE)
    if not isinstance(route, Route):
        raise TypeError("Pass the response of a client that was made by client_for")
    return replace(route, options=replace(route.options, deadline=deadline, max_body=max_body))


def _next(response: httpx2.Response, route: Route) -> httpx2.Request:
    """Return the request for the place that `response` points to."""
    if not response.has_redirect_location:
        raise _unexpected(response, "leads nowhere", "Check its status with raise_for_procore.")
    try:
        url = response.url.join(response.headers["location"])
    except httpx2.InvalidURL:
        raise _unexpected(response, "leads to something that is no address") from None
    if url.is_relative_url or url.userinfo or not _may_hold_files(url, route):
        raise _unexpected(response, "leads where no file of Procore's can be")
    headers = {"Accept": "*/*", "Accept-Encoding": ENCODING, "User-Agent": USER_AGENT}
    timeout = httpx2.Timeout(route.options.timeout).as_dict()
    extensions = deadline_of(timeout, route.options)
    return httpx2.Request("GET", url, headers=headers, extensions=extensions)


def _may_hold_files(url: httpx2.URL, route: Route) -> bool:
    """Return whether `url` is a public https address; beside a local Procore also a local one."""
    if _is_local(route.origin.host) and url.scheme in {"http", "https"} and _is_local(url.host):
        return True
    return url.scheme == "https" and _is_public_name(url.raw_host.decode("ascii"))


def _is_public_name(host: str) -> bool:
    """Return whether `host` is spelled as a name of the public DNS, and as nothing else.

    Programs read addresses from decimal, octal and hexadecimal numbers, from fewer than four of
    them, and from percent signs. To know them all is hopeless, so what is no name is refused: no
    top-level domain begins with a digit or has no label before it, and none is spelled with a dot
    at its end, which other checks of a name would miss (RFC 1123 §2.1, RFC 3696 §2).
    """
    return bool(_PUBLIC_NAME.fullmatch(host)) and not _NEVER_PUBLIC.search(host)


def _is_local(host: str) -> bool:
    return host in {"localhost", "127.0.0.1", "::1"} or host.endswith(".localhost")


def _arrived(response: httpx2.Response) -> httpx2.Response:
    if response.has_redirect_location:
        raise _unexpected(response, "leads on and on")
    return response


def _unexpected(response: httpx2.Response, what: str, hint: str | None = None) -> UnexpectedAnswer:
    # Of a storage address not even the path is shown: some carry their credential in it.
    return UnexpectedAnswer(
        f"A file's address {what} (status {response.status_code})",
        status=response.status_code,
        method="GET",
        hint=hint,
    )
