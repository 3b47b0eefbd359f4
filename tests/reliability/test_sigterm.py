"""SIGTERM to an asyncio server in the middle of its work: it finishes what must not be lost."""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from tests.reliability.conftest import NewWorld, Report
from tests.reliability.processes import Answer, Worker
from tests.reliability.settings import size
from tests.reliability.world import World, until

from procore_signin._flow.lease import LEASE_SECONDS
from procore_signin._store.ledger import AttemptOf

TIMES: Final = size(5, 100)
SIGN_INS: Final = size(4, 25)
CALLERS: Final = 5
SECONDS: Final = 0.03
"""How long Procore thinks. SIGTERM comes at even distances before, during and after that."""


def terminate(
    world: World, begun: Callable[[], object], delay: float, do: str, **order: Any
) -> Answer:
    """Have a server begin its work, send it SIGTERM after `delay` seconds, and see it out."""
    server: Worker = world.worker()
    server.tell(do, **order)
    assert server.hear() == {"serving": True}
    until(begun)
    time.sleep(delay)
    server.send_signal(signal.SIGTERM)
    answer = server.hear()
    server.close()
    world.workers.remove(server)
    return answer


def test_R12_sigterm_during_a_refresh_loses_no_grant(new_world: NewWorld, report: Report) -> None:
    world = new_world()
    world.widen_the_race(SECONDS)
    user = world.sign_in()
    check = world.worker()
    interrupted = refreshed = cancelled = 0
    world.witness.look()
    for turn in range(TIMES):
        before = world.row(user).generation
        world.expire()

        def begun(generation: int = before) -> bool:
            row = world.row(user)
            return row.leased or row.generation > generation

        callers = terminate(
            world,
            begun if turn % 4 else lambda: True,  # and sometimes before anything has begun
            2 * SECONDS * turn / TIMES,
            "serve",
            user=user,
            callers=CALLERS,
        )["cancelled"]
        row = world.row(user)
        interrupted += callers > 0
        cancelled += callers
        refreshed += row.generation - before
        assert (row.status, row.leased, row.ambiguous) == ("ok", False, 0)
        assert row.generation - before <= 1
        assert check.ask("fresh", user=user)["api"] == 200
    sight = world.witness.look()
    report(
        "{times} servers on {database} got SIGTERM, {interrupted} of them during a refresh, which"
        " cancelled {cancelled} callers: {refreshed} refreshes were finished, {lost} grants lost",
        database=world.database.kind,
        times=TIMES,
        interrupted=interrupted,
        cancelled=cancelled,
        refreshed=refreshed,
        lost=sight.invalid_grants,
        double_spends=sight.double_spends,
    )
    assert interrupted > 0
    assert refreshed > TIMES // 2
    assert (sight.double_spends, sight.invalid_grants) == (0, 0)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_R12_a_server_that_waits_for_another_process_ends_without_waiting_on(
    new_world: NewWorld,
) -> None:
    """It would wait for as long as a lease lasts, and be killed in the refresh after that."""
    world = new_world()
    user = world.sign_in()
    world.expire()
    holder, server = world.worker(), world.worker()
    holder.ask("pause_at", point="after TakeLease")
    assert holder.ask("fresh", user=user) == {"paused": True}
    server.tell("serve", user=user, callers=CALLERS)
    assert server.hear() == {"serving": True}
    server.send_signal(signal.SIGTERM)
    ready, _, _ = select.select([server], [], [], LEASE_SECONDS / 4)
    assert ready, "it still waits for a lease that it does not hold"
    assert world.witness.look().refresh_tokens.total() == 0
    server.hear()
    holder.tell("go_on")
    assert holder.hear()["api"] == 200


def test_C13_sigterm_during_a_sign_in_strands_no_grant(new_world: NewWorld, report: Report) -> None:
    world = new_world()
    world.widen_the_race(SECONDS)
    interrupted = 0
    for turn in range(SIGN_INS):
        attempt, code = world.granted()

        def begun(state_hash: str = attempt.state_hash) -> object:
            return world.door.store.ask(AttemptOf(state_hash))

        delay = 2 * SECONDS * turn / SIGN_INS
        order = world.order(attempt, code)
        interrupted += terminate(world, begun, delay, "serve_sign_in", **order)["cancelled"]
        # No one swept: the sign-in was finished although no one waited for it any more.
        assert world.live_grants() == world.held_grants()
        assert world.live_grants().total() <= 1
    report(
        "{times} servers on {database} got SIGTERM, {interrupted} of them during a sign-in:"
        " {live} grant is alive, {held} belongs to someone with a session",
        database=world.database.kind,
        times=SIGN_INS,
        interrupted=interrupted,
        live=world.live_grants().total(),
        held=world.held_grants().total(),
    )
    assert interrupted > 0
    assert world.live_grants().total() == 1
