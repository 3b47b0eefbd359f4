"""Runs schedules: `python -m tests.simulation`.

Without options it runs a million. `--seed 17` tells the story of one. What breaks a rule is made
smaller and told, with the command that shows it again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.faults import FAULTS, found_by
from tests.simulation.page import PAGE, written
from tests.simulation.plans import PLANS
from tests.simulation.search import Ran, every_order, run_plan, run_seed, smallest
from tests.simulation.small import SMALL
from tests.simulation.states import printed
from tests.simulation.threads import simulated
from tests.simulation.transitions import Key

MILLION = 1_000_000
LONG_ENOUGH = 20_000
"""Schedules in which a fault that was put back has to be found."""


def main() -> int:
    """Do what the options say."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell the story of this one")
    parser.add_argument("--whole", action="store_true", help="with --seed: do not make it smaller")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--schedules", type=int, default=MILLION, help="how many seeds")
    parser.add_argument("--plan", help="follow this schedule of plans.toml")
    parser.add_argument("--small", action="store_true", help="every order of the small worlds")
    parser.add_argument("--depth", type=int, default=12, help="with --small: how many choices")
    parser.add_argument("--states", action="store_true", help="print the transitions")
    parser.add_argument("--faults", action="store_true", help="put each known fault back")
    parser.add_argument("--only", default="", help="with --faults: those with this in the name")
    parser.add_argument("--until-broken", action="store_true", help="stop at the first")
    parser.add_argument("--page", action="store_true", help="write the page of the transitions")
    options = parser.parse_args()
    if options.page:
        PAGE.write_text(written(), encoding="utf-8")
        return 0
    if options.faults:
        return _faults(min(options.schedules, LONG_ENOUGH), options.only)
    with simulated():
        if options.seed is not None:
            return _story(options.seed, whole=options.whole)
        if options.plan is not None:
            return _follow(options.plan)
        if options.small:
            return _every_order(options.depth)
        return _search(
            options.first, options.schedules, states=options.states, stop=options.until_broken
        )


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(str(each) for each in words) + "\n")
    sys.stdout.flush()


def _story(seed: int, *, whole: bool) -> int:
    ran = run_seed(seed, telling=True)
    if ran.rule is not None and not whole:
        ran = smallest(ran)
    _tell(ran)
    return int(ran.rule is not None)


def _follow(name: str) -> int:
    [plan] = (each for each in PLANS if each.name == name)
    for ran in run_plan(plan):
        _tell(ran)
        if ran.rule is not None:
            return 1
    return 0


def _tell(ran: Ran) -> None:
    _say(ran.scenario)
    _say("\n".join(ran.story))
    _say("BROKEN:" if ran.rule else "All holds.", ran.how)


def _search(first: int, count: int, *, states: bool, stop: bool) -> int:
    began, steps, longest = time.process_time(), 0, 0
    taken: Counter[Key] = Counter()
    sights: Counter[str] = Counter()
    broken: dict[str, int] = {}
    for seed in range(first, first + count):
        ran = run_seed(seed)
        steps += ran.steps
        longest = max(longest, ran.steps)
        taken.update(ran.taken)
        sights.update(ran.sights)
        if ran.rule is not None and ran.rule not in broken:
            broken[ran.rule] = seed
            _say(f"BROKEN after {seed - first + 1} schedules: {ran.how}")
            _say(f"python -m tests.simulation --seed {seed}")
            if stop:
                return 1
            _tell(smallest(ran))
    took = time.process_time() - began
    _say(
        f"{count} schedules from seed {first}, {steps} steps ({steps / count:.0f} each, {longest}"
        f" the longest), {took:.0f} s of processor time: {len(broken)} rules broken"
    )
    for sight, number in sights.most_common():
        _say(f"seen {number} times: {sight}")
    if states:
        _say(printed(taken))
    return int(bool(broken))


def _every_order(depth: int) -> int:
    failed = 0
    for name, scenario in SMALL.items():
        began, count = time.process_time(), 0
        for ran in every_order(scenario, depth):
            count += 1
            if ran.rule is not None:
                failed += 1
                _say(f"BROKEN: {name}: {ran.how}")
                _tell(smallest(ran))
                break
        took = time.process_time() - began
        _say(f"{count} orders of {name}, {depth} choices deep, {took:.1f} s")
    return int(bool(failed))


def _faults(most: int, only: str) -> int:
    missed = 0
    for fault in (each for each in FAULTS if only in each.name):
        began = time.monotonic()
        found = found_by(fault, most)
        took = time.monotonic() - began
        missed += found is None
        _say(f"{took:5.1f} s  {fault.name}: {found or 'NOT FOUND'}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
