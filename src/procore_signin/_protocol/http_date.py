"""The time in a header such as `Date` or `Retry-After`."""

from __future__ import annotations

from email.utils import format_datetime, parsedate_to_datetime


def http_date(value: str) -> float | None:
    """Return the time of an IMF-fixdate (RFC 9110 §5.6.7), in seconds since 1970, or None.

    The standard library's parser is made for mail and reads nearly everything as a date. So only
    text that its formatter would write counts: no other zone, no obsolete form, no second 60,
    nothing before or after it.
    """
    try:
        date = parsedate_to_datetime(value)
        return date.timestamp() if format_datetime(date, usegmt=True) == value else None
    except (ValueError, OverflowError):  # not a date; without a zone or in another one; 31 Feb
        return None
