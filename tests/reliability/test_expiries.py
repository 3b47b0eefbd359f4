"""Many processes meet the same expired token: it is spent once, and everyone goes on working."""

from __future__ import annotations

from typing import Final

import pytest
from tests.reliability.conftest import NewWorld, Report
from tests.reliability.settings import size
from tests.reliability.world import ACCESS_TOKEN_LIFETIME, World

PROCESSES: Final = 8
EXPIRIES: Final = size(6, 100)
ABLATED: Final = 4
SKEWS: Final = (-600, 600, 0, 300, -600, 600, 0, -300)[: size(4, 8)]


def meet_expiries(world: World, user: int, expiries: int) -> dict[str, int]:
    """Let the token of `user` expire again and again, before all processes at once."""
    world.witness.look()
    found = dict.fromkeys(("refreshes", "double_spends", "invalid_grants", "refused_calls"), 0)
    found |= dict.fromkeys(("calls", "waits"), 0)
    for _ in range(expiries):
        world.expire()
        for worker in world.workers:
            worker.tell("fresh", user=user)
        answers = world.answers(world.workers).values()
        sight = world.witness.look()
        found["refreshes"] += sight.refreshes
        found["double_spends"] += sight.double_spends
        found["invalid_grants"] += sight.invalid_grants
        found["calls"] += len(answers)
        found["refused_calls"] += sum(answer.get("api") != 200 for answer in answers)
        found["waits"] += sum(answer.get("waited", False) for answer in answers)
    return found


@pytest.mark.parametrize("rotation", ["immediate", "grace"])
def test_R1_eight_processes_spend_no_refresh_token_twice(
    new_world: NewWorld, report: Report, rotation: str
) -> None:
    world = new_world(rotation=rotation)
    world.widen_the_race()
    user = world.sign_in()
    for _ in range(PROCESSES):
        world.worker()
    found = meet_expiries(world, user, EXPIRIES)
    report(
        "{processes} processes on {database} met {expiries} expiries, rotation {rotation}:"
        " {refreshes} refreshes, {double_spends} double spends, {refused_calls} of {calls} calls"
        " refused, and {waits} times a process waited for another",
        database=world.database.kind,
        rotation=rotation,
        processes=PROCESSES,
        expiries=EXPIRIES,
        **found,
    )
    assert found | {"waits": 0} == {
        "refreshes": EXPIRIES,
        "double_spends": 0,
        "invalid_grants": 0,
        "refused_calls": 0,
        "calls": PROCESSES * EXPIRIES,
        "waits": 0,
    }
    assert found["waits"] > EXPIRIES  # or no one raced
    assert world.row(user).generation == EXPIRIES + 1


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"], indirect=True)
def test_R1_processes_whose_clocks_differ_by_twenty_minutes_spend_no_refresh_token_twice(
    new_world: NewWorld, report: Report
) -> None:
    world = new_world()
    world.widen_the_race()
    user = world.sign_in()
    for skew in SKEWS:
        world.worker(skew=skew)
    found = meet_expiries(world, user, EXPIRIES)
    report(
        "{processes} processes on {database}, their clocks up to 10 minutes fast or slow, met"
        " {expiries} expiries: {refreshes} refreshes, {double_spends} double spends,"
        " {refused_calls} of {calls} calls refused",
        database=world.database.kind,
        processes=len(SKEWS),
        expiries=EXPIRIES,
        **found,
    )
    assert (found["refreshes"], found["double_spends"]) == (EXPIRIES, 0)
    assert found["refused_calls"] == 0
    assert found["waits"] > EXPIRIES


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("skew", [-600.0, 600.0])
def test_T6_a_sign_in_by_a_process_with_a_wrong_clock_stores_the_true_lifetime(
    new_world: NewWorld, skew: float
) -> None:
    world = new_world()
    signs_in, other = world.worker(skew=skew), world.worker()
    user = signs_in.ask("sign_in", **world.order_for_sign_in())["user"]
    assert abs(world.row(user).expires_in - ACCESS_TOKEN_LIFETIME) <= 5
    world.expire()
    assert other.ask("fresh", user=user)["api"] == 200


def test_R2_the_harness_sees_double_spends_where_a_lease_is_shorter_than_the_call(
    new_world: NewWorld, report: Report
) -> None:
    """A lease that no setting allows: `tests/flow` shows that it outlasts both its requests."""
    world = new_world()
    user = world.sign_in()
    for _ in range(ABLATED):
        world.worker(lease_seconds=0).ask("fresh", user=user)
    world.widen_the_race(0.2)
    races, sight = 0, world.witness.look()
    while not sight.double_spends and races < 10:
        races += 1
        world.expire()
        for worker in world.workers:
            worker.tell("fresh", user=user)
        answers = world.answers(world.workers).values()
        sight = world.witness.look()
    lost = sum(answer.get("error") == "GrantLost" for answer in answers)
    report(
        "ablation on {database}: with a lease of 0 seconds {processes} processes made"
        " {double_spends} double spends in race {races}, and {lost} were told that the grant is"
        " lost",
        database=world.database.kind,
        processes=ABLATED,
        races=races,
        double_spends=sight.double_spends,
        invalid_grants=sight.invalid_grants,
        lost=lost,
    )
    assert sight.double_spends > 0
    assert sight.invalid_grants > 0
