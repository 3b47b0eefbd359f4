"""What a world may begin with. Each is made once by the same flows, and copied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tests.simulation.keeping import Keeping
from tests.simulation.procore import LIFETIME, Procore
from tests.simulation.threads import Thread
from tests.simulation.world import NOW, Ill, Scenario, World

DUE = LIFETIME - 400
"""Seconds after which a token is refreshed early."""


@dataclass(frozen=True, slots=True)
class Start:
    """A database, and what Procore has issued."""

    keeping: Keeping
    procore: Procore
    now: float


class First:
    """Lets the first thread go on, and nothing go wrong."""

    def choose(self, _: World, __: list[Thread], ___: Callable[[], list[Ill]]) -> int:
        return 0


class Making:
    """A database and a Procore that are made ready."""

    def __init__(self) -> None:
        self.keeping = Keeping()
        self.procore = Procore("grace", early=False)
        self.now = NOW
        self.acts = 0

    def after(self, seconds: float) -> None:
        self.now += seconds

    def act(
        self,
        kind: str,
        person: int = 1,
        until: Callable[[World], bool] | None = None,
        *,
        losing: bool = False,
    ) -> None:
        """Have someone act, and everything rest; or kill everything as soon as `until` holds.

        Args:
            kind: What.
            person: Who.
            until: When to kill; None for never.
            losing: Whether requests with a refresh token do not arrive.
        """
        scenario = Scenario("", "grace", early=False, actors=(), trouble=0)
        self.keeping.begin()
        world = World(scenario, self.keeping, self.procore, First(), now=self.now)
        self.acts += 1
        world.begin(world.processes[0], kind, person, 100 + self.acts)
        while until is not None and not until(world):
            world.run(1)
        while losing and any(each.kind not in {"", "wait"} for each in world.threads):
            if not world.lose_refresh():
                world.run(1)
        if until is None:
            world.rest()
        self.now = world.now
        world.end()
        self.keeping = Keeping(self.keeping.content())


def _signed_in(making: Making) -> None:
    making.act("sign-in")


def _expired(making: Making) -> None:
    _signed_in(making)
    making.after(LIFETIME)


def _due(making: Making) -> None:
    _signed_in(making)
    making.after(DUE)


def _chain(making: Making) -> None:
    """The pair before is kept: its successor has not been presented."""
    _expired(making)
    making.act("refresh", until=_committed)
    making.after(LIFETIME)


def _two_people(making: Making) -> None:
    _signed_in(making)
    making.act("sign-in", 2)
    making.after(LIFETIME)


def _disabled(making: Making) -> None:
    _expired(making)
    making.act("disable")


def _dead_leaseholder(making: Making) -> None:
    _expired(making)
    making.act("refresh", until=_sends)
    making.after(5)


def _lost_response(making: Making) -> None:
    _expired(making)
    making.act("refresh", losing=True)
    making.after(6)


def _lost_in_a_chain(making: Making) -> None:
    _chain(making)
    making.act("refresh", losing=True)
    making.after(6)


def _lost(making: Making) -> None:
    _lost_response(making)
    making.procore.end_all(1)
    making.act("refresh")


def _ended_there(making: Making) -> None:
    _expired(making)
    making.procore.end_all(1)


def _broken_off(making: Making) -> None:
    _expired(making)
    making.act("new sign-in", until=_escrowed)
    making.after(LIFETIME)


def _sends(world: World) -> bool:
    return any(each.kind == "send" for each in world.threads)


def _committed(world: World) -> bool:
    return len(world.watch.held) > 1


def _escrowed(world: World) -> bool:
    return bool(world.watch.escrowed())


MAKE: dict[str, Callable[[Making], None]] = {
    "nobody": lambda _: None,
    "fresh": _signed_in,
    "due": _due,
    "expired": _expired,
    "chain": _chain,
    "two people": _two_people,
    "disabled": _disabled,
    "lease of a dead process": _dead_leaseholder,
    "a response was lost": _lost_response,
    "a response was lost in a chain": _lost_in_a_chain,
    "lost": _lost,
    "ended at Procore": _ended_there,
    "a sign-in that broke off": _broken_off,
}
STARTS = tuple(MAKE)


@cache
def start(name: str) -> Start:
    """Return a start; a schedule takes back what it writes."""
    making = Making()
    MAKE[name](making)
    return Start(making.keeping, making.procore, making.now)
