"""A wall clock that jumps delays no one for longer than was meant (row R14)."""

from __future__ import annotations

import pytest
from scripted import Clock, ScriptedProcore, reply, sign_in

from procore_signin._api.service_account import ServiceTokens
from procore_signin._client import ProcoreSignIn
from procore_signin._flow.lease import LEASE_SECONDS, PAUSE_SECONDS
from procore_signin._flow.outage import FAILURES, Outage
from procore_signin._flow.outage import LONGEST_PAUSE_SECONDS as LONGEST_OUTAGE_PAUSE
from procore_signin._store.records import TokenRow, User
from procore_signin._store.refresh import RedateLease, TakeLease, TokenRowOf
from procore_signin.errors import ProcoreUnavailable

HOURS = 3 * 3600


@pytest.fixture
def user(door: ProcoreSignIn) -> User:
    return sign_in(door).user


def row_of(door: ProcoreSignIn, user: User) -> TokenRow:
    row = door.store.ask(TokenRowOf(user.id, "emulator", now=door.context.now()))
    assert row is not None
    return row


def test_R14_a_pause_that_began_on_a_clock_that_was_ahead_lasts_as_long_as_it_was_meant_to(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(HOURS)
    procore.next("/oauth/token", reply(503, {}), reply(503, {}))
    with pytest.raises(ProcoreUnavailable):
        door.fresh_tokens(user)
    clock.advance(-HOURS)
    with pytest.raises(ProcoreUnavailable, match="too early"):
        door.fresh_tokens(user, rejected=1)
    clock.advance(PAUSE_SECONDS)
    assert door.fresh_tokens(user, rejected=1).generation == 2


def test_R14_a_lease_of_a_process_that_was_killed_lasts_as_long_as_it_was_meant_to(
    door: ProcoreSignIn, clock: Clock, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.advance(HOURS)
    row = row_of(door, user)
    assert door.store.do(
        TakeLease(row, owner="dead", seconds=LEASE_SECONDS, now=door.context.now())
    )
    clock.advance(-HOURS)
    began = clock.now
    monkeypatch.setattr(door._runner, "_sleep", clock.advance)
    assert door.fresh_tokens(user, rejected=1).generation == 2
    assert clock.now - began <= LEASE_SECONDS + 1


def test_R14_a_lease_is_not_cut_short_while_its_owner_may_be_at_work(
    door: ProcoreSignIn, clock: Clock, user: User
) -> None:
    row = row_of(door, user)
    assert door.store.do(
        TakeLease(row, owner="alive", seconds=LEASE_SECONDS, now=door.context.now() + HOURS)
    )
    misdated = row_of(door, user)
    assert misdated.misdated
    redated = door.store.do(RedateLease(misdated, now=door.context.now()))
    assert redated is not None
    assert (redated.leased, redated.misdated) == (True, False)
    again = redated
    assert (
        door.store.do(TakeLease(again, owner="other", seconds=1, now=int(clock.now) + 29)) is None
    )
    assert door.store.do(TakeLease(again, owner="other", seconds=1, now=int(clock.now) + 30))


def test_R14_a_token_that_seems_to_have_more_left_than_it_ever_had_is_served_and_refreshed(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    clock.advance(HOURS)
    user = sign_in(door).user
    clock.advance(-HOURS)
    assert door.fresh_tokens(user).generation == 1
    door._runner.settle()
    assert row_of(door, user).generation == 2
    assert door.fresh_tokens(user).generation == 2
    door._runner.settle()
    assert len(procore.exchanges) == 2


def test_R14_an_outage_lasts_no_longer_than_its_pause_where_the_clock_was_set_back() -> None:
    outage, now = Outage(), 1_800_000_000.0
    for number in range(FAILURES + 3):
        outage.failed(now + HOURS, 1.0, user_id=number, environment="emulator")
    assert 0 < outage.claim(now, user_id=99) <= LONGEST_OUTAGE_PAUSE
    assert outage.claim(now + LONGEST_OUTAGE_PAUSE, user_id=99) == 0


def test_R14_a_refresh_during_which_the_clock_jumps_is_asked_for_again_soon(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)

    def jump(_: object) -> object:
        clock.advance(-HOURS)
        raise ProcoreUnavailable("reset", ambiguous=True)

    procore.next("/oauth/token", jump)  # type: ignore[arg-type]
    with pytest.raises(ProcoreUnavailable, match="lease could have ended"):
        door.fresh_tokens(user)
    clock.advance(PAUSE_SECONDS)
    assert door.fresh_tokens(user, rejected=1).generation == 2


def test_R14_an_outage_of_service_tokens_lasts_as_long_as_it_was_meant_to(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    service = ServiceTokens(door.context)
    clock.advance(HOURS)
    procore.next("/oauth/token", reply(503, {}))
    with pytest.raises(ProcoreUnavailable):
        door.run(service.fresh())
    clock.advance(-HOURS)
    with pytest.raises(ProcoreUnavailable, match="too early"):
        door.run(service.fresh())
    clock.advance(PAUSE_SECONDS)
    assert door.run(service.fresh()).generation == 1
