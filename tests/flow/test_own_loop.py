"""The event loop of our own: each flow's outcome for its callers, whatever meets the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from procore_signin._flow.running import own_loop
from procore_signin._flow.running.background import Background, stayed_in_the_parent
from procore_signin._flow.running.closing import LONGEST_FLOW_SECONDS
from procore_signin._flow.running.outcome import Outcome
from procore_signin._flow.running.own_loop import OwnLoop, told
from procore_signin._flow.steps import Flow
from procore_signin.errors import ProcoreUnavailable

WAIT_SECONDS = 10.0


class Running(asyncio.Task[Any]):
    """A flow on the loop, which waits until `release` is set on the loop."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.release = asyncio.Event()
        self.outcome: asyncio.Future[Any] = loop.create_future()
        super().__init__(self._wait(), loop=loop)
        self.add_done_callback(self._tell)

    def _tell(self, _: object) -> None:
        if not self.outcome.done():
            self.outcome.set_result(self.name)

    async def _wait(self) -> None:
        await self.release.wait()


def named(name: str) -> Flow[str]:
    yield from ()
    return name


class Held(Background):
    """Begins no work before the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Callable[[], None]] = []
        self.has_been_ending = 0.0

    def start(self, work: Callable[[], None]) -> bool:
        self.held.append(work)
        return True

    def ending(self) -> float:
        return self.has_been_ending


class Loops:
    """An event loop of our own, and all that was begun on it."""

    def __init__(self) -> None:
        self.background = Held()
        self.running: list[Running] = []
        self.begun = threading.Semaphore(0)
        self.ended: list[asyncio.AbstractEventLoop] = []
        self.own = OwnLoop(self.background, self._begin, self.ended.append)
        self._threads: list[threading.Thread] = []

    def _begin(self, flow: Flow[Any], loop: asyncio.AbstractEventLoop) -> Running:
        try:
            next(flow)
        except StopIteration as end:
            task = Running(end.value, loop)
        self.own.add(task)
        self.running.append(task)
        self.begun.release()
        return task

    def go(self, *, begun: int) -> None:
        """Do what is held, each piece on a thread, and wait until so many flows have begun."""
        for work in self.background.held:
            thread = threading.Thread(target=work)
            thread.start()
            self._threads.append(thread)
        self.background.held.clear()
        for _ in range(begun):
            assert self.begun.acquire(timeout=WAIT_SECONDS)

    def on_the_loop(self, call: Callable[..., object], *arguments: object) -> None:
        assert self.own.loop is not None
        self.own.loop.call_soon_threadsafe(call, *arguments)

    def finish(self, *names: str) -> None:
        for each in self.running:
            if each.name in names:
                self.on_the_loop(each.release.set)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> Generator[Loops]:
    # What was to wake the loop does so: were it lost, this would take an hour.
    monkeypatch.setattr(own_loop, "BEAT_SECONDS", 3600.0)
    loops = Loops()
    yield loops
    loops.background.close(0)


def value(outcome: Outcome[Any] | None) -> Any:
    assert outcome is not None
    heard = threading.Thread(target=outcome.wait, daemon=True)
    heard.start()
    heard.join(WAIT_SECONDS)
    assert outcome.done
    return outcome.result()


def test_each_caller_gets_the_outcome_of_its_own_flow(loops: Loops) -> None:
    caller = asyncio.new_event_loop()
    carried = [loops.own.carry(named(name), caller) for name in ("one", "two")]
    shared = [loops.own.share(key, named(f"of {key}")) for key in ("three", "four")]
    loops.go(begun=4)
    loops.finish("one", "two", "of three", "of four")
    assert [value(each) for each in carried + shared] == ["one", "two", "of three", "of four"]
    loops.join()
    caller.close()


def test_who_asks_for_a_key_meanwhile_gets_the_same_outcome(loops: Loops) -> None:
    at_once = [loops.own.share("key", named(name)) for name in ("first", "second")]
    loops.go(begun=1)
    later = loops.own.share("key", named("third"))
    assert loops.background.held == []  # it costs no thread
    name = loops.running[0].name
    loops.finish(name)
    assert [value(each) for each in [*at_once, later]] == [name] * 3
    loops.join()
    assert len(loops.running) == 1


def test_who_asks_for_a_key_afterwards_gets_another_outcome(loops: Loops) -> None:
    loops.own.share("other", named("other"))
    before = loops.own.share("key", named("before"))
    loops.go(begun=2)
    loops.finish("before")
    assert value(before) == "before"
    after = loops.own.share("key", named("after"))
    loops.go(begun=1)
    loops.finish("after", "other")
    assert value(after) == "after"
    loops.join()


def test_a_loop_ends_with_its_flows_and_the_next_flow_gets_another(loops: Loops) -> None:
    for name in ("one", "two"):
        outcome = loops.own.share(name, named(name))
        loops.go(begun=1)
        loops.finish(name)
        assert value(outcome) == name
        loops.join()
        assert loops.own.loop is None
    first, second = loops.ended
    assert first is not second
    assert first.is_closed()


def interrupt() -> None:
    raise KeyboardInterrupt


def test_R13_an_interrupt_that_ends_the_loop_loses_no_flow(
    loops: Loops, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = loops.own.share("key", named("value"))
    loops.go(begun=1)
    loops.on_the_loop(interrupt)
    while not caplog.messages:
        threading.Event().wait(0.005)
    loops.finish("value")
    assert value(outcome) == "value"
    loops.join()
    assert caplog.messages == ["The event loop of our own was interrupted"]


def test_what_is_dismissed_is_told_before_its_flow_has_ended(loops: Loops) -> None:
    outcome = loops.own.share("key", named("value"))
    loops.go(begun=1)
    loops.on_the_loop(loops.running[0].outcome.set_result, "dismissed")
    assert value(outcome) == "dismissed"
    assert not loops.running[0].done()
    loops.finish("value")
    loops.join()


def test_what_is_cancelled_is_told_too(loops: Loops) -> None:
    outcome = loops.own.share("key", named("value"))
    loops.go(begun=1)
    loops.on_the_loop(loops.running[0].outcome.cancel)
    with pytest.raises(asyncio.CancelledError):
        value(outcome)
    loops.finish("value")
    loops.join()


def test_R13_a_loop_whose_wake_up_was_lost_goes_on_by_itself(
    loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_loop, "BEAT_SECONDS", 0.01)
    first = loops.own.share("first", named("first"))
    loops.go(begun=1)
    loop = loops.own.loop
    assert loop is not None
    wake, lost = loop.call_soon_threadsafe, list[object]()
    loop.call_soon_threadsafe = lambda each, *_, **__: lost.append(each)  # type: ignore[assignment, method-assign]
    second = loops.own.share("second", named("second"))
    loops.go(begun=1)
    loop.call_soon_threadsafe = wake  # type: ignore[method-assign]
    assert len(lost) == 1
    loops.finish("first", "second")
    assert [value(first), value(second)] == ["first", "second"]
    loops.join()


def test_R12_a_process_that_has_been_ending_for_longer_than_any_flow_waits_for_none(
    loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_loop, "BEAT_SECONDS", 0.01)
    outcome = loops.own.share("key", named("value"))
    loops.go(begun=1)
    loops.background.has_been_ending = LONGEST_FLOW_SECONDS + 0.1
    with pytest.raises(ProcoreUnavailable, match="This process is ending") as raised:
        value(outcome)
    assert (raised.value.retry_after, raised.value.ambiguous) == (1, True)
    loops.join()
    loops.running[0].get_coro().close()
    loops.running[0]._log_destroy_pending = False  # type: ignore[attr-defined]  # as it should be


def test_R13_F3_a_forked_child_is_told_that_its_parent_may_have_done_it() -> None:
    error = stayed_in_the_parent()
    assert (error.retry_after, error.ambiguous) == (1, True)


def test_R13_a_caller_whose_event_loop_has_ended_keeps_no_other_waiting() -> None:
    outcome, ended = Outcome[int](), asyncio.new_event_loop()
    gone = ended.create_task(told(outcome, ended))
    ended.run_until_complete(asyncio.sleep(0))
    ended.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        waits = loop.create_task(told(outcome, loop))
        await asyncio.sleep(0)
        outcome.tell(7)
        await asyncio.wait_for(waits, WAIT_SECONDS)

    asyncio.run(main())
    assert outcome.result() == 7
    gone.get_coro().close()
    gone._log_destroy_pending = False  # type: ignore[attr-defined]  # as it should be
