"""Clearing up beside an application: orphaned tokens are revoked without anyone asking."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path

import pytest
from doing import meet
from scripted import KEYS, Clock, ScriptedProcore, front_door

from procore_signin import environments
from procore_signin._client import AsyncProcoreSignIn, ProcoreSignIn
from procore_signin._flow.janitor import ORPHANED_AFTER
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import Store
from procore_signin._store.ledger import EscrowedIn, EscrowTokens, TakeAttempt
from procore_signin._store.migrate import upgrade
from procore_signin._web.janitor import THREAD_NAME, Janitor, sweeping
from procore_signin.errors import StoreUnavailable

ORPHAN = "a" * 64


def leave_an_orphan(door: ProcoreSignIn | AsyncProcoreSignIn, clock: Clock) -> None:
    """Leave what a process leaves that dies between the exchange and the commit."""
    now = int(clock())
    door.store.do(TakeAttempt(ORPHAN, environment="emulator", now=now, expires_at=now + 9999))
    tokens = TokenSet(Secret("fake-access", "a"), Secret("fake-refresh", "r"), now + 5400)
    door.store.do(EscrowTokens(ORPHAN, tokens, environment="emulator", now=now))
    clock.advance(ORPHANED_AFTER + 1)


class Waited(ScriptedProcore):
    """A Procore that says when tokens were revoked at it."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def send(self, request: HttpRequest) -> HttpResponse:
        response = super().send(request)
        if request.url.endswith("/oauth/revoke"):
            self.told.set()
        return response


def test_C12_the_thread_revokes_what_a_dead_process_left(tmp_path: Path) -> None:
    procore, clock = Waited(), Clock()
    with front_door(tmp_path, procore, clock) as door:
        leave_an_orphan(door, clock)
        Janitor(door, seconds=0.01).start()
        assert procore.told.wait(20)
        assert "fake-access" in procore.revoked


def test_one_thread_sweeps_in_a_process_however_often_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread.name))
    with front_door(tmp_path, ScriptedProcore(), Clock()) as door:
        sweeper = Janitor(door)
        for _ in range(3):
            sweeper.start()
        assert started == ["procore-signin-janitor"]
        sweeper.after_fork()  # as in a process forked from here
        sweeper.start()
        assert started == ["procore-signin-janitor"] * 2


def janitors() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == THREAD_NAME]


def test_the_thread_ends_when_the_front_door_closes_though_somebody_still_holds_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    door = front_door(tmp_path, ScriptedProcore(), Clock())
    sweeper = Janitor(door, seconds=0.01)
    sweeper.start()
    [thread] = janitors()
    door.close()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert "was closed" not in caplog.text


def test_the_thread_starts_again_with_the_first_request_after_the_door_opened_again(
    tmp_path: Path,
) -> None:
    procore, clock = Waited(), Clock()
    door = front_door(tmp_path, procore, clock)
    sweeper = Janitor(door, seconds=0.01)
    sweeper.start()
    door.close()
    sweeper.start()  # a request that came too late
    for thread in janitors():
        thread.join(timeout=20)
    assert janitors() == []
    with door:
        leave_an_orphan(door, clock)
        sweeper.start()
        assert procore.told.wait(20)
    assert "fake-access" in procore.revoked


def test_the_thread_ends_when_the_front_door_is_gone(tmp_path: Path) -> None:
    door = front_door(tmp_path, ScriptedProcore(), Clock())
    others = set(threading.enumerate())
    Janitor(door).start()
    [thread] = set(threading.enumerate()) - others
    del door
    gc.collect()
    thread.join(timeout=20)
    assert not thread.is_alive()


class AsyncWaited:
    def __init__(self) -> None:
        self.inside = Waited()
        self.told = asyncio.Event()

    async def send(self, request: HttpRequest) -> HttpResponse:
        response = self.inside.send(request)
        if self.inside.told.is_set():
            self.told.set()
        return response

    async def aclose(self) -> None:
        pass


def async_door(url: str, procore: AsyncWaited, clock: Clock) -> AsyncProcoreSignIn:
    return AsyncProcoreSignIn(
        environment=environments.emulator(),
        client_id="fake-client-id",
        client_secret=Secret("fake-client-secret", "client secret"),
        redirect_uri="http://localhost:4567/callback",
        keys=KEYS,
        database_url=url,
        transport=procore,
        clock=clock,
    )


def test_C12_the_task_revokes_what_a_dead_process_left_and_ends_with_the_block(
    tmp_path: Path,
) -> None:
    url, clock, procore = f"sqlite:///{tmp_path / 'test.db'}", Clock(), AsyncWaited()
    upgrade(url)

    async def run() -> None:
        async with async_door(url, procore, clock) as door:
            leave_an_orphan(door, clock)
            before = asyncio.all_tasks()
            async with sweeping(door, seconds=0.01):
                await procore.told.wait()
            left = asyncio.all_tasks() - before
            if left:  # a commit that was under way is carried out
                await asyncio.wait(left, timeout=5)
            assert asyncio.all_tasks() == before

    asyncio.run(asyncio.wait_for(run(), 20))
    assert "fake-access" in procore.inside.revoked


def fail_the_first_sweep(patch: pytest.MonkeyPatch, store: Store) -> None:
    def down(_: object, page: EscrowedIn) -> None:
        patch.undo()
        raise StoreUnavailable(f"down at {page.older_than} for {page.environment}")

    meet(patch, store, EscrowedIn, down)


def test_C14_O6_a_database_that_does_not_answer_stops_no_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    procore, clock = Waited(), Clock()
    with front_door(tmp_path, procore, clock) as door:
        leave_an_orphan(door, clock)
        fail_the_first_sweep(monkeypatch, door.store)
        Janitor(door, seconds=0.01).start()
        [thread] = janitors()
        for _ in range(400):  # twenty seconds, if the thread does not end before
            if procore.told.wait(0.05) or not thread.is_alive():
                break
        assert procore.told.is_set()
    assert "The janitor will try again: down at" in caplog.text


def test_C14_O6_a_database_that_does_not_answer_stops_no_task(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, clock, procore = f"sqlite:///{tmp_path / 'test.db'}", Clock(), AsyncWaited()
    upgrade(url)

    async def run() -> None:
        async with async_door(url, procore, clock) as door:
            leave_an_orphan(door, clock)
            fail_the_first_sweep(monkeypatch, door.store)
            before = asyncio.all_tasks()
            async with sweeping(door, seconds=0.01):
                [janitor] = asyncio.all_tasks() - before
                told = asyncio.create_task(procore.told.wait())
                await asyncio.wait({janitor, told}, return_when=asyncio.FIRST_COMPLETED)
                assert procore.told.is_set()

    asyncio.run(asyncio.wait_for(run(), 20))
    assert "The janitor will try again: down at" in caplog.text
