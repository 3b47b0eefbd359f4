"""Every transition of the tables is taken by a schedule, or is named with the reason why not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.simulation.page import PAGE, written
from tests.simulation.plans import NAMES, PLANS, REASONS, UNTAKEN, Plan
from tests.simulation.search import run_plan
from tests.simulation.threads import simulated
from tests.simulation.transitions import Key


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulated():
        yield


def told(keys: set[Key]) -> list[str]:
    return sorted(name for name, key in NAMES.items() if key in keys)


def test_a_transition_is_named_once() -> None:
    named = [key for reason in REASONS for key in reason.keys]
    named += [key for plan in PLANS for key in plan.takes]

    assert told({key for key in named if named.count(key) > 1}) == []


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_a_plan_takes_what_it_is_for(plan: Plan) -> None:
    taken: set[Key] = set()
    for ran in run_plan(plan):
        assert ran.rule is None, "\n".join((*ran.story, ran.how))
        taken |= ran.taken.keys()

    assert told(set(plan.takes) - taken) == []
    assert told(taken & UNTAKEN.keys()) == [], "untaken.toml names these"


def test_the_test_that_takes_what_no_schedule_does_is_there() -> None:
    root = PAGE.parents[2]
    for reason in REASONS:
        file, _, name = reason.test.partition("::")
        assert re.search(rf"^def {name}\(", (root / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(), "run: python -m tests.simulation --page"
