"""How long a server asks us to stay away."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from procore_signin._protocol.wire import HttpResponse

LONGEST_WAIT: Final = 3600.0
"""Seconds. Procore's longest rate limit window is an hour; a longer wait is a wrong clock."""

_SECONDS: Final = re.compile(r"[0-9]{1,12}")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HTTP_DATE: Final = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)


def retry_after(response: HttpResponse, received_at: float) -> float | None:
    """Return the seconds to wait that the server asks for, 0 to 3600, or None.

    `Retry-After` counts first (RFC 9110 §10.2.3: seconds or a date). `X-Rate-Limit-Reset`, seconds
    since 1970, counts under 429 only: Procore sends it with every answer, and it says nothing
    about an outage. What cannot be read counts as absent.

    Args:
        response: As the transport received it.
        received_at: When it came: UTC, seconds since 1970, by our own clock.
    """
    value = response.headers.get("retry-after", "")
    wait: float | None = None
    if _SECONDS.fullmatch(value):
        wait = float(value)
    elif (date := _http_date(value)) is not None:
        wait = date - received_at
    elif response.status == HTTPStatus.TOO_MANY_REQUESTS:
        reset = response.headers.get("x-rate-limit-reset", "")
        if _SECONDS.fullmatch(reset):
            wait = float(reset) - received_at
    return None if wait is None else min(max(wait, 0.0), LONGEST_WAIT)


def _http_date(value: str) -> float | None:
    """Return the time of an IMF-fixdate (RFC 9110 §5.6.7), or None.

    Not `strptime`: it reads the names of months in the language of the process.
    """
    match = _HTTP_DATE.fullmatch(value)
    if match is None or match[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
    try:
        date = datetime(year, _MONTHS.index(match[2]) + 1, day, hour, minute, second, tzinfo=UTC)
    except ValueError:  # 31 Feb
        return None
    return date.timestamp()
