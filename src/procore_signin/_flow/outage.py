"""Whether Procore answers refreshes at all: while it does not, it is seldom asked (row R7).

Each user's row says when it is time to try again for that user. With many users that would
still be many requests to a Procore that is down. This is what one process knows for all of them.
"""

from __future__ import annotations

from typing import Final

from procore_signin._forks import Lock
from procore_signin.events import Event, emit

FAILURES: Final = 5
"""When the refreshes of so many users have failed since Procore last answered one, it is an outage.
Of so many users: Procore may have trouble with one of them alone, who may ask very often."""

FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 30.0
PROBE_SECONDS: Final = 20.0
"""How long one refresh may take to find out whether it is over: two requests of ten seconds."""


class Outage:
    """What the latest refreshes of one front door met. Safe from any thread."""

    __slots__ = ("_failed", "_failures", "_lock", "_pause", "_prober", "_until")

    def __init__(self) -> None:
        self._failed: set[int] = set()
        self._failures = 0
        self._until = 0.0
        self._pause = 0.0
        self._prober: int | None = None
        self._lock: Final = Lock()

    def claim(self, now: float, *, user_id: int) -> float:
        """Ask whether Procore may be asked.

        Args:
            now: UTC seconds.
            user_id: Whose refresh it is. After a failure others come first for a while.

        Returns:
            0 when it may; during an outage for one caller in each pause, whose outcome everyone
            else waits for. Otherwise the seconds until it is worth another try.
        """
        with self._lock:
            if len(self._failed) < FAILURES:
                return 0.0
            # No longer than it was meant to be, also where the clock was set back (row R14).
            self._until = min(self._until, now + self._pause)
            until = self._until + (FIRST_PAUSE_SECONDS if user_id == self._prober else 0.0)
            if now < until:
                return until - now
            self._until, self._pause = now + PROBE_SECONDS, PROBE_SECONDS
            return 0.0

    def failed(self, now: float, chance: float, *, user_id: int, environment: str) -> None:
        """Note a refresh that Procore did not answer.

        Args:
            now: UTC seconds.
            chance: 0 to 1, so that processes do not come back all at once.
            user_id: Whose refresh it was.
            environment: The name of the environment, for the log.
        """
        with self._lock:
            if len(self._failed) < FAILURES:
                self._failed.add(user_id)
                if len(self._failed) < FAILURES:
                    return
            self._prober, again = user_id, self._failures
            self._failures += 1
            longest = min(FIRST_PAUSE_SECONDS * 2 ** min(again, 8), LONGEST_PAUSE_SECONDS)
            self._pause = longest * (1 + chance) / 2
            self._until = now + self._pause
        if again == 0:
            emit(Event.OUTAGE_BEGAN, environment=environment)

    def answered(self, *, environment: str) -> None:
        """Note a refresh that Procore answered, whatever it said."""
        with self._lock:
            was_out = len(self._failed) >= FAILURES
            self._failed.clear()
            self._failures, self._prober = 0, None
        if was_out:
            emit(Event.OUTAGE_ENDED, environment=environment)
