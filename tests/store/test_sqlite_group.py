"""Works of several callers in one SQLite transaction (decision 21)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from doing import Doing, in_words
from interrupting import interrupted_everywhere
from own_process import run_script
from sqlalchemy import Engine, text

from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.steps import Flow, do
from procore_signin._protocol.me import Me
from procore_signin._store import CompletedSignIn, Store
from procore_signin._store.access import DisableUser
from procore_signin._store.engine.database import NotTogetherError
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.statement import Statements, change, one
from procore_signin._store.ledger import AttemptOf, EscrowTokens, TakeAttempt
from procore_signin._store.sign_in import CompleteSignIn
from procore_signin._store.sqlite.group_commit import SqliteGroup
from procore_signin._transport.contract import AsyncTransport
from procore_signin.errors import AttemptInvalid, StoreUnavailable

NOW = 1_800_000_000
ON_SQLITE = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
ON_SERVERS = pytest.mark.parametrize("kind", ["postgresql", "mariadb"], indirect=True)
NUMBERS = "SELECT state_hash FROM sign_in_ledger ORDER BY state_hash"

Sql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]
Begun = Callable[[Store], SqliteGroup]
Completing = Callable[[int], CompleteSignIn]


def state(number: int) -> str:
    return f"{number:064d}"


def taking(number: int) -> TakeAttempt:
    return TakeAttempt(state(number), environment="emulator", now=NOW, expires_at=NOW + 1800)


def take(store: Store, number: int) -> None:
    assert store.do(taking(number)) is None


@pytest.fixture
def begun() -> Iterator[Begun]:
    """Begins a group of a store; a test that fails leaves none open, which all others wait for."""
    groups: list[SqliteGroup] = []

    def run(store: Store) -> SqliteGroup:
        group = store.group()
        assert isinstance(group, SqliteGroup)
        groups.append(group)
        return group

    yield run
    for group in groups:
        with contextlib.suppress(NotTogetherError, StoreUnavailable, RuntimeError):
            group.commit()


@pytest.fixture
def patient(new_store: Callable[..., Store]) -> Store:
    """A store that would rather wait for longer than any test lasts."""
    return new_store(lock_timeout=600)


@pytest.fixture
def numbers(sql: Sql) -> Callable[[], list[int]]:
    """Returns, as someone else sees it, the numbers that were taken."""
    return lambda: [int(row[0]) for row in sql(NUMBERS)]


@pytest.fixture
def completing(tokens: Any, new_session: Any) -> Completing:
    """Makes the command that completes the attempt of a number, which is also the person's."""

    def make(number: int) -> CompleteSignIn:
        return CompleteSignIn(
            state(number),
            me=Me(number, f"{number}@procore.com", None, "{}"),
            environment="emulator",
            tokens=tokens(str(number)),
            session=new_session(str(number)),
            replaces=None,
            now=NOW,
        )

    return make


@pytest.fixture
def another_thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


@ON_SQLITE
def test_commands_of_a_group_see_one_another_and_nobody_else_sees_them_before_the_commit(
    begun: Begun, store: Store, numbers: Any, another_thread: ThreadPoolExecutor
) -> None:
    group = begun(store)
    assert group.do(taking(1)) is None
    seen = group.do(taking(1))
    assert seen is not None
    assert seen.status == "taken"
    assert store.ask(AttemptOf(state(1))) is None
    assert another_thread.submit(store.ask, AttemptOf(state(1))).result(20) is None
    assert numbers() == []
    group.commit()
    assert store.ask(AttemptOf(state(1))) is not None
    assert numbers() == [1]


@ON_SQLITE
def test_a_refusal_of_a_work_that_changed_nothing_is_its_own(
    begun: Begun, store: Store, tokens: Any, numbers: Any
) -> None:
    group = begun(store)
    group.do(taking(1))
    with pytest.raises(AttemptInvalid):
        group.do(EscrowTokens(state(9), tokens(), environment="emulator", now=NOW))
    group.do(taking(2))
    group.commit()
    assert numbers() == [1, 2]


@ON_SQLITE
def test_a_refusal_of_a_work_that_changed_something_spoils_the_group(
    begun: Begun, store: Store, numbers: Any
) -> None:
    def body() -> Statements[None]:
        yield from taking(9).run(store._seal)
        raise AttemptInvalid("This has ended already", reason="used")

    refused = Doing(body)
    group = begun(store)
    group.do(taking(1))
    with pytest.raises(NotTogetherError):
        group.do(refused)
    with pytest.raises(NotTogetherError):
        group.do(taking(2))
    with pytest.raises(NotTogetherError):
        group.commit()
    assert numbers() == []
    take(store, 1)
    with pytest.raises(AttemptInvalid):
        store.do(refused)
    group = begun(store)
    group.do(taking(2))
    group.commit()
    assert numbers() == [1, 2]


@ON_SQLITE
def test_a_refusal_after_the_write_undoes_nothing_as_alone(
    begun: Begun, store: Store, sql: Sql, completing: Completing
) -> None:
    take(store, 1)
    completed = store.do(completing(1))
    assert completed is not None
    store.do(DisableUser(completed.user.id, now=NOW))
    take(store, 2)
    sql("UPDATE users SET procore_id = 2")
    group = begun(store)
    assert group.do(completing(2)) is None
    group.commit()
    assert sql("SELECT outcome FROM sign_in_ledger WHERE state_hash = :s", s=state(2)) == [
        ("user_disabled",)
    ]


def fails() -> Statements[None]:
    yield from change(in_words("INSERT INTO nowhere VALUES ('canary')"), {})


def collides() -> Statements[None]:
    yield from ()
    raise Failed("collision")


def reads_nothing() -> Statements[None]:
    yield from one(in_words("SELECT * FROM nowhere"), {})


@ON_SQLITE
@pytest.mark.parametrize("cause", [fails, collides, reads_nothing])
def test_a_work_that_fails_is_to_be_done_alone_and_harms_nobody_in_its_group(
    begun: Begun, store: Store, numbers: Any, cause: Callable[[], Statements[None]]
) -> None:
    group = begun(store)
    group.do(taking(1))
    with pytest.raises(NotTogetherError) as told:
        group.do(Doing(cause))
    assert told.value.__context__ is None
    group.do(taking(3))
    group.commit()
    assert numbers() == [1, 3]


@ON_SQLITE
@pytest.mark.parametrize("cause", [fails, collides])
def test_a_work_that_fails_after_a_change_spoils_the_group(
    begun: Begun, store: Store, numbers: Any, cause: Callable[[], Statements[None]]
) -> None:
    group = begun(store)
    group.do(taking(1))

    def write_and_fail() -> Statements[None]:
        yield from taking(2).run(store._seal)
        yield from cause()

    with pytest.raises(NotTogetherError) as told:
        group.do(Doing(write_and_fail))
    assert told.value.__context__ is None
    with pytest.raises(NotTogetherError):
        group.commit()
    assert numbers() == []


@ON_SQLITE
def test_there_is_no_group_while_another_thread_writes(
    begun: Begun, patient: Store, another_thread: ThreadPoolExecutor
) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> Statements[None]:
        yield from ()
        inside.set()
        assert leave.wait(20)

    holder = another_thread.submit(patient.do, Doing(hold))
    assert inside.wait(20)
    assert patient.group() is None
    leave.set()
    holder.result(20)
    begun(patient).commit()


@ON_SQLITE
def test_there_is_no_group_while_somebody_else_holds_the_file_and_no_wait_for_one(
    begun: Begun, patient: Store, engine: Engine
) -> None:
    with engine.connect() as connection:
        connection.execute(text("UPDATE users SET name = 'held'"))
        assert patient.group() is None
        connection.rollback()
    begun(patient).commit()


@ON_SQLITE
def test_there_is_one_group_at_a_time(begun: Begun, patient: Store) -> None:
    group = begun(patient)
    assert patient.group() is None
    group.commit()


@ON_SQLITE
def test_whoever_writes_alone_waits_for_the_commit_of_a_group(
    begun: Begun, patient: Store, numbers: Any, another_thread: ThreadPoolExecutor
) -> None:
    group = begun(patient)
    group.do(taking(1))
    alone = another_thread.submit(take, patient, 2)
    group.do(taking(3))
    assert not alone.done()
    group.commit()
    alone.result(20)
    assert numbers() == [1, 2, 3]


@ON_SQLITE
def test_a_full_disk_ends_the_group_and_the_next_one_works(
    begun: Begun, store: Store, numbers: Any
) -> None:
    begun(store).commit()
    connection: Any = store._database
    together = connection._together
    [pages] = together.execute("PRAGMA page_count").fetchone()
    together.execute(f"PRAGMA max_page_count = {pages}")
    group = begun(store)
    group.do(taking(1))

    def take_many() -> Statements[None]:
        for number in range(2, 500):
            yield from taking(number).run(store._seal)

    with pytest.raises(NotTogetherError):
        group.do(Doing(take_many))
    with pytest.raises(NotTogetherError):  # nothing may be written outside the transaction
        group.do(taking(500))
    with pytest.raises(NotTogetherError):
        group.commit()
    assert numbers() == []
    group = begun(store)
    group.do(taking(1))
    group.commit()
    assert numbers() == [1]


def breaks_a_rule() -> Statements[None]:
    yield from change(in_words("PRAGMA defer_foreign_keys=ON"), {})
    yield from change(in_words("UPDATE sessions SET user_id = 999999"), {})


@ON_SQLITE
def test_a_commit_that_is_refused_undoes_everything_and_the_next_group_works(
    begun: Begun, store: Store, sign_in: SignIn, sql: Sql
) -> None:
    sign_in()
    group = begun(store)
    group.do(taking(1))
    group.do(Doing(breaks_a_rule))
    with pytest.raises(RuntimeError, match="SQLITE_CONSTRAINT"):
        group.commit()
    assert sql("SELECT count(*) FROM sign_in_ledger WHERE state_hash = :s", s=state(1)) == [(0,)]
    group = begun(store)
    group.do(taking(1))
    group.commit()
    assert store.ask(AttemptOf(state(1))) is not None


@ON_SQLITE
def test_a_group_whose_connection_is_lost_lets_others_write(
    begun: Begun, store: Store, numbers: Any
) -> None:
    group = begun(store)
    group.do(taking(1))
    group._connection.close()
    with pytest.raises(NotTogetherError):
        group.do(taking(2))
    with pytest.raises(NotTogetherError):
        group.commit()
    take(store, 3)
    group = begun(store)
    group.do(taking(4))
    group.commit()
    assert numbers() == [3, 4]


@ON_SQLITE
def test_a_second_commit_does_not_end_the_next_group(
    begun: Begun, store: Store, numbers: Any
) -> None:
    first = begun(store)
    first.commit()
    second = begun(store)
    second.do(taking(1))
    first.commit()
    assert store.group() is None
    assert numbers() == []
    second.commit()
    assert numbers() == [1]


@ON_SQLITE
def test_a_closed_store_has_no_group_and_a_work_alone_says_why(
    begun: Begun, new_store: Callable[..., Store]
) -> None:
    store = new_store()
    begun(store).commit()
    store.close()
    for _ in range(2):  # the first one has let go of the lock
        assert store.group() is None
        with pytest.raises(StoreUnavailable, match="was closed by this application"):
            take(store, 1)


@ON_SQLITE
def test_closing_waits_for_the_commit_of_a_group(
    begun: Begun, new_store: Callable[..., Store], numbers: Any, another_thread: ThreadPoolExecutor
) -> None:
    store = new_store()
    group = begun(store)
    closing = another_thread.submit(store.close)
    group.do(taking(1))
    assert not closing.done()
    group.commit()
    closing.result(20)
    assert numbers() == [1]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        group._connection.execute("SELECT 1")


FORK = """
import os, sys
from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store
from procore_signin._forks import _abandoned
from procore_signin._store.ledger import TakeAttempt

store = Store(sys.argv[1], KeyRing.parse(Secret("fake:" + "A" * 42 + "E", "keys")))

def taking(name):
    return TakeAttempt(name * 64, environment="emulator", now=1, expires_at=2)

def together(name):
    group = store.group()
    group.do(taking(name))
    group.commit()
    return id(store._database._together)

before = together("a")
child = os.fork()
if child == 0:
    assert before in map(id, _abandoned), "the child closed its parent's connection"
    assert together("b") != before, "the child shares a connection with its parent"
    store.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert together("c") == before, "the child closed a connection of its parent"
group = store.group()
group.do(taking("d"))
child = os.fork()
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
group.commit()
store.close()
print("good")
"""


@ON_SQLITE
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_and_its_parent_both_go_on_with_groups_of_their_own(
    url: str, sql: Sql
) -> None:
    done = run_script(FORK, url, options=("-W", "error"))
    assert (done.stdout, done.stderr) == ("good\n", "")
    assert [row[0][0] for row in sql(NUMBERS)] == ["a", "b", "c", "d"]


@ON_SERVERS
@pytest.mark.asyncio
async def test_a_server_has_no_groups_and_postgresql_alone_is_written_on_the_event_loop(
    store: Store, numbers: Any, kind: str
) -> None:
    assert store.group() is None
    runner = AsyncRunner(store, cast("AsyncTransport", None))

    def taken_on(number: int) -> Flow[int]:
        def body() -> Statements[int]:
            yield from taking(number).run(store._seal)
            return threading.get_ident()

        return do(Doing(body))

    threads = await asyncio.gather(*(runner.run(taken_on(number)) for number in range(4)))
    await runner.aclose()
    assert (threading.get_ident() in threads) == (kind == "postgresql")
    assert numbers() == [0, 1, 2, 3]


@ON_SQLITE
@pytest.mark.asyncio
async def test_what_comes_while_another_event_loop_writes_is_committed_together_afterwards(
    begun: Begun, patient: Store, numbers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As refreshes on the event loop of our own do; alone, each would flush the disk."""
    alone: list[object] = []
    monkeypatch.setattr(Store, "do", lambda _, command: alone.append(command))
    group = begun(patient)
    group.do(taking(0))
    runner = AsyncRunner(patient, cast("AsyncTransport", None))
    wanted = [asyncio.create_task(runner.run(do(taking(number)))) for number in range(1, 9)]
    asyncio.get_running_loop().call_later(0.05, group.commit)
    assert await asyncio.gather(*wanted) == [None] * 8
    await runner.aclose()
    assert alone == []
    assert numbers() == list(range(9))


@ON_SQLITE
def test_R13_a_group_that_is_interrupted_as_it_begins_locks_no_one_out(
    store: Store, url: str
) -> None:
    known: list[Any] = []

    def begin() -> None:
        store.group(0, known)

    begin()
    known.pop().undo()
    places = 0
    for place in interrupted_everywhere(begin, most=500, inside="_store/sqlite/"):
        places += 1
        while known:
            known.pop().undo()
        path = url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
            another.execute("ROLLBACK")
        group = store.group()
        assert group is not None, place
        group.commit()
    known.pop().undo()
    assert places > 5
