"""Pairs that come when no one wants them any more are in the ledger until they are dead (C14)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from doing import meet
from mortal import Killed
from scripted import (
    INVALID_GRANT,
    UNWELL,
    Clock,
    ScriptedProcore,
    front_door,
    reply,
    sign_in,
    tokens,
)

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.hooks import Hooks
from procore_signin._flow.janitor import ORPHANED_AFTER, sweep
from procore_signin._flow.revocation import ENDING_SECONDS, REFRESH_ENDS_WITHIN, give_up
from procore_signin._flow.running.runner import Runner
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import Store
from procore_signin._store.engine.command import Command
from procore_signin._store.escrows import HOLD_SECONDS, GiveUpTokens
from procore_signin._store.ledger import Escrowed, EscrowTokens
from procore_signin._store.records import User
from procore_signin._store.refresh import CommitRefresh, TokenRowOf
from procore_signin._store.withdrawal import HoldEscrow
from procore_signin.errors import ProcoreSignInError, ProcoreUnavailable, StoreUnavailable

LATE = {"fake-access-50", "fake-refresh-50"}
pytestmark = pytest.mark.usefixtures("one_thread")
FIRST = {"fake-access-1", "fake-refresh-1"}
EXPIRED = reply(401, {"error": "invalid_request"})
TOKENS = TokenSet(Secret("fake-access-50", "t"), Secret("fake-refresh-50", "t"), 2_000_000_000)


def die(*_: object, **_more: object) -> Any:
    raise Killed


@pytest.fixture
def user(door: ProcoreSignIn) -> User:
    return sign_in(door).user


@pytest.fixture
def refreshing(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path, user: User
) -> Callable[[], Any]:
    """A refresh of another process, which is under way for as long as the block runs."""

    @contextmanager
    def run(answer: HttpResponse | Exception = tokens(50)) -> Iterator[Callable[[], None]]:  # noqa: B008  # a value
        asked, go_on = threading.Event(), threading.Event()

        def slow(_request: HttpRequest) -> HttpResponse:
            asked.set()
            go_on.wait(10)
            if isinstance(answer, Exception):
                raise answer
            return answer

        clock.advance(5400)
        procore.next("/oauth/token", slow)
        with front_door(tmp_path, procore, clock) as other, ThreadPoolExecutor(1) as thread:
            refresh = thread.submit(other.fresh_tokens, user)
            assert asked.wait(10)
            try:
                yield lambda: None
            finally:
                go_on.set()
                error = refresh.exception()
                assert error is None or isinstance(error, (ProcoreSignInError, Killed))

    return run


ENDS: dict[str, Callable[[ProcoreSignIn, User], object]] = {
    "disable": lambda door, user: door.disable(user),
    "disconnect": lambda door, user: door.disconnect(user),
    "delete": lambda door, user: door.delete(user),
    "sign in": lambda door, _user: sign_in(door),
}


def an_hour_later(door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock) -> None:
    procore.forget("/oauth/revoke")
    clock.advance(3600)
    while door.run(sweep(door.context)):
        continue


@pytest.mark.parametrize("how", ENDS)
def test_C14_a_pair_that_comes_too_late_is_revoked_whenever_procore_is_well_again(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    refreshing: Callable[[], Any],
    how: str,
) -> None:
    with refreshing():
        ENDS[how](door, user)
        procore.next("/oauth/revoke", *[UNWELL] * 10)
    assert pairs_in_escrow(door) >= {"fake-access-50"}
    procore.requests.clear()
    an_hour_later(door, procore, clock)
    assert set(procore.revoked) >= LATE
    assert door.store.ask(Escrowed(int(clock.now) + 1)) == []


def pairs_in_escrow(door: ProcoreSignIn) -> set[str]:
    found = door.store.ask(Escrowed(2_000_000_000))
    return {each.tokens.access_token.reveal() for each in found if each.tokens is not None}


@pytest.mark.parametrize("how", ENDS)
def test_C14_a_process_that_dies_while_it_gives_a_late_pair_back_loses_it_not(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    refreshing: Callable[[], Any],
    how: str,
) -> None:
    with refreshing():
        ENDS[how](door, user)
        procore.next("/oauth/token/info", die)
    procore.requests.clear()
    an_hour_later(door, procore, clock)
    assert set(procore.revoked) >= LATE


@pytest.mark.parametrize("how", ["disable", "disconnect"])
def test_C14_a_process_that_dies_before_it_can_tell_of_a_late_pair_leaves_a_doubt(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    refreshing: Callable[[], Any],
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old refresh token is dead and no one knows the new one: that is never `confirmed`."""
    with refreshing():
        ended: Any = ENDS[how](door, user)
        meet(monkeypatch, Store, CommitRefresh, die)
    assert (ended.revocation, ended.certain) == ("pending", False)
    clock.advance(REFRESH_ENDS_WITHIN)
    procore.next("/oauth/token/info", EXPIRED)
    procore.next("/oauth/token", INVALID_GRANT)
    for _ in range(2):
        again = door.disable(user)
        assert again is not None
        assert (again.revocation, again.certain) == ("unsure", False)


@pytest.mark.parametrize(
    "answer",
    [tokens(50), INVALID_GRANT, ProcoreUnavailable("refused", ambiguous=False)],
    ids=["a pair", "refused", "not sent"],
)
def test_I5_a_refresh_that_was_under_way_leaves_no_doubt_once_it_has_an_answer(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    user: User,
    refreshing: Callable[..., Any],
    answer: HttpResponse | Exception,
) -> None:
    with refreshing(answer):
        ended = door.disable(user)
        assert ended is not None
        assert (ended.revocation, ended.refresh_under_way) == ("pending", True)
        assert set(procore.revoked) == FIRST
    again = door.disable(user)
    assert again is not None
    assert (again.revocation, again.certain) == ("confirmed", True)


def test_I5_a_refresh_that_was_under_way_and_got_no_answer_leaves_a_doubt(
    door: ProcoreSignIn, procore: ScriptedProcore, user: User, refreshing: Callable[..., Any]
) -> None:
    lost = ProcoreUnavailable("The connection was reset", ambiguous=True)
    with refreshing(lost):
        door.disable(user)
        procore.next("/oauth/token", lost)
    again = door.disable(user)
    assert again is not None
    assert (again.revocation, again.certain) == ("unsure", False)


class Away:
    """A database that is away for some commands of one kind."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, command: type[Command[Any]], times: int
    ) -> None:
        self.left = times

        def call(usual: Callable[[], Any], _: object) -> Any:
            self.left -= 1
            if self.left >= 0:
                raise StoreUnavailable("down")
            return usual()

        meet(monkeypatch, Store, command, call)


@pytest.fixture
def patient(door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock) -> Runner:
    """Runs flows whose waits take no time but the clock's."""
    return Runner(door.store, procore, sleep=clock.advance)


def test_C14_tokens_are_written_down_however_long_the_database_is_away(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    patient: Runner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = clock.now
    Away(monkeypatch, GiveUpTokens, 4000)
    procore.next("/oauth/revoke", *[UNWELL] * 4000)
    assert patient.run(give_up(door.context, TOKENS)) == "pending"
    assert clock.now - began > 3600
    assert len(procore.revoked) < 150  # Procore is not well either
    assert pairs_in_escrow(door) == {"fake-access-50"}
    an_hour_later(door, procore, clock)
    assert set(procore.revoked) == LATE


def test_C14_tokens_are_revoked_while_the_database_is_away(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    patient: Runner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Away(monkeypatch, GiveUpTokens, 200)
    procore.next("/oauth/revoke", UNWELL, UNWELL)
    assert patient.run(give_up(door.context, TOKENS)) == "confirmed"
    assert set(procore.revoked) == LATE


@pytest.mark.parametrize(("unwell", "known"), [(False, "confirmed"), (True, "unsure")])
def test_C14_a_process_that_ends_without_the_database_says_what_is_known(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
    *,
    unwell: bool,
    known: str,
) -> None:
    Away(monkeypatch, GiveUpTokens, 1000)
    if unwell:
        procore.next("/oauth/revoke", *[UNWELL] * 10)
    row = door.store.ask(TokenRowOf(user.id, "emulator", now=0))
    runner = Runner(door.store, procore, sleep=lambda _: None)
    monkeypatch.setattr(runner._background, "ending", lambda: ENDING_SECONDS + 1)
    assert runner.run(give_up(door.context, TOKENS, refreshed=row)) == known


def test_C14_a_database_that_goes_away_after_the_tokens_were_written_down_loses_nothing(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Away(monkeypatch, HoldEscrow, 1)
    assert door.run(give_up(door.context, TOKENS)) == "pending"
    an_hour_later(door, procore, clock)
    assert set(procore.revoked) == LATE


def refuse(*_: object) -> str:
    return "not here"


def fail(*_: object) -> str:
    raise ZeroDivisionError


FAILURES: dict[str, Callable[[ScriptedProcore, pytest.MonkeyPatch], Hooks]] = {
    "the hook refuses": lambda procore, _m: said(
        procore, "/rest/v1.0/companies", reply(200, []), Hooks(may_sign_in=refuse)
    ),
    "the hook fails": lambda procore, _m: said(
        procore, "/rest/v1.0/companies", reply(200, []), Hooks(may_sign_in=fail)
    ),
    "me is nonsense": lambda procore, _m: said(procore, "/rest/v1.0/me", reply(200, b"<html>")),
    "companies are nonsense": lambda procore, _m: said(
        procore, "/rest/v1.0/companies", reply(200, b"<html>"), Hooks(may_sign_in=refuse)
    ),
    "the database is away": lambda _p, monkeypatch: away(monkeypatch),
}


def said(
    procore: ScriptedProcore, path: str, answer: HttpResponse, hooks: Hooks | None = None
) -> Hooks:
    procore.next(path, answer)
    return hooks or Hooks()


def away(monkeypatch: pytest.MonkeyPatch) -> Hooks:
    Away(monkeypatch, EscrowTokens, 1)
    Away(monkeypatch, GiveUpTokens, 1)
    return Hooks()


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("well", [True, False])
def test_C14_a_sign_in_that_fails_after_the_exchange_leaves_no_grant(
    tmp_path: Path,
    procore: ScriptedProcore,
    clock: Clock,
    failure: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    well: bool,
) -> None:
    hooks = FAILURES[failure](procore, monkeypatch)
    if not well:
        procore.next("/oauth/revoke", *[UNWELL] * 10)
    with front_door(tmp_path, procore, clock, hooks=hooks) as door:
        with pytest.raises((ProcoreSignInError, ZeroDivisionError)):
            sign_in(door)
        if well:
            assert set(procore.revoked) == FIRST
            assert pairs_in_escrow(door) == set()
        else:
            assert pairs_in_escrow(door) == {"fake-access-1"}
            procore.requests.clear()
        an_hour_later(door, procore, clock)
        assert set(procore.revoked) == FIRST
        assert pairs_in_escrow(door) == set()


def test_C12_a_hook_that_fails_after_the_commit_undoes_nothing(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock
) -> None:
    with front_door(tmp_path, procore, clock, hooks=Hooks(on_sign_in=fail)) as door:
        user = sign_in(door).user
        assert procore.revoked == []
        assert door.fresh_tokens(user).access_token == Secret("fake-access-1", "")


def test_I5_a_revocation_whose_process_died_is_taken_up_by_another(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    procore.next("/oauth/revoke", die)
    with pytest.raises(Killed):
        door.disable(user)
    clock.advance(HOLD_SECONDS)
    ended = door.disable(user)
    assert ended is not None
    assert ended.certain


def test_I5_whoever_is_overtaken_changes_nothing_and_says_that_it_is_pending(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, tmp_path: Path, user: User
) -> None:
    """A process stands still for longer than it may hold the escrow."""
    said_by_the_other = []

    def stand_still(_request: HttpRequest) -> HttpResponse:
        clock.advance(HOLD_SECONDS)
        with front_door(tmp_path, procore, clock) as other:
            ended = other.disable(user)
            assert ended is not None
            said_by_the_other.append(ended.revocation)
        return EXPIRED

    procore.next("/oauth/token/info", stand_still)
    ended = door.disable(user)
    assert ended is not None
    assert (said_by_the_other, ended.revocation) == (["confirmed"], "pending")
    again = door.disable(user)
    assert again is not None
    assert again.certain
    assert [form["grant_type"] for form in procore.exchanges] == ["authorization_code"]


@pytest.mark.asyncio
async def test_C14_a_caller_that_is_cancelled_does_not_stop_it(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock
) -> None:
    from procore_signin._flow.running.async_runner import AsyncRunner  # noqa: PLC0415
    from procore_signin._flow.steps import later  # noqa: PLC0415

    class Async:
        async def send(self, request: HttpRequest) -> HttpResponse:
            await asyncio.sleep(0)
            return procore.send(request)

        async def aclose(self) -> None:
            pass

    with front_door(tmp_path, procore, clock) as door:
        runner = AsyncRunner(door.store, Async())
        caller = asyncio.create_task(runner.run(later(give_up(door.context, TOKENS))))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait([caller])
        await runner.aclose()
        assert set(procore.revoked) == LATE
        assert pairs_in_escrow(door) == set()


def test_the_janitor_waits_until_a_sign_in_that_gives_up_has_had_its_turn() -> None:
    assert ORPHANED_AFTER > HOLD_SECONDS
    assert ORPHANED_AFTER > REFRESH_ENDS_WITHIN
