import asyncio
import hashlib
import re
import sqlite3
import threading
from base64 import urlsafe_b64decode
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doing import meet
from scripted import JOE, LOST, NOW, Clock, ScriptedProcore, front_door, reply, tokens

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.attempt import LIFETIME, Bound, OwnLogin, SignInAttempt, new_attempt
from procore_signin._flow.hooks import Candidate, Hooks, Occasion
from procore_signin._flow.janitor import ORPHANED_AFTER, sweep
from procore_signin._flow.phases import SignedIn
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.sessions import (
    Browser,
    hash_session_token,
    new_session_token,
    sign_out,
)
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._flow.steps import Do, Send, Shield
from procore_signin._protocol.authorization import AuthorizationDenied, CodeGranted
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._store import Store
from procore_signin._store.engine.command import Command
from procore_signin._store.ledger import (
    AttemptOf,
    Escrowed,
    EscrowTokens,
    FailAttempt,
    TakeAttempt,
)
from procore_signin._store.linking.links import Link, ReferencesOf
from procore_signin._store.records import NewLink, User
from procore_signin._store.sessions import EndSessions, SessionOf, SessionsOf
from procore_signin._store.sign_in import CompleteSignIn
from procore_signin._store.tokens import TokensOf
from procore_signin._store.users import UserOf
from procore_signin.errors import (
    AlreadyLinked,
    AttemptInvalid,
    ClientMisconfigured,
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    SignInRefused,
    StoreUnavailable,
    UnexpectedResponse,
)
from procore_signin.events import Event, Field

pytestmark = pytest.mark.usefixtures("one_thread")

FIREFOX = Browser(user_agent="Firefox", session_hash=None, request_id="f00d")


def begin(door: ProcoreSignIn) -> SignInAttempt:
    return new_attempt(door.context, return_to="/projects")


def finish(
    door: ProcoreSignIn,
    attempt: SignInAttempt,
    *,
    code: str = "fake-code",
    iss: str | None = None,
    browser: Browser = FIREFOX,
) -> SignedIn:
    granted = CodeGranted(code=Secret(code, "code"), state=attempt.state, iss=iss)
    return door.run(finish_sign_in(door.context, attempt, granted, browser))


def sign_in(door: ProcoreSignIn) -> SignedIn:
    signed_in = finish(door, begin(door))
    door._runner.settle()  # what it replaced is revoked beside it
    return signed_in


def tokens_of(door: ProcoreSignIn, signed_in: SignedIn) -> str:
    kept = door.store.ask(TokensOf(signed_in.user.id, "emulator"))
    assert kept is not None
    return kept.access_token.reveal()


def session_of(door: ProcoreSignIn, signed_in: SignedIn) -> object:
    token = signed_in.session_token.reveal()
    return door.store.ask(SessionOf(hash_session_token(token), environment="emulator", now=NOW))


def test_a_code_becomes_a_user_with_tokens_and_a_session(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    attempt = begin(door)
    signed_in = finish(door, attempt)
    assert (signed_in.user.id, signed_in.user.procore_id) == (1, 11111)
    assert signed_in.user.email == "joecontractor@procore.com"
    assert signed_in.created
    assert signed_in.return_to == "/projects"
    assert tokens_of(door, signed_in) == "fake-access-1"
    assert session_of(door, signed_in) is not None
    assert attempt.code_verifier is not None
    assert procore.exchanges == [
        {
            "grant_type": "authorization_code",
            "client_id": "fake-client-id",
            "client_secret": "fake-client-secret",
            "code": "fake-code",
            "redirect_uri": "http://localhost:4567/callback",
            "code_verifier": attempt.code_verifier.reveal(),
        }
    ]


def test_T1_the_secret_travels_in_the_body_and_nowhere_else(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    sign_in(door)
    exchange, me = procore.requests
    assert "authorization" not in dict(exchange.headers)
    assert "fake-client-secret" not in exchange.url + str(exchange.headers)
    assert dict(me.headers)["authorization"] == "Bearer fake-access-1"


def test_signing_in_again_finds_the_same_row_and_updates_it(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    first = sign_in(door)
    procore.next("/rest/v1.0/me", reply(200, JOE | {"login": "joe@new.example", "name": "Joe C."}))
    second = sign_in(door)
    assert second.user.id == first.user.id
    assert not second.created
    assert (second.user.email, second.user.name) == ("joe@new.example", "Joe C.")


def test_I2_the_same_email_under_another_id_is_another_user(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    first = sign_in(door)
    procore.next("/rest/v1.0/me", reply(200, JOE | {"id": 22222}))
    assert sign_in(door).user.id != first.user.id


def test_R11_the_tokens_that_a_new_sign_in_replaces_are_revoked(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    sign_in(door)
    again = sign_in(door)
    assert tokens_of(door, again) == "fake-access-2"
    assert set(procore.revoked) == {"fake-access-1", "fake-refresh-1"}


def test_R11_tokens_that_procore_handed_out_again_are_not_revoked(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    procore.next("/oauth/token", tokens(7), tokens(7))
    sign_in(door)
    sign_in(door)
    assert procore.revoked == []


def test_R11_a_revocation_that_failed_is_repeated_by_the_janitor(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    sign_in(door)
    procore.next("/oauth/revoke", ProcoreUnavailable("down", ambiguous=True))
    sign_in(door)
    clock.advance(301)
    assert door.run(sweep(door.context)) == 1
    assert "fake-access-1" in procore.revoked
    assert door.run(sweep(door.context)) == 0


def test_S2_the_session_that_the_browser_held_before_is_over(door: ProcoreSignIn) -> None:
    before = sign_in(door)
    held = hash_session_token(before.session_token.reveal())
    after = finish(door, begin(door), browser=Browser(user_agent=None, session_hash=held))
    assert after.session_token != before.session_token
    assert session_of(door, before) is None
    assert session_of(door, after) is not None


def test_C3_an_attempt_that_was_finished_long_ago_lets_nobody_in(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    attempt = begin(door)
    finish(door, attempt)
    clock.advance(31)
    with pytest.raises(AttemptInvalid) as caught:
        finish(door, attempt)
    assert caught.value.reason == "used"
    assert len(procore.exchanges) == 1


def test_C4_the_second_of_two_identical_callbacks_lands_in_the_same_place(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    attempt = begin(door)
    first, second = finish(door, attempt), finish(door, attempt)
    assert second.user.id == first.user.id
    assert second.return_to == "/projects"
    assert second.session_token != first.session_token
    assert session_of(door, second) is not None
    assert len(procore.exchanges) == 1


def test_C4_a_second_callback_after_signing_out_everywhere_lets_nobody_in(
    door: ProcoreSignIn,
) -> None:
    attempt = begin(door)
    first = finish(door, attempt)
    door.store.do(EndSessions(first.user.id))
    with pytest.raises(AttemptInvalid):
        finish(door, attempt)


def test_C4_twenty_callbacks_at_once_send_the_code_once(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    attempt = begin(door)
    all_are_here = threading.Barrier(20)
    first_is_waiting = threading.Event()

    def slow(_request: HttpRequest) -> HttpResponse:
        first_is_waiting.wait(0.3)
        return tokens(1)

    procore.next("/oauth/token", slow)

    def click() -> int | str:
        all_are_here.wait()
        try:
            return finish(door, attempt).user.id
        except AttemptInvalid as refused:
            return refused.reason

    with ThreadPoolExecutor(20) as threads:
        clicks = [threads.submit(click) for _ in range(20)]
        came = [click.result() for click in clicks]
    assert sorted(came, key=str) == [1, 1, *["used"] * 18]
    assert len(procore.exchanges) == 1


def test_C4_a_code_is_sent_once_also_where_no_response_came(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    procore.next("/oauth/token", LOST)
    with pytest.raises(ProcoreUnavailable):
        finish(door, begin(door))
    assert len(procore.exchanges) == 1


def test_C4_a_callback_beside_one_that_fails_fails_too(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    attempt = begin(door)
    procore.next("/oauth/token", reply(400, {"error": "invalid_grant"}))
    with pytest.raises(GrantLost):
        finish(door, attempt)
    with pytest.raises(AttemptInvalid) as caught:
        finish(door, attempt)
    assert caught.value.reason == "used"


@pytest.mark.parametrize(
    "iss",
    [
        "https://login.procore.com",
        "http://127.0.0.1:4568.evil.example",
        "http://127.0.0.1:45680",
        "http://127.0.0.1:4568/",
        "http://127.0.0.1",
        "https://127.0.0.1:4568",
        "",
    ],
)
def test_C6_a_response_of_another_issuer_is_refused_before_anything_is_sent(
    door: ProcoreSignIn, procore: ScriptedProcore, iss: str
) -> None:
    with pytest.raises(AttemptInvalid):
        finish(door, begin(door), iss=iss)
    assert procore.requests == []
    assert finish(door, begin(door), iss="http://127.0.0.1:4568").created


def test_C6_a_denial_of_another_issuer_is_refused_and_uses_no_attempt_up(
    door: ProcoreSignIn,
) -> None:
    attempt = begin(door)
    denied = AuthorizationDenied("access_denied", None, attempt.state, "https://login.example.com")
    with pytest.raises(AttemptInvalid) as caught:
        door.run(finish_sign_in(door.context, attempt, denied, FIREFOX))
    assert caught.value.reason == "mismatch"
    assert finish(door, attempt).created


def test_C5_a_denied_request_is_refused_and_its_attempt_is_used_up(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    told: list[tuple[Event, Mapping[str, Field]]],
) -> None:
    attempt = begin(door)
    denied = AuthorizationDenied("access_denied", "<b>no</b>", attempt.state, None)
    with pytest.raises(SignInRefused) as caught:
        door.run(finish_sign_in(door.context, attempt, denied, FIREFOX))
    assert (caught.value.error, caught.value.error_description) == ("access_denied", "<b>no</b>")
    facts = {"request": "f00d", "attempt": attempt.state_hash[:8], "error": "access_denied"}
    assert told == [(Event.SIGN_IN_DENIED, facts)]
    with pytest.raises(AttemptInvalid):
        finish(door, attempt)
    assert procore.requests == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(400, {"error": "invalid_grant"}), GrantLost),
        (reply(401, {"error": "invalid_client"}), ClientMisconfigured),
        (reply(503, b"<html>"), ProcoreUnavailable),
        (reply(429, {}), ProcoreUnavailable),
        (ProcoreUnavailable("timed out", ambiguous=True), ProcoreUnavailable),
        (reply(200, b"<html>"), UnexpectedResponse),
        (reply(200, b"{"), UnexpectedResponse),
        (reply(307, b"", location="https://evil.example"), UnexpectedResponse),
    ],
)
def test_T7_a_failed_exchange_says_what_to_do_and_is_never_repeated(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    answer: HttpResponse | Exception,
    error: type[ProcoreSignInError],
) -> None:
    procore.next("/oauth/token", answer)
    with pytest.raises(error):
        sign_in(door)
    assert len(procore.requests) == 1
    assert door.store.ask(UserOf(1)) is None


@pytest.mark.parametrize(
    "answer",
    [
        reply(500, {}),
        reply(401, {}),
        reply(200, b"not JSON"),
        reply(200, {"id": "11111", "login": "x@y.example"}),
        ProcoreUnavailable("reset", ambiguous=True),
    ],
)
def test_C12_when_me_fails_the_tokens_are_given_back_at_once(
    door: ProcoreSignIn, procore: ScriptedProcore, answer: HttpResponse | Exception
) -> None:
    procore.next("/rest/v1.0/me", answer)
    with pytest.raises(ProcoreSignInError):
        sign_in(door)
    assert set(procore.revoked) == {"fake-access-1", "fake-refresh-1"}
    assert door.store.ask(UserOf(1)) is None
    assert door.store.ask(Escrowed(NOW + 10_000)) == []


def broken_at(
    flow: Generator[Any, Any, SignedIn], command: type[Command[Any]]
) -> Generator[Any, Any, SignedIn]:
    """Run `flow`, with the database failing at every command of a kind."""
    outcome: Any = None
    error: BaseException | None = None
    while True:
        try:
            step = flow.send(outcome) if error is None else flow.throw(error)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        outcome = error = None
        if isinstance(step, Do) and isinstance(step.command, command):
            error = StoreUnavailable("The database is down")
            continue
        if isinstance(step, Shield):
            step = Shield(broken_at(step.flow, command))
        try:
            outcome = yield step
        except ProcoreSignInError as raised:
            error = raised


def test_C12_a_database_that_is_down_before_the_exchange_costs_no_code(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    attempt = begin(door)
    granted = CodeGranted(code=Secret("fake-code", "code"), state=attempt.state, iss=None)
    flow = finish_sign_in(door.context, attempt, granted, FIREFOX)
    with pytest.raises(StoreUnavailable):
        door.run(broken_at(flow, TakeAttempt))
    assert procore.requests == []
    assert finish(door, attempt).created


@pytest.mark.parametrize("down_at", [EscrowTokens, CompleteSignIn])
def test_C12_a_database_that_goes_down_after_the_exchange_leaves_no_grant_and_no_user(
    door: ProcoreSignIn, procore: ScriptedProcore, down_at: type[Command[Any]]
) -> None:
    attempt = begin(door)
    granted = CodeGranted(code=Secret("fake-code", "code"), state=attempt.state, iss=None)
    flow = finish_sign_in(door.context, attempt, granted, FIREFOX)
    with pytest.raises(StoreUnavailable):
        door.run(broken_at(flow, down_at))
    assert set(procore.revoked) == {"fake-access-1", "fake-refresh-1"}
    assert door.store.ask(UserOf(1)) is None


@pytest.mark.parametrize("at", range(1, 6))
def test_C13_a_process_that_dies_mid_sign_in_leaves_no_live_grant_once_the_janitor_came(
    tmp_path: Path, at: int
) -> None:
    procore, clock = ScriptedProcore(), Clock()
    with front_door(tmp_path, procore, clock) as door:
        attempt = begin(door)
        granted = CodeGranted(code=Secret("fake-code", "code"), state=attempt.state, iss=None)
        flow = finish_sign_in(door.context, attempt, granted, FIREFOX)
        done = drive_and_die(door, flow, after=at)
    with front_door(tmp_path, procore, clock) as reborn:
        clock.advance(301)
        reborn.run(sweep(reborn.context))
        signed_in = reborn.store.ask(UserOf(1)) is not None
        exchanged = bool(procore.exchanges)
        revoked = "fake-access-1" in procore.revoked
        # Between the response to the exchange and the escrow, no one holds the tokens: one step.
        in_the_gap = done == ["TakeAttempt", "/oauth/token"]
        assert not exchanged or signed_in or revoked or in_the_gap


def drive_and_die(door: ProcoreSignIn, flow: Generator[Any, Any, Any], *, after: int) -> list[str]:
    """Perform `after` steps of `flow`, then stop forever. Return what was done."""
    done: list[str] = []
    stack = [flow]
    outcome: Any = None
    while len(done) < after:
        try:
            step = stack[-1].send(outcome)
        except StopIteration as end:
            stack.pop()
            if not stack:
                break
            outcome = end.value
            continue
        if isinstance(step, Shield):
            stack.append(step.flow)
            outcome = None
        elif isinstance(step, Send):
            outcome = door._transport.send(step.request)
            done.append("/" + step.request.url.split("/", 3)[3])
        elif isinstance(step, Do):
            outcome = door.store.do(step.command)
            done.append(type(step.command).__name__)
    return done


def test_I5_a_disabled_user_is_refused_and_the_tokens_are_given_back(
    door: ProcoreSignIn, procore: ScriptedProcore, tmp_path: Path
) -> None:
    user = sign_in(door).user
    disable(tmp_path, user.id)
    with pytest.raises(SignInRefused) as caught:
        sign_in(door)
    assert caught.value.error is None
    assert "fake-access-2" in procore.revoked


def disable(folder: Path, user_id: int) -> None:
    with closing(sqlite3.connect(folder / "test.db")) as database:
        database.execute("UPDATE users SET disabled_at = ? WHERE id = ?", (NOW, user_id))
        database.commit()


def test_an_expired_pair_is_refreshed_first_because_a_server_may_not_revoke_it_otherwise(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    sign_in(door)
    clock.advance(5400)
    procore.next("/oauth/token/info", reply(401, {"error": "invalid_token"}))
    sign_in(door)
    refreshed = [form["refresh_token"] for form in procore.exchanges if "code" not in form]
    assert refreshed == ["fake-refresh-1"]
    assert {"fake-access-3", "fake-refresh-3"} <= set(procore.revoked)


COMPANIES = [{"id": 42, "name": "Ours", "is_active": True}, {"id": 7, "name": "Theirs"}]


def only_of_company_42(candidate: Candidate) -> str | None:
    if any(company.id == 42 for company in candidate.companies):
        return None
    return f"{candidate.me.login} is not one of us."


def test_the_application_may_refuse_somebody_before_anything_is_stored(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock
) -> None:
    hooks = Hooks(may_sign_in=only_of_company_42)
    procore.next("/rest/v1.0/companies", reply(200, COMPANIES[1:]), reply(200, COMPANIES))
    with front_door(tmp_path, procore, clock, hooks=hooks) as door:
        with pytest.raises(SignInRefused) as caught:
            sign_in(door)
        assert caught.value.reason == "joecontractor@procore.com is not one of us."
        assert door.store.ask(UserOf(1)) is None
        assert "fake-access-1" in procore.revoked
        assert sign_in(door).created


def test_the_application_is_told_of_sign_ups_sign_ins_and_sign_outs(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock
) -> None:
    told: list[tuple[str, int]] = []
    hooks = Hooks(
        on_sign_up=lambda user: told.append(("up", user.id)),
        on_sign_in=lambda user: told.append(("in", user.id)),
        on_sign_out=lambda user: told.append(("out", user.id)),
    )
    with front_door(tmp_path, procore, clock, hooks=hooks) as door:
        sign_in(door)
        sign_in(door)
        session = door.store.ask(SessionsOf(1, now=NOW))[0]
        door.run(sign_out(door.context, session))
    assert told == [("up", 1), ("in", 1), ("in", 1), ("out", 1)]


def test_a_hook_that_fails_is_logged_and_signs_nobody_out(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_user: User) -> None:
        raise LookupError("a mistake of the application")

    with front_door(tmp_path, procore, clock, hooks=Hooks(on_sign_in=broken)) as door:
        assert sign_in(door).created
    [record] = caplog.records
    assert "hook" in record.getMessage()
    assert repr(broken) in record.getMessage()


@pytest.mark.asyncio
async def test_hooks_may_be_async_where_the_front_door_is(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    told: list[int] = []

    async def on_sign_in(user: User) -> None:
        await asyncio.sleep(0)
        told.append(user.id)

    class Transport:
        async def send(self, request: HttpRequest) -> HttpResponse:
            return procore.send(request)

        async def aclose(self) -> None:
            pass

    context = replace(door.context, hooks=Hooks(on_sign_in=on_sign_in))
    runner = AsyncRunner(door.store, Transport())
    attempt = begin(door)
    granted = CodeGranted(code=Secret("fake-code", "code"), state=attempt.state, iss=None)
    await runner.run(finish_sign_in(context, attempt, granted, FIREFOX))
    await runner.aclose()
    assert told == [1]


def test_hooks_may_be_async_where_the_front_door_waits(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock
) -> None:
    told: list[int] = []

    async def not_me(candidate: Candidate) -> str | None:
        await asyncio.sleep(0)
        return None if candidate.companies else "Only people of a company come in."

    async def on_sign_in(user: User) -> None:
        await asyncio.sleep(0)
        told.append(user.id)

    procore.next("/rest/v1.0/companies", reply(200, []), reply(200, COMPANIES))
    hooks = Hooks(may_sign_in=not_me, on_sign_in=on_sign_in)
    with front_door(tmp_path, procore, clock, hooks=hooks) as door:
        with pytest.raises(SignInRefused) as refused:
            sign_in(door)
        assert refused.value.reason == "Only people of a company come in."
        assert sign_in(door).created
    assert told == [1]


# The database fails in the middle of the commit, and no one can tell at which end of it.

UNCERTAIN = StoreUnavailable("The connection broke during the commit")


def lose_the_answer(
    monkeypatch: pytest.MonkeyPatch, command: type[Command[Any]], *, happens: bool
) -> None:
    """Have a command fail once, after or before it has done its work."""
    failures = [UNCERTAIN]

    def failing(usual: Callable[[], object], _: object) -> object:
        outcome = usual() if happens or not failures else None
        for failure in failures[:]:
            failures.clear()
            raise failure
        return outcome

    meet(monkeypatch, Store, command, failing)


def test_C12_a_commit_that_happened_although_its_answer_was_lost_signs_the_person_in(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    hooks = Hooks(on_sign_up=lambda _: told.append("up"), on_sign_in=lambda _: told.append("in"))
    with front_door(tmp_path, procore, clock, hooks=hooks) as door:
        lose_the_answer(monkeypatch, CompleteSignIn, happens=True)
        signed_in = sign_in(door)
        assert session_of(door, signed_in) is not None
        assert tokens_of(door, signed_in) == "fake-access-1"
        assert (procore.revoked, signed_in.created, told) == ([], True, ["up", "in"])
        clock.advance(60)
        lose_the_answer(monkeypatch, CompleteSignIn, happens=True)
        again = sign_in(door)
        assert (again.created, told) == (False, ["up", "in", "in"])
        clock.advance(ORPHANED_AFTER + 1)
        assert door.run(sweep(door.context)) == 1
        assert set(procore.revoked) == {"fake-access-1", "fake-refresh-1"}


def test_C12_a_commit_that_did_not_happen_gives_the_tokens_back(
    door: ProcoreSignIn, procore: ScriptedProcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_the_answer(monkeypatch, CompleteSignIn, happens=False)
    with pytest.raises(StoreUnavailable):
        sign_in(door)
    assert set(procore.revoked) == {"fake-access-1", "fake-refresh-1"}
    assert door.store.ask(UserOf(1)) is None


@pytest.mark.parametrize("happened", [True, False])
def test_C12_while_nobody_can_tell_nothing_is_revoked_and_the_janitor_decides(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    *,
    happened: bool,
) -> None:
    lose_the_answer(monkeypatch, CompleteSignIn, happens=happened)
    lose_the_answer(monkeypatch, FailAttempt, happens=False)
    with pytest.raises(StoreUnavailable):
        sign_in(door)
    assert procore.revoked == []
    clock.advance(ORPHANED_AFTER + 1)
    assert door.run(sweep(door.context)) == (not happened)
    assert bool(procore.revoked) == (not happened)


def test_S1_a_session_token_spells_all_of_its_32_random_bytes(door: ProcoreSignIn) -> None:
    context = replace(door.context, random_bytes=lambda size: bytes(range(size)))
    token = new_session_token(context).reveal()
    assert urlsafe_b64decode(token + "=") == bytes(range(32))
    assert len(token) == 43


def test_S1_a_session_is_known_by_the_sha_256_of_its_token() -> None:
    assert hash_session_token("a token") == hashlib.sha256(b"a token").hexdigest()


def test_a_sign_in_that_fails_is_told_of_with_the_reason_and_the_request_of_procore(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    told: list[tuple[Event, Mapping[str, Field]]],
) -> None:
    refusal = reply(401, {"error": "invalid_client"}, **{"x-request-id": "request-17"})
    procore.next("/oauth/token", refusal)
    with pytest.raises(ClientMisconfigured):
        finish(door, begin(door))
    [(event, facts)] = told
    assert event is Event.SIGN_IN_FAILED
    assert re.fullmatch("[0-9a-f]{8}", str(facts["attempt"]))
    assert {**facts, "attempt": None} == {
        "request": "f00d",
        "attempt": None,
        "environment": "emulator",
        "reason": "ClientMisconfigured",
        "error": "invalid_client",
        "procore_request_id": "request-17",
    }


@pytest.mark.parametrize("path", ["/oauth/token", "/rest/v1.0/me", "/rest/v1.0/companies"])
def test_a_sign_in_comes_back_later_where_procore_names_a_date(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path, path: str
) -> None:
    procore.next(path, reply(503, b"", **{"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}))
    hooks = Hooks(may_sign_in=only_of_company_42)
    with (
        front_door(tmp_path, procore, clock, hooks=hooks) as door,
        pytest.raises(ProcoreUnavailable) as caught,
    ):
        finish(door, begin(door))
    assert caught.value.retry_after == 30


def test_a_sign_in_is_told_of_with_who_it_is_and_whether_they_are_new(
    door: ProcoreSignIn, told: list[tuple[Event, Mapping[str, Field]]]
) -> None:
    for created in (True, False):
        told.clear()
        attempt = begin(door)
        user = finish(door, attempt).user
        facts = {
            "attempt": attempt.state_hash[:8],
            "environment": "emulator",
            "user": user.id,
            "created": created,
        }
        assert (Event.SIGN_IN_SUCCEEDED, facts) in told


def test_a_response_that_comes_in_vain_says_why(door: ProcoreSignIn) -> None:
    attempt = begin(door)
    with pytest.raises(AttemptInvalid) as caught:
        finish(door, attempt, iss="https://login.example.com")
    assert caught.value.reason == "mismatch"
    finish(door, attempt)
    denied = AuthorizationDenied("access_denied", None, attempt.state, None)
    with pytest.raises(AttemptInvalid) as caught:
        door.run(finish_sign_in(door.context, attempt, denied, FIREFOX))
    assert caught.value.reason == "used"


def test_the_ledger_says_that_a_request_was_denied(door: ProcoreSignIn) -> None:
    attempt = begin(door)
    denied = AuthorizationDenied("access_denied", None, attempt.state, None)
    with pytest.raises(SignInRefused):
        door.run(finish_sign_in(door.context, attempt, denied, FIREFOX))
    entry = door.store.ask(AttemptOf(attempt.state_hash))
    assert entry is not None
    assert (entry.status, entry.outcome, entry.finished_at) == ("failed", "denied", NOW)


def test_the_application_hears_of_a_candidate_where_they_come_from_and_whom_they_are_connected_to(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path
) -> None:
    heard: list[tuple[str, tuple[str, ...]]] = []

    def may_sign_in(candidate: Candidate) -> str | None:
        heard.append((candidate.environment, candidate.references))
        return None if len(heard) < 3 else "not here"

    with front_door(tmp_path, procore, clock, hooks=Hooks(may_sign_in=may_sign_in)) as door:
        procore.next("/rest/v1.0/companies", *[reply(200, [])] * 3)
        user = finish(door, begin(door)).user
        door.store.do(Link(user.id, NewLink("own-1"), now=door.context.now()))
        finish(door, begin(door))
        with pytest.raises(SignInRefused, match="does not admit") as caught:
            finish(door, begin(door))
    assert heard == [("emulator", ()), ("emulator", ("own-1",)), ("emulator", ("own-1",))]
    assert caught.value.reason == "not here"


def test_a_sign_in_whose_commit_had_no_answer_lands_where_it_began(
    door: ProcoreSignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(usual: Callable[[], object], _: CompleteSignIn) -> object:
        usual()
        raise StoreUnavailable("The response to the COMMIT was lost")

    meet(monkeypatch, door.store, CompleteSignIn, lost)
    signed_in = finish(door, begin(door))
    assert (signed_in.return_to, signed_in.created) == ("/projects", True)


def test_the_application_hears_who_signed_in_where_the_commit_had_no_answer(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, str]] = []
    hooks = Hooks(
        on_sign_up=lambda user: heard.append(("up", user.email)),
        on_sign_in=lambda user: heard.append(("in", user.email)),
    )
    with front_door(tmp_path, procore, clock, hooks=hooks) as door:
        lose_the_answer(monkeypatch, CompleteSignIn, happens=True)
        sign_in(door)
    assert heard == [("up", JOE["login"]), ("in", JOE["login"])]


@pytest.mark.parametrize("ledger", ["answers", "is away"])
def test_C12_what_breaks_right_after_the_commit_takes_no_tokens_from_the_user(
    door: ProcoreSignIn, procore: ScriptedProcore, monkeypatch: pytest.MonkeyPatch, ledger: str
) -> None:
    def broken(usual: Callable[[], object], _: CompleteSignIn) -> object:
        usual()
        raise LookupError("a mistake after the commit")

    def away(_usual: Callable[[], object], _: AttemptOf) -> object:
        raise StoreUnavailable("down")

    meet(monkeypatch, door.store, CompleteSignIn, broken)
    if ledger == "is away":
        meet(monkeypatch, door.store, AttemptOf, away)
    with pytest.raises(LookupError):
        sign_in(door)
    assert procore.revoked == []
    kept = door.store.ask(TokensOf(1, "emulator"))
    assert kept is not None
    assert kept.access_token.reveal() == "fake-access-1"


def test_the_ledger_says_when_and_why_a_sign_in_failed(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    procore.next("/oauth/token", reply(400, {"error": "invalid_grant"}))
    attempt = begin(door)
    with pytest.raises(GrantLost):
        finish(door, attempt)
    entry = door.store.ask(AttemptOf(attempt.state_hash))
    assert entry is not None
    assert (entry.status, entry.outcome, entry.finished_at) == ("failed", "GrantLost", NOW)


def test_an_odd_response_is_told_of_with_the_attempt_that_met_it(
    door: ProcoreSignIn, procore: ScriptedProcore, told: list[tuple[Event, Mapping[str, Field]]]
) -> None:
    procore.next("/oauth/token", tokens(1, expires_in="soon"))
    attempt = begin(door)
    finish(door, attempt)
    [odd] = [fields for event, fields in told if event is Event.ANSWER_ODD]
    assert odd["attempt"] == attempt.state_hash[:8]


class LeavingError(BaseException):
    """What a job queue raises when a job takes too long."""


def test_a_sign_in_that_is_done_stays_so_where_its_last_hook_is_interrupted(
    procore: ScriptedProcore,
    clock: Clock,
    tmp_path: Path,
    told: list[tuple[Event, Mapping[str, Field]]],
) -> None:
    def interrupted(_: User) -> None:
        raise LeavingError

    with front_door(tmp_path, procore, clock, hooks=Hooks(on_sign_in=interrupted)) as door:
        with pytest.raises(LeavingError):
            sign_in(door)
        assert len(list(door.users())) == 1
    assert procore.revoked == []
    assert [event for event, _ in told] == [Event.SIGN_IN_SUCCEEDED]


def test_a_connection_that_a_sign_in_makes_is_told_of_with_it(
    door: ProcoreSignIn, told: list[tuple[Event, Mapping[str, Field]]]
) -> None:
    login = OwnLogin("own-1", "a" * 64)
    bound = Bound(login=login.mark, connects=True)
    attempt = new_attempt(door.context, return_to="/", bound=bound)
    user = finish(door, attempt, browser=replace(FIREFOX, login=login)).user
    assert [(event, fields["user"]) for event, fields in told] == [
        (Event.SIGN_IN_SUCCEEDED, user.id),
        (Event.USER_LINKED, user.id),
    ]


OWN = OwnLogin("own-1", "a" * 64)
"""Someone is logged in at the application itself."""


def test_L3_a_sign_in_beside_someone_connects_no_one_unless_it_is_meant_to(
    door: ProcoreSignIn,
) -> None:
    user = finish(door, begin(door), browser=replace(FIREFOX, login=OWN)).user
    assert door.store.ask(ReferencesOf(user.id)) == []


def test_L3_who_is_connected_to_another_user_is_refused_before_the_application_is_asked(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path
) -> None:
    asked: list[Candidate] = []
    with front_door(tmp_path, procore, clock, hooks=Hooks(may_sign_in=asked.append)) as door:
        procore.next("/rest/v1.0/companies", *[reply(200, [])] * 2)
        user = sign_in(door).user
        door.store.do(Link(user.id, NewLink("own-2"), now=NOW))
        with pytest.raises(AlreadyLinked):
            finish(door, begin(door), browser=replace(FIREFOX, login=OWN))
    assert len(asked) == 1
    assert "fake-access-2" in procore.revoked


def test_L3_a_connection_that_is_made_meanwhile_keeps_a_sign_in_out(
    door: ProcoreSignIn, procore: ScriptedProcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = sign_in(door).user

    def meanwhile(usual: Callable[[], object], _: CompleteSignIn) -> object:
        door.store.do(Link(user.id, NewLink("own-2"), now=NOW))
        return usual()

    meet(monkeypatch, door.store, CompleteSignIn, meanwhile)
    with pytest.raises(AlreadyLinked):
        finish(door, begin(door), browser=replace(FIREFOX, login=OWN))
    assert "fake-access-2" in procore.revoked


def test_the_sessions_that_a_connection_ends_are_told_of_with_the_sign_in(
    door: ProcoreSignIn, told: list[tuple[Event, Mapping[str, Field]]]
) -> None:
    elsewhere = OwnLogin("own-2", "b" * 64)
    user = finish(door, begin(door), browser=replace(FIREFOX, login=elsewhere)).user
    attempt = new_attempt(door.context, return_to="/", bound=Bound(OWN.mark, connects=True))
    finish(door, attempt, browser=replace(FIREFOX, login=OWN))
    ended = {"user": user.id, "reason": "linked", "sessions": 1}
    assert (Event.SESSION_ENDED, ended) in told


def test_hooks_are_told_in_which_request_a_user_comes_and_what_the_button_carried(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path
) -> None:
    heard: dict[str, Occasion] = {}

    def may_sign_in(_: Candidate, occasion: Occasion) -> None:
        heard["may"] = occasion

    def on_sign_up(_: User, occasion: Occasion) -> None:
        heard["up"] = occasion

    def on_sign_in(_: User, occasion: Occasion) -> None:
        heard["in"] = occasion

    hooks = Hooks(may_sign_in, on_sign_up, on_sign_in)
    browser = Browser("Firefox", None, OWN, request="the framework's request")
    procore.next("/rest/v1.0/companies", reply(200, []))
    with front_door(tmp_path, procore, clock, hooks=hooks) as door:
        bound = Bound(OWN.mark, "an invitation", connects=True)
        attempt = new_attempt(door.context, return_to="/", bound=bound)
        finish(door, attempt, browser=browser)
    occasion = Occasion("the framework's request", "an invitation", "own-1", connects=True)
    assert heard == {"may": occasion, "up": occasion, "in": occasion}


def test_an_application_may_want_to_hear_of_sign_ups_alone(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path
) -> None:
    heard: list[int] = []
    hooks = Hooks(on_sign_up=lambda user: heard.append(user.id))
    with front_door(tmp_path, procore, clock, hooks=hooks) as door:
        sign_in(door)
        sign_in(door)
    assert heard == [1]


def test_C3_an_attempt_that_was_used_is_remembered_for_as_long_as_it_could_be_finished(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    attempt = begin(door)
    finish(door, attempt)
    clock.advance(LIFETIME - 1)
    door.run(sweep(door.context))
    with pytest.raises(AttemptInvalid):
        finish(door, attempt)
    assert len(procore.exchanges) == 1


def test_C4_a_callback_beside_one_that_has_failed_is_told_so_at_once(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    procore.next("/oauth/token", reply(400, {"error": "invalid_grant"}))
    attempt = begin(door)
    with pytest.raises(GrantLost):
        finish(door, attempt)
    with pytest.raises(AttemptInvalid, match="did not succeed"):
        finish(door, attempt)
