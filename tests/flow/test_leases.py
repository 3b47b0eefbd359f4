"""What a refresh that comes to nothing leaves in the row, and what it tells."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doing import away, meet
from mortal import PostponingRunner
from scripted import (
    AWAY,
    INVALID_GRANT,
    JOE,
    LOST,
    Clock,
    ScriptedProcore,
    front_door,
    reply,
    sign_in,
    tokens,
)

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.lease import (
    LEASE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PAUSE_SECONDS,
    REQUEST_SECONDS,
)
from procore_signin._flow.outage import FAILURES
from procore_signin._flow.refresh import LEEWAY_SECONDS, _early, fresh_tokens
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
    with pytest.raises(ProcoreUnavailable, match="it is too early") as caught:
        door.fresh_tokens(user)
    assert (caught.value.retry_after, caught.value.ambiguous) == (pause, False)
    assert len(procore.exchanges) == 2


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
    assert caught.value.ambiguous is False
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


def hold_by_another(door: ProcoreSignIn, user: User, seconds: int) -> None:
    """Have another process take the lease."""
    row = door.store.ask(TokenRowOf(user.id, "emulator", now=door.context.now()))
    assert row is not None
    take = TakeLease(row, owner="other", seconds=seconds, now=door.context.now())
    assert door.store.do(take) is not None


def test_who_waits_for_another_process_looks_soon_and_then_four_times_a_second(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(seconds)

    hold_by_another(door, user, 2)
    runner = Runner(door.store, procore, sleep=sleep)
    fresh = runner.run(fresh_tokens(door.context, user.id))
    assert fresh.generation == 2
    assert pauses[:6] == [0.02, 0.04, 0.08, 0.16, 0.25, 0.25]
    assert sum(pauses) == pytest.approx(2, abs=0.25)


@pytest.mark.parametrize(("looks", "milliseconds"), [(1, 20), (7, 1050)])
def test_who_has_waited_for_another_process_gets_its_pair_and_tells_how_long_it_took(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    tmp_path: Path,
    told: list[tuple[Event, Mapping[str, Field]]],
    looks: int,
    milliseconds: int,
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) < looks:
            return
        clock.advance(31)  # the lease of the other one has run out
        with front_door(tmp_path, procore, clock) as another:
            another.fresh_tokens(user)

    hold_by_another(door, user, 30)
    runner = Runner(door.store, procore, sleep=sleep)
    assert runner.run(fresh_tokens(door.context, user.id)).generation == 2
    assert (Event.REFRESH_WAITED, {"user": user.id, "milliseconds": milliseconds}) in told
    assert len(slept) == looks
    assert slept[0] == 0.02


@pytest.mark.parametrize("who", ["another process refreshes", "procore wants a second's rest"])
def test_a_token_that_is_still_good_is_not_refreshed_early_while_that_is_of_no_use(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, who: str
) -> None:
    user = sign_in(door).user
    clock.advance(5400 - LEEWAY_SECONDS - 30)
    if who == "another process refreshes":
        hold_by_another(door, user, 30)
    else:
        procore.next("/oauth/token", reply(429, b"", **{"retry-after": "1"}))
        door.fresh_tokens(user)
    sent, waited = len(procore.exchanges), clock.now
    runner = Runner(door.store, procore, sleep=clock.advance)
    assert runner.run(fresh_tokens(door.context, user.id)).generation == 1
    runner.settle()
    assert (len(procore.exchanges), clock.now) == (sent, waited)


@pytest.mark.parametrize(
    ("lifetime", "number", "generation", "seconds"),
    [
        (5400, 1, 1, 561),
        (5400, 1, 2, 485),
        (5400, 2, 1, 597),
        (5400, 3, 7, 480),
        (5400, 1, 13, 555),
        (902, 1, 1, 211),
    ],
)
def test_how_early_a_token_is_refreshed_is_computed_from_its_row(
    door: ProcoreSignIn, user: User, lifetime: int, number: int, generation: int, seconds: int
) -> None:
    row = door.store.ask(TokenRowOf(user.id, "emulator", now=door.context.now()))
    assert row is not None
    early = _early(replace(row, lifetime=lifetime, id=number, generation=generation))
    assert (early, type(early)) == (seconds, int)


def test_the_early_refreshes_of_one_token_wait_as_one(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    """Many calls may ask for one before it has its turn."""
    first = sign_in(door).user
    procore.next("/rest/v1.0/me", reply(200, {**JOE, "id": 22222, "login": "ann@procore.com"}))
    second = sign_in(door).user
    clock.advance(5400 - LEEWAY_SECONDS - 30)
    runner = PostponingRunner(door.store, procore)
    for user in (first, first, second):
        runner.run(fresh_tokens(door.context, user.id))
    one, again, another = runner.keys
    assert one == again
    assert another not in {one, None}


def test_users_who_ask_at_the_same_time_get_their_own_tokens(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one asks while the first one's refresh is under way in the same process."""
    monkeypatch.undo()  # a runner that shares, and has threads
    with front_door(tmp_path, procore, clock) as door, ThreadPoolExecutor(1) as thread:
        first = sign_in(door).user
        procore.next("/rest/v1.0/me", reply(200, {**JOE, "id": 22222, "login": "ann@procore.com"}))
        second = sign_in(door).user
        clock.advance(5400)
        others: list[str] = []

        def meanwhile(_request: HttpRequest) -> HttpResponse:
            asked = thread.submit(door.fresh_tokens, second)
            others.append(asked.result(20).access_token.reveal())
            return tokens(50)

        procore.next("/oauth/token", meanwhile, tokens(60))
        assert door.fresh_tokens(first).access_token.reveal() == "fake-access-50"
        assert others == ["fake-access-60"]


def test_no_one_waits_for_another_process_longer_than_two_leases(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    hold_by_another(door, user, 90)
    began = clock.now
    runner = Runner(door.store, procore, sleep=clock.advance)
    with pytest.raises(ProcoreUnavailable, match="for too long") as caught:
        runner.run(fresh_tokens(door.context, user.id))
    assert caught.value.ambiguous is False
    assert clock.now - began == pytest.approx(2 * LEASE_SECONDS, abs=0.5)
    assert len(procore.exchanges) == 1


def test_a_new_pair_is_written_down_though_the_first_tries_meet_a_defect(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    """It may be of a signal that met the thread just then: the pair exists nowhere else."""
    left = [2]

    def commit(usual: Callable[[], Any], _: object) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise ZeroDivisionError
        return usual()

    with pytest.MonkeyPatch.context() as patch:
        meet(patch, Store, CommitRefresh, commit)
        runner = Runner(door.store, procore, sleep=clock.advance)
        assert runner.run(fresh_tokens(door.context, user.id)).generation == 2


def test_two_users_are_refreshed_early_at_the_same_time(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # a runner that shares, and has threads
    with front_door(tmp_path, procore, clock) as door:
        first = sign_in(door).user
        procore.next("/rest/v1.0/me", reply(200, {**JOE, "id": 22222, "login": "ann@procore.com"}))
        second = sign_in(door).user
        clock.advance(5400 - LEEWAY_SECONDS - 30)
        asked, met = threading.Barrier(2), []

        def wait_for_the_other(_request: HttpRequest) -> HttpResponse:
            met.append(asked.wait(10))
            return tokens(50 + len(met))

        procore.next("/oauth/token", wait_for_the_other, wait_for_the_other)
        for user in (first, second):
            assert door.fresh_tokens(user).generation == 1
        door._runner.settle()
        assert sorted(met) == [0, 1]
        assert [door.fresh_tokens(user).generation for user in (first, second)] == [2, 2]
