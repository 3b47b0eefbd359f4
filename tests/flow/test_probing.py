"""What is wrong with the database: told once, and found by one probe for all who ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from procore_signin import _forks
from procore_signin._flow.running import async_runner, database_state, probing
from procore_signin._flow.running.async_runner import (
    LONG_SECONDS,
    NETWORK_DATABASE_THREADS,
    AsyncRunner,
)
from procore_signin._flow.running.background import THREADS
from procore_signin._flow.running.database_state import DatabaseState
from procore_signin._flow.running.outcome import Outcome
from procore_signin._flow.running.probing import LONGEST_SECONDS, Probing, probe
from procore_signin._flow.running.runner import Runner
from procore_signin._flow.steps import Ask, Do, Flow, Probe, call
from procore_signin._store.engine.deadline import left
from procore_signin.errors import StoreUnavailable
from procore_signin.events import Event, Field, Ration

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


def test_one_state_that_comes_and_goes_leaves_the_words_for_another_unspent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        database_state, "lines", Ration(lambda *_: None, most=2, later=lambda *_: None)
    )
    state = DatabaseState()
    for reason in (*["silent"] * 4, "refused"):
        state.failed(away(reason))
        state.worked(wrote=True)
    words = [each for each in caplog.messages if each.startswith("The database is")]
    assert words == ["The database is silent"] * 2 + ["The database is refused"]


@pytest.mark.parametrize("reason", [None, "locked", "collision"])
def test_what_one_piece_of_work_met_is_no_state_of_the_database(
    told: Told, reason: str | None
) -> None:
    state = DatabaseState()
    state.failed(away(reason))
    assert state.failing is None
    assert told == []


@pytest.mark.parametrize("reason", ["read_only", "full", "unmigrated"])
def test_O13_a_read_does_not_show_that_rows_can_be_written_again(told: Told, reason: str) -> None:
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
        self.wanted: list[Any] = []

    def _answer(self, wanted: object = None) -> str:
        self.names.append(threading.current_thread().name)
        self.wanted.append(wanted)
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


def test_O13_work_that_succeeds_ends_the_state_and_a_read_not_that_of_writes(
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


def test_a_call_of_the_application_does_not_end_the_state(
    runners: Runners, store: Store, told: Told
) -> None:
    store.error = away("silent")
    with pytest.raises(StoreUnavailable):
        runners.run(step(Do))
    assert runners.run(call(lambda: "called")) == "called"
    assert about(told) == [(Event.DATABASE_FAILED, "silent")]


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


@pytest.mark.parametrize(
    ("pool", "single_writer", "begun"),
    [
        ("_threads", True, ["procore-signin-store_0"]),
        ("_threads", False, [f"procore-signin-store_{n}" for n in range(NETWORK_DATABASE_THREADS)]),
        ("_flusher", True, ["procore-signin-flush_0"]),
    ],
)
def test_a_file_has_a_thread_for_work_and_one_that_waits_for_the_disk_and_a_server_has_eight(
    store: Store, pool: str, begun: list[str], *, single_writer: bool
) -> None:
    store.single_writer = single_writer
    runner = AsyncRunner(cast("Any", store), cast("Any", SimpleNamespace()))
    before, go_on = set(threading.enumerate()), threading.Event()
    for _ in range(NETWORK_DATABASE_THREADS + 1):  # one more than any of them takes at a time
        vars(runner)[pool].submit(go_on.wait)
    names = sorted(each.name for each in set(threading.enumerate()) - before)
    go_on.set()
    runner.leave()
    assert names == begun


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
    assert await asyncio.to_thread(asked._latest.wait)
    assert len(store.probed) == 1
    store.error = away("refused")
    await asked.ask()  # the next one, which is not waited for here
    assert asked._latest is not None
    assert await asyncio.to_thread(asked._latest.wait)
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
    latest = probes._latest = Outcome[Any]()
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


@pytest.mark.asyncio
async def test_O11_a_thread_that_never_comes_back_keeps_no_one_on_the_event_loop(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_runner, "_LATE_SECONDS", 0.0)
    monkeypatch.setattr(store, "do", lambda _: store.go_on.wait(WAIT_SECONDS))
    monkeypatch.setattr(store, "timeout", 0.0)
    store.single_writer = False
    store.go_on.clear()
    runner = AsyncRunner(cast("Any", store), cast("Any", SimpleNamespace()))
    with pytest.raises(StoreUnavailable) as refused:
        await asyncio.wait_for(runner.run(step(Do)), 2.0)
    assert refused.value.reason == "silent"
    store.go_on.set()
    await runner.aclose()


class OnLoop:
    """Runs commands and queries on an event loop."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.done: list[Any] = []
        self.ended: list[str] = []

    async def ask(self, query: object) -> str:
        self.done.append(query)
        return self.store._answer()

    do = ask

    async def drained(self) -> None:
        self.ended.append("drained")

    def close(self) -> None:
        self.ended.append("closed")


class StoreOnLoops(Store):
    """A store that is used on event loops, but for long work."""

    reads_inline = False

    def __init__(self) -> None:
        super().__init__()
        self.on_loops: dict[asyncio.AbstractEventLoop, OnLoop] = {}
        self.left: list[float] = []
        self.threads: list[object] = []

    def on_loop(self, *asked: Any) -> Any:
        loop, threads = asked
        self.threads.append(threads)
        assert loop not in self.on_loops
        self.on_loops[loop] = OnLoop(self)
        return self.on_loops[loop]

    def _answer(self, wanted: object = None) -> str:
        self.left.append(left())
        return super()._answer(wanted)

    ask = do = _answer


def performing(kind: type[Any], *, long: bool) -> Flow[Any]:
    return (yield kind(SimpleNamespace(long=long)))


@pytest.mark.parametrize("kind", [Ask, Do])
def test_a_server_is_used_on_each_event_loop_and_for_long_work_on_a_thread(kind: type[Any]) -> None:
    store = StoreOnLoops()
    runner = AsyncRunner(cast("Any", store), cast("Any", SimpleNamespace()))
    here = threading.current_thread().name

    async def main() -> OnLoop:
        for long in (False, True, False):
            assert await runner.run(performing(kind, long=long)) == "done"
        return store.on_loops[asyncio.get_running_loop()]

    first = asyncio.run(main())
    assert [query.long for query in first.done] == [False, False]
    assert [name == here for name in store.names] == [True, False, True]
    assert LONG_SECONDS - WAIT_SECONDS / 2 < store.left[1] <= LONG_SECONDS
    assert first.ended == []

    async def then() -> OnLoop:
        second = await main()
        assert first.ended == ["closed"]  # its event loop has ended before
        await runner.aclose()
        return second

    assert asyncio.run(then()).ended == ["drained", "closed"]
    assert first.ended == ["closed"]
    assert store.threads == [runner._threads] * 2


@pytest.mark.parametrize("kind", [Ask, Do])
def test_work_on_a_thread_has_the_time_of_the_store_and_is_not_waited_for_longer(
    monkeypatch: pytest.MonkeyPatch, kind: type[Any]
) -> None:
    class Standing(Store):
        reads_inline = False
        timeout = 0.05

        def _answer(self, wanted: object = None) -> str:
            seconds.append(left())
            assert self.go_on.wait(WAIT_SECONDS)
            return super()._answer(wanted)

        ask = do = _answer

    seconds, store = list[float](), Standing()
    monkeypatch.setattr(async_runner, "_LATE_SECONDS", 0.05)
    runners = Runners("async", store)
    assert runners.run(step(kind)) == "done"
    store.go_on.clear()
    with pytest.raises(StoreUnavailable) as raised:
        runners.run(step(kind))
    assert raised.value.reason == "silent"
    assert store.label in str(raised.value)
    assert all(0 < each <= 0.05 for each in seconds)
    store.go_on.set()
    runners.close()


@pytest.mark.parametrize("kind", [Ask, Do])
def test_work_on_a_thread_that_ends_by_itself_when_its_time_is_over_says_why(
    kind: type[Any],
) -> None:
    class Slow(Store):
        reads_inline = False
        timeout = 0.02

        def _answer(self, wanted: object = None) -> str:
            assert not self.go_on.wait(left())
            return super()._answer(wanted)

        ask = do = _answer

    store = Slow()
    store.go_on.clear()
    store.error = away("refused")
    runners = Runners("async", store)
    with pytest.raises(StoreUnavailable) as raised:
        runners.run(step(kind))
    assert raised.value.reason == "refused"
    runners.close()


@pytest.mark.parametrize("single_writer", [False, True])
@pytest.mark.parametrize("kind", [Ask, Do])
def test_long_work_is_done_where_it_is_asked_for_once_there_are_no_threads(
    store: Store, kind: type[Any], *, single_writer: bool
) -> None:
    """As when the main thread has ended."""
    store.single_writer = single_writer
    runner = AsyncRunner(cast("Any", store), cast("Any", SimpleNamespace()))

    async def main() -> None:
        assert await runner.run(performing(kind, long=True)) == "done"
        runner._threads.shutdown()
        assert await runner.run(performing(kind, long=True)) == "done"
        await runner.aclose()

    asyncio.run(main())
    there, here = store.names
    assert there.startswith(THREADS)
    assert here == threading.current_thread().name
    assert [each.long for each in store.wanted] == [True, True]
