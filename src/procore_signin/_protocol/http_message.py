"""HTTP as the protocol sees it: a request and a response."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from procore_signin._protocol.value import value

LARGEST_KEPT: Final = 1024 * 1024
"""The most bytes kept of a response that cannot be requested again, both raw and decompressed. A
token response has half a kilobyte."""

UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]*")
"""What stands for itself in every part of a URL (RFC 3986 §2.3): most of what we send."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to Procore. Its repr shows the method and the address without the query.

    Attributes:
        method: Such as `POST`.
        url: Absolute, with the query where there is one.
        headers: Names and values; names in lower case.
        body: The bytes to send.
        repeatable: False if the response cannot be requested again, because the request spends its
            grant. The transport then returns whatever it received of a success.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    repeatable: bool = True

    def __repr__(self) -> str:
        return f"<{self.method} {self.url.partition('?')[0]}>"


@value(frozen=True, slots=True)
class HttpResponse:
    """A response from Procore. Its repr shows the status and the size.

    Attributes:
        status: The HTTP status code.
        headers: Names in lower case; the last value of a repeated name. A header that is not ASCII
            is left out: HTTP allows such bytes without a meaning (RFC 9110 §5.5).
        body: The whole body, already capped by the transport.
        whole: False if the body is incomplete, or cut after `LARGEST_KEPT` bytes. This happens only
            with a request that is not repeatable.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True

    def __repr__(self) -> str:
        return f"<{self.status}, {len(self.body)} bytes>"
