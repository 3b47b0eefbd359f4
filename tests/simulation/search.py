"""Runs schedules: by seed, by a list of choices, or all of a small world."""

from __future__ import annotations

import gc
import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from tests.simulation.actors import known_end
from tests.simulation.invariants import Broken
from tests.simulation.plans import ByPlan, Plan
from tests.simulation.starts import STARTS, start
from tests.simulation.threads import Process, Thread
from tests.simulation.transitions import Key, Unlisted
from tests.simulation.world import ROTATIONS, TROUBLES, Ill, Scenario, World

from procore_signin._flow.lease import LEASE_SECONDS
from procore_signin._flow.refresh import FreshToken
from procore_signin.errors import ProcoreSignInError, ProcoreUnavailable

JANITOR_ROUNDS = 8
PATIENCE = 4
"""How often someone tries again who is told to."""

WRONG = 0.09
AGAIN = 0.4
COOLING = 0.7
SAME = 0.55
"""How likely something goes wrong at a step, and right after something has: trouble comes in twos.
And, up to here, that the same thread goes on."""

COLLECT = 250
"""After so many schedules what they leave behind is collected."""

TRIES = 300
"""With how many seeds to look for the same without one of the actors."""


class ByChance:
    """Chooses by chance, and writes down what."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._likely = WRONG
        self.chosen: list[int] = []

    def choose(self, world: World, goes: list[Thread], ills: Callable[[], list[Ill]]) -> int:
        chance = self._chance.random()
        wrong = ills() if chance < self._likely and world.trouble > 0 else []
        self._likely = max(WRONG, self._likely * COOLING)
        if wrong:
            self._likely = AGAIN
            kinds = sorted({each.kind for each in wrong})
            kind = kinds[int(self._chance.random() * len(kinds))]
            places = [place for place, each in enumerate(wrong) if each.kind == kind]
            place = len(goes) + places[int(self._chance.random() * len(places))]
        elif chance < SAME:
            place = 0
        else:
            place = int(self._chance.random() * len(goes))
        self.chosen.append(place)
        return place


class ByList:
    """Chooses as a list says, and the first there is when it has ended."""

    def __init__(self, choices: list[int]) -> None:
        self._choices = choices
        self._place = 0
        self.chosen: list[int] = []
        self.widths: list[int] = []
        self.states: list[int] = []
        self.remember = False

    def choose(self, world: World, goes: list[Thread], ills: Callable[[], list[Ill]]) -> int:
        width = len(goes) + len(ills())
        place = self._choices[self._place] if self._place < len(self._choices) else 0
        self._place += 1
        place = min(place, width - 1)
        self.chosen.append(place)
        self.widths.append(width)
        if self.remember:
            self.states.append(world.state())
        return place


@dataclass(slots=True)
class Ran:
    """What came of one schedule.

    Attributes:
        scenario: Of what.
        choices: Which.
        rule: The rule that was broken, or None.
        how: How.
        steps: How many steps it had.
        story: Where it was wanted.
        sights: What was seen.
        taken: The transitions.
    """

    scenario: Scenario
    choices: list[int]
    rule: str | None = None
    how: str = ""
    steps: int = 0
    story: list[str] = field(default_factory=list)
    sights: Counter[str] = field(default_factory=Counter)
    taken: Counter[Key] = field(default_factory=Counter)


def run(scenario: Scenario, choice: ByChance | ByList | ByPlan, *, telling: bool = False) -> Ran:
    """Run one schedule and check all that must hold."""
    begun = start(scenario.start)
    procore = begun.procore.copy(scenario.rotation, early=scenario.early)
    keeping = begun.keeping
    keeping.begin()
    ran = Ran(scenario, choice.chosen)
    world = World(scenario, keeping, procore, choice, telling=telling, now=begun.now)
    try:
        for number, (place, kind, person) in enumerate(scenario.actors, start=1):
            world.begin(world.processes[place], kind, person, number)
        world.run(scenario.steps)
        _come_to_rest(world)
    except Broken as broken:
        ran.rule, ran.how = broken.rule, str(broken)
    except Unlisted as unlisted:
        ran.rule, ran.how = "a row made a step that no table has", str(unlisted)
    except Exception as error:  # noqa: BLE001 - a defect of ours or of the product: it is told
        ran.rule, ran.how = "a defect", "".join(traceback.format_exception(error))
    finally:
        world.end()
        keeping.end()
    ran.steps = world.steps
    ran.story = world.story or []
    ran.sights = world.watch.sights
    ran.taken = world.watch.taken.counts
    return ran


def _come_to_rest(world: World) -> None:
    """Leave the world alone, let the janitor come, and look what has become of everyone."""
    world.trouble, world.resting = 0, True
    world.tell("-- nothing goes wrong any more")
    world.rest()
    world.watch.no_one_waits_in_vain()
    for process in world.processes:
        if process.ending_since is not None:
            process.dead = True
    if world.watch.escrowed() or world.now < world.away_until:
        _sweep(world)
    for person in tuple(world.watch.users):
        _look_after(world, person)
    if world.watch.escrowed():
        _sweep(world)
    for thread in world.finished:
        error = thread.error
        if isinstance(error, Broken):
            raise error
        own = isinstance(error, KeyboardInterrupt) and thread in world.interrupted
        if error is not None and not own and not isinstance(error, ProcoreSignInError):
            raise Broken("a caller got an error that is none", repr(error))


def _sweep(world: World) -> None:
    world.now = max(world.now, world.away_until)
    for _ in range(JANITOR_ROUNDS):
        if not world.watch.escrowed():
            return
        world.now += 301
        sweeper = world.begin(world.living(), "janitor", 0)
        world.rest()
        if sweeper.error is not None and not isinstance(sweeper.error, ProcoreSignInError):
            raise sweeper.error
    if world.watch.escrowed():
        raise Broken("the ledger is not drained", ", ".join(world.watch.escrowed()))


def _look_after(world: World, person: int) -> None:
    """Someone is usable in every process, or known as ended; then the access is ended for good."""
    for process in [each for each in world.processes if not each.dead] or [world.living()]:
        _try_in(world, process, person)
    if person not in world.watch.disabled:
        error = _acted(world, world.living(), "disable", person).error
        if error is not None:
            raise Broken("an access could not be ended", repr(error))


def _try_in(world: World, process: Process, person: int) -> None:
    watch = world.watch
    for _ in range(PATIENCE):
        caller = _acted(world, process, "use", person)
        if not isinstance(caller.error, ProcoreUnavailable):
            break
        world.now += max(caller.error.retry_after or 0, LEASE_SECONDS + 1)
    if isinstance(caller.outcome, FreshToken):
        return
    if not known_end(caller):
        raise Broken("someone is neither usable nor known as ended", repr(caller.error))
    ended = person in watch.over or person not in watch.began_with
    if not ended and person not in watch.lost_for_good:
        raise Broken("a grant was lost that could be saved", f"of p{person}: {caller.error!r}")


def _acted(world: World, process: Process, kind: str, person: int) -> Thread:
    caller = world.begin(process, kind, person)
    world.rest()
    if isinstance(caller.error, Broken):
        raise caller.error
    return caller


_ENDINGS = ("disable", "disconnect", "delete")
_REFRESHES = ("refresh", "refresh", "rejected")
_CALLBACKS = ("sign-in", "join", "third callback", "intruder", "new sign-in")
_OTHERS = ("enable", "janitor", "rewrap", "purge", "sign out")
THEMES: tuple[tuple[str, ...], ...] = (
    _REFRESHES,
    (*_REFRESHES, *_ENDINGS, "new sign-in"),
    (*_CALLBACKS, *_CALLBACKS, "disable"),
    (*_ENDINGS, *_ENDINGS, "janitor", "new sign-in"),
    (*_REFRESHES, *_CALLBACKS, *_ENDINGS, *_OTHERS),
)
"""What meets in one world. The last one is everything: what no one thought of."""


TOGETHER = 0.5
COMBINED = (
    ("lose answer", "away"),
    ("lose answer", "lose commit"),
    ("lose commit", "stop"),
    ("stop", "lose answer"),
    ("away", "long away"),
    ("away", "interrupt"),
    ("kill", "away"),
    ("fork", "interrupt"),
    ("end", "long away"),
    ("back", "kill"),
)
"""Troubles that are worse together."""


def _some(chance: random.Random) -> frozenset[str]:
    """Return a few kinds of trouble: so what needs two of the same kind comes about too."""
    if chance.random() < TOGETHER:
        return frozenset(COMBINED[int(chance.random() * len(COMBINED))])
    return frozenset(chance.sample(TROUBLES, 2 + int(chance.random() * 4)))


def scenario_of(chance: random.Random, kinds: frozenset[str] | None = None) -> Scenario:
    """Return a world by chance."""
    actors = []
    name = STARTS[int(chance.random() * len(STARTS))]
    flows = THEMES[int(chance.random() * len(THEMES))]
    for _ in range(2 + int(chance.random() * 3)):
        kind = flows[int(chance.random() * len(flows))]
        person = 1 if name != "two people" or chance.random() < 0.7 else 2
        actors.append((int(chance.random() * 2), kind, person))
    if chance.random() < 0.02:
        actors[-1] = (0, "lose key", 1)
    return Scenario(
        start=name,
        rotation=ROTATIONS[int(chance.random() * 2)],
        early=chance.random() < 0.5,
        actors=tuple(actors),
        trouble=int(chance.random() * 4),
        kinds=kinds or _some(chance),
    )


def run_seed(seed: int, *, telling: bool = False, kinds: frozenset[str] | None = None) -> Ran:
    """Run the schedule of one seed."""
    if seed % COLLECT == 0:
        gc.collect()
    chance = random.Random(seed)  # noqa: S311 - that can be repeated
    scenario = scenario_of(chance, kinds)
    return run(scenario, ByChance(chance), telling=telling)


def run_plan(plan: Plan) -> Iterator[Ran]:
    """Run a schedule of `plans.toml`, with each rotation and each line of the server."""
    for scenario in plan.scenarios():
        yield run(scenario, ByPlan(plan.steps), telling=True)


def smallest(ran: Ran) -> Ran:
    """Return a shorter schedule that breaks the same rule, with its story."""
    best = ran
    for one in ran.scenario.actors:
        fewer = tuple(each for each in best.scenario.actors if each is not one)
        for seed in range(TRIES if fewer else 0):
            tried = run(replace(best.scenario, actors=fewer), ByChance(random.Random(seed)))  # noqa: S311 - that can be repeated
            if tried.rule == ran.rule:
                best = tried
                break
    choices = list(best.choices)
    size = max(1, len(choices) // 2)
    while size >= 1:
        place = 0
        while place < len(choices):
            shorter = choices[:place] + [0] * min(size, len(choices) - place)
            shorter += choices[place + size :]
            if shorter != choices:
                tried = run(best.scenario, ByList(shorter))
                if tried.rule == ran.rule:
                    best, choices = tried, shorter
            place += size
        size //= 2
    while choices and choices[-1] == 0:
        choices.pop()
    return run(best.scenario, ByList(choices), telling=True)


def every_order(scenario: Scenario, depth: int, most: int = 10**9) -> Iterator[Ran]:
    """Run each order of a small world, up to a number of choices; then the first of each there is.

    A state in which a world has been before is not left twice in the same way.
    """
    seen: set[tuple[int, int]] = set()
    waiting: list[list[int]] = [[]]
    count = 0
    while waiting and count < most:
        prefix = waiting.pop()
        choice = ByList(prefix)
        choice.remember = True
        ran = run(scenario, choice)
        count += 1
        yield ran
        for place in range(len(prefix), min(depth, len(choice.states))):
            state = choice.states[place]
            for other in range(choice.widths[place]):
                if (state, other) in seen:
                    continue
                seen.add((state, other))
                if other != choice.chosen[place]:
                    waiting.append([*choice.chosen[:place], other])
