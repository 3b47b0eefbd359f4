"""The connection to the database breaks in the middle of a refresh or of a sign-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from tests.reliability.conftest import NewWorld
from tests.reliability.databases import Database
from tests.reliability.points import Points, WatchedTransport
from tests.reliability.proxy import Proxy, a_proxy
from tests.reliability.worker import BROWSER
from tests.reliability.world import World

from procore_signin._client import ProcoreSignIn
from procore_signin._flow import lease
from procore_signin._flow.lease import LEASE_SECONDS
from procore_signin._flow.refresh import fresh_tokens
from procore_signin._flow.running.runner import Runner
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted
from procore_signin._protocol.secret import Secret
from procore_signin._store.ledger import FailAttempt
from procore_signin.errors import GrantLost, StoreUnavailable

pytestmark = pytest.mark.parametrize("kind", ["postgresql", "mariadb"], indirect=True)


@pytest.fixture
def proxy(database: Database) -> Iterator[Proxy]:
    port = urlsplit(database.url).port
    assert port is not None
    with a_proxy(port) as proxy:
        yield proxy


def behind(world: World, proxy: Proxy) -> str:
    """Return the URL of the world's database behind `proxy`."""
    address = urlsplit(world.database.url)
    netloc = address.netloc.replace(str(address.port), str(proxy.port))
    return address._replace(netloc=netloc).geturl()


def door_through(world: World, proxy: Proxy, points: Points) -> ProcoreSignIn:
    """Return a front door whose database is behind `proxy`."""
    door = world.another_door(behind(world, proxy), lambda sends: WatchedTransport(sends, points))
    # Each connection begins with commits of its own: let them be over.
    door.store.probe()
    door.store.do(FailAttempt("0" * 64, "none", now=0))
    return door


def usable(world: World, user: int) -> bool:
    """Whether the person can work, after any lease has run out."""
    world.pass_time(LEASE_SECONDS + 1)
    return world.worker().ask("fresh", user=user).get("api") == 200


@pytest.mark.parametrize("commit", [1, 2], ids=["take_lease", "commit_refresh"])
def test_R3_a_refresh_survives_a_commit_whose_answer_is_lost(
    new_world: NewWorld, proxy: Proxy, commit: int
) -> None:
    world = new_world()
    user = world.sign_in()
    world.expire()
    world.witness.look()
    with door_through(world, proxy, Points()) as door:
        proxy.lose_the_answer_to_commit(commit)
        with suppress(StoreUnavailable):
            door.fresh_tokens(user)
    assert proxy.cuts == 1
    assert usable(world, user)
    assert (world.row(user).status, world.live_grants().total()) == ("ok", 1)
    assert world.witness.look().double_spends == 0


def test_R3_a_new_pair_is_written_down_when_the_database_is_away_for_a_moment(
    new_world: NewWorld, proxy: Proxy
) -> None:
    world = new_world()
    user = world.sign_in()
    world.expire()
    world.witness.look()
    points = Points()
    with door_through(world, proxy, points) as door:
        points.arm("after /oauth/token", proxy.down)
        back = Runner(door.store, door._transport, sleep=lambda _: proxy.up())
        assert back.run(fresh_tokens(door.context, user)).generation == 2
    assert usable(world, user)
    assert world.witness.look().double_spends == 0


@pytest.mark.parametrize("rotation", ["immediate", "grace"])
def test_R3_a_database_that_stays_away_costs_no_more_than_a_crash(
    new_world: NewWorld, proxy: Proxy, rotation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until after the end of the process that has the new pair."""
    world = new_world(rotation=rotation)
    user = world.sign_in()
    world.expire()
    world.witness.look()
    points = Points()
    monkeypatch.setattr(lease, "ENDING_SECONDS", 0.0)
    with door_through(world, proxy, points) as door:
        points.arm("after /oauth/token", proxy.down)
        with pytest.raises(StoreUnavailable):
            door.fresh_tokens(user)
    assert usable(world, user) == (rotation == "grace")
    if rotation == "immediate":
        with pytest.raises(GrantLost):
            world.door.fresh_tokens(user)
        assert world.row(user).status == "lost"
    assert world.witness.look().invalid_grants == (rotation == "immediate")


@pytest.mark.parametrize(
    ("which", "commit"),
    [("first", 3), ("again", 1), ("again", 2), ("again", 3), ("again", 4)],
    ids=["first-complete", "take", "escrow", "complete", "clear"],
)
def test_C12_a_sign_in_strands_no_grant_when_the_answer_to_a_commit_is_lost(
    new_world: NewWorld, proxy: Proxy, which: str, commit: int
) -> None:
    world = new_world()
    user = world.sign_in() if which == "again" else None
    with door_through(world, proxy, Points()) as door:
        proxy.lose_the_answer_to_commit(commit)
        with suppress(StoreUnavailable):
            world.sign_in(door=door)
    assert proxy.cuts == 1
    world.sweep_later()
    held = world.held_grants()
    assert world.live_grants() == held
    if user is not None:
        assert held.total() == 1
        assert usable(world, user)


@pytest.mark.parametrize("point", ["after /oauth/token", "after /rest/v1.0/me"])
def test_C12_a_database_that_goes_away_after_the_exchange_strands_no_grant(
    new_world: NewWorld, proxy: Proxy, point: str
) -> None:
    world = new_world()
    points = Points()
    with door_through(world, proxy, points) as door:
        points.arm(point, proxy.down)
        with pytest.raises(StoreUnavailable):
            world.sign_in(door=door)
    world.sweep_later()
    assert world.live_grants().total() == world.held_grants().total() == 0
    assert world.database.run("SELECT COUNT(*) FROM users") == [(0,)]


def test_C12_a_database_that_is_away_before_the_exchange_costs_no_code(
    new_world: NewWorld, proxy: Proxy
) -> None:
    world = new_world()
    attempt, code = world.granted()
    response = CodeGranted(Secret(code, "code"), attempt.state, None)
    with door_through(world, proxy, Points()) as door:
        proxy.down()
        with pytest.raises(StoreUnavailable):
            door.run(finish_sign_in(door.context, attempt, response, BROWSER))
        assert world.witness.look().codes.total() == 0
        proxy.up()
        door.run(finish_sign_in(door.context, attempt, response, BROWSER))
    assert world.live_grants().total() == world.held_grants().total() == 1
