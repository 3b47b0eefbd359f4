import asyncio
import threading

import pytest
from scripted import ScriptedProcore, reply

from procore_signin.client import ProcoreSignIn
from procore_signin.errors import ProcoreSignInError, ProcoreUnavailable
from procore_signin.flow.runners import AsyncRunner, Runner
from procore_signin.flow.steps import Flow, later, long_work, read, send, shield, wait, write
from procore_signin.protocol.wire import HttpRequest, HttpResponse

PING = HttpRequest("GET", "http://127.0.0.1:4568/ping")


class AsyncProcore:
    """A transport whose answers wait until the test lets them go."""

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


def test_work_for_later_runs_after_the_value_is_known_and_its_failure_harms_nobody(
    door: ProcoreSignIn,
) -> None:
    order: list[str] = []

    def flow() -> Flow[str]:
        yield from later(ping_and_count(order))
        yield from later(failing())
        order.append("answered")
        return "value"

    assert door.run(flow()) == "value"
    assert order == ["answered", "pinged"]


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


@pytest.mark.asyncio
async def test_sqlite_is_used_on_the_loop_and_long_work_is_done_on_one_other_thread(
    door: ProcoreSignIn,
) -> None:
    runner = AsyncRunner(door.store, AsyncProcore())
    here = threading.get_ident()
    assert await runner.run(read(lambda _store: threading.get_ident())) == here
    assert await runner.run(write(lambda _store: threading.get_ident())) == here
    others = {await runner.run(long_work(lambda _store: threading.get_ident())) for _ in range(3)}
    assert len(others) == 1
    assert here not in others
    await runner.aclose()
