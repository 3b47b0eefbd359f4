"""Schedules that someone wrote down: who goes on, how far, and what goes wrong there.

A plan is a list of lines, such as

- `A.refresh to CommitRefresh`: the threads of that caller go on until one stands before that step:
  a command, a query, `token`, `info`, `revoke` or `me` for a request, `answer` for its response.
- `A.refresh on`: one step more. `A.refresh to end`: until none of its threads is left.
- `A.refresh: lose answer`, `A: stop`: something goes wrong, at that caller or process.

Then the first thread there is goes on. `plans.toml` has plans that lead where chance seldom does.
`untaken.toml` names the transitions that no schedule takes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from tests.simulation.threads import Thread
from tests.simulation.transitions import TABLES, Key
from tests.simulation.world import ROTATIONS, TROUBLES, Ill, Scenario, World

NAMES: dict[str, Key] = {
    f"{name}: {each.state.value}: {each.event.value}": (name, each.state, each.event)
    for name, table in TABLES.items()
    for each in table
}
"""All transitions, by their names in the files."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule, and what it is for.

    Attributes:
        name: What happens.
        start: What it begins with.
        actors: Who does what: the number of a process, the kind, the number of a person.
        steps: The lines.
        takes: The transitions that it is for. With one of the rotations, and one of the lines of
            Procore's server, at least.
    """

    name: str
    start: str
    actors: tuple[tuple[int, str, int], ...]
    steps: tuple[str, ...]
    takes: tuple[Key, ...]

    def scenarios(self) -> Iterator[Scenario]:
        """Yield its world with each rotation and each line of the server."""
        trouble = sum(": " in line for line in self.steps)
        for rotation, early in product(ROTATIONS, (True, False)):
            yield Scenario(
                self.start, rotation, early, self.actors, trouble, frozenset(TROUBLES), steps=200
            )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why no schedule takes some transitions.

    Attributes:
        why: In words.
        test: The test that takes them, as file and name.
        keys: Which.
    """

    why: str
    test: str
    keys: tuple[Key, ...]


def _read(file: str) -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads(Path(__file__).with_name(file).read_text(encoding="utf-8"))


def _plans() -> Iterator[Plan]:
    for each in _read("plans.toml")["plan"]:
        actors = tuple(("AB".index(who[0]), who[2:], 1) for who in each["actors"])
        takes = tuple(NAMES[name] for name in each["takes"])
        yield Plan(each["name"], each["start"], actors, tuple(each["steps"]), takes)


PLANS = tuple(_plans())
REASONS = tuple(
    Reason(each["why"], each["test"], tuple(NAMES[name] for name in each["transitions"]))
    for each in _read("untaken.toml")["reason"]
)
UNTAKEN: dict[Key, Reason] = {key: reason for reason in REASONS for key in reason.keys}


class ByPlan:
    """Chooses as a plan says."""

    def __init__(self, plan: tuple[str, ...]) -> None:
        self._plan = list(plan)
        self.chosen: list[int] = []

    def choose(self, world: World, goes: list[Thread], ills: Callable[[], list[Ill]]) -> int:
        del world
        place = self._place(goes, ills)
        self.chosen.append(place)
        return place

    def _place(self, goes: list[Thread], ills: Callable[[], list[Ill]]) -> int:
        while self._plan:
            line = self._plan[0]
            who, colon, what = line.partition(": ")
            if colon:
                self._plan.pop(0)
                return len(goes) + _ill(ills(), who, what)
            who, _, how = line.partition(" ")
            own = [place for place, each in enumerate(goes) if each.name.startswith(who)]
            if how == "on":
                self._plan.pop(0)
                return own[0]
            if not own or any(_step(goes[place]) == how.removeprefix("to ") for place in own):
                self._plan.pop(0)
                continue
            return own[0]
        return 0


def _ill(ills: list[Ill], who: str, what: str) -> int:
    for place, ill in enumerate(ills):
        named = ill.thread or ill.process
        if ill.kind == what and (named is None or named.name.startswith(who)):
            return place
    raise ValueError(f"It cannot happen here: {who}: {what}")


def _step(thread: Thread) -> str:
    """Return the name of what a thread wants."""
    if thread.kind in {"do", "ask"}:
        return type(thread.wants).__name__
    if thread.kind == "send":
        return str(thread.wants.url).rpartition("/")[2]
    return thread.kind
