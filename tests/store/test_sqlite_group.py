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
from own_process import run_script
from sqlalchemy import Engine, text

from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.steps import Flow, write
from procore_signin._protocol.me import Me
from procore_signin._store import CompletedSignIn, Store
from procore_signin._store.engine.database import NotTogetherError
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.statement import Statement, Transaction
from procore_signin._store.sqlite.group import SqliteGroup
from procore_signin._transport.contract import AsyncTransport
from procore_signin.errors import AttemptInvalid, SignInRefused, StoreUnavailable

NOW = 1_800_000_000
ON_SQLITE = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
ON_SERVERS = pytest.mark.parametrize("kind", ["postgresql", "mariadb"], indirect=True)
NUMBERS = "SELECT state_hash FROM sign_in_ledger ORDER BY state_hash"

Sql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]
Begun = Callable[[Store], SqliteGroup]
Complete = Callable[[Store, int], CompletedSignIn]


def state(number: int) -> str:
    return f"{number:064d}"


def take(store: Store, number: int) -> None:
    taken = store.take_attempt(
        state(number), environment="emulator", now=NOW, expires_at=NOW + 1800
    )
    assert taken is None


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
def complete(tokens: Any, new_session: Any) -> Complete:
    """Completes the attempt of a number, which is also the person's."""

    def run(store: Store, number: int) -> CompletedSignIn:
        return store.complete_sign_in(
            state(number),
            me=Me(number, f"{number}@procore.com", None, "{}"),
            environment="emulator",
            tokens=tokens(str(number)),
            session=new_session(str(number)),
            replaces=None,
            now=NOW,
        )

    return run


@pytest.fixture
def another_thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


@ON_SQLITE
def test_works_of_a_group_see_one_another_and_nobody_else_sees_them_before_the_commit(
    begun: Begun, store: Store, numbers: Any, another_thread: ThreadPoolExecutor
) -> None:
    group = begun(store)
    group.run(lambda: take(store, 1))
    seen = group.run(lambda: store.attempt(state(1)))
    assert seen is not None
    assert seen.status == "taken"
    assert store.attempt(state(1)) is None
    assert another_thread.submit(store.attempt, state(1)).result(20) is None
    assert numbers() == []
    group.commit()
    assert store.attempt(state(1)) is not None
    assert numbers() == [1]


@ON_SQLITE
def test_a_work_reads_with_the_store_what_it_has_just_written(begun: Begun, store: Store) -> None:
    group = begun(store)

    def write_and_read() -> bool:
        take(store, 1)
        return store.attempt(state(1)) is not None

    assert group.run(write_and_read)
    group.commit()


@ON_SQLITE
def test_another_thread_is_no_part_of_the_work_that_runs_now(
    begun: Begun, store: Store, another_thread: ThreadPoolExecutor
) -> None:
    group = begun(store)

    def write_and_let_read() -> object:
        take(store, 1)
        return another_thread.submit(store.attempt, state(1)).result(20)

    assert group.run(write_and_let_read) is None
    group.commit()


@ON_SQLITE
def test_a_refusal_of_a_work_that_changed_nothing_is_its_own(
    begun: Begun, store: Store, tokens: Any, numbers: Any
) -> None:
    group = begun(store)
    group.run(lambda: take(store, 1))
    with pytest.raises(AttemptInvalid):
        group.run(lambda: store.escrow(state(9), tokens(), environment="emulator", now=NOW))
    group.run(lambda: take(store, 2))
    group.commit()
    assert numbers() == [1, 2]


@ON_SQLITE
def test_a_refusal_of_a_work_that_changed_something_spoils_the_group(
    begun: Begun, store: Store, sql: Sql, numbers: Any, complete: Complete
) -> None:
    group = begun(store)
    group.run(lambda: take(store, 1))
    with pytest.raises(NotTogetherError):  # refused after it wrote a person, tokens and a session
        group.run(lambda: complete(store, 9))
    with pytest.raises(NotTogetherError):
        group.run(lambda: take(store, 2))
    with pytest.raises(NotTogetherError):
        group.commit()
    assert numbers() == []
    assert sql("SELECT count(*) FROM users") == [(0,)]
    take(store, 1)
    with pytest.raises(AttemptInvalid):
        complete(store, 9)
    group = begun(store)
    group.run(lambda: take(store, 2))
    group.commit()
    assert numbers() == [1, 2]


@ON_SQLITE
def test_a_refusal_that_the_work_itself_takes_in_spoils_the_group_too(
    begun: Begun, store: Store, numbers: Any, complete: Complete
) -> None:
    group = begun(store)

    def try_and_go_on() -> None:
        with contextlib.suppress(AttemptInvalid):
            complete(store, 9)
        take(store, 1)

    with pytest.raises(NotTogetherError):
        group.run(try_and_go_on)
    with pytest.raises(NotTogetherError):
        group.commit()
    try_and_go_on()
    assert numbers() == [1]


@ON_SQLITE
def test_a_refusal_after_the_write_undoes_nothing_as_alone(
    begun: Begun, store: Store, sql: Sql, complete: Complete
) -> None:
    take(store, 1)
    user = complete(store, 1).user
    store.disable_user(user.id, now=NOW)
    take(store, 2)
    sql("UPDATE users SET procore_id = 2")
    group = begun(store)
    with pytest.raises(SignInRefused):
        group.run(lambda: complete(store, 2))
    group.commit()
    assert sql("SELECT outcome FROM sign_in_ledger WHERE state_hash = :s", s=state(2)) == [
        ("user_disabled",)
    ]


@ON_SQLITE
def test_a_refused_second_write_leaves_the_first_one_as_alone(
    begun: Begun, store: Store, tokens: Any, numbers: Any
) -> None:
    group = begun(store)

    def two_writes() -> None:
        take(store, 2)
        store.escrow(state(9), tokens(), environment="emulator", now=NOW)

    with pytest.raises(AttemptInvalid):
        group.run(two_writes)
    group.run(lambda: take(store, 3))
    group.commit()
    assert numbers() == [2, 3]


def fails(transaction: Transaction) -> None:
    transaction._cursor.execute("INSERT INTO nowhere VALUES ('canary')")


def collides(_: Transaction) -> None:
    raise Failed("collision")


@ON_SQLITE
@pytest.mark.parametrize("cause", [fails, collides])
def test_a_work_that_fails_is_to_be_done_alone_and_harms_nobody_in_its_group(
    begun: Begun, store: Store, numbers: Any, cause: Callable[[Transaction], None]
) -> None:
    group = begun(store)
    group.run(lambda: take(store, 1))
    with pytest.raises(NotTogetherError) as told:
        group.run(lambda: store._database.write(cause))
    assert told.value.__context__ is None
    group.run(lambda: take(store, 3))
    group.commit()
    assert numbers() == [1, 3]


@ON_SQLITE
@pytest.mark.parametrize("cause", [fails, collides])
def test_a_work_that_fails_after_a_change_spoils_the_group(
    begun: Begun, store: Store, numbers: Any, cause: Callable[[Transaction], None]
) -> None:
    group = begun(store)
    group.run(lambda: take(store, 1))

    def write_and_fail() -> None:
        take(store, 2)
        store._database.write(cause)

    with pytest.raises(NotTogetherError) as told:
        group.run(write_and_fail)
    assert told.value.__context__ is None
    with pytest.raises(NotTogetherError):
        group.commit()
    assert numbers() == []


@ON_SQLITE
def test_a_read_that_fails_is_to_be_done_alone(begun: Begun, store: Store) -> None:
    group = begun(store)
    lost = Statement(text("SELECT * FROM nowhere"), store._database.dialect, ())
    with pytest.raises(NotTogetherError):
        group.run(lambda: store._database.one(lost, {}))
    group.commit()


@ON_SQLITE
def test_there_is_no_group_while_another_thread_writes(
    begun: Begun, patient: Store, another_thread: ThreadPoolExecutor
) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold(_: Transaction) -> None:
        inside.set()
        assert leave.wait(20)

    holder = another_thread.submit(patient._database.write, hold)
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
    assert group.run(patient.group) is None
    group.commit()


@ON_SQLITE
def test_whoever_writes_alone_waits_for_the_commit_of_a_group(
    begun: Begun, patient: Store, numbers: Any, another_thread: ThreadPoolExecutor
) -> None:
    group = begun(patient)
    group.run(lambda: take(patient, 1))
    alone = another_thread.submit(take, patient, 2)
    group.run(lambda: take(patient, 3))
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
    group.run(lambda: take(store, 1))

    def take_many() -> None:
        for number in range(2, 500):
            take(store, number)

    with pytest.raises(NotTogetherError):
        group.run(take_many)
    with pytest.raises(NotTogetherError):  # nothing may be written outside the transaction
        group.run(lambda: take(store, 500))
    with pytest.raises(NotTogetherError):
        group.commit()
    assert numbers() == []
    group = begun(store)
    group.run(lambda: take(store, 1))
    group.commit()
    assert numbers() == [1]


def breaks_a_rule(transaction: Transaction) -> None:
    transaction._cursor.execute("PRAGMA defer_foreign_keys=ON")
    transaction._cursor.execute("UPDATE sessions SET user_id = 999999")


@ON_SQLITE
def test_a_commit_that_is_refused_undoes_everything_and_the_next_group_works(
    begun: Begun, store: Store, sign_in: SignIn, sql: Sql
) -> None:
    sign_in()
    group = begun(store)
    group.run(lambda: take(store, 1))
    group.run(lambda: store._database.write(breaks_a_rule))
    with pytest.raises(RuntimeError, match="SQLITE_CONSTRAINT"):
        group.commit()
    assert sql("SELECT count(*) FROM sign_in_ledger WHERE state_hash = :s", s=state(1)) == [(0,)]
    group = begun(store)
    group.run(lambda: take(store, 1))
    group.commit()
    assert store.attempt(state(1)) is not None


@ON_SQLITE
def test_a_group_whose_connection_is_lost_lets_others_write(
    begun: Begun, store: Store, numbers: Any
) -> None:
    group = begun(store)
    group.run(lambda: take(store, 1))
    group._connection.close()
    with pytest.raises(NotTogetherError):
        group.run(lambda: take(store, 2))
    with pytest.raises(NotTogetherError):
        group.commit()
    take(store, 3)
    group = begun(store)
    group.run(lambda: take(store, 4))
    group.commit()
    assert numbers() == [3, 4]


@ON_SQLITE
def test_a_second_commit_does_not_end_the_next_group(
    begun: Begun, store: Store, numbers: Any
) -> None:
    first = begun(store)
    first.commit()
    second = begun(store)
    second.run(lambda: take(store, 1))
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
    group.run(lambda: take(store, 1))
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

store = Store(sys.argv[1], KeyRing.parse(Secret("fake:" + "A" * 42 + "E", "keys")))

def take(name):
    store.take_attempt(name * 64, environment="emulator", now=1, expires_at=2)

def together(name):
    group = store.group()
    group.run(lambda: take(name))
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
group.run(lambda: take("d"))
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
async def test_a_server_has_no_groups_and_is_written_off_the_event_loop(
    store: Store, numbers: Any
) -> None:
    assert store.group() is None
    runner = AsyncRunner(store, cast("AsyncTransport", None))

    def taking(number: int) -> Flow[int]:
        def work(store: Store) -> int:
            take(store, number)
            return threading.get_ident()

        return write(work)

    threads = await asyncio.gather(*(runner.run(taking(number)) for number in range(4)))
    assert threading.get_ident() not in threads
    await runner.aclose()
    assert numbers() == [0, 1, 2, 3]
