"""The only HTTP that the protocol knows: a request to send and the response that came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LARGEST_KEPT: Final = 1024 * 1024
"""Bytes that are kept of a response that cannot be asked for again, as it came and decompressed. A
token response has half a kilobyte."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to Procore. Its repr shows the method and the address without the query.

    Attributes:
        method: Such as `POST`.
        url: Absolute, with the query where there is one.
        headers: Names and values; names in lower case.
        body: The bytes to send.
        repeatable: False where the response cannot be asked for again, because the request spends
            what it carries. Of a success the transport then brings back whatever came.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    repeatable: bool = True

    def __repr__(self) -> str:
        return f"<{self.method} {self.url.partition('?')[0]}>"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What Procore answered. Its repr shows the status and the size.

    Attributes:
        status: The HTTP status code.
        headers: Names in lower case; the last value of a repeated name. One that is not ASCII is
            left out: HTTP allows the byte and gives it no meaning (RFC 9110 §5.5).
        body: The whole body, already capped by the transport.
        whole: False where the body is only what came of it, or the first `LARGEST_KEPT` bytes. This
            happens to no request but one that is not repeatable.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True

    def __repr__(self) -> str:
        return f"<{self.status}, {len(self.body)} bytes>"
