"""Procore's rate limits: stay below them, and stand back when one is hit all the same (row P5).

Source: Procore's documentation, "Rate Limiting". Two windows, an hour and a spike of ten seconds;
the headers of each response speak of whichever will be used up first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from procore_signin._forks import Lock, look_after
from procore_signin._protocol.http_date import http_date
from procore_signin._protocol.retry_after import LONGEST_WAIT, retry_after
from procore_signin._protocol.wire import HttpResponse

POLL_SECONDS: Final = 0.05
"""How soon to ask again when only requests under way stand in the way."""

FIRST_IN_FLIGHT: Final = 10
"""How many requests may be under way before the first response has told a limit."""

_SAME_WINDOW: Final = 2.0
"""Seconds by which the end of one window may seem to move: the headers count whole seconds."""

_MAX_WINDOWS: Final = 8
_NUMBER: Final = re.compile(r"[0-9]{1,12}")


@dataclass(slots=True)
class _Window:
    """One limit. `ends` is None from its end until a response tells of the next one like it."""

    used: int
    ends: float | None


class Pace:
    """When the next request may leave. Shared by all clients of one front door.

    It counts what the responses say was used, plus what is under way and may not be in that count
    yet. So the requests of one process never pass a limit; those of other processes are seen in
    the headers, a little late. Procore does not say whether it counts by person, app or company:
    one count for all is the cautious reading. Safe for threads and tasks, and waits for nothing
    itself. Every `now` is in seconds of a clock that never runs backwards.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._windows: dict[int, _Window] = {}
        self._in_flight = 0
        self._told = False
        self._shut_until = float("-inf")
        look_after(self)

    def after_fork(self) -> None:
        """Forget what is under way in the parent; the limits are the same here."""
        self._in_flight = 0

    def ask(self, now: float) -> float:
        """Return 0 and count a request as under way, or the seconds to wait before asking again.

        A caller that gets 0 calls `done` when the response is there, or will not come.
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
        """Count the request as answered, or lost."""
        with self._lock:
            self._in_flight = max(0, self._in_flight - 1)  # a call may have gone through a fork

    def learn(self, headers: Mapping[str, str], *, clock: float, now: float) -> None:
        """Take in what a response says of the limits. Nonsense counts as nothing said.

        Args:
            headers: Of the response.
            clock: UTC seconds, to which the server's own `Date` is preferred.
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
        """Let no request leave before `until`."""
        with self._lock:
            self._shut_until = max(self._shut_until, until)

    def _count(self, limit: int, used: int, ends: float) -> None:
        window = self._windows.get(limit)
        if window is None or window.ends is None or ends > window.ends + _SAME_WINDOW:
            self._windows[limit] = _Window(used, ends)
        elif ends > window.ends - _SAME_WINDOW:
            # Answers overtake each other: what was used can only have grown.
            window.used, window.ends = max(window.used, used), max(window.ends, ends)
        if len(self._windows) > _MAX_WINDOWS:
            del self._windows[next(iter(self._windows))]


_NAMES: Final = ("limit", "remaining", "reset")


def wait_before_retry(
    status: int, headers: Mapping[str, str], *, clock: float, tries: int
) -> float | None:
    """Return the seconds to wait before a refused request is sent again, or None for never.

    Args:
        status: Of the refusal. 429 is worth a second try, and so is 503 that names a time.
        headers: Of the refusal.
        clock: UTC seconds, to which the server's own `Date` is preferred.
        tries: How often it was tried again already.
    """
    if status not in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        return None
    asked = retry_after(HttpResponse(status, headers, b""), server_time(headers, clock))
    if asked is not None and 0 < asked < LONGEST_WAIT:
        return asked
    if status == HTTPStatus.SERVICE_UNAVAILABLE and asked is None:
        return None
    # Past, an hour away or more, or garbage: no clock to go by. Grow, and let `retries` end it.
    return float(2**tries)


def is_general(headers: Mapping[str, str]) -> bool:
    """Return whether a 429 is of the limits that `Pace` counts, not of one endpoint alone."""
    remaining = headers.get("x-rate-limit-remaining", "")
    return not (_NUMBER.fullmatch(remaining) and int(remaining) > 0)


def server_time(headers: Mapping[str, str], clock: float) -> float:
    """Return the time that the server compares with: its own, where it tells it."""
    date = http_date(headers.get("date", ""))
    return clock if date is None else date
