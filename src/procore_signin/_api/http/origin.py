"""Where the token may go: only to the API origin of its environment (row P1)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Self

import httpx2

from procore_signin._api.errors import NotSent

# Browsers and some servers read a backslash as a slash.
_PORTS: Final = {"http": 80, "https": 443}
_TWO_SLASHES: Final = re.compile(r"\s*[/\\]{2}")


class Origin(NamedTuple):
    """Scheme, host and port of a URL (RFC 6454). httpx2 has the like from 2.10 on.

    Attributes:
        scheme: In lower case.
        host: In lower case, as it is sent.
        port: None for the scheme's own.
    """

    scheme: str
    host: str
    port: int | None

    @classmethod
    def of(cls, url: httpx2.URL | str) -> Self:
        """Return the origin of an absolute URL."""
        url = httpx2.URL(url)
        default = _PORTS.get(url.scheme)
        return cls(
            url.scheme, url.raw_host.decode("ascii"), None if url.port == default else url.port
        )


def refuse_elsewhere(request: httpx2.Request, origin: Origin) -> None:
    """Raise unless `request` goes to exactly the scheme, host and port of `origin`.

    Raises:
        NotSent: It goes elsewhere, or its URL names a user.
    """
    url = request.url
    if url.is_relative_url or Origin.of(url) != origin:
        raise NotSent(
            f"A request was not sent, because it does not go to {shown(origin)}",
            hint="Pass the path of the API only, such as /rest/v1.0/me. An address that came from"
            " elsewhere, such as the body of a response, is not followed with the user's token.",
            method=request.method,
            path=url.path,
        )
    if url.userinfo:
        raise NotSent(
            "A request was not sent, because its address names a user",
            hint="The token is the only credential that Procore's API takes.",
            method=request.method,
            path=url.path,
        )


def refuse_ambiguous(method: str, url: httpx2.URL | str) -> None:
    """Raise if `url` is neither a path nor an absolute URL.

    httpx2 would read `//elsewhere/path` as `/path`. Nothing leaks, but that is not what the caller
    meant.

    Raises:
        NotSent: It is neither a path nor an absolute URL.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        raise NotSent(
            "A request was not sent, because its address is not a URL", method=method
        ) from None
    names_more = parsed.scheme or parsed.host or parsed.userinfo
    if parsed.is_relative_url and (names_more or _TWO_SLASHES.match(str(url))):
        raise NotSent(
            "A request was not sent, because its address is neither a path nor an absolute URL",
            hint="Pass the path of the API only, such as /rest/v1.0/me.",
            method=method,
            path=parsed.path,
        )


def shown(origin: Origin) -> str:
    """Return `origin` as text, such as `https://api.procore.com`."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    port = "" if origin.port is None else f":{origin.port}"
    return f"{origin.scheme}://{host}{port}"
