"""Many processes meet the same expired token: it is spent once, and everybody goes on working."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.reliability.conftest import NewWorld, Report
from tests.reliability.settings import size
from tests.reliability.world import TOKEN_ENDPOINT, World

PROCESSES: Final = 8
EXPIRIES: Final = size(10, 100)
SKEWS: Final = (-600, -600, -300, 0, 0, 300, 600, 600)


def widen_the_race(world: World) -> None:
    """Have Procore think for a while, so that every process comes while one is asking."""
    world.emulator.fault(TOKEN_ENDPOINT, "latency", seconds=0.03, after_commit=True, times=None)


def meet_expiries(world: World, user: int, expiries: int) -> dict[str, int]:
    """Let the token of `user` expire again and again, before all processes at once."""
    world.witness.look()
    found = dict.fromkeys(("refreshes", "double_spends", "invalid_grants", "refused_calls"), 0)
    found |= dict.fromkeys(("calls", "waits"), 0)
    for _ in range(expiries):
        world.expire()
        for worker in world.workers:
            worker.tell("fresh", user=user)
        answers = world.answers(world.workers).values()
        sight = world.witness.look()
        found["refreshes"] += sight.refreshes
        found["double_spends"] += sight.double_spends
        found["invalid_grants"] += sight.invalid_grants
        found["calls"] += len(answers)
        found["refused_calls"] += sum(answer.get("api") != 200 for answer in answers)
        found["waits"] += sum(answer.get("waited", False) for answer in answers)
    return found
