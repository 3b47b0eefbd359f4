"""Writes docs/explanation/transitions.md: what takes each transition."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.simulation.plans import PLANS, REASONS, UNTAKEN, Plan
from tests.simulation.transitions import TABLES, Key

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "transitions.md"
_ABOUT = """\
# Transitions: which schedules take them

<!-- Written by python -m tests.simulation --page from tests/simulation/*.toml. -->

The tables of [States](states.md) have {total} transitions. The simulator
([Reliability](reliability.md#simulation)) takes {taken} of them: {common} by chance, and
{planned} in schedules that are written down for them ([the plans](#the-plans)). No schedule
takes the other {untaken}: each has the letter of its [reason](#why-no-schedule-takes-some).

`tests/simulation/test_transitions.py` follows each plan. The tests of the simulator fail if a
schedule takes a transition that is said not to be taken, and if chance takes one no longer.
`python -m tests.simulation --states` prints how often each was taken.
"""
_TITLES = {
    "attempt": "A sign-in attempt",
    "token set": "A token set",
    "predecessor": "The pair before",
    "withdrawal": "A withdrawal",
}


def written() -> str:
    """Return the page."""
    planned = {key: plan for plan in PLANS for key in plan.takes}
    total = sum(map(len, TABLES.values()))
    about = _ABOUT.format(
        total=total,
        taken=total - len(UNTAKEN),
        common=total - len(UNTAKEN) - len(planned),
        planned=len(planned),
        untaken=len(UNTAKEN),
    )
    return "\n".join((about, *_tables(planned), *_reasons(), *_the_plans())) + "\n"


def _letter(key: Key) -> str:
    return chr(ord("a") + REASONS.index(UNTAKEN[key]))


def _reasons() -> Iterator[str]:
    yield "## Why no schedule takes some\n"
    yield "| | Transitions | Reason | The test that takes them |"
    yield "|---|---:|---|---|"
    for each in REASONS:
        letter = _letter(each.keys[0])
        yield f"| {letter} | {len(each.keys)} | {each.why} | `{each.test}` |"
    yield ""


def _the_plans() -> Iterator[str]:
    yield "## The plans\n"
    yield "The steps are in `tests/simulation/plans.toml`. `...` goes on from the one before.\n"
    yield from (f"{number}. {plan.name}" for number, plan in enumerate(PLANS, start=1))


def _tables(planned: dict[Key, Plan]) -> Iterator[str]:
    for name, table in TABLES.items():
        yield f"## {_TITLES[name]}\n"
        yield "| State | Event | Next | Taken in |"
        yield "|---|---|---|---|"
        for each in table:
            key: Key = (name, each.state, each.event)
            if key in UNTAKEN:
                taken = f"no schedule: {_letter(key)}"
            elif key in planned:
                taken = f"[plan {PLANS.index(planned[key]) + 1}](#the-plans)"
            else:
                taken = "by chance"
            to = "the same" if each.next is each.state else f"*{each.next.value}*"
            yield f"| *{each.state.value}* | {each.event.value} | {to} | {taken} |"
        yield ""
