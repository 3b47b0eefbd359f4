"""What a refresh that comes to nothing leaves in the row, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from doing import away, meet
from scripted import Clock, ScriptedProcore, reply, sign_in, tokens

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.lease import (
    LEASE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PAUSE_SECONDS,
    REQUEST_SECONDS,
)
from procore_signin._flow.outage import FAILURES
from procore_signin._flow.refresh import fresh_tokens
from procore_signin._flow.revocation import ENDING_SECONDS
from procore_signin._flow.running.runner import Runner
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._store import Store
from procore_signin._store.records import User
from procore_signin._store.refresh import (
    CommitRefresh,
    EndGrant,
    ReleaseLease,
    TakeLease,
    TokenRowOf,
)
from procore_signin._store.tokens import TokenState, TokenStates
from procore_signin.errors import (
    GrantLost,
    ProcoreUnavailable,
    SignInRefused,
    StoreUnavailable,
    VaultSealed,
)
from procore_signin.events import Event, Field

pytestmark = pytest.mark.usefixtures("one_thread")
INVALID_GRANT = reply(400, {"error": "invalid_grant"})
LOST = ProcoreUnavailable("The connection was reset", ambiguous=True)
AWAY = ProcoreUnavailable("Procore is away", ambiguous=False)


@pytest.fixture
def user(door: ProcoreSignIn, clock: Clock) -> User:
    """Someone whose access token has expired."""
    user = sign_in(door).user
    clock.advance(5400)
    return user


def state_of(door: ProcoreSignIn, user: User) -> TokenState:
    [state] = door.store.ask(TokenStates(user.id, now=door.context.now()))
    return state


def test_a_user_is_told_whether_the_grant_was_revoked_or_lost_with_a_response(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    procore.next("/oauth/token", LOST, INVALID_GRANT)
    for _ in ("who asks", "who comes later"):
        with pytest.raises(GrantLost, match="was lost"):
            door.fresh_tokens(user)
    sign_in(door)
    clock.advance(5400)
    procore.next("/oauth/token", INVALID_GRANT)
    for _ in ("who asks", "who comes later"):
        with pytest.raises(GrantLost, match="was revoked") as caught:
            door.fresh_tokens(user)
        assert caught.value.hint == "Ask the user to sign in again."


def test_someone_whose_access_was_ended_is_refused_with_the_reason(
    door: ProcoreSignIn, clock: Clock, user: User
) -> None:
    door.disconnect(user)
    with pytest.raises(GrantLost, match="not connected") as caught:
        door.fresh_tokens(user)
    assert caught.value.hint == "Ask for a new sign-in."
    sign_in(door)
    clock.advance(5400)
    door.disable(user)
    with pytest.raises(SignInRefused, match="disabled in this application"):
        door.fresh_tokens(user)


def test_a_grant_without_a_refresh_token_is_over_when_its_access_token_is(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    procore.next("/oauth/token", tokens(1, refresh_token=None))
    user = sign_in(door).user
    clock.advance(5400)
    with pytest.raises(GrantLost, match="no refresh token") as caught:
        door.fresh_tokens(user)
    assert caught.value.hint == "Ask the user to sign in again."
    state = state_of(door, user)
    assert (state.status, state.leased_for) == ("revoked", 0)


def test_tokens_that_cannot_be_opened_are_told_of_with_whose_they_are(
    door: ProcoreSignIn,
    user: User,
    told: list[tuple[Event, Mapping[str, Field]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sealed(*_: object, **_more: object) -> Any:
        raise VaultSealed("no key opens it")

    monkeypatch.setattr(type(door.store._seal), "open_row", sealed)
    with pytest.raises(VaultSealed):
        door.fresh_tokens(user)
    facts = {"user": user.id, "environment": "emulator", "place": "token_sets"}
    assert (Event.TOKENS_SEALED, facts) in told


def test_a_refresh_that_fails_is_told_of_with_the_reason(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    told: list[tuple[Event, Mapping[str, Field]]],
) -> None:
    def slow(_request: HttpRequest) -> HttpResponse:
        clock.advance(1.5)
        raise AWAY

    procore.next("/oauth/token", slow)
    with pytest.raises(ProcoreUnavailable):
        door.fresh_tokens(user)
    facts = {
        "user": user.id,
        "environment": "emulator",
        "generation": 1,
        "milliseconds": 1500,
        "reason": "ProcoreUnavailable",
    }
    assert told == [(Event.REFRESH_FAILED, facts)]


@pytest.mark.parametrize(
    ("failure", "in_doubt"), [(AWAY, 0), (ZeroDivisionError("a defect"), 1)], ids=["away", "defect"]
)
def test_after_a_defect_no_one_knows_what_became_of_the_refresh_token(
    door: ProcoreSignIn, procore: ScriptedProcore, user: User, failure: Exception, in_doubt: int
) -> None:
    procore.next("/oauth/token", failure)
    with pytest.raises(type(failure)):
        door.fresh_tokens(user)
    state = state_of(door, user)
    assert (state.ambiguous, state.retry_in) == (in_doubt, PAUSE_SECONDS)


@pytest.mark.parametrize(
    ("named", "pause"),
    [(None, PAUSE_SECONDS), ("1", 1), ("7", 7), ("301", LONGEST_PAUSE_SECONDS)],
)
def test_no_one_asks_again_until_procore_wants_to_be_asked(
    door: ProcoreSignIn, procore: ScriptedProcore, user: User, named: str | None, pause: int
) -> None:
    headers = {} if named is None else {"retry-after": named}
    procore.next("/oauth/token", reply(429, b"", **headers))
    with pytest.raises(ProcoreUnavailable):
        door.fresh_tokens(user)
    assert state_of(door, user).retry_in == pause


def test_a_lease_that_was_granted_without_an_answer_is_given_back_when_the_database_is_there(
    door: ProcoreSignIn, procore: ScriptedProcore, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request was sent: no doubt stays, and no pause to speak of."""
    answered = [False]

    def take(usual: Callable[[], Any], _: object) -> Any:
        taken = usual()
        if not answered[0]:
            answered[0] = True
            raise StoreUnavailable("The response to the COMMIT was lost")
        return taken

    meet(monkeypatch, Store, TakeLease, take)
    with pytest.raises(StoreUnavailable):
        door.fresh_tokens(user)
    state = state_of(door, user)
    assert (state.retry_in, state.ambiguous, procore.exchanges[1:]) == (1, 0, [])


def test_a_lease_is_given_back_for_as_long_as_it_lasts(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[float] = []

    def release(_usual: Callable[[], Any], _: object) -> Any:
        tries.append(clock.now)
        raise StoreUnavailable("down")

    meet(monkeypatch, Store, ReleaseLease, release)
    monkeypatch.setattr(door, "_runner", Runner(door.store, procore, sleep=clock.advance))
    procore.next("/oauth/token", AWAY)
    began = clock.now
    with pytest.raises(ProcoreUnavailable):
        door.fresh_tokens(user)
    door._runner.settle()
    assert tries[1] - tries[0] == 0.5
    assert tries[-1] - began == LEASE_SECONDS


def test_a_process_that_ends_leaves_a_lease_to_run_out(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To wait for the database would keep the process, and no more than a lease is lost."""
    away(monkeypatch, ReleaseLease, 1000)
    runner = Runner(door.store, procore, sleep=clock.advance)
    monkeypatch.setattr(door, "_runner", runner)
    monkeypatch.setattr(type(runner._background), "closing", True)
    procore.next("/oauth/token", AWAY)
    began = clock.now
    with pytest.raises(ProcoreUnavailable):
        door.fresh_tokens(user)
    runner.settle()
    assert clock.now - began == 0.5
    row = door.store.ask(TokenRowOf(user.id, "emulator", now=door.context.now()))
    assert row is not None
    assert row.leased


@pytest.mark.parametrize(
    ("later", "error"), [(tokens(2), None), (INVALID_GRANT, GrantLost)], ids=["a pair", "refused"]
)
@pytest.mark.parametrize(("passed", "left"), [(5, 5), (9.5, 1)])
def test_the_one_who_met_an_outage_is_told_when_it_is_worth_another_try(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    told: list[tuple[Event, Mapping[str, Field]]],
    later: HttpResponse,
    error: type[GrantLost] | None,
    passed: float,
    left: int,
) -> None:
    """Others come first: the pause, of five seconds at the longest here, is twice as long."""
    context = replace(door.context, random_bytes=lambda number: b"\xff" * number)
    for other in range(100, 100 + FAILURES - 1):
        context.outage.failed(clock.now, 1.0, user_id=other, environment="emulator")
    procore.next("/oauth/token", AWAY)
    with pytest.raises(ProcoreUnavailable, match="is away"):
        door.run(fresh_tokens(context, user.id))
    assert (Event.OUTAGE_BEGAN, {"environment": "emulator"}) in told
    clock.advance(passed)
    with pytest.raises(ProcoreUnavailable, match="the latest refreshes") as caught:
        door.run(fresh_tokens(context, user.id))
    assert (caught.value.retry_after, caught.value.ambiguous) == (left, False)
    assert len(procore.exchanges) == 2
    clock.advance(5)
    procore.next("/oauth/token", later)
    with nullcontext() if error is None else pytest.raises(error):
        door.run(fresh_tokens(context, user.id))
    assert (Event.OUTAGE_ENDED, {"environment": "emulator"}) in told


def test_a_grant_that_is_lost_is_told_of_with_whose_it_is(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    user: User,
    told: list[tuple[Event, Mapping[str, Field]]],
) -> None:
    procore.next("/oauth/token", INVALID_GRANT)
    with pytest.raises(GrantLost):
        door.fresh_tokens(user)
    facts = {"user": user.id, "environment": "emulator", "generation": 1, "status": "revoked"}
    assert told == [(Event.GRANT_LOST, facts)]


def test_a_refresh_is_told_of_with_the_generation_that_it_brought(
    door: ProcoreSignIn, user: User, told: list[tuple[Event, Mapping[str, Field]]]
) -> None:
    door.fresh_tokens(user)
    facts = {
        "user": user.id,
        "environment": "emulator",
        "generation": 1,
        "milliseconds": 0,
        "to_generation": 2,
    }
    assert told == [(Event.REFRESHED, facts)]


def test_a_refusal_that_the_database_does_not_take_gives_the_lease_back_without_a_doubt(
    door: ProcoreSignIn, procore: ScriptedProcore, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    away(monkeypatch, EndGrant, 1)
    procore.next("/oauth/token", INVALID_GRANT)
    with pytest.raises(StoreUnavailable):
        door.fresh_tokens(user)
    state = state_of(door, user)
    assert (state.status, state.leased_for, state.retry_in) == ("ok", 0, PAUSE_SECONDS)
    assert state.ambiguous == 0


def test_a_process_that_slept_until_its_lease_could_end_sends_nothing_and_leaves_no_doubt(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def take(usual: Callable[[], Any], _: object) -> Any:
        taken = usual()
        clock.advance(LEASE_SECONDS - REQUEST_SECONDS)
        return taken

    meet(monkeypatch, Store, TakeLease, take)
    with pytest.raises(ProcoreUnavailable, match="could have ended") as caught:
        door.fresh_tokens(user)
    assert not caught.value.ambiguous
    assert (state_of(door, user).ambiguous, len(procore.exchanges)) == (0, 1)


def test_the_tries_to_write_a_new_pair_down_follow_soon_and_then_each_half_second(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    told: list[tuple[Event, Mapping[str, Field]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(seconds)

    left = [6]

    def commit(usual: Callable[[], Any], _: object) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise StoreUnavailable("down", hint="Start it.")
        return usual()

    meet(monkeypatch, Store, CommitRefresh, commit)
    runner = Runner(door.store, procore, sleep=sleep)
    with pytest.raises(StoreUnavailable, match="It is kept") as caught:
        runner.run(fresh_tokens(door.context, user.id))
    assert caught.value.hint == "Start it."
    runner.settle()
    assert pauses == [0.1, 0.3, 0.6, 0.5, 0.5, 0.5]
    facts = {"user": user.id, "environment": "emulator", "generation": 1}
    assert (Event.REFRESH_KEPT, {**facts, "reason": "StoreUnavailable"}) in told
    assert state_of(door, user).generation == 2


def test_a_process_that_ends_without_the_database_tells_whose_new_pair_it_leaves(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    told: list[tuple[Event, Mapping[str, Field]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away(monkeypatch, CommitRefresh, 1000)
    runner = Runner(door.store, procore, sleep=clock.advance)
    monkeypatch.setattr(runner._background, "ending", lambda: ENDING_SECONDS + 1)
    with pytest.raises(StoreUnavailable, match="down"):
        runner.run(fresh_tokens(door.context, user.id))
    facts = {"user": user.id, "environment": "emulator", "generation": 1}
    assert told == [(Event.REFRESH_LEFT_BEHIND, {**facts, "reason": "StoreUnavailable"})]
    assert clock.now == 1_800_005_400 + 0.1
