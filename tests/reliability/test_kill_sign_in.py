"""`kill -9` during a sign-in: what lives at Procore is what somebody with a session holds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.reliability.conftest import NewWorld, Report
from tests.reliability.settings import size
from tests.reliability.world import World, until

PROCESSES: Final = 6
ROUNDS: Final = size(3, 25)

SENT: Final = "while sent: Procore has the code and has not carried it out"
CARRIED_OUT: Final = "while carried out: Procore has issued tokens and has not answered"
GAP: Final = (SENT, CARRIED_OUT, "after /oauth/token", "inside escrow")
"""Where a grant lives that only a process knew that is dead now. Nobody can close this gap: no row
can hold tokens before they arrive. What is left is on the person's list of connected apps."""

POINTS: Final = (
    "after take_attempt",
    *GAP,
    "after escrow",
    "after /rest/v1.0/me",
    "inside complete_sign_in",
    "after complete_sign_in",
)
ONLY_AGAIN: Final = ("after /oauth/revoke", "after clear_escrow")
"""Where a process can die while it gives back the grant that a newer one replaced."""

CASES: Final = (
    *((point, "first") for point in POINTS),
    *((point, "again") for point in (*POINTS[size(-2, 0) :], *ONLY_AGAIN)),
)


@contextmanager
def death_at(world: World, order: dict[str, Any], point: str) -> Iterator[None]:
    """Have a process finish a sign-in and die at `point`; the block runs after its death."""
    worker = world.worker()
    if not point.startswith("while"):
        worker.ask("die_at", point=point)
        worker.tell("sign_in", **order)
        world.lose(worker)
        yield
        return
    with world.held_up(after_commit=point == CARRIED_OUT) as fault:
        worker.tell("sign_in", **order)
        until(lambda: fault.happened)
        worker.kill()
        world.lose(worker)
        yield


def test_C12_a_process_killed_at_each_point_of_a_sign_in_strands_no_grant(
    new_world: NewWorld, report: Report
) -> None:
    world = new_world()
    stranded: dict[tuple[str, str], int] = {}
    for person, (point, which) in enumerate(CASES):
        if which == "again":
            world.sign_in(person)
        world.witness.look()
        alive, held = world.live_grants(), world.held_grants()
        with death_at(world, world.order_for_sign_in(person), point):
            pass
        world.sweep_later()
        stranded[point, which] = (world.live_grants() - alive) - (world.held_grants() - held)
        assert world.witness.look().codes.total() == (point != "after take_attempt"), point
    report(
        "a process on {database} was killed at {kills} points of a sign-in: after the janitor"
        " {kept} of them left nothing behind, and {gap} left a grant that nobody had stored yet",
        database=world.database.kind,
        kills=len(stranded),
        kept=sum(count == 0 for count in stranded.values()),
        gap=sum(count == 1 for count in stranded.values()),
    )
    assert stranded == {(point, which): int(point in GAP) for point, which in CASES}


def test_C12_processes_killed_at_random_strand_only_what_nobody_had_stored_yet(
    new_world: NewWorld, report: Report
) -> None:
    world = new_world()
    thinking = world.widen_the_race(0.02)
    kills = 0
    states: dict[str, str] = {}
    outcomes: Counter[str] = Counter()
    for _ in range(ROUNDS):
        while len(world.workers) < PROCESSES:
            world.worker()
        for person, worker in enumerate(world.workers):
            attempt, code = world.granted(person)
            states[attempt.state_hash] = code
            worker.tell("sign_in", **world.order(attempt, code))
        time.sleep(world.chance.uniform(0, 0.1))
        for victim in world.chance.sample(world.workers, 2):
            victim.kill()
            world.lose(victim)
            kills += 1
        for answer in world.answers(world.workers).values():
            outcomes["signed in" if "user" in answer else answer["error"]] += 1
    world.settle(thinking)
    sight = world.witness.look()
    unstored = sum(
        codes_were_spent and not stored
        for codes_were_spent, stored in (
            (states[state_hash] in sight.exchanged, status != "taken")
            for state_hash, status in world.database.run(
                "SELECT state_hash, status FROM sign_in_ledger"
            )
        )
    )
    given_back = world.sweep_later()
    report(
        "{processes} processes on {database} survived {kills} kill -9 during {sign_ins} sign-ins:"
        " the janitor gave {given_back} grants back, {live} are alive, {held} belong to somebody"
        " with a session, {unstored} died between Procore's answer and the escrow",
        database=world.database.kind,
        processes=PROCESSES,
        kills=kills,
        sign_ins=len(states),
        signed_in=outcomes["signed in"],
        given_back=given_back,
        live=world.live_grants(),
        held=world.held_grants(),
        unstored=unstored,
    )
    assert outcomes.keys() == {"signed in"}
    assert world.live_grants() == world.held_grants() + unstored
    assert unstored <= kills
    assert set(sight.codes.values()) == {1}
