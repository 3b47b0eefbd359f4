"""Refresh against a scripted Procore: what happens to the row, how often Procore is asked."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from doing import meet
from scripted import INVALID_GRANT, NOW, Clock, ScriptedProcore, front_door, reply, sign_in, tokens

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.lease import LEASE_SECONDS, REQUEST_SECONDS
from procore_signin._flow.outage import LONGEST_PAUSE_SECONDS
from procore_signin._flow.refresh import (
    EARLY_SECONDS,
    LEEWAY_SECONDS,
    FreshToken,
    fresh_tokens,
)
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.running.runner import Runner
from procore_signin._flow.sessions import disconnect
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._store import Store
from procore_signin._store.keys.seal import Seal
from procore_signin._store.records import TokenRow, User
from procore_signin._store.refresh import CommitRefresh, TakeLease, TokenRowOf
from procore_signin._store.sessions import SessionsOf
from procore_signin._store.tokens import TokensOf
from procore_signin._transport.pyreqwest import PyreqwestTransport
from procore_signin.environments import SANDBOX
from procore_signin.errors import (
    ClientMisconfigured,
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    SignInRefused,
    StoreUnavailable,
    VaultSealed,
)
from procore_signin.events import Event, listen

LOST_ANSWER = ProcoreUnavailable("The connection was reset", ambiguous=True)
REFUSED = ProcoreUnavailable("The connection was refused", ambiguous=False)


@pytest.fixture
def user(door: ProcoreSignIn) -> User:
    """Someone who signed in a moment ago, with the token set `fake-access-1`."""
    return sign_in(door).user


def row_of(door: ProcoreSignIn, user: User) -> TokenRow:
    row = door.store.ask(TokenRowOf(user.id, "emulator", now=door.context.now()))
    assert row is not None
    return row


def refreshes(procore: ScriptedProcore) -> list[str]:
    """Return the refresh tokens that were sent, in order."""
    return [
        form["refresh_token"] for form in procore.exchanges if form["grant_type"] == "refresh_token"
    ]


def text(token: FreshToken) -> str:
    return token.access_token.reveal()


def test_a_token_that_is_handed_out_costs_one_decryption(
    door: ProcoreSignIn, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    opens = Seal.open

    def open_(seal: Seal, sealed: str, *, context: tuple[str, ...]) -> bytes:
        opened.append(context[1])
        return opens(seal, sealed, context=context)

    monkeypatch.setattr(Seal, "open", open_)
    door.fresh_tokens(user)
    assert opened == ["access_token"]


def test_V4_a_refresh_token_that_cannot_be_opened_takes_no_lease(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    tmp_path: Path,
) -> None:
    told: list[Event] = []
    stop = listen(lambda event, _: told.append(event))
    with closing(sqlite3.connect(next(tmp_path.glob("*.db")))) as database, database:
        database.execute("UPDATE token_sets SET refresh_token = access_token")
    assert text(door.fresh_tokens(user)) == "fake-access-1"
    clock.advance(5400)
    with pytest.raises(VaultSealed):
        door.fresh_tokens(user)
    assert refreshes(procore) == []
    assert not row_of(door, user).leased
    stop()
    assert told.count(Event.TOKENS_SEALED) == 1


def test_a_young_token_is_handed_out_as_it_is(
    door: ProcoreSignIn, procore: ScriptedProcore, user: User
) -> None:
    token = door.fresh_tokens(user)
    assert (text(token), token.generation, token.expires_in) == ("fake-access-1", 1, 5400)
    assert refreshes(procore) == []


def test_an_expired_token_is_refreshed_and_the_new_pair_is_kept(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    assert text(door.fresh_tokens(user)) == "fake-access-2"
    assert refreshes(procore) == ["fake-refresh-1"]
    row = row_of(door, user)
    assert (row.generation, row.ambiguous, row.leased) == (2, 0, False)
    assert row.tokens.refresh_token == Secret("fake-refresh-2", "")
    assert text(door.fresh_tokens(user)) == "fake-access-2"
    assert len(refreshes(procore)) == 1


def test_T6_a_token_is_refreshed_early_while_it_still_serves(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400 - EARLY_SECONDS - 1)
    door.fresh_tokens(user)
    assert refreshes(procore) == []
    clock.advance(EARLY_SECONDS - 2 * LEEWAY_SECONDS)
    assert text(door.fresh_tokens(user)) == "fake-access-1"
    door._runner.settle()
    assert refreshes(procore) == ["fake-refresh-1"]
    assert text(door.fresh_tokens(user)) == "fake-access-2"


def test_T6_a_slow_response_makes_no_token_younger(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    def slow(_: HttpRequest) -> HttpResponse:
        clock.advance(9)
        return tokens()

    procore.next("/oauth/token", slow, slow)
    user = sign_in(door).user
    assert door.fresh_tokens(user).expires_in == 5400 - 9
    clock.advance(5400)
    assert door.fresh_tokens(user).expires_in == 5400 - 9


@pytest.mark.parametrize("lifetime", [60, 900, 7200])
def test_T6_how_early_follows_from_the_life_of_the_token(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, lifetime: int
) -> None:
    procore.next("/oauth/token", tokens(7, expires_in=lifetime))
    user = sign_in(door).user
    clock.advance(lifetime * 0.7)
    door.fresh_tokens(user)
    assert refreshes(procore) == []
    clock.advance(lifetime * 0.3)
    door.fresh_tokens(user)
    assert refreshes(procore) == ["fake-refresh-7"]


@pytest.mark.parametrize(("left", "handed_out"), [(31, "fake-access-1"), (30, "fake-access-2")])
def test_a_token_that_may_end_under_way_is_refreshed_before_it_is_handed_out(
    door: ProcoreSignIn, clock: Clock, user: User, left: int, handed_out: str
) -> None:
    clock.advance(5400 - left)
    assert text(door.fresh_tokens(user)) == handed_out


@pytest.mark.parametrize("seconds", [1, 2])
def test_a_new_token_is_handed_out_however_short_it_lives(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User, seconds: int
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token", tokens(7, expires_in=seconds))
    fresh = door.fresh_tokens(user)
    assert (text(fresh), fresh.expires_in) == ("fake-access-7", seconds)


def test_T6_people_who_signed_in_together_are_not_refreshed_together(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    people = []
    for number in range(20):
        procore.next("/rest/v1.0/me", reply(200, {"id": number + 1, "login": "a@b.example"}))
        people.append(sign_in(door).user)
    clock.advance(5400 - EARLY_SECONDS)
    when: set[float] = set()
    for _ in range(EARLY_SECONDS // 10):
        before = len(refreshes(procore))
        for person in people:
            door.fresh_tokens(person)
        door._runner.settle()
        if len(refreshes(procore)) > before:
            when.add(clock.now)
        clock.advance(10)
    assert len(refreshes(procore)) == 20
    assert len(when) > 3


@pytest.mark.parametrize("first", [LOST_ANSWER, reply(502, b""), reply(200, b"<html>")])
def test_R5_an_ambiguous_outcome_is_retried_once_with_the_same_token(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    first: HttpResponse | Exception,
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token", first)
    assert text(door.fresh_tokens(user)) == "fake-access-2"
    assert refreshes(procore) == ["fake-refresh-1", "fake-refresh-1"]
    assert row_of(door, user).ambiguous == 0


def test_R5_a_refresh_token_is_sent_twice_and_no_more_when_both_responses_are_lost(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token", *[LOST_ANSWER] * 2)
    with pytest.raises(ProcoreUnavailable):
        door.fresh_tokens(user)
    assert refreshes(procore) == ["fake-refresh-1"] * 2


def test_R5_a_grant_whose_answer_was_lost_is_lost_and_nobody_asks_again(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token", LOST_ANSWER, INVALID_GRANT)
    for _ in range(10):
        with pytest.raises(GrantLost) as caught:
            door.fresh_tokens(user)
        assert "lost" in str(caught.value)
    assert len(refreshes(procore)) == 2
    row = row_of(door, user)
    assert (row.status, row.generation) == ("lost", 1)
    assert row.tokens.refresh_token == Secret("fake-refresh-1", "")


def test_R6_a_revoked_grant_is_marked_once_and_never_asked_for_again(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token", INVALID_GRANT)
    for _ in range(10):
        with pytest.raises(GrantLost):
            door.fresh_tokens(user)
    assert len(refreshes(procore)) == 1
    assert row_of(door, user).status == "revoked"


def test_R6_a_new_sign_in_makes_a_lost_grant_good_again(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token", INVALID_GRANT)
    with pytest.raises(GrantLost):
        door.fresh_tokens(user)
    sign_in(door)
    assert text(door.fresh_tokens(user)).startswith("fake-access-")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (REFUSED, ProcoreUnavailable),
        (reply(429, {}, **{"retry-after": "40"}), ProcoreUnavailable),
        (reply(401, {"error": "invalid_client"}), ClientMisconfigured),
    ],
)
def test_R7_trouble_that_spends_nothing_is_not_retried_and_signs_nobody_out(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    answer: HttpResponse | Exception,
    error: type[ProcoreSignInError],
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token", answer)
    with pytest.raises(error):
        door.fresh_tokens(user)
    assert len(refreshes(procore)) == 1
    row = row_of(door, user)
    assert (row.status, row.ambiguous, row.leased) == ("ok", 0, False)
    assert row.retry_in > 0
    clock.advance(60)
    assert text(door.fresh_tokens(user)) == "fake-access-2"


def test_R7_ten_minutes_without_procore_lose_nobody_and_ask_seldom(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token", *[reply(503, b"") for _ in range(10_000)])
    for _ in range(600):
        with pytest.raises(ProcoreUnavailable):
            door.fresh_tokens(user)
        clock.advance(1)
    asked = len(refreshes(procore))
    assert asked <= 2 * 600 / 5
    procore.forget("/oauth/token")
    clock.advance(int(LONGEST_PAUSE_SECONDS))
    assert text(door.fresh_tokens(user)).startswith("fake-access-")


def test_R7_what_procore_says_about_waiting_is_heeded(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token", reply(429, {}, **{"retry-after": "40"}))
    with pytest.raises(ProcoreUnavailable):
        door.fresh_tokens(user)
    clock.advance(39)
    with pytest.raises(ProcoreUnavailable) as caught:
        door.fresh_tokens(user)
    assert caught.value.retry_after == 1
    assert len(refreshes(procore)) == 1
    clock.advance(1)
    assert text(door.fresh_tokens(user)) == "fake-access-2"


def test_R7_a_token_that_still_serves_is_served_while_procore_is_down(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400 - 2 * LEEWAY_SECONDS)
    procore.next("/oauth/token", REFUSED)
    for _ in range(5):
        assert text(door.fresh_tokens(user)) == "fake-access-1"
        door._runner.settle()
    assert len(refreshes(procore)) == 1


def test_R8_others_are_served_the_valid_token_while_one_refreshes(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400 - 2 * LEEWAY_SECONDS)
    asked, answer = threading.Event(), threading.Event()

    def slow(_request: HttpRequest) -> HttpResponse:
        asked.set()
        answer.wait(10)
        return tokens(2)

    procore.next("/oauth/token", slow)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(door.fresh_tokens, user)
        asked.wait(10)
        assert [text(door.fresh_tokens(user)) for _ in range(20)] == ["fake-access-1"] * 20
        answer.set()
        first.result()
    assert len(refreshes(procore)) == 1


def test_R9_a_token_that_the_api_rejected_is_refreshed_once_for_everybody(
    door: ProcoreSignIn, procore: ScriptedProcore, user: User
) -> None:
    rejected = door.fresh_tokens(user).generation
    with ThreadPoolExecutor(20) as threads:
        together = list(
            threads.map(lambda _: door.fresh_tokens(user, rejected=rejected), range(50))
        )
    assert {text(token) for token in together} == {"fake-access-2"}
    assert len(refreshes(procore)) == 1


def test_R1_twenty_threads_with_one_expired_token_refresh_once(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    all_are_here = threading.Barrier(20)
    pause = threading.Event()

    def slow(_request: HttpRequest) -> HttpResponse:
        pause.wait(0.2)  # a race must be wide to be seen
        return tokens(2)

    procore.next("/oauth/token", slow)

    def ask(_: int) -> str:
        all_are_here.wait()
        return text(door.fresh_tokens(user))

    with ThreadPoolExecutor(20) as threads:
        assert set(threads.map(ask, range(20))) == {"fake-access-2"}
    assert len(refreshes(procore)) == 1


class AsyncScripted:
    """A scripted Procore for asyncio that lets other tasks run before it answers."""

    def __init__(self, procore: ScriptedProcore) -> None:
        self.procore = procore
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.asked.set()
        await self.gate.wait()
        return self.procore.send(request)

    async def aclose(self) -> None:
        pass


@pytest.mark.asyncio
async def test_R1_a_thousand_tasks_with_one_expired_token_refresh_once(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    transport = AsyncScripted(procore)
    runner = AsyncRunner(door.store, transport)
    callers = [
        asyncio.create_task(runner.run(fresh_tokens(door.context, user.id))) for _ in range(1000)
    ]
    await asyncio.sleep(0)
    transport.gate.set()
    assert {text(token) for token in await asyncio.gather(*callers)} == {"fake-access-2"}
    assert len(refreshes(procore)) == 1
    await runner.aclose()


@pytest.mark.asyncio
async def test_R12_callers_that_are_cancelled_do_not_lose_the_new_pair(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    transport = AsyncScripted(procore)
    runner = AsyncRunner(door.store, transport)
    callers = [
        asyncio.create_task(runner.run(fresh_tokens(door.context, user.id))) for _ in range(3)
    ]
    await transport.asked.wait()
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    transport.gate.set()
    await runner.aclose()
    assert row_of(door, user).generation == 2
    assert row_of(door, user).tokens.access_token == Secret("fake-access-2", "")


def test_R12_a_front_door_that_is_closed_lets_the_refresh_of_another_thread_finish(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path
) -> None:
    asked, gate, closed = threading.Event(), threading.Event(), threading.Event()

    def held_up(_request: HttpRequest) -> HttpResponse:
        asked.set()
        assert gate.wait(20)
        return tokens(2)

    with front_door(tmp_path, procore, clock) as door:
        user = sign_in(door).user
        clock.advance(5400)
        procore.next("/oauth/token", held_up)

        def close() -> None:
            door.close()
            closed.set()

        with ThreadPoolExecutor(2) as threads:
            refresh = threads.submit(door.fresh_tokens, user)
            assert asked.wait(20)
            threads.submit(close)
            assert not closed.wait(0.2)
            gate.set()
            assert text(refresh.result()) == "fake-access-2"
            assert closed.wait(20)
    with front_door(tmp_path, procore, clock) as again:
        assert row_of(again, user).generation == 2


def test_R12_a_thread_that_waits_for_another_process_ends_when_its_front_door_is_closed(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path
) -> None:
    waits = threading.Event()

    def wait(_: float) -> None:
        waits.set()
        threading.Event().wait(0.01)

    with front_door(tmp_path, procore, clock) as door:
        user = sign_in(door).user
        clock.advance(5400)
        row = row_of(door, user)
        assert door.store.do(TakeLease(row, owner="other", seconds=30, now=door.context.now()))
        runner = Runner(door.store, procore, sleep=wait)
        with ThreadPoolExecutor(1) as threads:
            caller = threads.submit(runner.run, fresh_tokens(door.context, user.id))
            assert waits.wait(20)
            runner.close()
            with pytest.raises(ProcoreUnavailable, match="is ending"):
                caller.result()
    assert len(refreshes(procore)) == 0


def during_the_refresh(
    procore: ScriptedProcore, then: Callable[[], object], answer: HttpResponse | None = None
) -> None:
    """Have `then` happen while the next refresh is under way."""

    def meanwhile(_request: HttpRequest) -> HttpResponse:
        then()
        return answer or tokens(50)

    procore.next("/oauth/token", meanwhile)


def test_R10_a_sign_in_during_a_refresh_wins_and_the_other_pair_is_revoked(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    during_the_refresh(procore, lambda: sign_in(door))
    assert text(door.fresh_tokens(user)) == "fake-access-2"
    door._runner.settle()
    assert {"fake-access-50", "fake-refresh-50"} <= set(procore.revoked)


def test_R10_a_disconnect_during_a_refresh_wins(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    session = door.store.ask(SessionsOf(user.id, now=NOW))[0]
    during_the_refresh(procore, lambda: door.run(disconnect(door.context, session)))
    with pytest.raises(GrantLost):
        door.fresh_tokens(user)
    door._runner.settle()
    assert {"fake-access-50", "fake-refresh-50"} <= set(procore.revoked)
    assert door.store.ask(TokensOf(user.id, "emulator")) is None


def test_R10_disabling_somebody_during_a_refresh_wins(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User, tmp_path: Path
) -> None:
    clock.advance(5400)
    during_the_refresh(procore, lambda: disable(tmp_path, user))
    with pytest.raises(SignInRefused):
        door.fresh_tokens(user)
    door._runner.settle()
    assert {"fake-access-50", "fake-refresh-50"} <= set(procore.revoked)


def disable(folder: Path, user: User) -> None:
    with closing(sqlite3.connect(folder / "test.db")) as database:
        database.execute("UPDATE users SET disabled_at = 1 WHERE id = ?", (user.id,))
        database.commit()


def test_I5_a_disabled_person_is_not_refreshed(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User, tmp_path: Path
) -> None:
    disable(tmp_path, user)
    clock.advance(5400)
    with pytest.raises(SignInRefused):
        door.fresh_tokens(user)
    assert refreshes(procore) == []


def test_R4_a_refresher_that_was_asleep_past_its_lease_keeps_the_newest_pair(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User, tmp_path: Path
) -> None:
    """It slept between the response and the commit; the other got `invalid_grant` meanwhile."""
    clock.advance(5400)

    def other_process() -> None:
        clock.advance(LEASE_SECONDS + 1)
        with front_door(tmp_path, procore, clock) as other:
            procore.next("/oauth/token", INVALID_GRANT)
            with pytest.raises(GrantLost):
                other.fresh_tokens(user)

    during_the_refresh(procore, other_process)
    assert text(door.fresh_tokens(user)) == "fake-access-50"
    row = row_of(door, user)
    assert (row.status, row.generation, row.ambiguous) == ("ok", 2, 0)


def test_R2_a_refresher_that_was_asleep_before_it_asked_does_not_ask(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)

    def sleepy(_request: HttpRequest) -> HttpResponse:
        clock.advance(LEASE_SECONDS)
        raise LOST_ANSWER

    procore.next("/oauth/token", sleepy)
    with pytest.raises(ProcoreUnavailable):
        door.fresh_tokens(user)
    assert len(refreshes(procore)) == 1


def test_R2_a_lease_shorter_than_the_call_cannot_be_configured() -> None:
    with pytest.raises(ValueError, match="deadline"):
        PyreqwestTransport(deadline=REQUEST_SECONDS + 1)
    assert LEASE_SECONDS >= 2 * REQUEST_SECONDS + 5


def test_R5_a_process_that_died_with_the_lease_leaves_an_ambiguous_outcome(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    row = row_of(door, user)
    assert door.store.do(TakeLease(row, owner="dead", seconds=LEASE_SECONDS, now=int(clock.now)))
    clock.advance(LEASE_SECONDS)
    procore.next("/oauth/token", INVALID_GRANT)
    with pytest.raises(GrantLost):
        door.fresh_tokens(user)
    assert row_of(door, user).status == "lost"


def test_R1_who_waits_for_another_process_gets_the_pair_that_it_brought(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User, tmp_path: Path
) -> None:
    clock.advance(5400)
    asked, answer = threading.Event(), threading.Event()

    def slow(_request: HttpRequest) -> HttpResponse:
        asked.set()
        answer.wait(10)
        return tokens(2)

    procore.next("/oauth/token", slow)
    with (
        front_door(tmp_path, procore, clock) as other,
        ThreadPoolExecutor(2) as threads,
    ):
        first = threads.submit(other.fresh_tokens, user)
        asked.wait(10)
        second = threads.submit(door.fresh_tokens, user)
        answer.set()
        assert text(first.result()) == text(second.result()) == "fake-access-2"
    assert len(refreshes(procore)) == 1


def test_R3_the_new_pair_is_written_down_before_anybody_gets_it(
    door: ProcoreSignIn, clock: Clock, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.advance(5400)
    failures = iter([StoreUnavailable("down"), StoreUnavailable("down")])

    def unsteady(commit: Callable[[], object], _: CommitRefresh) -> object:
        for failure in failures:
            raise failure
        return commit()

    meet(monkeypatch, Store, CommitRefresh, unsteady)
    monkeypatch.setattr(door._runner, "_sleep", lambda _: None)
    assert text(door.fresh_tokens(user)) == "fake-access-2"
    assert row_of(door, user).tokens.access_token == Secret("fake-access-2", "")


def test_T5_a_refresh_that_brings_no_refresh_token_keeps_the_old_one(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    body = {"access_token": "fake-access-9", "token_type": "bearer", "expires_in": 5400}
    procore.next("/oauth/token", reply(200, body))
    assert text(door.fresh_tokens(user)) == "fake-access-9"
    assert row_of(door, user).tokens.refresh_token == Secret("fake-refresh-1", "")


def test_a_grant_without_a_refresh_token_is_over_when_it_expires(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    body = {"access_token": "fake-access-9", "token_type": "bearer", "expires_in": 5400}
    procore.next("/oauth/token", reply(200, body))
    user = sign_in(door).user
    clock.advance(5400)
    with pytest.raises(GrantLost):
        door.fresh_tokens(user)
    assert refreshes(procore) == []


def test_somebody_who_never_signed_in_has_no_grant(door: ProcoreSignIn) -> None:
    with pytest.raises(GrantLost):
        door.fresh_tokens(999)


def test_V7_a_person_of_one_environment_has_no_tokens_in_another(
    user: User, procore: ScriptedProcore, clock: Clock, tmp_path: Path
) -> None:
    before = len(procore.requests)
    with (
        front_door(tmp_path, procore, clock, environment=SANDBOX) as elsewhere,
        pytest.raises(GrantLost),
    ):
        elsewhere.fresh_tokens(user)
    assert len(procore.requests) == before
