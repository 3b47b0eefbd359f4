"""`kill -9` during a refresh: the grant survives where the server allows it, and never storms."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

import pytest
from tests.reliability.conftest import NewWorld, Report
from tests.reliability.processes import Answer, WorkerDied
from tests.reliability.settings import size
from tests.reliability.world import World, until

from procore_signin._emulator.faults.faults import Fault
from procore_signin._flow.lease import LEASE_SECONDS

KILLS: Final = size(6, 60)
PROCESSES: Final = size(4, 8)
ROTATIONS: Final = ("immediate", "grace")
HELD_UP_SECONDS: Final = 1.5
"""How long Procore keeps a request: longer than the others need to come meanwhile."""

SENT: Final = "while sent: Procore has the request and has not carried it out"
CARRIED_OUT: Final = "while carried out: Procore has rotated and has not answered"
POINTS: Final = (
    SENT,
    CARRIED_OUT,
    "after TakeLease",
    "after /oauth/token",
    "inside CommitRefresh",
    "after CommitRefresh",
)
UNRECOVERABLE: Final = {CARRIED_OUT, "after /oauth/token", "inside CommitRefresh"}
"""Where Procore, as documented, has forgotten the old token and no one has stored the new one."""


def die_at(world: World, user: int, point: str) -> Fault | None:
    """Have a process refresh the token of `user` and die at `point`; return what holds it up."""
    worker = world.worker()
    held_up = None
    if point.startswith("while"):
        held_up = world.hold_up(after_commit=point == CARRIED_OUT, seconds=HELD_UP_SECONDS)
        worker.tell("fresh", user=user)
        until(lambda: held_up.happened)
        worker.kill()
    else:
        worker.ask("die_at", point=point)
        worker.tell("fresh", user=user)
    world.lose(worker)
    return held_up


def what_is_told(answers: Iterable[Answer]) -> set[object]:
    """Return the status with which the API answered, or the error where there was no token."""
    return {answer.get("api", answer.get("error")) for answer in answers}


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_R3_a_process_killed_at_each_point_of_a_refresh_costs_no_more_than_it_must(
    new_world: NewWorld, report: Report, rotation: str
) -> None:
    world = new_world(rotation=rotation)
    others = [world.worker() for _ in range(2)]
    held_up = []
    told: dict[str, set[object]] = {}
    users: dict[str, int] = {}
    tokens: dict[str, str] = {}
    for number, point in enumerate(POINTS):
        user = users[point] = world.sign_in(number)
        token = world.row(user).tokens.refresh_token
        assert token is not None
        tokens[point] = token.reveal()
        world.expire()
        held_up.append(die_at(world, user, point))
        world.pass_time(LEASE_SECONDS + 1)
        told[point] = set()
        for _ in range(3):
            for worker in others:
                worker.tell("fresh", user=user)
            told[point] |= what_is_told(world.answers(others).values())
    world.settle(*filter(None, held_up))
    sight = world.witness.look()
    rows = {point: world.row(users[point]) for point in POINTS}
    lost = [point for point in POINTS if rows[point].status == "lost"]
    report(
        "a process on {database} was killed at {kills} points of a refresh, rotation {rotation}:"
        " {survived} grants survived, {lost} were lost with one invalid_grant each",
        database=world.database.kind,
        rotation=rotation,
        kills=len(POINTS),
        survived=sum(row.status == "ok" for row in rows.values()),
        lost=len(lost),
        lost_at=lost,
    )
    assert set(lost) == (UNRECOVERABLE if rotation == "immediate" else set())
    assert told == {point: {"GrantLost"} if point in lost else {200} for point in POINTS}
    for point in POINTS:
        # Once by the process that died, once by the process that came next, however many asked.
        assert sight.refresh_tokens[tokens[point]] <= 2, point
    assert {point: sight.refused[tokens[point]] for point in lost} == dict.fromkeys(lost, 1)
    assert not any(row.leased or row.ambiguous for row in rows.values() if row.status == "ok")


def kill_one(world: World, user: int, *, aimed: bool) -> bool:
    """Have all processes refresh, and kill one at some moment; return whether it held the lease.

    Args:
        world: The run.
        user: Whose token all processes are after.
        aimed: Kill the holder of the lease; otherwise any process.
    """
    victim = world.chance.choice(world.workers)
    moment = world.chance.uniform(0, 0.04 if aimed else 0.08)
    generation = world.row(user).generation  # before anyone can change it
    for worker in world.workers:
        worker.tell("fresh", user=user)
    if aimed:
        until(lambda: world.holder(user) or world.row(user).generation > generation)
        holder = world.holder(user)
        victim = next((each for each in world.workers if each.pid == holder), victim)
    time.sleep(moment)
    victim.kill()
    world.lose(victim)
    return world.holder(user) == victim.pid


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_R3_processes_killed_at_random_cost_no_more_than_they_must(
    new_world: NewWorld, report: Report, rotation: str
) -> None:
    world = new_world(rotation=rotation)
    thinking = world.widen_the_race(0.02)
    user = world.sign_in()
    count: Counter[str] = Counter()
    for turn in range(KILLS):
        while len(world.workers) < PROCESSES:
            world.worker()
        world.expire()
        world.witness.look()
        held = kill_one(world, user, aimed=turn % 2 == 0)
        told = what_is_told(world.answers(world.workers).values())
        world.settle(thinking)
        sight = world.witness.look()
        row = world.row(user)
        count["kills of the holder"] += held
        # A token may be presented again by the process that takes over from a process that died
        # with it.
        count["double spends"] += max(0, sight.double_spends - held)
        count["invalid_grants"] += sight.invalid_grants
        count[row.status] += 1
        assert sight.invalid_grants <= held
        if row.status == "ok":
            assert told == {200}
            assert (row.leased, row.ambiguous) == (False, 0)
        else:
            assert told == {"GrantLost"}
            assert (row.status, held, sight.invalid_grants) == ("lost", True, 1)
            world.sign_in()
    report(
        "{processes} processes on {database} survived {kills} kill -9, {holders} of them of the"
        " process that was refreshing, rotation {rotation}: {ok} grants survived, {lost} were"
        " lost, {double_spends} double spends that no kill explains, {invalid_grants}"
        " invalid_grant in all",
        database=world.database.kind,
        rotation=rotation,
        processes=PROCESSES,
        kills=KILLS,
        holders=count["kills of the holder"],
        ok=count["ok"],
        lost=count["lost"],
        double_spends=count["double spends"],
        invalid_grants=count["invalid_grants"],
    )
    assert count["double spends"] == 0
    assert count["lost"] == 0 or rotation == "immediate"


def test_R3_the_harness_sees_the_loss_where_a_token_is_used_before_it_is_stored(
    new_world: NewWorld, report: Report
) -> None:
    """The same kill that commit-before-use survives under this rotation: see above."""
    world = new_world(rotation="grace")
    user = world.sign_in()
    world.expire()
    hasty, next_one = world.worker(), world.worker()
    hasty.ask("use_before_commit")
    with pytest.raises(WorkerDied):
        hasty.ask("fresh", user=user)
    world.lose(hasty)
    world.pass_time(LEASE_SECONDS + 1)
    answer = next_one.ask("fresh", user=user)
    report(
        "ablation on {database}: a token used before it was stored, and a kill -9 in between:"
        " the grant is {status}, under the rotation that survives every kill otherwise",
        database=world.database.kind,
        status=world.row(user).status,
    )
    assert answer["error"] == "GrantLost"
    assert world.row(user).status == "lost"
