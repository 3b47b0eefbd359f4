import asyncio
import threading
import time
from typing import Any, cast

import pytest
from doing import Asking, Doing
from scripted import ScriptedProcore, reply

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.running import runner as sync_runner
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.running.background import LATER_AT_ONCE
from procore_signin._flow.running.runner import Runner
from procore_signin._flow.steps import (
    Flow,
    ask,
    call,
    dismiss,
    do,
    later,
    once,
    probe,
    send,
    shield,
    wait,
)
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._store.engine.statement import Statements
from procore_signin._transport.contract import AsyncTransport
from procore_signin.errors import ProcoreSignInError, ProcoreUnavailable

PING = HttpRequest("GET", "http://127.0.0.1:4568/ping")


class AsyncProcore:
    """A transport whose responses wait until the test lets them go."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.release = asyncio.Event()

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.asked.set()
        await self.release.wait()
        return reply(200, {"path": request.url})

    async def aclose(self) -> None:
        pass


def ping_and_count(done: list[str]) -> Flow[int]:
    response = yield from send(PING)
    done.append("pinged")
    return response.status


def failing() -> Flow[None]:
    yield from ()
    raise ProcoreUnavailable("down", ambiguous=False)


def recovering(flow: Flow[object]) -> Flow[str]:
    try:
        yield from shield(flow)
    except ProcoreSignInError as error:
        return str(error)
    return "fine"


def test_a_flow_returns_its_value(door: ProcoreSignIn) -> None:
    assert door.run(ping_and_count([])) == 200


def test_an_error_of_a_step_reaches_the_flow_which_may_recover(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    procore.next("/ping", ProcoreUnavailable("out", ambiguous=True))
    assert door.run(recovering(ping_and_count([]))) == "out"


def test_R8_work_for_later_is_not_waited_for_and_its_failure_harms_nobody(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    done, release = list[str](), threading.Event()
    procore.next("/ping", lambda _: reply(200, {}) if release.wait(20) else reply(500, {}))

    def flow() -> Flow[str]:
        yield from later(failing())
        yield from later(ping_and_count(done))
        return "value"

    assert door.run(flow()) == "value"
    assert done == []
    release.set()
    assert door._runner.settle() == 0
    assert done == ["pinged"]


def test_work_for_later_with_the_same_key_is_done_once(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    done, release = list[str](), threading.Event()
    procore.next("/ping", lambda _: reply(200, {}) if release.wait(20) else reply(500, {}))
    for _ in range(5):
        door.run(later(ping_and_count(done), key="ping"))
    release.set()
    door._runner.settle()
    assert done == ["pinged"]
    door.run(later(ping_and_count(done), key="ping"))
    door._runner.settle()
    assert done == ["pinged", "pinged"]


def test_any_amount_of_work_for_later_is_done_a_few_at_a_time(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    done, release = list[str](), threading.Event()
    lock, now, most = threading.Lock(), list[None](), list[int]()

    def slow(_: HttpRequest) -> HttpResponse:
        with lock:
            now.append(None)
            most.append(len(now))
        release.wait(20)
        with lock:
            now.pop()
        return reply(200, {})

    procore.next("/ping", *[slow] * 100)
    for _ in range(100):
        door.run(later(ping_and_count(done)))
    release.set()
    assert door._runner.settle() == 0
    assert len(done) == 100
    assert max(most) <= LATER_AT_ONCE


def test_waiting_is_done_with_the_sleep_that_was_passed_in(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    slept: list[float] = []
    Runner(door.store, procore, sleep=slept.append).run(wait(2.5))
    assert slept == [2.5]


@pytest.mark.asyncio
async def test_C13_a_cancelled_caller_does_not_cancel_what_is_shielded(door: ProcoreSignIn) -> None:
    procore, done = AsyncProcore(), list[str]()
    runner = AsyncRunner(door.store, procore)

    def flow() -> Flow[int]:
        return (yield from shield(ping_and_count(done)))

    caller = asyncio.create_task(runner.run(flow()))
    await procore.asked.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done == []
    procore.release.set()
    await runner.aclose()
    assert done == ["pinged"]


@pytest.mark.asyncio
async def test_closing_waits_for_work_that_was_left_for_later(door: ProcoreSignIn) -> None:
    procore, done = AsyncProcore(), list[str]()
    runner = AsyncRunner(door.store, procore)
    await runner.run(later(ping_and_count(done)))
    procore.release.set()
    await runner.aclose()
    assert done == ["pinged"]


def which_thread() -> Statements[int]:
    yield from ()
    return threading.get_ident()


@pytest.mark.asyncio
async def test_sqlite_is_used_on_the_loop_and_long_work_is_done_on_one_other_thread(
    door: ProcoreSignIn,
) -> None:
    runner = AsyncRunner(door.store, AsyncProcore())
    here = threading.get_ident()
    assert await runner.run(ask(Asking(which_thread))) == here
    assert await runner.run(do(Doing(which_thread))) == here
    long = Asking(which_thread, long=True)
    others = {await runner.run(ask(long)) for _ in range(3)}
    assert len(others) == 1
    assert here not in others
    await runner.aclose()


async def async_application() -> int:
    return threading.get_ident()


def application() -> int:
    return threading.get_ident()


@pytest.mark.parametrize("function", [application, async_application])
def test_the_application_is_called_where_its_caller_is_however_deep(
    door: ProcoreSignIn, function: Any
) -> None:
    here = threading.get_ident()
    assert door.run(call(function)) == here
    assert door.run(shield(call(function))) == here
    assert door.run(shield(shield(call(function)))) == here


@pytest.mark.parametrize("function", [application, async_application])
def test_the_application_is_called_elsewhere_for_work_that_is_shared_or_left_for_later(
    door: ProcoreSignIn, function: Any
) -> None:
    here, done = threading.get_ident(), list[int]()

    def noted() -> Flow[None]:
        done.append((yield from call(function)))

    shared = door.run(once("key", call(function)))
    assert shared not in {here, None}
    door.run(later(noted()))
    assert door._runner.settle() == 0
    assert len(done) == 1
    assert done[0] != here


def no_failure() -> Flow[str]:
    yield from ()
    return "value"


def dismissed(error: Exception, then: Flow[Any]) -> Flow[Any]:
    yield from dismiss(error)
    return (yield from then)


@pytest.mark.parametrize("kind", ["shield", "once"])
def test_an_error_that_comes_after_another_was_told_is_logged(
    door: ProcoreSignIn, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    told = ProcoreUnavailable("told", ambiguous=False)
    for then in (no_failure(), failing()):
        flow = dismissed(told, then)
        with pytest.raises(ProcoreUnavailable, match="told"):
            door.run(shield(flow) if kind == "shield" else once("key", flow))
        assert door._runner.settle() == 0
    assert caplog.messages == ["Work that no one waited for any more failed: down"]


def test_where_no_one_else_waits_an_error_is_told_to_no_one(door: ProcoreSignIn) -> None:
    assert door.run(dismissed(ProcoreUnavailable("told", ambiguous=False), no_failure())) == "value"


def test_work_is_done_on_the_callers_thread_where_there_is_no_other(
    door: ProcoreSignIn, procore: ScriptedProcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    runner = Runner(door.store, procore)
    here, done = threading.get_ident(), list[str]()
    monkeypatch.setattr(threading.Thread, "start", exhausted)
    assert runner.run(shield(shield(call(application)))) == here
    assert runner.run(once("key", call(application))) == here
    runner.run(later(ping_and_count(done)))
    assert done == ["pinged"]


def test_a_front_door_that_is_closed_too_early_says_how_much_has_not_ended(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sync_runner, "LONGEST_FLOW_SECONDS", 0.01)
    done, release = list[str](), threading.Event()
    procore.next("/ping", lambda _: reply(200, {}) if release.wait(20) else reply(500, {}))
    runner = Runner(door.store, procore)
    runner.run(later(ping_and_count(done)))
    runner.close()
    assert caplog.messages == ["Closed while 1 flow(s) had not ended"]
    release.set()
    assert runner.settle(20) == 0


class Nowhere(AsyncProcore):
    """Notes the event loop that it is used on."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.loop = asyncio.get_running_loop()
        return reply(200, {"path": request.url})


@pytest.mark.asyncio
async def test_a_transport_that_is_for_one_event_loop_is_used_on_it_alone(
    door: ProcoreSignIn,
) -> None:
    procore = Nowhere()
    runner = AsyncRunner(door.store, procore)
    assert await runner.run(once("key", ping_and_count([]))) == 200
    assert procore.loop is asyncio.get_running_loop()
    await runner.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("function", [application, async_application])
async def test_the_application_is_called_for_shared_work_that_runs_on_a_loop_of_our_own(
    door: ProcoreSignIn, function: Any
) -> None:
    procore = AsyncProcore()
    procore.for_any_loop = True  # type: ignore[attr-defined]
    runner = AsyncRunner(door.store, procore)
    called = await asyncio.wait_for(runner.run(once("key", call(function))), 20)
    assert called not in {threading.get_ident(), None}
    await runner.aclose()


def test_O14_a_probe_whose_event_loop_ended_before_it_is_the_outcome_of_no_later_one(
    door: ProcoreSignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = AsyncRunner(door.store, cast("AsyncTransport", None))
    asked, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        gate.wait(20)
        ended.set()

    async def give_up() -> None:
        probing = asyncio.create_task(runner.run(probe()))
        await asyncio.to_thread(asked.wait, 20)
        probing.cancel()

    with monkeypatch.context() as patch:
        patch.setattr(door.store, "probe", slow)
        asyncio.run(give_up())
    gate.set()
    assert ended.wait(20)
    until = time.monotonic() + 20
    while asyncio.run(runner.run(probe())) is not None:  # the thread has yet to tell it
        assert time.monotonic() < until
    runner.leave()
