"""The hourly and the spike limit of the API, and their headers ("Rate Limiting")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from procore_signin._emulator.wire.messages import Headers
from procore_signin._emulator.world.clock import Clock

HOUR: Final = 3600
SPIKE: Final = 10
REPORTED_LIMIT: Final = 3600
"""The limit in the headers while none is set: then nothing is refused."""


@dataclass(slots=True)
class _Window:
    """Requests counted from `started_at` on, for `seconds`."""

    seconds: int
    limit: int
    started_at: float
    used: int = 0

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def resets_at(self) -> int:
        return int(self.started_at) + self.seconds


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a request found.

    Attributes:
        refused: The limit was used up before this request.
        hourly: Which of the two limits the headers speak of.
        resets_at: UTC unix seconds.
        headers: The three `X-Rate-Limit-*` headers.
    """

    refused: bool
    hourly: bool
    resets_at: int
    headers: Headers


class RateLimits:
    """Counts API requests for each client. Procore does not say what it counts by.

    Args:
        clock: UTC unix seconds.
        hourly: Requests in 60 minutes, or None for no limit.
        spike: Requests in 10 seconds, or None for no limit.
    """

    __slots__ = ("_clock", "_hourly", "_spike", "_windows")

    def __init__(self, clock: Clock, hourly: int | None, spike: int | None) -> None:
        self._clock = clock
        self._hourly = hourly
        self._spike = spike
        self._windows: dict[tuple[str, int], _Window] = {}

    def count(self, client_id: str) -> Verdict:
        """Count one request of a client; a refused one does not count."""
        now = self._clock()
        windows = [
            self._window(client_id, seconds, limit, now)
            for seconds, limit in ((SPIKE, self._spike), (HOUR, self._hourly))
            if limit is not None
        ]
        if not windows:
            resets_at = int(now) - int(now) % HOUR + HOUR
            headers = _headers(REPORTED_LIMIT, REPORTED_LIMIT - 1, resets_at)
            return Verdict(refused=False, hourly=True, resets_at=resets_at, headers=headers)
        refused = any(window.remaining == 0 for window in windows)
        if not refused:
            for window in windows:
                window.used += 1
        # The documentation: the headers describe the limit that will be reached first.
        told = min(windows, key=lambda window: window.remaining)
        return Verdict(
            refused=refused,
            hourly=told.seconds == HOUR,
            resets_at=told.resets_at,
            headers=_headers(told.limit, told.remaining, told.resets_at),
        )

    def clear(self) -> None:
        """Start counting anew."""
        self._windows.clear()

    def _window(self, client_id: str, seconds: int, limit: int, now: float) -> _Window:
        window = self._windows.get((client_id, seconds))
        if window is None or now >= window.resets_at:
            window = self._windows[client_id, seconds] = _Window(seconds, limit, now)
        return window


def _headers(limit: int, remaining: int, resets_at: int) -> Headers:
    return (
        ("x-rate-limit-limit", str(limit)),
        ("x-rate-limit-remaining", str(remaining)),
        ("x-rate-limit-reset", str(resets_at)),
    )
