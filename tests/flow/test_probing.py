"""What is wrong with the database: told once, and found by one probe for all who ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from procore_signin import _forks
from procore_signin._flow.running import probing
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.running.background import THREADS
from procore_signin._flow.running.database_state import DatabaseState
from procore_signin._flow.running.probing import LONGEST_SECONDS, Probing, probe
from procore_signin._flow.running.runner import Runner
from procore_signin._flow.steps import Ask, Do, Flow, Probe
from procore_signin._store.engine.deadline import left
from procore_signin.errors import StoreUnavailable
from procore_signin.events import Event, Field

WAIT_SECONDS = 10.0
Told = list[tuple[Event, Mapping[str, Field]]]


def away(reason: str | None) -> StoreUnavailable:
    return StoreUnavailable(f"The database is {reason}", reason=reason)


def about(told: Told) -> list[tuple[Event, Any]]:
    return [(event, fields["reason"]) for event, fields in told]


def reason_of(state: DatabaseState) -> str | None:
    return state.failing


def test_a_state_of_the_database_is_told_when_it_begins_changes_and_is_over(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    state = DatabaseState()
    for reason in ("silent", "silent", "refused", "refused"):
        state.failed(away(reason))
    assert reason_of(state) == "refused"
    for _ in range(2):
        state.worked(wrote=False)
    assert reason_of(state) is None
    assert about(told) == [
        (Event.DATABASE_FAILED, "silent"),
        (Event.DATABASE_FAILED, "refused"),
        (Event.DATABASE_BACK, "refused"),
    ]
    words = [each for each in caplog.messages if each.startswith("The database is")]
    assert words == ["The database is silent", "The database is refused"]


@pytest.mark.parametrize("reason", [None, "locked", "collision"])
def test_what_one_piece_of_work_met_is_no_state_of_the_database(
    told: Told, reason: str | None
) -> None:
    state = DatabaseState()
    state.failed(away(reason))
    assert state.failing is None
    assert told == []


@pytest.mark.parametrize("reason", ["read_only", "full", "unmigrated"])
def test_a_read_does_not_show_that_rows_can_be_written_again(told: Told, reason: str) -> None:
    state = DatabaseState()
    state.failed(away(reason))
    state.worked(wrote=False)
    assert reason_of(state) == reason
    state.worked(wrote=True)
    assert reason_of(state) is None
    assert about(told) == [(Event.DATABASE_FAILED, reason), (Event.DATABASE_BACK, reason)]


def test_a_probe_tells_of_the_state_as_work_does(told: Told) -> None:
    state = DatabaseState()
    state.note(None)
    state.note(away("read_only"))
    state.note(None)
    state.note(None)
    assert about(told) == [
        (Event.DATABASE_FAILED, "read_only"),
        (Event.DATABASE_BACK, "read_only"),
    ]


class Store:
    """A store whose every answer is set by the test."""

    reads_inline, single_writer, closed = True, False, False
    label, timeout = "the one of the test", WAIT_SECONDS

    def __init__(self) -> None:
        self.error: StoreUnavailable | None = None
        self.probed: list[float] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.names: list[str] = []

    def _answer(self, _: object = None) -> str:
        self.names.append(threading.current_thread().name)
        if self.error is not None:
            raise self.error
        return "done"

    ask = do = _answer

    def probe(self) -> None:
        self.probed.append(left())
        assert self.go_on.wait(WAIT_SECONDS)
        self._answer()

    def on_loop(self, *_: object) -> None:
        return None


class Runners:
    """A sync and an async runner, used alike."""

    def __init__(self, kind: str, store: Any) -> None:
        self._loop = asyncio.new_event_loop()
        transport = cast("Any", SimpleNamespace())
        self._runner = Runner(store, transport) if kind == "sync" else AsyncRunner(store, transport)

    def run(self, flow: Flow[Any]) -> Any:
        if isinstance(self._runner, Runner):
            return self._runner.run(flow)
        return self._loop.run_until_complete(self._runner.run(flow))

    def close(self) -> None:
        if isinstance(self._runner, Runner):
            self._runner.close()
        else:
            self._loop.run_until_complete(self._runner.aclose())
        self._loop.close()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture(params=["sync", "async"])
def runners(request: pytest.FixtureRequest, store: Store) -> Generator[Runners]:
    runners = Runners(request.param, store)
    yield runners
    runners.close()


def step(kind: type[Any]) -> Flow[Any]:
    made = kind(SimpleNamespace(long=False)) if kind is not Probe else Probe()
    return (yield made)


def test_work_that_succeeds_ends_the_state_and_a_read_not_that_of_writes(
    runners: Runners, store: Store, told: Told
) -> None:
    assert runners.run(step(Do)) == "done"
    for reason, then in (("silent", Ask), ("read_only", Ask), ("read_only", Do)):
        store.error = away(reason)
        with pytest.raises(StoreUnavailable):
            runners.run(step(Do))
        store.error = None
        assert runners.run(step(then)) == "done"
    assert about(told) == [
        (Event.DATABASE_FAILED, "silent"),
        (Event.DATABASE_BACK, "silent"),
        (Event.DATABASE_FAILED, "read_only"),
        (Event.DATABASE_BACK, "read_only"),
    ]


def test_a_runner_probes_and_tells_the_state(runners: Runners, store: Store, told: Told) -> None:
    assert runners.run(step(Probe)) is None
    store.error = away("refused")
    assert runners.run(step(Probe)) is store.error
    store.error = None
    assert runners.run(step(Probe)) is None
    assert about(told) == [(Event.DATABASE_FAILED, "refused"), (Event.DATABASE_BACK, "refused")]
    assert len(store.probed) == 3
    assert all(0 < seconds <= LONGEST_SECONDS for seconds in store.probed)


def test_the_threads_of_an_async_runner_bear_the_name_of_ours(store: Store) -> None:
    # A process that waits for threads of that name alone is ending.
    runners = Runners("async", store)
    runners.run(step(Probe))
    runners.run(step(Do))
    assert all(name.startswith(THREADS) for name in store.names)
    assert threading.current_thread().name not in store.names
    runners.close()


class Waits:
    """Lets the test say what time it is, and notes how long is waited."""

    FIRST_COMPLETED = asyncio.FIRST_COMPLETED

    def __init__(self) -> None:
        self.now = 1000.0
        self.seconds: list[float | None] = []

    def monotonic(self) -> float:
        return self.now

    def get_running_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def wait(self, futures: set[asyncio.Future[Any]], *, timeout: float | None) -> None:  # noqa: ASYNC109  # asyncio's own
        self.seconds.append(timeout)
        await asyncio.wait(futures, timeout=0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    waits = Waits()
    monkeypatch.setattr(probing, "asyncio", waits)
    monkeypatch.setattr(probing, "time", waits)
    return waits


@pytest.mark.asyncio
async def test_O11_one_probe_answers_all_in_time_who_ask_while_it_is_silent(
    store: Store, waits: Waits
) -> None:
    store.go_on.clear()
    asked = Probing(cast("Any", store))
    for now in (1000.0, 1000.3, 1005.0):
        waits.now = now
        error = await asked.ask()
        assert error is not None
        assert error.reason == "silent"
        assert store.label in str(error)
    assert waits.seconds == pytest.approx([LONGEST_SECONDS, LONGEST_SECONDS - 0.3, 0.0])
    assert asked._latest is not None
    store.go_on.set()
    await asyncio.wait({asked._latest}, timeout=WAIT_SECONDS)
    assert len(store.probed) == 1
    store.error = away("refused")
    await asked.ask()  # the next one, which is not waited for here
    assert asked._latest is not None
    await asyncio.wait({asked._latest}, timeout=WAIT_SECONDS)
    assert len(store.probed) == 2
    assert asked._latest.result() is store.error
    asked.close()


@pytest.mark.asyncio
async def test_O11_a_probe_that_stands_still_keeps_no_front_door_open(store: Store) -> None:
    store.go_on.clear()
    asked = Probing(cast("Any", store))
    under_way = asyncio.create_task(asked.ask())
    await asyncio.sleep(0)
    asked.close()
    assert not under_way.done()
    assert store.names == []
    store.go_on.set()
    assert await under_way is None


def test_the_sync_probe_ends_in_time_whatever_holds_around_it(store: Store) -> None:
    assert probe(cast("Any", store)) is None
    [seconds] = store.probed
    assert 0 < seconds <= LONGEST_SECONDS


def test_F1_a_child_keeps_all_that_its_parents_async_runner_has(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = AsyncRunner(cast("Any", store), cast("Any", SimpleNamespace()))
    own, probes, kept = runner._own, runner._probing, list[object]()
    loop = own.loop = asyncio.new_event_loop()
    latest = probes._latest = loop.create_future()
    inherited = [
        *(runner._unfinished, runner._under_way, runner._groups, runner._on_loops),
        *(runner._threads, runner._flusher, probes._thread, latest),
        *(loop, own._tasks, own._under_way, own._wanted),
    ]
    monkeypatch.setattr(_forks, "_abandoned", kept)
    for each in (runner, own, probes):
        each.after_fork()
    assert [each for each in inherited if not any(one is each for one in kept)] == []
    assert vars(own)["loop"] is None
    loop.close()
    asyncio.run(runner.aclose())
