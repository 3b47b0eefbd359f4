"""A process dies in a refresh on a clock that is three hours ahead, which is then set right."""

from __future__ import annotations

import time
from typing import Final

from tests.reliability.conftest import NewWorld, Report
from tests.reliability.settings import size

from procore_signin._store.refresh import TakeLease

MEANT: Final = size(2, 30)
"""Seconds that the lease of the dead process was meant to last."""

AHEAD: Final = 3 * 3600


def test_R14_a_clock_that_is_set_back_delays_nobody_for_longer_than_a_lease(
    new_world: NewWorld, report: Report
) -> None:
    world = new_world()
    user = world.sign_in()
    world.expire()
    now = int(world.clock())
    assert world.door.store.do(TakeLease(world.row(user), owner="dead", seconds=MEANT, now=now))
    world.database.run(
        "UPDATE token_sets SET lease_until = lease_until + :ahead WHERE user_id = :user",
        ahead=AHEAD,
        user=user,
    )
    began = time.monotonic()
    assert world.door.fresh_tokens(user).generation == 2
    waited = time.monotonic() - began
    report(
        "a lease of {meant} s on {database}, dated three hours ahead: waited {waited} s for it",
        database=world.database.kind,
        meant=MEANT,
        waited=round(waited, 1),
    )
    assert waited <= MEANT + 1.5  # clocks count whole seconds, and the poll takes a quarter
