"""Writes on SQLite that meet on an event loop are committed together (decision 21)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from doing import Asking, Doing, in_words
from interrupting import interrupted_everywhere
from migrated import migrated
from own_process import run_script
from scripted import KEYS

from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.running.runner import Runner
from procore_signin._flow.steps import Flow, ask, do
from procore_signin._protocol.me import Me
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import KeyRing, Store
from procore_signin._store.engine.statement import Statements, change
from procore_signin._store.ledger import AttemptOf, EscrowTokens, TakeAttempt
from procore_signin._store.records import NewSession
from procore_signin._store.sessions import EndSessions, end_all
from procore_signin._store.sign_in import CompleteSignIn
from procore_signin._store.sqlite import group_commit
from procore_signin._store.sqlite.group_commit import GroupCommit
from procore_signin._transport.contract import AsyncTransport
from procore_signin.errors import AttemptInvalid, StoreUnavailable

pytestmark = pytest.mark.timeout(40)

NOW = 1_800_000_000
SECONDS = 20
NO_TRANSPORT = cast("AsyncTransport", None)


def state(number: int) -> str:
    return f"{number:064d}"


def taking(number: int) -> Flow[Any]:
    return do(TakeAttempt(state(number), environment="emulator", now=NOW, expires_at=NOW + 1800))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    migrated(tmp_path / "test.db")
    return tmp_path / "test.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A store that would rather wait for longer than a test may last."""
    store = Store(f"sqlite:///{path}", KeyRing.parse(KEYS), lock_timeout=60)
    yield store
    store.close()


@pytest.fixture
def runner(store: Store) -> AsyncRunner:
    return AsyncRunner(store, NO_TRANSPORT)


@pytest.fixture
def numbers(path: Path) -> Callable[[], list[int]]:
    """Returns, as someone else sees it, the numbers that were taken."""

    def look() -> list[int]:
        connection = sqlite3.connect(path, isolation_level=None)
        rows = connection.execute("SELECT state_hash FROM sign_in_ledger ORDER BY 1").fetchall()
        connection.close()
        return [int(row[0]) for row in rows]

    return look


@contextmanager
def held(thread: ThreadPoolExecutor) -> Iterator[threading.Event]:
    """Keep a thread from doing anything until the block ends, or the event is set."""
    release = threading.Event()
    thread.submit(release.wait, SECONDS)
    try:
        yield release
    finally:
        release.set()


async def turns(count: int = 20) -> None:
    """Let everything happen that waits for the event loop alone."""
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def somebody_writing(path: Path) -> AsyncIterator[None]:
    """Another process that holds the lock until the block ends."""
    script = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
        "connection.execute('COMMIT')\n"
        "connection.close()\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        await process.communicate(b"")
    assert process.returncode == 0


@pytest.mark.asyncio
async def test_nobody_is_told_of_a_write_before_it_is_on_the_disk(
    runner: AsyncRunner, numbers: Callable[[], list[int]]
) -> None:
    with held(runner._flusher):
        writes = [asyncio.create_task(runner.run(taking(number))) for number in range(3)]
        await turns()
        assert runner._store.group() is None  # the writes have run, in a group that is open
        assert not any(task.done() for task in writes)
        assert numbers() == []
    assert await asyncio.gather(*writes) == [None, None, None]
    assert numbers() == [0, 1, 2]
    await runner.aclose()


@pytest.mark.asyncio
async def test_writes_that_meet_use_fewer_commits_than_there_are_writes(
    runner: AsyncRunner, store: Store, numbers: Callable[[], list[int]]
) -> None:
    await runner.run(taking(0))
    database: Any = store._database
    statements: list[str] = []
    database._together.set_trace_callback(statements.append)
    with held(runner._flusher):
        first = asyncio.create_task(runner.run(taking(1)))
        await turns()
        others = [asyncio.create_task(runner.run(taking(number))) for number in range(2, 20)]
        await turns()
    await asyncio.gather(first, *others)
    assert statements.count("COMMIT") == 2
    assert numbers() == list(range(20))
    await runner.aclose()


@pytest.mark.asyncio
async def test_a_refusal_is_told_to_its_own_caller_alone(
    runner: AsyncRunner, numbers: Callable[[], list[int]]
) -> None:
    tokens = TokenSet(Secret("fake", "access token"), None, NOW)
    refused = do(EscrowTokens(state(9), tokens, environment="emulator", now=NOW))
    outcomes = await asyncio.gather(
        *(runner.run(flow) for flow in (taking(1), refused, taking(2))), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), AttemptInvalid, type(None)]
    assert numbers() == [1, 2]
    await runner.aclose()


@pytest.mark.asyncio
async def test_a_refusal_after_a_change_undoes_its_own_write_alone(
    runner: AsyncRunner, path: Path, numbers: Callable[[], list[int]]
) -> None:
    refused = do(
        CompleteSignIn(
            state(9),
            me=Me(9, "nine@procore.com", None, "{}"),
            environment="emulator",
            tokens=TokenSet(Secret("fake", "access token"), None, NOW + 5400),
            session=NewSession("0" * 64, "{}", None, NOW + 60, NOW + 60),
            replaces=None,
            now=NOW,
        )
    )
    outcomes = await asyncio.gather(
        *(runner.run(flow) for flow in (taking(1), refused, taking(2))), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), AttemptInvalid, type(None)]
    assert numbers() == [1, 2]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
    await runner.aclose()


@pytest.mark.asyncio
async def test_a_defect_of_one_write_is_told_to_its_own_caller_alone(
    runner: AsyncRunner, numbers: Callable[[], list[int]]
) -> None:
    def defect() -> Statements[None]:
        yield from change(in_words("INSERT INTO sign_in_ledger (state_hash) VALUES (NULL)"), {})

    flows = (taking(1), do(Doing(defect)), taking(2))
    outcomes = await asyncio.gather(*(runner.run(flow) for flow in flows), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), RuntimeError, type(None)]
    assert numbers() == [1, 2]
    await runner.aclose()


@pytest.mark.asyncio
async def test_a_failed_flush_is_told_to_every_caller_and_the_next_writes_are_done(
    runner: AsyncRunner, path: Path, numbers: Callable[[], list[int]]
) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=DELETE").fetchall()
    # Without its write-ahead log, SQLite commits nothing while someone reads.
    reading = connection.execute("SELECT 1 FROM sqlite_master")
    reading.fetchone()
    writes = (runner.run(taking(number)) for number in range(3))
    failures = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(failure) for failure in failures] == [StoreUnavailable] * 3
    assert len({id(failure) for failure in failures}) == 3
    reading.close()
    connection.close()
    assert numbers() == []
    await asyncio.gather(*(runner.run(taking(number)) for number in range(3)))
    assert numbers() == [0, 1, 2]
    await runner.aclose()


@pytest.mark.asyncio
async def test_a_defect_that_the_commit_finds_leaves_nobody_waiting(
    runner: AsyncRunner, numbers: Callable[[], list[int]]
) -> None:
    await runner.run(taking(0))

    def defect() -> Statements[None]:
        yield from change(in_words("PRAGMA defer_foreign_keys=ON"), {})
        yield from change(in_words("UPDATE sign_in_ledger SET user_id = 999999"), {})

    flows = (taking(1), do(Doing(defect)))
    outcomes = await asyncio.gather(*(runner.run(flow) for flow in flows), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RuntimeError, RuntimeError]
    await runner.run(taking(2))
    assert numbers() == [0, 2]
    await runner.aclose()


@pytest.mark.asyncio
async def test_a_cancelled_caller_hurts_nobody_and_its_write_is_carried_out(
    runner: AsyncRunner, numbers: Callable[[], list[int]]
) -> None:
    with held(runner._flusher):
        first, second, third = (
            asyncio.create_task(runner.run(taking(number))) for number in range(3)
        )
        await turns()
        waits_for_the_next_group = asyncio.create_task(runner.run(taking(3)))
        await turns()
        for caller in (first, second, waits_for_the_next_group):
            caller.cancel()
        await turns()
        assert [first.cancelled(), second.cancelled(), third.done()] == [True, True, False]
    assert await third is None
    await runner.aclose()
    assert numbers() == [0, 1, 2, 3]


@pytest.mark.asyncio
async def test_callers_are_told_although_every_other_task_is_cancelled_during_the_flush(
    runner: AsyncRunner, numbers: Callable[[], list[int]]
) -> None:
    with held(runner._flusher):
        callers = {asyncio.create_task(runner.run(taking(1)))}
        await turns()
        callers.add(asyncio.create_task(runner.run(taking(2))))
        await turns()
        for other in asyncio.all_tasks() - callers - {asyncio.current_task()}:
            other.cancel()
        await turns()
    done, _ = await asyncio.wait(callers, timeout=SECONDS)
    assert done == callers
    assert numbers() == [1, 2]
    await runner.aclose()


def visit_that_is_interrupted(runner: AsyncRunner, told: list[object]) -> Any:
    """Return a coroutine that writes, is cancelled, and writes once more before it goes."""

    async def visit() -> None:
        try:
            await runner.run(taking(1))
        finally:
            told.append(await runner.run(taking(2)))

    return visit()


@pytest.mark.asyncio
async def test_a_last_write_is_done_although_every_task_was_cancelled_before_the_first_began(
    runner: AsyncRunner, numbers: Callable[[], list[int]]
) -> None:
    told: list[object] = []
    visit = asyncio.create_task(visit_that_is_interrupted(runner, told))
    await asyncio.sleep(0)
    for other in asyncio.all_tasks() - {asyncio.current_task()}:
        other.cancel()
    await asyncio.wait([visit], timeout=SECONDS)
    assert told == [None]
    assert numbers() == [1, 2]
    await runner.aclose()


def test_an_event_loop_that_ends_in_the_middle_of_a_flush_waits_for_it(
    runner: AsyncRunner, numbers: Callable[[], list[int]]
) -> None:
    told: list[object] = []

    async def main() -> None:
        visit = asyncio.create_task(visit_that_is_interrupted(runner, told))
        with held(runner._flusher):
            await turns()
        assert not visit.done()

    asyncio.run(main())
    assert told == [None]
    assert numbers() == [1, 2]
    asyncio.run(runner.run(taking(3)))  # on another event loop
    assert numbers() == [1, 2, 3]


@asynccontextmanager
async def another_thread_writing(store: Store) -> AsyncIterator[None]:
    """A thread of this process that holds the lock until the block ends."""
    inside, leave = threading.Event(), threading.Event()

    def hold() -> Statements[None]:
        yield from ()
        inside.set()
        leave.wait(SECONDS)

    holder = asyncio.create_task(asyncio.to_thread(store.do, Doing(hold)))
    assert await asyncio.to_thread(inside.wait, SECONDS)
    yield
    leave.set()
    await holder


@pytest.mark.asyncio
@pytest.mark.parametrize("who", ["thread", "process"])
async def test_writes_that_have_to_wait_for_others_are_done_off_the_event_loop(
    runner: AsyncRunner, store: Store, path: Path, numbers: Callable[[], list[int]], who: str
) -> None:
    def take_here(number: int) -> Flow[int]:
        def body() -> Statements[int]:
            yield from end_all(number)
            return threading.get_ident()

        return do(Doing(body))

    here = threading.get_ident()
    assert await runner.run(take_here(0)) == here
    holding = another_thread_writing(store) if who == "thread" else somebody_writing(path)
    async with holding:
        writes = [asyncio.create_task(runner.run(take_here(number))) for number in range(3)]
        writes.append(asyncio.create_task(runner.run(taking(1))))
        await turns()
        assert await runner.run(ask(AttemptOf(state(1)))) is None
        assert not any(task.done() for task in writes)
    threads = set((await asyncio.gather(*writes))[:3])
    assert len(threads) == 1
    assert here not in threads
    assert numbers() == [1]
    assert await runner.run(take_here(0)) == here  # together again
    await runner.aclose()


@pytest.mark.asyncio
async def test_long_work_is_in_no_group_and_holds_none_up(
    runner: AsyncRunner, store: Store, numbers: Callable[[], list[int]]
) -> None:
    begun, leave = threading.Event(), threading.Event()

    def long() -> Statements[str]:
        yield from ()
        begun.set()
        leave.wait(SECONDS)
        return "counted"

    counting = asyncio.create_task(runner.run(ask(Asking(long, long=True))))
    assert await asyncio.to_thread(begun.wait, SECONDS)
    group = store.group()
    assert group is not None
    group.commit()
    await runner.run(taking(1))
    assert numbers() == [1]
    assert not counting.done()
    leave.set()
    assert await counting == "counted"
    await runner.aclose()


@pytest.mark.asyncio
async def test_closing_waits_for_the_flush_that_is_under_way(
    runner: AsyncRunner, numbers: Callable[[], list[int]]
) -> None:
    with held(runner._flusher):
        caller = asyncio.create_task(runner.run(taking(1)))
        await turns()
        closing = asyncio.create_task(runner.aclose())
        await turns()
        assert not closing.done()
        assert numbers() == []
    await closing
    assert numbers() == [1]
    assert await caller is None


@pytest.mark.asyncio
async def test_whoever_writes_when_the_flusher_has_ended_waits_for_the_disk_itself(
    store: Store, numbers: Callable[[], list[int]]
) -> None:
    with ThreadPoolExecutor(1) as threads, ThreadPoolExecutor(1) as flusher:
        flusher.shutdown()
        writes = GroupCommit(store.group, store.do, asyncio.get_running_loop(), threads, flusher)
        await asyncio.gather(*(writes.do(EndSessions(1)) for _ in range(2)))
        await AsyncRunner(store, NO_TRANSPORT).run(taking(1))
    assert numbers() == [1]


def test_event_loops_and_threads_that_share_one_store_all_get_their_writes_done(
    runner: AsyncRunner, store: Store, numbers: Callable[[], list[int]]
) -> None:
    barrier = threading.Barrier(4)

    async def all_at_once(some: range) -> None:
        await asyncio.gather(*(runner.run(taking(number)) for number in some))

    def on_a_loop(some: range) -> None:
        barrier.wait(SECONDS)
        asyncio.run(all_at_once(some))

    def by_themselves(some: range) -> None:
        alone = Runner(store, cast("Any", None))
        barrier.wait(SECONDS)
        for number in some:
            alone.run(taking(number))

    with ThreadPoolExecutor(4) as threads:
        jobs = [
            threads.submit(on_a_loop, range(30)),
            threads.submit(on_a_loop, range(30, 60)),
            threads.submit(by_themselves, range(60, 75)),
            threads.submit(by_themselves, range(75, 90)),
        ]
        for job in jobs:
            job.result(SECONDS)
    assert numbers() == list(range(90))


WRITER = """
import asyncio, itertools, os, sys, threading
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.steps import do
from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store
from procore_signin._store.ledger import TakeAttempt

store = Store(sys.argv[1], KeyRing.parse(Secret("k1:" + "A" * 43, "keys")))
runner = AsyncRunner(store, None)
numbers = itertools.count()
dying, in_the_flush = threading.Event(), threading.Event()

def die():
    dying.set()
    in_the_flush.wait(20)
    os.kill(os.getpid(), 9)

async def visitor():
    for number in numbers:
        if str(number) == sys.argv[2]:
            runner._flusher.submit(die)
        await runner.run(do(TakeAttempt(
            f"{number:064d}", environment="emulator", now=1, expires_at=2)))
        os.write(1, b"%d\\n" % number)

async def main():
    visitors = [asyncio.create_task(visitor()) for _ in range(32)]
    while True:
        await asyncio.sleep(0)
        if dying.is_set() and store._database._group is not None:
            for _ in range(20):  # the caller that is told too early says so now
                await asyncio.sleep(0)
            in_the_flush.set()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no kill -9")
@pytest.mark.parametrize("dies_at", ["300", "never"])
def test_C12_after_kill_9_every_write_whose_caller_was_told_is_in_the_database(
    path: Path, numbers: Callable[[], list[int]], dies_at: str
) -> None:
    """It dies when a flush is about to begin, or whenever it is hit."""
    command = [sys.executable, "-c", WRITER, f"sqlite:///{path}", dies_at]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(250)]
        if dies_at == "never":
            process.kill()
        lines += process.stdout.readlines()
    assert process.returncode == -9
    told = {int(line) for line in lines if line.endswith(b"\n")}
    assert len(told) >= 250
    assert told <= set(numbers())


FORK = """
import asyncio, os, sys
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.steps import do
from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store
from procore_signin._store.ledger import TakeAttempt

store = Store(sys.argv[1], KeyRing.parse(Secret("fake:" + "A" * 42 + "E", "keys")))
runner = AsyncRunner(store, None)

def take(name):
    done = asyncio.run(runner.run(do(TakeAttempt(
        name * 64, environment="emulator", now=1, expires_at=2))))
    assert done is None, name

take("a")
child = os.fork()
if child == 0:
    take("b")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
take("c")
print("good")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_and_its_parent_both_go_on_with_one_runner(path: Path) -> None:
    done = run_script(FORK, f"sqlite:///{path}", timeout=SECONDS)
    assert (done.stdout, done.stderr) == ("good\n", "")


def test_R13_an_interrupt_of_an_event_loop_ends_no_writing_there_and_locks_no_one_out(
    runner: AsyncRunner,
    path: Path,
    numbers: Callable[[], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The callback that it meets is gone; what that had to do is not."""
    monkeypatch.setattr(group_commit, "BEAT_SECONDS", 0.02)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    number, done = itertools.count(), list[int]()

    async def write() -> None:
        wanted = next(number)
        await runner.run(taking(wanted))
        done.append(wanted)

    def two_writes() -> None:
        tasks = [loop.create_task(write()) for _ in range(2)]
        loop.run_until_complete(asyncio.wait(tasks, timeout=SECONDS))
        for task in tasks:
            assert task.done()
            task.exception()

    two_writes()
    places = 0
    for place in interrupted_everywhere(two_writes, most=2000, inside="_store/sqlite/"):
        places += 1
        with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
            another.execute("ROLLBACK")
        before = len(done)
        two_writes()
        assert len(done) == before + 2, place
    assert places > 50
    assert set(done) <= set(numbers())
    loop.run_until_complete(runner.aclose())
    loop.close()


def test_an_event_loop_that_has_ended_is_forgotten(runner: AsyncRunner) -> None:
    """A job queue, or a view that is async under WSGI, has one for each piece of work."""
    for number in range(5):
        asyncio.run(runner.run(taking(number)))
    assert len(runner._groups) == 1


@pytest.mark.asyncio
async def test_an_event_loop_that_another_thread_forgets_meanwhile_is_forgotten(
    runner: AsyncRunner,
) -> None:
    class Ended:
        def is_closed(self) -> bool:
            for known in (runner._groups, runner._on_loops):  # the other thread is quicker
                cast("dict[object, object]", known).pop(self, None)
            return True

    runner._groups[cast("Any", Ended())] = cast("Any", None)
    runner._on_loops[cast("Any", Ended())] = None
    await runner.run(taking(1))
    assert [*runner._groups] == [*runner._on_loops] == [asyncio.get_running_loop()]
