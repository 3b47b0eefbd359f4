"""Schedules by chance, every order of small worlds, and that the simulator sees what is wrong.

`python -m tests.simulation --seed N` shows a schedule again; `make simulate` runs a million.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.simulation.faults import FAULTS, Fault, found_by
from tests.simulation.plans import NAMES, PLANS, UNTAKEN
from tests.simulation.search import Ran, every_order, run_seed, smallest
from tests.simulation.small import SMALL
from tests.simulation.threads import simulated
from tests.simulation.transitions import Key

SCHEDULES = 20_000
IN_ONE_TEST = 2_000
DEPTH = 8
MOST_ORDERS = 300


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulated():
        yield


def holds(ran: Ran, again: str) -> None:
    """Fail with a short story where a rule is broken."""
    if ran.rule is not None:
        told = smallest(ran)
        pytest.fail("\n".join((ran.how, str(told.scenario), *told.story, again)), pytrace=False)


@pytest.mark.timeout(900)  # a minute on a core of its own, for all of them
@pytest.mark.parametrize("first", range(0, SCHEDULES, IN_ONE_TEST))
def test_no_schedule_breaks_a_rule(first: int) -> None:
    taken: set[Key] = set()
    for seed in range(first, first + IN_ONE_TEST):
        ran, again = run_seed(seed), f"python -m tests.simulation --seed {seed}"
        holds(ran, again)
        taken |= ran.taken.keys()
        assert taken.isdisjoint(UNTAKEN), f"untaken.toml says that no schedule does this: {again}"
    if not first:  # make a plan for what is not taken by chance any more, or name it
        planned = {key for plan in PLANS for key in plan.takes}
        left = set(NAMES.values()) - taken - planned - UNTAKEN.keys()
        assert [name for name, key in NAMES.items() if key in left] == []


@pytest.mark.parametrize("name", SMALL)
def test_no_order_of_a_small_world_breaks_a_rule(name: str) -> None:
    for ran in every_order(SMALL[name], DEPTH, MOST_ORDERS):
        holds(ran, f"python -m tests.simulation --small: {ran.choices}")


def test_the_same_seed_tells_the_same_story() -> None:
    first, second = run_seed(7, telling=True), run_seed(7, telling=True)
    assert first.story == second.story != []


def test_each_fault_that_was_mended_can_still_be_put_back() -> None:
    assert [each for fault in FAULTS for each in fault.trouble()] == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "fault", [*FAULTS[:2], *(each for each in FAULTS if each.plan)], ids=lambda fault: fault.name
)
def test_a_fault_that_is_put_back_is_found(fault: Fault) -> None:
    """Two of them, and those that a plan finds; `make simulate` finds them all."""
    assert found_by(fault, 6_000) is not None
