"""The async runner's own steps: work that is shared, left for later, dismissed, and closed upon."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
from scripted import reply

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.running import async_runner
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.steps import Flow, call, dismiss, later, once, send, shield, wait
from procore_signin._forks import FORKS
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin.errors import ProcoreUnavailable, StoreUnavailable

PING = HttpRequest("GET", "http://127.0.0.1:4568/ping")
WAIT_SECONDS = 10.0


class Gate:
    """A transport whose responses wait for the test, on the event loop of the caller."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.release = asyncio.Event()

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.asked.release()
        await self.release.wait()
        return reply(200, {"path": request.url})

    async def aclose(self) -> None:
        pass

    async def was_asked(self) -> None:
        await asyncio.wait_for(self.asked.acquire(), WAIT_SECONDS)


class Watched(Generator[Any, Any, Any]):
    """A flow that pings, says what it returns, and tells whether it was closed."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.closed = False
        self._flow = self._ping(name, error)

    def _ping(self, name: str, error: Exception | None) -> Flow[str]:
        yield from send(PING)
        if error is not None:
            raise error
        return name

    def send(self, value: Any) -> Any:
        return self._flow.send(value)

    def throw(self, *error: Any) -> Any:
        return self._flow.throw(*error)

    def close(self) -> None:
        self.closed = True
        self._flow.close()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest_asyncio.fixture
async def missed() -> list[object]:
    """Collect what asyncio says of this event loop, such as exceptions that no one retrieved."""
    said = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    return said


@pytest.fixture
def runner(door: ProcoreSignIn, gate: Gate) -> AsyncRunner:
    return AsyncRunner(door.store, gate)


async def soon(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110  # the runner has no event for it
            await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_who_asks_for_a_key_meanwhile_shares_the_outcome_of_the_first(
    runner: AsyncRunner, gate: Gate
) -> None:
    flows = [Watched("first"), Watched("second"), Watched("other")]
    asked = [
        asyncio.create_task(runner.run(once(key, flow)))
        for key, flow in zip(("key", "key", "another key"), flows, strict=True)
    ]
    for _ in range(2):
        await gate.was_asked()
    await soon(lambda: flows[1].closed)
    asked[0].cancel()  # and nothing of the flow
    await asyncio.sleep(0)
    gate.release.set()
    assert await asyncio.wait_for(asked[1], WAIT_SECONDS) == "first"
    assert await asyncio.wait_for(asked[2], WAIT_SECONDS) == "other"
    assert not flows[2].closed
    assert await runner.run(once("key", Watched("afterwards"))) == "afterwards"
    assert runner._under_way == {}
    assert runner._unfinished == set()
    await runner.aclose()


@pytest.mark.asyncio
async def test_all_who_share_a_flow_get_their_own_copy_of_its_error(
    runner: AsyncRunner, gate: Gate
) -> None:
    error = ProcoreUnavailable("down", retry_after=3, ambiguous=True)
    asked = [asyncio.create_task(runner.run(once("key", Watched("", error)))) for _ in range(2)]
    await gate.was_asked()
    gate.release.set()
    got = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), WAIT_SECONDS)
    assert [(type(each), str(each)) for each in got] == [(ProcoreUnavailable, "down")] * 2
    assert got[0] is not got[1]
    await runner.aclose()


@pytest.mark.asyncio
async def test_who_asks_for_a_flow_on_the_loop_of_our_own_gets_a_copy_of_its_error(
    door: ProcoreSignIn, gate: Gate
) -> None:
    gate.for_any_loop = True  # type: ignore[attr-defined]
    runner = AsyncRunner(door.store, gate)
    error = ProcoreUnavailable("down", retry_after=3, ambiguous=True)

    def flow() -> Flow[None]:
        yield from wait(0)
        raise error

    with pytest.raises(ProcoreUnavailable, match="down") as raised:
        await asyncio.wait_for(runner.run(once("key", flow())), WAIT_SECONDS)
    assert raised.value is not error
    assert raised.value.retry_after == 3
    await runner.aclose()


@pytest.mark.asyncio
async def test_two_keys_on_the_loop_of_our_own_at_once_have_an_outcome_each(
    door: ProcoreSignIn, gate: Gate
) -> None:
    gate.for_any_loop = True  # type: ignore[attr-defined]
    runner = AsyncRunner(door.store, gate)

    def flow(name: str) -> Flow[str]:
        yield from wait(0.05)
        return name

    asked = [runner.run(once(name, flow(name))) for name in ("one", "two")]
    assert await asyncio.wait_for(asyncio.gather(*asked), WAIT_SECONDS) == ["one", "two"]
    await runner.aclose()


@pytest.mark.asyncio
async def test_what_several_share_on_the_loop_of_our_own_calls_the_application_there(
    door: ProcoreSignIn, gate: Gate
) -> None:
    gate.for_any_loop = True  # type: ignore[attr-defined]
    runner = AsyncRunner(door.store, gate)

    async def on_which() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    asked = runner.run(once("key", call(on_which)))
    assert await asyncio.wait_for(asked, WAIT_SECONDS) is not asyncio.get_running_loop()
    await runner.aclose()


@pytest.mark.asyncio
async def test_what_is_shielded_raises_its_own_error(runner: AsyncRunner, gate: Gate) -> None:
    error = ProcoreUnavailable("down", ambiguous=True)
    gate.release.set()
    with pytest.raises(ProcoreUnavailable) as raised:
        await asyncio.wait_for(runner.run(shield(Watched("", error))), WAIT_SECONDS)
    assert raised.value is error
    await runner.aclose()


def test_who_comes_on_another_event_loop_waits_for_no_flow_of_the_first(
    door: ProcoreSignIn,
) -> None:
    gates = [Gate(), Gate()]
    runner = AsyncRunner(door.store, gates[0])
    first = asyncio.new_event_loop()
    waiting = first.create_task(runner.run(once("key", Watched("first"))))
    postponed = first.create_task(runner.run(later(Watched("first"), key="key")))
    first.run_until_complete(asyncio.wait_for(postponed, WAIT_SECONDS))
    first.run_until_complete(gates[0].was_asked())
    runner._transport = gates[1]
    gates[1].release.set()

    async def main() -> str:
        beside = Watched("second")
        await runner.run(later(beside, key="key"))
        assert not beside.closed
        return await runner.run(once("key", Watched("second")))

    assert asyncio.run(asyncio.wait_for(main(), WAIT_SECONDS)) == "second"
    gates[0].release.set()
    assert first.run_until_complete(asyncio.wait_for(waiting, WAIT_SECONDS)) == "first"
    first.run_until_complete(runner.aclose())
    first.close()


@pytest.mark.asyncio
async def test_work_for_later_is_done_once_for_a_key_and_always_without_one(
    runner: AsyncRunner, gate: Gate
) -> None:
    flows = [Watched(name) for name in ("one", "two", "three", "four", "five")]
    for key, flow in zip(("key", "key", "other", None, None), flows, strict=True):
        await runner.run(later(flow, key=key))
    for _ in range(4):
        await gate.was_asked()
    assert [flow.closed for flow in flows] == [False, True, False, False, False]
    gate.release.set()
    await soon(lambda: not runner._unfinished and not runner._postponed)
    again = Watched("again")
    await runner.run(later(again, key="key"))
    assert not again.closed
    await gate.was_asked()
    await runner.aclose()


def test_work_for_later_that_ends_on_one_event_loop_leaves_its_key_to_that_of_another(
    door: ProcoreSignIn,
) -> None:
    runner = AsyncRunner(door.store, Gate())
    loops, gates = [asyncio.new_event_loop(), asyncio.new_event_loop()], [Gate(), Gate()]
    for loop, gate in zip(loops, gates, strict=True):
        runner._transport = gate
        loop.run_until_complete(runner.run(later(Watched("one"), key="key")))
        loop.run_until_complete(gate.was_asked())
    gates[0].release.set()
    loops[0].run_until_complete(soon(lambda: len(runner._unfinished) == 1))
    again = Watched("again")
    loops[1].run_until_complete(runner.run(later(again, key="key")))
    assert again.closed
    gates[1].release.set()
    loops[1].run_until_complete(runner.aclose())
    for loop in loops:
        loop.close()


@pytest.mark.asyncio
async def test_work_for_later_that_fails_is_logged_unless_the_state_of_the_database_tells_of_it(
    runner: AsyncRunner, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    gate.release.set()
    await runner.run(later(Watched("", ProcoreUnavailable("down", ambiguous=False))))
    await runner.run(later(Watched("", StoreUnavailable("away", reason="refused"))))
    await runner.run(later(Watched("fine")))
    await runner.aclose()
    assert caplog.messages == ["Postponed work failed: down"]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["shield", "once"])
async def test_what_is_dismissed_is_told_before_its_flow_ends_which_goes_on(
    runner: AsyncRunner, gate: Gate, kind: str
) -> None:
    done = list[str]()

    def flow() -> Flow[None]:
        yield from dismiss(ProcoreUnavailable("told", ambiguous=False))
        yield from send(PING)
        done.append("pinged")

    wanted = shield(flow()) if kind == "shield" else once("key", flow())
    with pytest.raises(ProcoreUnavailable, match="told"):
        await asyncio.wait_for(runner.run(wanted), WAIT_SECONDS)
    assert done == []
    gate.release.set()
    await runner.aclose()
    assert done == ["pinged"]


async def cancelled() -> None:
    raise asyncio.CancelledError


@pytest.mark.asyncio
async def test_a_flow_whose_caller_was_cancelled_goes_on_past_what_it_dismisses(
    runner: AsyncRunner, gate: Gate, missed: list[object]
) -> None:
    done = list[str]()

    def flow() -> Flow[None]:
        yield from send(PING)
        yield from dismiss(ProcoreUnavailable("told", ambiguous=False))
        done.append("went on")
        raise ProcoreUnavailable("down", ambiguous=False)

    asked = asyncio.create_task(runner.run(shield(flow())))
    await gate.was_asked()
    asked.cancel()
    await asyncio.sleep(0)
    gate.release.set()
    await runner.aclose()
    gc.collect()
    assert done == ["went on"]
    assert missed == []


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["it fails", "it dismisses", "it is cancelled"])
async def test_an_error_for_which_no_one_waits_is_not_logged_as_one_that_was_missed(
    runner: AsyncRunner, missed: list[object], kind: str
) -> None:
    def flow() -> Flow[None]:
        if kind == "it dismisses":
            yield from dismiss(ProcoreUnavailable("told", ambiguous=False))
        elif kind == "it is cancelled":
            yield from call(cancelled)
        else:
            raise ProcoreUnavailable("down", ambiguous=False)

    await runner.run(later(flow()))
    await runner.aclose()
    gc.collect()
    assert missed == []


@pytest.mark.asyncio
async def test_where_no_one_else_waits_an_error_is_dismissed_to_no_one(runner: AsyncRunner) -> None:
    def flow() -> Flow[str]:
        yield from dismiss(ProcoreUnavailable("told", ambiguous=False))
        return "value"

    assert await runner.run(flow()) == "value"
    await runner.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["shield", "once"])
async def test_a_flow_in_which_something_is_cancelled_tells_those_who_wait(
    runner: AsyncRunner, kind: str
) -> None:
    wanted = shield(call(cancelled)) if kind == "shield" else once("key", call(cancelled))
    with pytest.raises(ProcoreUnavailable, match="was interrupted"):
        await asyncio.wait_for(runner.run(wanted), WAIT_SECONDS)
    await runner.aclose()


@pytest.mark.asyncio
async def test_a_wait_says_for_how_long_the_process_has_been_ending(
    door: ProcoreSignIn, caplog: pytest.LogCaptureFixture
) -> None:
    slept, go_on = list[float](), asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if seconds == 2:
            await go_on.wait()

    runner = AsyncRunner(door.store, Gate(), sleep=sleep)
    assert await runner.run(wait(1)) == 0
    assert await runner.run(shield(wait(1, idle=True))) == 0
    told = list[float]()

    def flow() -> Flow[None]:
        told.append((yield from wait(2)))
        told.append((yield from wait(1)))

    def idle() -> Flow[None]:
        yield from wait(2, idle=True)

    for each in (flow(), idle()):
        await runner.run(later(each))
    await soon(lambda: len(slept) == 4)
    began = time.monotonic()
    closing = asyncio.create_task(runner.aclose())
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait_for(closing, WAIT_SECONDS)
    assert slept == [1, 1, 2, 2, 1]
    assert all(0 < each <= time.monotonic() - began + 0.001 for each in told)
    assert len(told) == 2
    # What others do was not waited for:
    assert caplog.messages == ["Postponed work failed: This process is ending; another one goes on"]


def test_a_wait_on_the_loop_of_our_own_says_for_how_long_the_process_has_been_ending(
    door: ProcoreSignIn,
) -> None:
    gate = Gate()
    gate.for_any_loop = True  # type: ignore[attr-defined]
    runner = AsyncRunner(door.store, gate)

    async def main() -> list[float]:
        seconds = []
        for number in range(2):
            asked = runner.run(once(number, wait(0)))
            seconds.append(await asyncio.wait_for(asked, WAIT_SECONDS))
            runner._background.ending = lambda: 7.0  # type: ignore[method-assign]
        await runner.aclose()
        return seconds

    assert asyncio.run(main()) == [0, 7]


def test_a_wait_of_an_event_loop_that_ends_says_so(door: ProcoreSignIn) -> None:
    told, sleeping = list[float](), asyncio.Event()
    go_on = asyncio.Event()

    async def sleep(_: float) -> None:
        sleeping.set()
        await go_on.wait()

    def flow() -> Flow[None]:
        told.append((yield from wait(1)))

    async def main() -> None:
        runner = AsyncRunner(door.store, Gate(), sleep=sleep)
        await runner.run(later(flow()))
        await sleeping.wait()
        asyncio.get_running_loop().call_later(0.02, go_on.set)  # timers last: after the end

    asyncio.run(main())
    assert len(told) == 1
    assert 0 < told[0] < WAIT_SECONDS


@pytest.mark.asyncio
async def test_a_front_door_for_asyncio_that_is_closed_too_early_says_how_much_has_not_ended(
    runner: AsyncRunner,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(async_runner, "LONGEST_FLOW_SECONDS", 0.02)
    waited, left = set[float](), list[str]()

    def one_on_a_thread(seconds: float) -> int:
        waited.add(seconds)
        return 1

    monkeypatch.setattr(runner._background, "settle", one_on_a_thread)
    monkeypatch.setattr(runner, "leave", lambda: left.append("left"))
    for _ in range(2):
        await runner.run(later(Watched("late")))
    await asyncio.wait_for(runner.aclose(), WAIT_SECONDS)
    assert caplog.messages == ["Closed while 3 flow(s) had not ended"]
    assert waited == {0}  # the event loop goes on
    assert left == ["left"]
    monkeypatch.undo()
    runner.leave()
    gate.release.set()
    await soon(lambda: not runner._unfinished)


@pytest.mark.asyncio
async def test_a_plain_function_of_the_application_is_called_off_the_event_loop(
    runner: AsyncRunner,
) -> None:
    def plain(*arguments: int) -> tuple[int, ...]:
        return (*arguments, threading.get_ident())

    async def later_on() -> str:
        return "awaited"

    async def on_the_loop(*arguments: int) -> tuple[int, ...]:
        return plain(*arguments)

    here = threading.get_ident()
    one, two, thread = await runner.run(call(plain, 1, 2))
    assert (one, two, thread != here) == (1, 2, True)
    assert await runner.run(call(on_the_loop, 1, 2)) == (1, 2, here)
    assert await runner.run(call(lambda: later_on())) == "awaited"  # noqa: PLW0108
    await runner.aclose()


@pytest.mark.asyncio
async def test_a_time_limit_of_the_application_ends_its_own_call_alone(runner: AsyncRunner) -> None:
    async def limited() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    def flow() -> Flow[str]:
        with suppress(TimeoutError):
            yield from call(limited)
        return "went on"

    asked = runner.run(shield(flow()))  # in a task that is not cancelled
    assert await asyncio.wait_for(asked, WAIT_SECONDS) == "went on"
    await runner.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("fails", [False, True])
async def test_a_child_that_is_forked_in_the_middle_of_a_flow_keeps_it_and_does_no_more_of_it(
    runner: AsyncRunner, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    kept, went_on = list[object](), list[str]()
    monkeypatch.setattr(async_runner, "abandon", lambda *each: kept.extend(each))

    async def fork() -> None:  # as it is for the child
        monkeypatch.setattr(FORKS, "generation", FORKS.generation + 1)
        if fails:
            raise ValueError("in the child")

    def flow() -> Flow[None]:
        with suppress(ValueError):
            yield from call(fork)
        went_on.append("went on")

    its = flow()
    with pytest.raises(ValueError if fails else asyncio.CancelledError):
        await runner.run(its)
    assert kept == [its]
    assert went_on == []
    monkeypatch.undo()
    await runner.aclose()


@pytest.mark.asyncio
async def test_a_front_door_waits_for_a_flow_that_ends_in_the_last_second(
    runner: AsyncRunner,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(async_runner, "LONGEST_FLOW_SECONDS", 0.9)
    await runner.run(later(Watched("in time")))
    asyncio.get_running_loop().call_later(0.02, gate.release.set)
    await asyncio.wait_for(runner.aclose(), WAIT_SECONDS)
    assert caplog.messages == []
    assert not runner._unfinished


@pytest.mark.asyncio
async def test_nothing_is_kept_of_a_loop_of_our_own_that_is_left(runner: AsyncRunner) -> None:
    closed = list[str]()

    class There:
        def close(self) -> None:
            closed.append("closed")

    loop, other = asyncio.new_event_loop(), asyncio.get_running_loop()
    runner._groups = {each: There() for each in (loop, other)}  # type: ignore[misc]
    runner._on_loops = {each: There() for each in (loop, other)}  # type: ignore[misc]
    for _ in range(2):  # also one that nothing is known of, as where its flows only sent requests
        runner._leave_loop(loop)
    assert [*runner._groups, *runner._on_loops] == [other, other]
    assert closed == ["closed"]
    loop.close()


@pytest.mark.asyncio
async def test_closing_waits_for_what_is_written_on_this_loop_and_closes_what_is_here_or_nowhere(
    runner: AsyncRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list[str]()

    class There:
        def __init__(self, name: str) -> None:
            self.name = name

        async def drained(self) -> None:
            told.append(f"{self.name}: drained")

        def close(self) -> None:
            told.append(f"{self.name}: closed")

    here, gone, elsewhere = (
        asyncio.get_running_loop(),
        asyncio.new_event_loop(),
        asyncio.new_event_loop(),
    )
    gone.close()
    runner._groups = {here: There("writes"), elsewhere: There("others")}  # type: ignore[dict-item]
    runner._on_loops = {
        here: There("here"),  # type: ignore[dict-item]
        gone: There("gone"),  # type: ignore[dict-item]
        elsewhere: There("elsewhere"),  # type: ignore[dict-item]
    }
    close = runner._background.close

    def close_background(seconds: float) -> None:
        told.append(f"background: waited for {seconds} s")
        close(seconds)

    monkeypatch.setattr(runner._background, "close", close_background)
    await asyncio.wait_for(runner.aclose(), WAIT_SECONDS)
    assert told == [
        "writes: drained",
        "here: drained",
        "here: closed",
        "gone: closed",
        "background: waited for 0 s",
    ]
    elsewhere.close()


@pytest.mark.asyncio
async def test_a_flow_that_is_carried_on_is_not_cancelled_and_says_so(
    runner: AsyncRunner, gate: Gate
) -> None:
    task = runner._start(Watched("value"), asyncio.get_running_loop())
    await gate.was_asked()
    assert task.cancel() is False
    gate.release.set()
    assert await asyncio.wait_for(task.outcome, WAIT_SECONDS) == "value"
    await runner.aclose()
