"""Connections that break, are shared with a forked child, or are left open (rows C12, S7)."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from select import select as readable
from typing import Any, cast

import pytest
from doing import Doing, in_words
from interrupting import Place, ends_on_another_thread, interrupted_everywhere
from own_process import run_script
from psycopg import OperationalError
from psycopg.pq import TransactionStatus
from pymysql.constants import SERVER_STATUS
from sqlalchemy import Engine, func, select, text

from procore_signin._store import CompletedSignIn, KeyRing, Store
from procore_signin._store.engine.deadline import left
from procore_signin._store.engine.server import ServerDatabase
from procore_signin._store.engine.statement import Sql, Statements, change, one
from procore_signin._store.postgresql.connection import LimitedConnection
from procore_signin._store.sessions import EndSessions, SessionOf, end_all
from procore_signin._store.users import UserOf, user_of
from procore_signin.errors import AttemptInvalid, StoreUnavailable

NOW = 1_800_000_000
ON_SQLITE = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
ON_SERVERS = pytest.mark.parametrize("kind", ["postgresql", "mariadb"], indirect=True)
RunSql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]


@ON_SQLITE
def test_a_transaction_that_has_only_read_so_far_keeps_other_writers_out(
    new_store: Callable[..., Store],
) -> None:
    """Or SQLite refuses its first change at once with "database is locked", without a wait."""
    first, second = new_store(), new_store(lock_timeout=0.1)

    def body() -> Statements[None]:
        yield from user_of(1)
        with pytest.raises(StoreUnavailable, match="locked or busy"):
            second.do(EndSessions(1))

    first.do(Doing(body))
    assert second.do(EndSessions(1)) == 0


KILL = {
    "postgresql": "SELECT pg_terminate_backend(:id)",
    "mariadb": "KILL CONNECTION :id",
}
OWN_ID = {"postgresql": "pg_backend_pid", "mariadb": "connection_id"}


@pytest.fixture
def kill(kind: str, engine: Engine) -> Callable[[], Statements[None]]:
    """Kills the connection of a transaction, as an operator or a restart does."""

    def run() -> Statements[None]:
        row = yield from one(Sql(select(getattr(func, OWN_ID[kind])())), {})
        assert row is not None
        with engine.begin() as connection:
            connection.execute(text(KILL[kind].replace(":id", str(int(row[0])))))

    return run


@ON_SERVERS
def test_C12_a_connection_that_breaks_in_a_transaction_is_replaced_and_the_work_done_once(
    store: Store, sign_in: SignIn, sql: RunSql, kill: Callable[[], Statements[None]]
) -> None:
    user = sign_in().user
    tries: list[int] = []
    update = in_words("UPDATE users SET last_signed_in_at = :now")

    def body() -> Statements[int]:
        tries.append(1)
        found = yield from change(update, {"now": NOW + len(tries)})
        if len(tries) == 1:
            yield from kill()
            yield from user_of(user.id)
        return found

    assert store.do(Doing(body)) == 1
    assert len(tries) == 2
    assert sql("SELECT last_signed_in_at FROM users") == [(NOW + 2,)]


@ON_SERVERS
def test_C12_a_connection_that_breaks_in_the_commit_is_told_and_the_work_not_repeated(
    store: Store, sign_in: SignIn, kill: Callable[[], Statements[None]]
) -> None:
    sign_in()
    tries: list[int] = []

    def body() -> Statements[None]:
        tries.append(1)
        yield from end_all(0)
        yield from kill()

    with pytest.raises(StoreUnavailable, match="closed the connection during a commit"):
        store.do(Doing(body))
    assert len(tries) == 1


@ON_SERVERS
def test_S7_a_restarted_server_costs_nobody_an_error(
    store: Store, sign_in: SignIn, hashed: Any, kind: str, engine: Engine
) -> None:
    sign_in()
    assert store.ask(SessionOf(hashed("cookie"), environment="emulator", now=NOW)) is not None
    with engine.begin() as connection:
        if kind == "postgresql":
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        else:
            ids = connection.execute(
                text(
                    "SELECT id FROM information_schema.processlist"
                    " WHERE db = database() AND id <> connection_id()"
                )
            ).scalars()
            for number in ids:
                connection.execute(text(f"KILL CONNECTION {int(number)}"))
    assert store.ask(SessionOf(hashed("cookie"), environment="emulator", now=NOW)) is not None
    assert not sign_in(cookie="2").created


FORK = """
import os, sys
from sqlalchemy import func, select
from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store
from procore_signin._store.engine.command import Command
from procore_signin._store.engine.statement import Sql, one
from procore_signin._store.ledger import AttemptOf
from procore_signin._store.ledger import TakeAttempt

store = Store(sys.argv[1], KeyRing.parse(Secret("fake:" + "A" * 42 + "E", "keys")))
database = store._database

def use(name):
    taken = store.do(TakeAttempt(name * 64, environment="emulator", now=1, expires_at=2))
    assert taken is None, name
    assert store.ask(AttemptOf(name * 64)).status == "taken", name

class Own(Command):
    def __init__(self, sql):
        self.sql = sql

    def run(self, seal):
        return (yield from one(self.sql, {}))[0]

def connection():
    if database.dialect.name == "sqlite":
        return id(database._writer), id(database._idle[0])
    own = func.pg_backend_pid() if database.dialect.name == "postgresql" else func.connection_id()
    return store.do(Own(Sql(select(own)))), database.rows(Sql(select(own)), {})[0][0]

use("a")
before = connection()
child = os.fork()
if child == 0:
    use("b")
    assert not set(before) & set(connection()), "the child shares a connection with its parent"
    store.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
use("c")
assert before == connection(), "the child closed a connection of its parent"
store.close()
print("good")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_and_its_parent_both_go_on(url: str, sql: RunSql) -> None:
    done = run_script(FORK, url, options=("-W", "error"))
    assert (done.stdout, done.stderr) == ("good\n", "")
    assert sql("SELECT count(*) FROM sign_in_ledger") == [(3,)]


FORK_WHILE_WRITING = """
import os, sys, threading
from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store
from procore_signin._store.engine.command import Command
from procore_signin._store.ledger import TakeAttempt

store = Store(sys.argv[1], KeyRing.parse(Secret("fake:" + "A" * 42 + "E", "keys")))
writing, forking, forked = threading.Event(), threading.Event(), threading.Event()
os.register_at_fork(before=forking.set)  # called before the hooks that were there already

class SlowWrite(Command):
    def run(self, seal):
        yield from ()
        writing.set()
        forking.wait()
        forked.wait(1)  # does not happen until this write is over

def take(name):
    assert store.do(TakeAttempt(name * 64, environment="emulator", now=1, expires_at=2)) is None

slow = threading.Thread(target=store.do, args=(SlowWrite(),))
slow.start()
writing.wait()
child = os.fork()
if child == 0:
    take("a")
    os._exit(0)
forked.set()
assert os.waitpid(child, 0)[1] == 0
slow.join()
take("b")
store.close()
print("good")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_while_another_thread_writes_can_write(url: str, sql: RunSql) -> None:
    done = run_script(FORK_WHILE_WRITING, url)
    assert (done.stdout, done.stderr) == ("good\n", "")
    assert sql("SELECT count(*) FROM sign_in_ledger") == [(2,)]


FORK_FROM_TWO_THREADS = """
import os, sys, threading
from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store
from procore_signin._store.engine.command import Command
from procore_signin._store.ledger import TakeAttempt

keys = KeyRing.parse(Secret("fake:" + "A" * 42 + "E", "keys"))
store = Store(sys.argv[1], keys, lock_timeout=2)
writing, over, forking = threading.Event(), threading.Event(), threading.Barrier(3)
os.register_at_fork(before=forking.wait)  # called before the hooks that were there already

class SlowWrite(Command):
    def run(self, seal):
        yield from ()
        writing.set()
        forking.wait()
        over.wait(0.5)  # does not happen: both forks wait for this write

def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

threads = [threading.Thread(target=store.do, args=(SlowWrite(),))]
threads[0].start()
writing.wait()
threads += [threading.Thread(target=fork) for _ in range(2)]
[thread.start() for thread in threads[1:]]
[thread.join() for thread in threads]
assert store.do(TakeAttempt("a" * 64, environment="emulator", now=1, expires_at=2)) is None
store.close()
print("good")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_two_threads_may_fork_at_the_same_time(url: str, sql: RunSql) -> None:
    done = run_script(FORK_FROM_TWO_THREADS, url)
    assert (done.stdout, done.stderr) == ("good\n", "")
    assert sql("SELECT count(*) FROM sign_in_ledger") == [(1,)]


FORK_WHILE_READING = """
import os, sys, threading
from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store
from procore_signin._store.ledger import AttemptOf
from procore_signin._store.ledger import TakeAttempt

store = Store(sys.argv[1], KeyRing.parse(Secret("fake:" + "A" * 42 + "E", "keys")))
store.probe()
over = threading.Event()

def read():
    while not over.is_set():
        store.ask(AttemptOf("a" * 64))

threads = [threading.Thread(target=read) for _ in range(3)]
[thread.start() for thread in threads]

def use(number):
    [store.ask(AttemptOf("b" * 64)) for _ in range(3)]
    name = f"{number:064d}"
    return store.do(TakeAttempt(name, environment="emulator", now=1, expires_at=2)) is None

try:
    for number in range(int(sys.argv[2])):
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if use(number) else 1)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
finally:
    over.set()
[thread.join() for thread in threads]
store.close()
print("good")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_F3_a_child_forked_while_other_threads_read_can_read_and_write(
    url: str, sql: RunSql
) -> None:
    done = run_script(FORK_WHILE_READING, url, "20", options=("-W", "ignore"))
    assert (done.stdout, done.stderr) == ("good\n", "")
    assert sql("SELECT count(*) FROM sign_in_ledger") == [(20,)]


FORK_WHILE_CONNECTING = """
import os, sys, threading
from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store
from procore_signin._store.ledger import AttemptOf

store = Store(sys.argv[1], KeyRing.parse(Secret("fake:" + "A" * 42 + "E", "keys")))
connecting, forked = threading.Event(), threading.Event()
connect = store._database._readers.connect

def slow():
    connection = connect()
    connecting.set()
    forked.wait()
    return connection

store._database._readers.connect = slow
thread = threading.Thread(target=store.ask, args=(AttemptOf("a" * 64),))
thread.start()
connecting.wait()
child = os.fork()
if child == 0:
    store.ask(AttemptOf("b" * 64))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
forked.set()
thread.join()
store.close()
print("good")
"""


@ON_SERVERS
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_F3_a_child_forked_while_another_thread_connects_first_can_connect(url: str) -> None:
    done = run_script(FORK_WHILE_CONNECTING, url, options=("-W", "ignore"), timeout=30)
    assert (done.stdout, done.stderr) == ("good\n", "")


def test_a_store_leaves_no_connection_open(url: str, keys: KeyRing, kind: str) -> None:
    script = (
        "import sys, threading\n"
        "from procore_signin._protocol.secret import Secret\n"
        "from procore_signin._store import KeyRing, Store\n"
        "from procore_signin._store.sessions import PurgeSessions\n"
        "store = Store(sys.argv[1], KeyRing.parse(Secret('fake:' + 'A' * 42 + 'E', 'keys')))\n"
        "threads = [threading.Thread(target=store.probe) for _ in range(3)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "store.do(PurgeSessions(1))\n"
        "store.close()\n"
        "del store\n"
    )
    del keys
    done = run_script(script, url, options=("-X", "dev", "-W", "error"))
    assert (done.returncode, done.stderr) == (0, ""), kind


@pytest.mark.parametrize("how", ["closed", "renewed"])
@ON_SERVERS
def test_a_connection_that_was_in_use_when_its_pool_went_is_closed_after_it(
    new_store: Callable[..., Store], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store()
    used: list[Any] = []

    writers = cast("ServerDatabase", store._database)._writers
    usual = writers.take

    def take() -> Any:
        used.append(usual())
        return used[-1]

    monkeypatch.setattr(writers, "take", take)

    def body() -> Statements[None]:
        yield from user_of(1)
        if how == "closed":
            store.close()
        else:  # as when another thread's connection has broken
            writers.renew()

    store.do(Doing(body))

    assert not is_open(used[0])


READ_ONLY = {
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


@ON_SERVERS
def test_R15_a_connection_that_may_only_read_is_not_kept_for_the_next_write(
    kind: str, new_store: Callable[..., Store]
) -> None:
    """As every one that was made while the server was read-only, on PostgreSQL."""
    store = new_store(connections=2)

    def only_read() -> Statements[None]:
        yield from change(in_words(READ_ONLY[kind]), {})

    store.do(Doing(only_read))
    with pytest.raises(StoreUnavailable, match="cannot be written to"):
        store.do(EndSessions(1))
    assert store.do(EndSessions(1)) == 0


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_R15_a_server_that_says_nothing_more_is_given_up(
    url: str, new_store: Callable[..., Store]
) -> None:
    connection = LimitedConnection.connect(url.replace("+psycopg", ""))
    connection.longest_wait = 0.3
    with pytest.raises(OperationalError, match=r"timed out: nothing came for 0\.3 seconds"):
        connection.execute("SELECT pg_sleep(20)")
    wait_until(lambda: connection.closed)

    kept = cast("ServerDatabase", new_store()._database)._writers.take()
    assert 30 < kept.longest_wait < 60
    kept.close()


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_open(connection: Any) -> bool:
    closed = getattr(connection, "closed", None)
    return bool(connection.open) if closed is None else not closed


class InterruptError(BaseException):
    """As a signal handler raises it."""


@ON_SERVERS
def test_R13_a_connection_that_was_interrupted_at_work_is_not_used_again(
    kind: str, new_store: Callable[..., Store]
) -> None:
    """What is under way on it would be answered to the caller that asks next."""
    store = new_store(connections=2)
    store.probe()
    long = func.pg_sleep(20) if kind == "postgresql" else func.sleep(20)

    def interrupted(*_: object) -> None:
        raise InterruptError

    before = signal.signal(signal.SIGUSR1, interrupted)
    timer = threading.Timer(0.3, signal.pthread_kill, [threading.get_ident(), signal.SIGUSR1])
    try:
        timer.start()
        with pytest.raises(InterruptError):
            store._database.rows(Sql(select(long)), {})
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    for _ in range(3):
        store.probe()


# Between two operations of the interpreter no one holds it, and the collector closes it.
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
@ON_SERVERS
def test_R13_an_interrupt_at_any_point_of_a_call_takes_no_connection_from_the_others(
    new_store: Callable[..., Store], engine: Engine, kind: str
) -> None:
    """And leaves none in the middle of a transaction, or of a statement.

    A call on MariaDB comes to the same places again and again: PyMySQL asks for the time that is
    left before each packet. So it is interrupted at each place once.
    """
    known: set[Place] | None = set() if kind == "mariadb" else None
    store = new_store(connections=2)  # one for reads and one for writes: a lost one is missed
    database: Any = store._database

    pools = (database._readers, database._writers)

    def refused() -> Statements[None]:
        yield from end_all(1)
        raise AttemptInvalid("as a command says it", reason="used")

    def connect() -> None:
        database._readers.renew()
        store.ask(UserOf(1))

    calls: dict[str, Callable[[], object]] = {
        "write": lambda: store.do(EndSessions(1)),
        "read": lambda: store.ask(UserOf(1)),
        "refused": lambda: store.do(Doing(refused)),
        "connect": connect,
    }

    def tried(call: Callable[[], object]) -> None:
        # The drivers make errors of their own out of some interrupts.
        with contextlib.suppress(AttemptInvalid, StoreUnavailable, RuntimeError):
            call()

    broken: list[str] = []
    for name, call in calls.items():
        tried(call)
        # Inside a driver, an interrupt is what the driver raises.
        for place in interrupted_everywhere(
            partial(tried, call), most=3000, inside="/procore_signin/", known=known
        ):
            if any(pool.line._places for pool in pools):
                broken.append(f"{name}: {place}: a place is taken")
            if left() != math.inf:
                broken.append(f"{name}: {place}: a deadline is left behind")
            if not all(is_at_rest(each) for pool in pools for each in pool._idle):
                broken.append(f"{name}: {place}: not at rest")
        assert ends_on_another_thread(lambda: list(map(tried, calls.values())))
    assert broken == []
    gc.collect()
    count = text(OPEN[kind])

    def few_are_open() -> bool:
        with engine.connect() as own:
            return int(own.execute(count).scalar_one()) < 10

    wait_until(few_are_open)


OPEN = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()",
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE db = database()",
}


def is_at_rest(connection: Any) -> bool:
    if isinstance(connection, LimitedConnection):
        return connection.pgconn.transaction_status == TransactionStatus.IDLE
    under_way = connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
    has_come = readable([connection._sock], [], [], 0)[0]
    return bool(connection.open) and not under_way and not has_come
