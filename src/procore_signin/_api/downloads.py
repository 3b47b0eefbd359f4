"""Files that Procore stores elsewhere: follow its redirect, without the user's token.

A file's URL at Procore redirects to a storage service, whose URL is itself a credential (Procore's
announcements on file access). The token must not go there.
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
"""Bytes. The file is streamed, not held in memory."""

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
    """Return the response with the file that `response` redirects to; read it with `iter_bytes()`.

    ```python
    with follow_download(api.get(file["url"])) as stored:
        for part in stored.iter_bytes(): ...
    ```

    The request there is a plain GET: no token, no cookie, no company. Its URL is not logged. The
    host must have a name in the public DNS, and is asked over https only, after its certificate was
    verified: so a name that resolves into your own network fails.

    Args:
        response: A redirect that a client of this package returned.
        deadline: Seconds for each request, from connecting to the last byte.
        max_body: The largest file, in bytes.

    Raises:
        UnexpectedAnswer: `response` is not a redirect, it leads to a host that cannot hold files,
            there are too many redirects, or the file is too large.
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
    """The async `follow_download`; read the file with `aiter_bytes()`."""
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
    """Return the request for the URL that `response` redirects to."""
    if not response.has_redirect_location:
        raise _unexpected(response, "leads nowhere", "Check its status with raise_for_procore.")
    try:
        url = response.url.join(response.headers["location"])
    except httpx2.InvalidURL:
        raise _unexpected(response, "leads to something that is not a URL") from None
    if url.is_relative_url or url.userinfo or not _may_hold_files(url, route):
        raise _unexpected(response, "leads to a host that cannot hold Procore's files")
    headers = {"Accept": "*/*", "Accept-Encoding": ENCODING, "User-Agent": USER_AGENT}
    timeout = httpx2.Timeout(route.options.timeout).as_dict()
    extensions = deadline_of(timeout, route.options)
    return httpx2.Request("GET", url, headers=headers, extensions=extensions)


def _may_hold_files(url: httpx2.URL, route: Route) -> bool:
    """Return whether `url` is a public https URL, or a local URL when Procore is local."""
    if _is_local(route.origin.host) and url.scheme in {"http", "https"} and _is_local(url.host):
        return True
    return url.scheme == "https" and _is_public_name(url.raw_host.decode("ascii"))


def _is_public_name(host: str) -> bool:
    """Return whether `host` is a name in the public DNS, and cannot be read as an IP address.

    Programs read IP addresses from decimal, octal and hexadecimal numbers, from fewer than four of
    them, and from percent escapes. A list of all spellings cannot be complete, so everything that
    is not a name is refused: a top-level domain does not begin with a digit and has a label before
    it. A final dot is refused too, because other checks of names would miss it (RFC 1123 §2.1, RFC
    3696 §2).
    """
    return bool(_PUBLIC_NAME.fullmatch(host)) and not _NEVER_PUBLIC.search(host)


def _is_local(host: str) -> bool:
    return host in {"localhost", "127.0.0.1", "::1"} or host.endswith(".localhost")


def _arrived(response: httpx2.Response) -> httpx2.Response:
    if response.has_redirect_location:
        raise _unexpected(response, "leads through too many redirects")
    return response


def _unexpected(response: httpx2.Response, what: str, hint: str | None = None) -> UnexpectedAnswer:
    # Not even the path of a storage URL is shown: some have their credential in it.
    return UnexpectedAnswer(
        f"A file's address {what} (status {response.status_code})",
        status=response.status_code,
        method="GET",
        hint=hint,
    )
