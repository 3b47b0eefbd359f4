"""Tells how slow the machine is at this moment, for bounds on processor time."""

from __future__ import annotations

import time

AT_REST = 0.045
"""Seconds that the work takes on the machine on which the bounds were set, alone there."""


def slower() -> float:
    """Return how many times as long as there the same work takes here and now: 1 at least.

    A core that others share, or that is slowed down, spends more processor time on the same work.
    """
    began, known = time.process_time(), {}
    for number in range(300_000):
        known[number % 1000] = str(number)
    return max(1.0, (time.process_time() - began) / AT_REST)
