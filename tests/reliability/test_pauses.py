"""A process that stands still in the middle of a refresh, past its lease, and then goes on."""

from __future__ import annotations

import pytest
from tests.reliability.conftest import NewWorld, Report
from tests.reliability.world import World, until

from procore_signin._flow.lease import LEASE_SECONDS


def pass_the_lease(world: World) -> None:
    """Let a lease run out for everyone, also by the clock of a process that stands still."""
    world.pass_time(LEASE_SECONDS + 1)
    if world.database.has_a_clock:
        world.clock.advance(LEASE_SECONDS + 1)


def test_R2_a_process_that_slept_past_its_lease_before_it_asked_does_not_ask(
    new_world: NewWorld, report: Report
) -> None:
    world = new_world()
    user = world.sign_in()
    sleeper, other = world.worker(), world.worker()
    world.expire()
    world.witness.look()
    sleeper.ask("pause_at", point="after TakeLease")
    assert sleeper.ask("fresh", user=user) == {"paused": True}
    pass_the_lease(world)
    meanwhile = other.ask("fresh", user=user)
    sleeper.tell("go_on")
    answer = sleeper.hear()
    sight = world.witness.look()
    report(
        "a process on {database} slept past its lease before it asked:"
        " {double_spends} double spends",
        database=world.database.kind,
        double_spends=sight.double_spends,
        invalid_grants=sight.invalid_grants,
    )
    assert meanwhile["api"] == 200
    assert (sight.double_spends, sight.invalid_grants) == (0, 0)
    assert answer.get("api") == 200 or answer["error"] == "ProcoreUnavailable"
    assert sleeper.ask("fresh", user=user)["api"] == 200
    assert world.row(user).generation == 2


@pytest.mark.parametrize("rotation", ["immediate", "grace"])
def test_R4_a_process_that_slept_past_its_lease_before_it_stored_loses_no_pair(
    new_world: NewWorld, report: Report, rotation: str
) -> None:
    """Under `immediate` the sleeper alone knows the grant; under `grace` both have a pair."""
    world = new_world(rotation=rotation)
    user = world.sign_in()
    sleeper, other = world.worker(), world.worker()
    world.expire()
    sleeper.ask("pause_at", point="before CommitRefresh")
    assert sleeper.ask("fresh", user=user) == {"paused": True}
    pass_the_lease(world)
    meanwhile = other.ask("fresh", user=user)
    sleeper.tell("go_on")
    answer = sleeper.hear()
    row = world.row(user)
    report(
        "a process on {database} slept past its lease before it stored the new pair, rotation"
        " {rotation}: the grant is {status}, and {live} is alive at Procore",
        database=world.database.kind,
        rotation=rotation,
        status=row.status,
        live=world.live_grants().total(),
    )
    assert meanwhile == (
        {"error": "GrantLost", "retry_after": None}
        if rotation == "immediate"
        else {"generation": 2, "api": 200, "waited": False}
    )
    assert answer["api"] == 200
    assert (row.status, row.generation, row.ambiguous) == ("ok", 2, 0)
    assert other.ask("fresh", user=user)["api"] == 200
    until(
        lambda: world.live_grants().total() == 1
    )  # the late pair is given back beside its response
