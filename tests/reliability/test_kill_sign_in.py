"""`kill -9` during a sign-in: what lives at Procore is what someone with a session holds."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final

from tests.reliability.conftest import NewWorld, Report
from tests.reliability.settings import size
from tests.reliability.world import World, until

from procore_signin._emulator.faults.faults import Fault

PROCESSES: Final = size(4, 6)
ROUNDS: Final = size(3, 25)

SENT: Final = "while sent: Procore has the code and has not carried it out"
CARRIED_OUT: Final = "while carried out: Procore has issued tokens and has not answered"
GAP: Final = (SENT, CARRIED_OUT, "after /oauth/token", "inside EscrowTokens")
"""Where a grant lives that no one alive has ever seen: no row can hold tokens before they come."""

POINTS: Final = (
    "after TakeAttempt",
    *GAP,
    "after EscrowTokens",
    "after /rest/v1.0/me",
    "inside CompleteSignIn",
    "after CompleteSignIn",
)
ONLY_AGAIN: Final = ("after /oauth/revoke", "after FinishEscrow")
"""Where a process can die while it gives back the grant that a newer one replaced."""

CASES: Final = (
    *((point, "first") for point in POINTS),
    *((point, "again") for point in (*POINTS[size(-2, 0) :], *ONLY_AGAIN)),
)


def die_at(world: World, order: dict[str, Any], point: str) -> Fault | None:
    """Have a process finish a sign-in and die at `point`; return what holds Procore up."""
    worker = world.worker()
    held_up = None
    if point.startswith("while"):
        held_up = world.hold_up(after_commit=point == CARRIED_OUT, seconds=0.5)
        worker.tell("sign_in", **order)
        until(lambda: held_up.happened)
        worker.kill()
    else:
        worker.ask("die_at", point=point)
        worker.tell("sign_in", **order)
    world.lose(worker)
    return held_up


def test_C12_a_process_killed_at_each_point_of_a_sign_in_strands_no_grant(
    new_world: NewWorld, report: Report
) -> None:
    world = new_world()
    held_up = []
    spent = {}
    for person, (point, which) in enumerate(CASES):
        if which == "again":
            world.sign_in(person)
        attempt, code = world.granted(person)
        held_up.append(die_at(world, world.order(attempt, code), point))
        spent[code] = point != "after TakeAttempt"
    world.settle(*filter(None, held_up))
    codes = world.witness.look().codes
    world.sweep_later()
    live, held = world.live_grants(), world.held_grants()
    stranded = {
        case: live[world.person(person)] - held[world.person(person)]
        for person, case in enumerate(CASES)
    }
    report(
        "a process on {database} was killed at {kills} points of a sign-in: after the janitor"
        " {kept} of them left nothing behind, and {gap} left a grant that no one had stored yet",
        database=world.database.kind,
        kills=len(stranded),
        kept=sum(count == 0 for count in stranded.values()),
        gap=sum(count == 1 for count in stranded.values()),
    )
    assert stranded == {(point, which): int(point in GAP) for point, which in CASES}
    assert {code: codes[code] for code in spent} == spent


def test_C12_processes_killed_at_random_strand_only_what_nobody_had_stored_yet(
    new_world: NewWorld, report: Report
) -> None:
    world = new_world()
    thinking = world.widen_the_race(0.02)
    kills = 0
    codes: dict[str, str] = {}
    outcomes: Counter[str] = Counter()
    for _ in range(ROUNDS):
        while len(world.workers) < PROCESSES:
            world.worker()
        for person, worker in enumerate(world.workers):
            attempt, code = world.granted(person)
            codes[attempt.state_hash] = code
            worker.tell("sign_in", **world.order(attempt, code))
        time.sleep(world.chance.uniform(0, 0.1))
        for victim in world.chance.sample(world.workers, 2):
            victim.kill()
            world.lose(victim)
            kills += 1
        for answer in world.answers(world.workers).values():
            outcomes["signed in" if "user" in answer else answer["error"]] += 1
        world.witness.read_on()
    world.settle(thinking)
    sight = world.witness.look()
    ledger = world.database.run("SELECT state_hash FROM sign_in_ledger WHERE status = 'taken'")
    unstored = sum(codes[state_hash] in sight.exchanged for (state_hash,) in ledger)
    given_back = world.sweep_later()
    live, held = world.live_grants().total(), world.held_grants().total()
    report(
        "{processes} processes on {database} survived {kills} kill -9 during {sign_ins} sign-ins:"
        " the janitor gave {given_back} grants back, {live} are alive, {held} belong to someone"
        " with a session, {unstored} died between Procore's response and the escrow",
        database=world.database.kind,
        processes=PROCESSES,
        kills=kills,
        sign_ins=len(codes),
        signed_in=outcomes["signed in"],
        given_back=given_back,
        live=live,
        held=held,
        unstored=unstored,
    )
    assert outcomes.keys() == {"signed in"}
    assert live == held + unstored
    assert unstored <= kills
    assert set(sight.codes.values()) == {1}
