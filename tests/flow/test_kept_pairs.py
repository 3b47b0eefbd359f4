"""A new pair that the database does not take is not given up (row R15)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doing import meet
from scripted import INVALID_GRANT, Clock, ScriptedProcore, front_door, reply, sign_in

from procore_signin._client import ProcoreSignIn
from procore_signin._flow import lease
from procore_signin._flow.lease import COMMIT_PAUSES, LEASE_SECONDS
from procore_signin._flow.refresh import fresh_tokens
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._store import Store
from procore_signin._store.records import TokenRow, User
from procore_signin._store.refresh import CommitRefresh, ReleaseLease, TokenRowOf
from procore_signin.errors import GrantLost, StoreUnavailable
from procore_signin.events import Event, listen


class Away:
    """The database does not take a new pair until `back` is set. Waiting is for its next try."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        self.back = threading.Event()
        self.kept = threading.Event()
        self.tries = 0
        self._error = error
        meet(monkeypatch, Store, CommitRefresh, self.commit)

    def commit(self, usual: Callable[[], object], _: CommitRefresh) -> object:
        if self.back.is_set():
            return usual()
        self.tries += 1
        if self.tries > len(COMMIT_PAUSES) + 1:
            self.kept.set()  # those who waited were told
        raise self._error

    def sleep(self, _: float) -> None:
        if self.kept.is_set():
            self.back.wait(0.01)


@pytest.fixture(params=[StoreUnavailable("down"), RuntimeError("refused a statement")], ids=repr)
def away(
    door: ProcoreSignIn, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Away]:
    away = Away(monkeypatch, request.param)
    monkeypatch.setattr(door._runner, "_sleep", away.sleep)
    yield away
    away.back.set()


@pytest.fixture
def user(door: ProcoreSignIn) -> User:
    return sign_in(door).user


def row_of(door: ProcoreSignIn, user: User) -> TokenRow:
    row = door.store.ask(TokenRowOf(user.id, "emulator", now=door.context.now()))
    assert row is not None
    return row


def test_R15_callers_are_told_to_try_later_and_find_the_new_pair(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User, away: Away
) -> None:
    clock.advance(5400)
    for _ in range(3):  # the second and third are told at once
        with pytest.raises(StoreUnavailable, match="It is kept"):
            door.fresh_tokens(user)
    assert row_of(door, user).generation == 1
    away.back.set()
    door._runner.settle()
    assert door.fresh_tokens(user).access_token.reveal() == "fake-access-2"
    assert len(procore.exchanges) == 2


def test_R15_a_row_that_another_process_marked_lost_becomes_good_again(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    away: Away,
    tmp_path: Path,
) -> None:
    clock.advance(5400)
    with pytest.raises(StoreUnavailable):
        door.fresh_tokens(user)
    clock.advance(LEASE_SECONDS)
    procore.next("/oauth/token", INVALID_GRANT)
    with front_door(tmp_path, procore, clock) as other, pytest.raises(GrantLost):
        other.fresh_tokens(user)
    assert row_of(door, user).status == "lost"
    away.back.set()
    door._runner.settle()
    row = row_of(door, user)
    assert (row.status, row.generation, row.ambiguous) == ("ok", 2, 0)
    assert door.fresh_tokens(user).access_token.reveal() == "fake-access-2"


@pytest.mark.parametrize("end", ["disable", "disconnect", "delete", "sign in anew"])
def test_R15_C14_a_pair_that_was_overtaken_meanwhile_is_given_back_to_procore(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User, away: Away, end: str
) -> None:
    clock.advance(5400)
    with pytest.raises(StoreUnavailable):
        door.fresh_tokens(user)
    # Without waiting for what the sign-in left for later: that waits for the pair here.
    if end == "sign in anew":
        away.back.set()
        sign_in(door)
    else:
        getattr(door, end)(user)
        away.back.set()
    door._runner.settle()
    late = {"fake-access-2", "fake-refresh-2"}
    if end == "sign in anew":  # either came first, and the other pair is the one that goes
        assert late <= set(procore.revoked) or row_of(door, user).generation == 3
    else:
        assert late <= set(procore.revoked)


def test_R15_a_process_that_ends_goes_on_for_a_while_and_says_what_it_leaves(
    door: ProcoreSignIn,
    clock: Clock,
    user: User,
    away: Away,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[Event, object]] = []
    stop = listen(lambda event, fields: told.append((event, fields.get("user"))))
    monkeypatch.setattr(lease, "ENDING_SECONDS", 0.2)
    clock.advance(5400)
    with pytest.raises(StoreUnavailable):
        door.fresh_tokens(user)
    before = away.tries
    door._runner.close()
    stop()
    assert away.tries > before
    assert (Event.REFRESH_KEPT, user.id) in told
    assert (Event.REFRESH_LEFT_BEHIND, user.id) in told


def test_R15_closing_waits_until_the_pair_is_written_down(
    door: ProcoreSignIn, clock: Clock, user: User, away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.advance(5400)
    with pytest.raises(StoreUnavailable):
        door.fresh_tokens(user)

    def back_after_the_closing_began(_: float) -> None:
        if door._runner._background.closing:
            away.back.set()

    monkeypatch.setattr(door._runner, "_sleep", back_after_the_closing_began)
    door._runner.close()
    assert row_of(door, user).generation == 2


class Answering:
    def __init__(self, procore: ScriptedProcore) -> None:
        self.procore = procore

    async def send(self, request: HttpRequest) -> HttpResponse:
        return self.procore.send(request)

    async def aclose(self) -> None:
        pass


@pytest.mark.asyncio
async def test_R15_tasks_are_told_to_try_later_and_find_the_new_pair(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User, away: Away
) -> None:
    clock.advance(5400)

    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    runner = AsyncRunner(door.store, Answering(procore), sleep=sleep)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="It is kept"):
            await runner.run(fresh_tokens(door.context, user.id))
    away.back.set()
    await runner.aclose()
    assert row_of(door, user).generation == 2
    assert len(procore.exchanges) == 2


def test_R13_a_lease_that_could_not_be_given_back_is_given_back_when_the_database_is_there_again(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token", reply(503, {}), reply(503, {}))
    failures = iter([StoreUnavailable("down")] * 2)

    def unsteady(release: Callable[[], object], _: ReleaseLease) -> None:
        for failure in failures:
            raise failure
        release()

    meet(monkeypatch, Store, ReleaseLease, unsteady)
    monkeypatch.setattr(door._runner, "_sleep", lambda _: None)
    with pytest.raises(Exception, match="503"):
        door.fresh_tokens(user)
    door._runner.settle()
    row = row_of(door, user)
    assert (row.leased, row.retry_in > 0) == (False, True)
