"""One attempt, one person, one session: who comes second to an attempt that was taken."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from doing import MeJson, meet
from scripted import NOW, Clock, ScriptedProcore, front_door, reply, tokens

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.attempt import SignInAttempt, new_attempt
from procore_signin._flow.phases import SignedIn
from procore_signin._flow.running.runner import Runner
from procore_signin._flow.sessions import Browser, hash_session_token
from procore_signin._flow.sign_in import JOIN_SECONDS, finish_sign_in, hash_code
from procore_signin._protocol.authorization import AuthorizationDenied, CodeGranted
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._store import CompletedSignIn, Store
from procore_signin._store.access import DisableUser
from procore_signin._store.ledger import TakeAttempt
from procore_signin._store.sessions import (
    CountSessions,
    EndSessionOf,
    EndSessions,
    SessionOf,
)
from procore_signin._store.sign_in import CompleteSignIn
from procore_signin.errors import AttemptInvalid, GrantLost, SignInRefused, StoreUnavailable
from procore_signin.events import Event, Field

CODE = "Fake-Code-1"


def begin(door: ProcoreSignIn) -> SignInAttempt:
    return new_attempt(door.context, return_to="/projects")


def finish(
    door: ProcoreSignIn, attempt: SignInAttempt, code: str = CODE, holds: SignedIn | None = None
) -> SignedIn:
    """Bring `code` from a browser that holds the session of `holds`."""
    granted = CodeGranted(code=Secret(code, "code"), state=attempt.state, iss=None)
    held = None if holds is None else hash_of(holds)
    return door.run(finish_sign_in(door.context, attempt, granted, Browser("Firefox", held)))


def deny(door: ProcoreSignIn, attempt: SignInAttempt) -> None:
    denied = AuthorizationDenied("access_denied", None, attempt.state, None)
    door.run(finish_sign_in(door.context, attempt, denied, Browser(None, None)))


def refused(act: Callable[..., object], *arguments: Any) -> str:
    with pytest.raises(AttemptInvalid) as caught:
        act(*arguments)
    return caught.value.reason


def hash_of(signed_in: SignedIn) -> str:
    return hash_session_token(signed_in.session_token.reveal())


def sign_out(door: ProcoreSignIn, signed_in: SignedIn) -> None:
    now = door.context.now()
    session = door.store.ask(SessionOf(hash_of(signed_in), environment="emulator", now=now))
    assert session is not None
    door.store.do(EndSessionOf(session.user.id, session.id))


def lives(door: ProcoreSignIn, signed_in: SignedIn) -> bool:
    now = door.context.now()
    return (
        door.store.ask(SessionOf(hash_of(signed_in), environment="emulator", now=now)) is not None
    )


def live(door: ProcoreSignIn) -> int:
    return door.store.ask(CountSessions(now=door.context.now()))


@pytest.mark.parametrize(
    "code",
    ["made-up", CODE.lower(), CODE.upper(), CODE[:-1], f"{CODE} ", f"{CODE}1", "none", "code-2"],
)
def test_A5_a_second_callback_with_another_code_lets_nobody_in(
    door: ProcoreSignIn, procore: ScriptedProcore, code: str
) -> None:
    attempt = begin(door)
    first = finish(door, attempt)
    assert refused(finish, door, attempt, code) == "used"
    assert refused(finish, door, attempt, code, first) == "used"
    assert lives(door, first)
    assert (live(door), len(procore.exchanges)) == (1, 1)


def test_A5_a_wrong_code_does_not_use_up_the_join_of_the_right_one(door: ProcoreSignIn) -> None:
    attempt = begin(door)
    finish(door, attempt)
    for _ in range(3):
        refused(finish, door, attempt, "made-up")
    assert lives(door, finish(door, attempt))


def test_A5_a_row_without_the_hash_of_a_code_lets_nobody_in(
    door: ProcoreSignIn, tmp_path: Path
) -> None:
    """An earlier version wrote it, or someone who may write to the database took it away."""
    attempt = begin(door)
    finish(door, attempt)
    with closing(sqlite3.connect(tmp_path / "test.db")) as database:
        database.execute("UPDATE sign_in_ledger SET code_hash = NULL")
        database.commit()
    assert refused(finish, door, attempt) == "used"
    assert refused(finish, door, attempt, "") == "used"


def test_A5_the_ledger_knows_the_code_by_its_hash_alone(
    door: ProcoreSignIn, tmp_path: Path
) -> None:
    finish(door, begin(door))
    with closing(sqlite3.connect(tmp_path / "test.db")) as database:
        dump = "\n".join(database.iterdump())
    assert CODE not in dump
    assert hash_code(Secret(CODE, "code")) in dump


def test_C3_codes_are_compared_in_constant_time(door: ProcoreSignIn, compared: list[bool]) -> None:
    attempt = begin(door)
    finish(door, attempt)
    refused(finish, door, attempt, "made-up")
    finish(door, attempt)
    assert compared[-2:] == [False, True]


def test_A5_a_wrong_code_is_refused_at_once_while_the_right_one_is_under_way(
    door: ProcoreSignIn, procore: ScriptedProcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_waiting(_seconds: float) -> None:
        raise AssertionError("A wrong code waited for the right one")

    attempt = begin(door)
    asked, go_on = threading.Event(), threading.Event()

    def slow(_request: HttpRequest) -> HttpResponse:
        asked.set()
        assert go_on.wait(20)
        return tokens(1)

    procore.next("/oauth/token", slow)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(finish, door, attempt)
        assert asked.wait(20)
        with monkeypatch.context() as patched:
            patched.setattr("procore_signin._flow.sign_in.wait", no_waiting)
            assert refused(finish, door, attempt, "made-up") == "used"
        second = threads.submit(finish, door, attempt)
        go_on.set()
        assert lives(door, first.result(20))
        assert lives(door, second.result(20))
    assert len(procore.exchanges) == 1


def test_C3_an_attempt_is_joined_once(door: ProcoreSignIn) -> None:
    attempt = begin(door)
    last = finish(door, attempt)
    last = finish(door, attempt, CODE, last)
    for _ in range(3):
        assert refused(finish, door, attempt, CODE, last) == "used"
        assert refused(finish, door, attempt) == "used"
    assert lives(door, last)
    assert live(door) == 1


def test_S2_a_joined_callback_replaces_the_session_that_the_browser_holds(
    door: ProcoreSignIn,
) -> None:
    attempt = begin(door)
    first = finish(door, attempt)
    second = finish(door, attempt, CODE, first)
    assert second.user == first.user
    assert not lives(door, first)
    assert lives(door, second)


def test_S2_what_me_answered_goes_over_to_the_joined_session(door: ProcoreSignIn) -> None:
    attempt = begin(door)
    first = finish(door, attempt)
    before = door.store.ask(SessionOf(hash_of(first), environment="emulator", now=NOW))
    assert before is not None
    said = door.store.ask(MeJson(before.id))
    after = door.store.ask(
        SessionOf(hash_of(finish(door, attempt, CODE, first)), environment="emulator", now=NOW)
    )
    assert after is not None
    assert door.store.ask(MeJson(after.id)) == said != "null"


def test_C3_a_clock_that_was_set_back_opens_no_attempt_again(
    door: ProcoreSignIn, clock: Clock
) -> None:
    attempt = begin(door)
    finish(door, attempt)
    for back in (2, 30, 3 * 3600):
        clock.now = NOW - back
        assert refused(finish, door, attempt) == "used", back


def test_C4_a_replica_whose_clock_is_a_little_behind_lets_a_double_click_in(
    door: ProcoreSignIn, clock: Clock
) -> None:
    attempt = begin(door)
    finish(door, attempt)
    clock.now = NOW - 1
    assert lives(door, finish(door, attempt))


def test_C3_the_join_is_open_for_half_a_minute(door: ProcoreSignIn, clock: Clock) -> None:
    one, other = begin(door), begin(door)
    finish(door, one)
    finish(door, other)
    clock.advance(30)
    finish(door, one)
    clock.advance(1)
    assert refused(finish, door, other) == "used"


def test_S6_nobody_who_signed_out_meanwhile_comes_in_again_though_signed_in_elsewhere(
    door: ProcoreSignIn, clock: Clock
) -> None:
    elsewhere = finish(door, begin(door), "code-0")
    clock.advance(1)
    attempt = begin(door)
    sign_out(door, finish(door, attempt))
    assert refused(finish, door, attempt) == "used"
    assert lives(door, elsewhere)


def test_I5_nobody_joins_who_was_disabled_meanwhile(door: ProcoreSignIn) -> None:
    attempt = begin(door)
    user = finish(door, attempt).user
    door.store.do(DisableUser(user.id, now=NOW))
    with pytest.raises((SignInRefused, AttemptInvalid)):
        finish(door, attempt)
    assert live(door) == 0


def test_C4_a_join_after_a_first_that_failed_is_refused_with_any_code(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    attempt = begin(door)
    procore.next("/oauth/token", reply(400, {"error": "invalid_grant"}))
    with pytest.raises(GrantLost):
        finish(door, attempt)
    for code in (CODE, "made-up"):
        assert refused(finish, door, attempt, code) == "used"
    assert len(procore.exchanges) == 1


def test_C5_a_refusal_does_not_end_the_sign_in_of_whoever_came_with_a_code(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    attempt = begin(door)
    asked, go_on = threading.Event(), threading.Event()

    def slow(_request: HttpRequest) -> HttpResponse:
        asked.set()
        assert go_on.wait(20)
        return tokens(1)

    procore.next("/oauth/token", slow)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(finish, door, attempt)
        assert asked.wait(20)
        assert refused(deny, door, attempt) == "used"
        go_on.set()
        assert lives(door, first.result(20))
    assert refused(deny, door, attempt) == "used"
    assert procore.revoked == []
    assert lives(door, finish(door, attempt))


def test_C5_a_refusal_that_comes_twice_says_so_twice(door: ProcoreSignIn) -> None:
    attempt = begin(door)
    for _ in range(2):
        with pytest.raises(SignInRefused):
            deny(door, attempt)
    assert refused(finish, door, attempt) == "used"


def test_C12_a_lost_answer_to_the_commit_leaves_one_session_and_the_join(
    door: ProcoreSignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def committed_and_cut(complete: Callable[[], object], _: CompleteSignIn) -> None:
        monkeypatch.undo()
        complete()
        raise StoreUnavailable("The connection broke during the commit")

    meet(monkeypatch, Store, CompleteSignIn, committed_and_cut)
    attempt = begin(door)
    first = finish(door, attempt)
    assert (first.created, live(door)) == (True, 1)
    assert lives(door, first)
    assert lives(door, finish(door, attempt, CODE, first))
    assert (live(door), refused(finish, door, attempt)) == (1, "used")


def test_C12_a_commit_without_an_answer_ends_quietly_when_its_session_is_gone_already(
    door: ProcoreSignIn, procore: ScriptedProcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def committed_and_cut(complete: Callable[[], CompletedSignIn], _: CompleteSignIn) -> None:
        door.store.do(EndSessions(complete().user.id))
        raise StoreUnavailable("The connection broke during the commit")

    meet(monkeypatch, Store, CompleteSignIn, committed_and_cut)
    assert refused(finish, door, begin(door)) == "used"
    assert procore.revoked == []


def test_A5_C3_S2_two_processes_on_one_database_agree(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock
) -> None:
    with (
        front_door(tmp_path, procore, clock) as one,
        front_door(tmp_path, procore, clock) as other,
    ):
        attempt = begin(one)
        first = finish(one, attempt)
        assert refused(finish, other, attempt, "made-up") == "used"
        second = finish(other, attempt, CODE, first)
        assert (lives(one, first), lives(one, second)) == (False, True)
        assert refused(finish, one, attempt, CODE, second) == "used"


@pytest.mark.parametrize("finished", [False, True])
def test_a_second_callback_waits_five_seconds_for_the_first_and_is_no_sign_up(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    told: list[tuple[Event, Mapping[str, Field]]],
    *,
    finished: bool,
) -> None:
    attempt = begin(door)
    granted = CodeGranted(code=Secret(CODE, "code"), state=attempt.state, iss=None)
    take = TakeAttempt(
        attempt.state_hash,
        environment="emulator",
        code_hash=hash_code(granted.code),
        now=door.context.now(),
        expires_at=door.context.now() + 3600,
    )
    if finished:
        assert finish(door, attempt).created
    else:
        assert door.store.do(take) is None
    began = clock.now
    second = finish_sign_in(door.context, attempt, granted, Browser("Firefox", None))
    runner = Runner(door.store, procore, sleep=clock.advance)
    if finished:
        joined = runner.run(second)
        assert not joined.created
        facts = {"attempt": attempt.state_hash[:8], "user": joined.user.id}
        assert told[-1] == (Event.SIGN_IN_JOINED, facts)
        return
    with pytest.raises(AttemptInvalid, match="still being finished") as caught:
        runner.run(second)
    assert caught.value.reason == "used"
    assert clock.now - began == pytest.approx(JOIN_SECONDS, abs=0.1)
