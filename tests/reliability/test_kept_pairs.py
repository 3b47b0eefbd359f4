"""The database goes away after Procore has answered, and comes back."""

from __future__ import annotations

import select
import signal
import threading
import time
from typing import Final
from urllib.parse import urlsplit

import pytest
from tests.reliability.conftest import NewWorld, Report
from tests.reliability.points import Points
from tests.reliability.proxy import a_proxy
from tests.reliability.settings import size
from tests.reliability.test_cut_database import behind, door_through
from tests.reliability.world import until

from procore_signin._flow.lease import LEASE_SECONDS
from procore_signin.errors import GrantLost, ProcoreUnavailable, StoreUnavailable

AWAY: Final = size(1, 8)
"""How many people's refreshes meet a database that goes away, for each of `SECONDS`."""

SECONDS: Final = size(1, 3)  # so many times as long as a restart of a second


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("rotation", ["immediate", "grace"])
def test_R15_a_database_that_comes_back_loses_no_grant(
    new_world: NewWorld, report: Report, rotation: str
) -> None:
    world = new_world(rotation=rotation)
    users = [world.sign_in(number) for number in range(AWAY * 3)]
    world.expire()
    world.witness.look()
    told, waited = 0, 0.0
    port = urlsplit(world.database.url).port
    assert port is not None
    for number, user in enumerate(users):
        seconds = SECONDS * (1 + number % 3)
        points = Points()
        with a_proxy(port) as proxy, door_through(world, proxy, points) as door:
            points.arm("after /oauth/token", proxy.down)
            back = threading.Timer(seconds, proxy.up)
            back.start()
            try:
                door.fresh_tokens(user)
            except StoreUnavailable:
                told += 1
            back.join()
            began = time.monotonic()
            while True:
                try:
                    generation = door.fresh_tokens(user).generation
                    break
                except (StoreUnavailable, ProcoreUnavailable):
                    assert time.monotonic() - began < 10
                    time.sleep(0.02)
            waited = max(waited, time.monotonic() - began)
            assert generation == 2
    sight = world.witness.look()
    report(
        "{times} refreshes on {database}, which was away for {shortest} to {longest} s after"
        " Procore answered ({rotation}): {lost} grants lost, {double_spends} double spends;"
        " {told} callers were told to try later, and {waited} s after its return at the latest"
        " they had the new pair",
        database=world.database.kind,
        rotation=rotation,
        times=len(users),
        shortest=SECONDS,
        longest=3 * SECONDS,
        told=told,
        waited=round(waited, 2),
        lost=sight.invalid_grants,
        double_spends=sight.double_spends,
    )
    assert told > 0
    assert (sight.double_spends, sight.invalid_grants) == (0, 0)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"], indirect=True)
def test_R15_sigterm_waits_for_a_database_that_comes_back(new_world: NewWorld) -> None:
    """A server has the only copy of the new pair when it is told to end."""
    world = new_world(rotation="immediate")
    user = world.sign_in()
    world.expire()
    thinking = world.hold_up(after_commit=True, seconds=1)
    port = urlsplit(world.database.url).port
    assert port is not None
    with a_proxy(port) as proxy:
        server = world.worker(at=behind(world, proxy))
        server.tell("serve", user=user, callers=2)
        assert server.hear() == {"serving": True}
        until(lambda: thinking.happened)
        proxy.down()
        server.send_signal(signal.SIGTERM)
        ended, _, _ = select.select([server], [], [], 3)
        assert not ended, "it did not wait for the database"
        assert world.row(user).generation == 1
        proxy.up()
        assert server.hear() == {"cancelled": 2}
    assert (world.row(user).status, world.row(user).generation) == ("ok", 2)
    assert world.worker().ask("fresh", user=user)["api"] == 200
    sight = world.witness.look()
    assert (sight.double_spends, sight.invalid_grants) == (0, 0)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"], indirect=True)
def test_R15_another_process_that_takes_the_grant_for_lost_is_put_right(
    new_world: NewWorld,
) -> None:
    world = new_world(rotation="immediate")
    user = world.sign_in()
    world.expire()
    points = Points()
    port = urlsplit(world.database.url).port
    assert port is not None
    with a_proxy(port) as proxy, door_through(world, proxy, points) as door:
        points.arm("after /oauth/token", proxy.down)
        with pytest.raises(StoreUnavailable):
            door.fresh_tokens(user)
        world.pass_time(LEASE_SECONDS + 1)
        with pytest.raises(GrantLost):
            world.door.fresh_tokens(user)
        assert world.row(user).status == "lost"
        proxy.up()
        door._runner.settle()
        assert world.row(user).status == "ok"
        assert world.worker().ask("fresh", user=user)["api"] == 200
