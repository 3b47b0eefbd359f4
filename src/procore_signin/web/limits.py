"""How often one address may begin a sign-in: a bucket that refills, in bounded memory (A11)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

ADDRESSES: Final = 4096
"""How many addresses are remembered. The one unseen for longest is forgotten first."""


class RateLimit:
    """Admits `per_minute` calls a minute for each address, with that many at once at most.

    It counts in this process alone: it keeps one address from filling logs and ledger, and is no
    replacement for what a proxy in front can do.

    Args:
        per_minute: Calls; 0 admits everything.
        clock: Returns seconds; only differences matter.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, address: str) -> bool:
        """Count a call from `address` and say whether it is within the limit."""
        if self._per_minute == 0:
            return True
        now = self._clock()
        left, seen = self._buckets.pop(address, (float(self._per_minute), now))
        left = min(left + (now - seen) * self._per_minute / 60, float(self._per_minute))
        admitted = left >= 1
        self._buckets[address] = (left - 1 if admitted else left, now)
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return admitted
