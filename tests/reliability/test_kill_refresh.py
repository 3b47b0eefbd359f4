"""`kill -9` during a refresh: the grant survives where the server allows it, and never storms."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from tests.reliability.conftest import NewWorld, Report
from tests.reliability.processes import Worker, WorkerDied
from tests.reliability.settings import size
from tests.reliability.world import World, until

from procore_signin.flow.tokens import LEASE_SECONDS

KILLS: Final = size(12, 60)
PROCESSES: Final = 8
ROTATIONS: Final = ("immediate", "grace")

SENT: Final = "while sent: Procore has the request and has not carried it out"
CARRIED_OUT: Final = "while carried out: Procore has rotated and has not answered"
POINTS: Final = (
    "after take_lease",
    SENT,
    CARRIED_OUT,
    "after /oauth/token",
    "inside commit_refresh",
    "after commit_refresh",
)
UNRECOVERABLE: Final = {CARRIED_OUT, "after /oauth/token", "inside commit_refresh"}
"""Where Procore, as documented, has forgotten the old token and nobody has stored the new one."""


@contextmanager
def death_at(world: World, user: int, point: str) -> Iterator[None]:
    """Have a process refresh the token of `user` and die at `point`.

    The block runs after its death; at its end Procore has finished with its request.
    """
    worker = world.worker()
    if not point.startswith("while"):
        worker.ask("die_at", point=point)
        worker.tell("fresh", user=user)
        world.lose(worker)
        yield
        return
    with world.held_up(after_commit=point == CARRIED_OUT) as fault:
        worker.tell("fresh", user=user)
        until(lambda: fault.happened)
        worker.kill()
        world.lose(worker)
        yield


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_R3_a_process_killed_at_each_point_of_a_refresh_costs_no_more_than_it_must(
    new_world: NewWorld, report: Report, rotation: str
) -> None:
    world = new_world(rotation=rotation)
    others = [world.worker() for _ in range(3)]
    outcomes: dict[str, str] = {}
    invalid_grants: dict[str, int] = {}
    for number, point in enumerate(POINTS):
        user = world.sign_in(number)
        world.expire()
        world.witness.look()
        answers = []
        with death_at(world, user, point):
            world.pass_time(LEASE_SECONDS + 1)
            for _ in range(3):
                for worker in others:
                    worker.tell("fresh", user=user)
                answers += world.answers(others).values()
        row = world.row(user)
        outcomes[point] = row.status
        sight = world.witness.look()
        invalid_grants[point] = sight.invalid_grants
        if row.status == "ok":
            assert {answer.get("api") for answer in answers} == {200}, point
            assert (row.leased, row.ambiguous) == (False, 0), point
        else:
            assert {answer.get("error") for answer in answers} == {"GrantLost"}, point
            # One attempt by the process that died, one by whoever came after it, none after that.
            assert sight.refresh_tokens.total() == 2, point
    report(
        "a process on {database} was killed at {kills} points of a refresh, rotation {rotation}:"
        " {survived} grants survived, {lost} were lost with one invalid_grant each",
        database=world.database.kind,
        rotation=rotation,
        kills=len(POINTS),
        survived=sum(status == "ok" for status in outcomes.values()),
        lost=sum(status == "lost" for status in outcomes.values()),
        outcomes=outcomes,
    )
    unrecoverable = UNRECOVERABLE if rotation == "immediate" else set()
    assert outcomes == {point: "lost" if point in unrecoverable else "ok" for point in POINTS}
    assert {point: invalid_grants[point] for point in unrecoverable} == dict.fromkeys(
        unrecoverable, 1
    )


def kill_one(world: World, user: int, *, aimed: bool) -> tuple[Worker, bool]:
    """Kill one process at some moment of a refresh; return it and whether it held the lease.

    Args:
        world: The run.
        user: Whose token all processes are after.
        aimed: Kill whoever holds the lease; otherwise anybody.
    """
    victim = world.chance.choice(world.workers)
    if aimed:
        holder = until(lambda: world.holder(user))
        victim = next(worker for worker in world.workers if worker.pid == holder)
    time.sleep(world.chance.uniform(0, 0.04 if aimed else 0.08))
    victim.kill()
    world.lose(victim)
    return victim, world.holder(user) == victim.pid


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_R3_processes_killed_at_random_cost_no_more_than_they_must(
    new_world: NewWorld, report: Report, rotation: str
) -> None:
    world = new_world(rotation=rotation)
    world.widen_the_race(0.02)
    user = world.sign_in()
    count: Counter[str] = Counter()
    for turn in range(KILLS):
        while len(world.workers) < PROCESSES:
            world.worker()
        world.expire()
        world.witness.look()
        for worker in world.workers:
            worker.tell("fresh", user=user)
        _, held = kill_one(world, user, aimed=turn % 2 == 0)
        answers = world.answers(world.workers).values()
        sight = world.witness.look()
        row = world.row(user)
        count["kills"] += 1
        count["kills of the holder"] += held
        count["double spends"] += max(0, sight.double_spends - held)
        count["invalid_grants"] += sight.invalid_grants
        count[row.status] += 1
        if row.status == "ok":
            assert {answer.get("api") for answer in answers} == {200}
            assert (row.leased, row.ambiguous) == (False, 0)
            continue
        assert {answer.get("error") for answer in answers} == {"GrantLost"}
        assert (held, sight.invalid_grants, sight.double_spends) == (True, 1, 1)
        world.sign_in()
    report(
        "{processes} processes on {database} survived {kills} kill -9, {holders} of them of the"
        " process that was refreshing, rotation {rotation}: {ok} grants survived, {lost} were"
        " lost, {double_spends} double spends that no kill explains, {invalid_grants}"
        " invalid_grant in all",
        database=world.database.kind,
        rotation=rotation,
        processes=PROCESSES,
        kills=count["kills"],
        holders=count["kills of the holder"],
        ok=count["ok"],
        lost=count["lost"],
        double_spends=count["double spends"],
        invalid_grants=count["invalid_grants"],
    )
    assert count["double spends"] == 0
    assert count["revoked"] == 0
    assert count["invalid_grants"] == count["lost"]
    if rotation == "grace":
        assert count["lost"] == 0


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
        "ablation on {database}: a token used before it was stored, and a kill -9 in between,"
        " lost the grant ({status}) under the rotation that survives every kill otherwise",
        database=world.database.kind,
        status=world.row(user).status,
    )
    assert answer["error"] == "GrantLost"
    assert world.row(user).status == "lost"
