"""Procore's rate limits: stay below them, and back off if one is hit (row P5).

Source: Procore's documentation, "Rate Limiting". Two windows, an hour and a spike of ten seconds;
the headers of each response describe the one that will be used up first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from procore_signin._forks import Lock, look_after
from procore_signin._protocol.http_date import http_date
from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.retry_after import LONGEST_WAIT, retry_after

POLL_SECONDS: Final = 0.05
"""Seconds until the next attempt when only requests under way block it."""

FIRST_IN_FLIGHT: Final = 10
"""How many requests may be under way before the first response names a limit."""

_SAME_WINDOW: Final = 2.0
"""Seconds by which the end of one window may seem to move: the headers count whole seconds."""

_MAX_WINDOWS: Final = 8
_NUMBER: Final = re.compile(r"[0-9]{1,12}")


@dataclass(slots=True)
class _Window:
    """One limit. `ends` is None from its end until a response describes the next window."""

    used: int
    ends: float | None


class Pace:
    """Decides when the next request may be sent. Shared by all clients of one front door.

    It counts the requests that the responses report as used, plus those under way that may not be
    in that count yet. So the requests of one process never exceed a limit; those of other processes
    show in the headers, a little late. Procore does not say whether it counts by user, app or
    company: one count for all is the cautious reading. Safe for threads and for asyncio; it never
    waits itself. Every `now` is in seconds of a clock that never runs backwards.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._windows: dict[int, _Window] = {}
        self._in_flight = 0
        self._told = False
        self._shut_until = float("-inf")
        look_after(self)

    def after_fork(self) -> None:
        """Forget the parent's requests under way; the limits are the same here."""
        self._in_flight = 0

    def ask(self, now: float) -> float:
        """Return 0 and count a request as under way, or the seconds to wait before asking again.

        A caller that gets 0 must call `done` when the response has come or has failed.
        """
        with self._lock:
            wait = max(0.0, self._shut_until - now)
            for limit, window in self._windows.items():
                if window.ends is not None and window.ends <= now:
                    window.used, window.ends = 0, None
                if window.used + self._in_flight < limit:
                    continue
                full = window.ends is not None and window.used >= limit
                wait = max(wait, window.ends - now if full and window.ends else POLL_SECONDS)
            if not self._told and self._in_flight >= FIRST_IN_FLIGHT:
                wait = max(wait, POLL_SECONDS)
            if wait == 0:
                self._in_flight += 1
            return wait

    def done(self) -> None:
        """Count a request as no longer under way."""
        with self._lock:
            self._in_flight = max(0, self._in_flight - 1)  # a call may have gone through a fork

    def learn(self, headers: Mapping[str, str], *, clock: float, now: float) -> None:
        """Read the limits from a response's headers. Invalid values are ignored.

        Args:
            headers: The response's headers.
            clock: UTC seconds, used if the server sends no `Date`.
            now: As above.
        """
        numbers = [headers.get(f"x-rate-limit-{name}", "") for name in _NAMES]
        with self._lock:
            self._told = True
            if not all(map(_NUMBER.fullmatch, numbers)):
                return
            limit, remaining, reset = map(int, numbers)
            left = reset - server_time(headers, clock)
            if 0 <= remaining <= limit and limit > 0 and 0 < left <= LONGEST_WAIT:
                self._count(limit, limit - remaining, now + left)

    def stand_back(self, until: float) -> None:
        """Send no request before `until`."""
        with self._lock:
            self._shut_until = max(self._shut_until, until)

    def _count(self, limit: int, used: int, ends: float) -> None:
        window = self._windows.get(limit)
        if window is None or window.ends is None or ends > window.ends + _SAME_WINDOW:
            self._windows[limit] = _Window(used, ends)
        elif ends > window.ends - _SAME_WINDOW:
            # Responses overtake each other: the used count can only have grown.
            window.used, window.ends = max(window.used, used), max(window.ends, ends)
        if len(self._windows) > _MAX_WINDOWS:
            del self._windows[next(iter(self._windows))]


_NAMES: Final = ("limit", "remaining", "reset")


def wait_before_retry(
    status: int, headers: Mapping[str, str], *, clock: float, tries: int
) -> float | None:
    """Return the seconds to wait before a refused request is sent again, or None if it is not.

    Args:
        status: The response's status. 429 is retried, and so is 503 with a time.
        headers: The response's headers.
        clock: UTC seconds, used if the server sends no `Date`.
        tries: The number of retries so far.
    """
    if status not in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        return None
    asked = retry_after(HttpResponse(status, headers, b""), server_time(headers, clock))
    if asked is not None and 0 < asked < LONGEST_WAIT:
        return asked
    if status == HTTPStatus.SERVICE_UNAVAILABLE and asked is None:
        return None
    # In the past, at least an hour away, or invalid: not usable. Back off, until `retries` is used
    # up.
    return float(2**tries)


def is_general(headers: Mapping[str, str]) -> bool:
    """Return whether a 429 is about the limits that `Pace` counts, not about one endpoint."""
    remaining = headers.get("x-rate-limit-remaining", "")
    return not (_NUMBER.fullmatch(remaining) and int(remaining) > 0)


def server_time(headers: Mapping[str, str], clock: float) -> float:
    """Return the server's own time if it sends one, otherwise `clock`."""
    date = http_date(headers.get("date", ""))
    return clock if date is None else date
