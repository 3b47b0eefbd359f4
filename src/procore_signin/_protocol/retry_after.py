"""The time that a server asks its clients to wait."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from procore_signin._protocol.http_date import http_date
from procore_signin._protocol.http_message import HttpResponse

LONGEST_WAIT: Final = 3600.0
"""Seconds. Procore's longest rate limit window is an hour; a longer wait means a wrong clock."""

_SECONDS: Final = re.compile(r"[0-9]{1,12}")


def retry_after(response: HttpResponse, received_at: float) -> float | None:
    """Return the seconds to wait that the server asks for, 0 to 3600, or None.

    `Retry-After` counts first (RFC 9110 §10.2.3: seconds or a date). `X-Rate-Limit-Reset`, seconds
    since 1970, counts under 429 only: Procore sends it with every response, and it says nothing
    about an outage. A value that cannot be parsed counts as absent.

    Args:
        response: As the transport received it.
        received_at: When it came: UTC, seconds since 1970, by our own clock.
    """
    value = response.headers.get("retry-after", "")
    wait: float | None = None
    if _SECONDS.fullmatch(value):
        wait = float(value)
    elif (date := http_date(value)) is not None:
        wait = date - received_at
    elif response.status == HTTPStatus.TOO_MANY_REQUESTS:
        reset = response.headers.get("x-rate-limit-reset", "")
        if _SECONDS.fullmatch(reset):
            wait = float(reset) - received_at
    return None if wait is None else min(max(wait, 0.0), LONGEST_WAIT)
