"""A database that is down, locked, foreign or not migrated (rows C12, S7, O1)."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, column, create_engine, exc, func, select, text
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects import sqlite as sqlite_dialect

from procore_signin.errors import StoreUnavailable
from procore_signin.protocol.me import Me
from procore_signin.protocol.token_set import TokenSet
from procore_signin.store import CompletedSignIn, KeyRing, NewSession, Store
from procore_signin.store.address import parse_address
from procore_signin.store.database import Patience
from procore_signin.store.failures import Failed, Failure, failed_by
from procore_signin.store.ledger import Ledger
from procore_signin.store.schema import metadata
from procore_signin.store.sessions import Sessions
from procore_signin.store.statement import Statement, Transaction
from procore_signin.store.users import Users

NOW = 1_800_000_000
ON_SQLITE = pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
ON_SERVERS = pytest.mark.parametrize("kind", ["postgresql", "mariadb"], indirect=True)
Sql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]

# Every public method of the store, with arguments that would do.
CALLS: dict[str, Callable[[Store, Any, Any], object]] = {
    "take_attempt": lambda s, _t, _n: s.take_attempt(
        "0" * 64, environment="emulator", now=NOW, expires_at=NOW
    ),
    "attempt": lambda s, _t, _n: s.attempt("0" * 64),
    "escrow": lambda s, t, _n: s.escrow("0" * 64, t(), now=NOW),
    "escrowed": lambda s, _t, _n: s.escrowed(NOW),
    "clear_escrow": lambda s, _t, _n: s.clear_escrow("0" * 64),
    "fail_attempt": lambda s, _t, _n: s.fail_attempt("0" * 64, "denied", now=NOW),
    "complete_sign_in": lambda s, t, n: s.complete_sign_in(
        "0" * 64,
        me=Me(1, "joe@procore.com", None, "{}"),
        environment="emulator",
        tokens=t(),
        session=n("cookie"),
        replaces=None,
        now=NOW,
    ),
    "open_session": lambda s, _t, n: s.open_session(1, n("cookie"), now=NOW),
    "session": lambda s, _t, _n: s.session("0" * 64, environment="emulator", now=NOW),
    "me_json": lambda s, _t, _n: s.me_json(1),
    "touch_session": lambda s, _t, _n: s.touch_session(1, now=NOW, idle_expires_at=NOW),
    "end_session": lambda s, _t, _n: s.end_session("0" * 64),
    "end_session_of": lambda s, _t, _n: s.end_session_of(1, 1),
    "end_sessions": lambda s, _t, _n: s.end_sessions(1),
    "sessions_of": lambda s, _t, _n: s.sessions_of(1, NOW),
    "count_sessions": lambda s, _t, _n: s.count_sessions(now=NOW),
    "token_row": lambda s, _t, _n: s.token_row(1, "emulator", now=NOW),
    "user": lambda s, _t, _n: s.user(1),
    "choose_company": lambda s, _t, _n: s.choose_company(1, 42),
    "tokens": lambda s, _t, _n: s.tokens(1, "emulator"),
    "forget_tokens": lambda s, _t, _n: s.forget_tokens(1, "emulator"),
    "purge": lambda s, _t, _n: s.purge(NOW),
    "probe": lambda s, _t, _n: s.probe(),
}


@pytest.fixture(params=CALLS)
def call(
    request: pytest.FixtureRequest,
    tokens: Callable[..., TokenSet],
    new_session: Callable[..., NewSession],
) -> Callable[[Store], object]:
    made: Callable[[Store, Any, Any], object] = CALLS[request.param]
    return lambda store: made(store, tokens, new_session)


def test_S7_C12_every_method_of_a_store_that_is_not_migrated_names_the_cure(
    unmigrated_url: str, keys: KeyRing, call: Callable[[Store], object]
) -> None:
    store = Store(unmigrated_url, keys)
    with pytest.raises(StoreUnavailable) as refusal:
        call(store)
    store.close()
    assert refusal.value.hint == "Run: procore-signin db upgrade"
    assert str(refusal.value).endswith(refusal.value.hint)


DOWN = {
    "sqlite": "sqlite:////missing/test.db",
    "postgresql": "postgresql://joe:S3cret@127.0.0.1:9/signin",
    "mariadb": "mariadb://joe:S3cret@127.0.0.1:9/signin",
}


@pytest.mark.parametrize("name", DOWN)
def test_S7_C12_every_method_says_that_the_database_is_down_and_never_its_password(
    name: str, keys: KeyRing, call: Callable[[Store], object]
) -> None:
    store = Store(DOWN[name], keys)
    with pytest.raises(StoreUnavailable) as refusal:
        call(store)
    store.close()
    told = "".join(traceback.format_exception(refusal.value))
    assert refusal.value.__context__ is None
    assert "S3cret" not in told
    assert "joe" not in told.replace("joe@procore.com", "")
    assert parse_address(DOWN[name]).label in str(refusal.value)
    assert refusal.value.hint in {
        "Start it, or correct PROCORE_DATABASE_URL.",
        "Create it: procore-signin db upgrade",
    }


def test_every_method_of_the_parts_that_a_page_needs_is_tried_above() -> None:
    methods = {name for part in (Store, Ledger, Sessions, Users) for name in vars(part)}
    assert {name for name in methods if not name.startswith("_")} <= set(CALLS)


@pytest.mark.parametrize(
    ("kind", "url", "cure"),
    [
        ("postgresql", "postgresql://postgres@127.0.0.1:5432/procore_signin_nowhere", "Create it"),
        ("mariadb", "mariadb://root@127.0.0.1:3306/procore_signin_nowhere", "Create it"),
        ("mariadb", "mariadb://root:S3cret@127.0.0.1:3306/mysql", "Correct PROCORE_DATABASE_URL"),
        ("mariadb", "mariadb://nobody:S3cret@127.0.0.1:3306/x", "Correct PROCORE_DATABASE_URL"),
    ],
    indirect=["kind"],
)
def test_a_server_that_refuses_is_told_from_one_that_is_down(
    kind: str, url: str, cure: str, keys: KeyRing, migrated_url: str
) -> None:
    assert migrated_url.startswith(kind)  # and so the server is there
    store = Store(url, keys)
    with pytest.raises(StoreUnavailable, match=cure) as refusal:
        store.probe()
    store.close()
    assert "S3cret" not in str(refusal.value)


def test_a_migrated_database_answers_the_probe(store: Store) -> None:
    store.probe()


def test_a_store_is_of_no_use_once_it_is_closed(
    new_store: Callable[..., Store], call: Callable[[Store], object], sign_in: SignIn
) -> None:
    store = new_store()
    sign_in(through=store)
    store.close()
    with pytest.raises(StoreUnavailable, match="was closed by this application"):
        call(store)


def test_sqlite_reads_inline_and_has_one_writer(store: Store, kind: str) -> None:
    assert {store.reads_inline, store.single_writer} == {kind == "sqlite"}


@contextmanager
def row_lock(engine: Engine, kind: str) -> Iterator[None]:
    """Hold the lock that somebody's long transaction would hold on every person."""
    with engine.connect() as connection:
        if kind == "sqlite":
            connection.execute(text("UPDATE users SET name = 'held'"))
        else:
            connection.execute(text("SELECT id FROM users FOR UPDATE"))
        yield
        connection.rollback()


def test_a_lock_that_is_held_for_too_long_ends_the_wait_and_changes_nothing(
    new_store: Callable[..., Store], sign_in: SignIn, engine: Engine, kind: str, sql: Sql
) -> None:
    sign_in(login="before@procore.com")
    impatient = new_store(lock_timeout=0.3)
    with row_lock(engine, kind), pytest.raises(StoreUnavailable, match="locked or busy"):
        sign_in(cookie="2", login="after@procore.com", through=impatient)
    assert sql("SELECT email FROM users") == [("before@procore.com",)]
    assert not sign_in(cookie="3", through=impatient).created


def test_readers_do_not_wait_for_a_writer(
    store: Store, sign_in: SignIn, engine: Engine, kind: str, hashed: Any
) -> None:
    sign_in()
    with row_lock(engine, kind):
        session = store.session(hashed("cookie"), environment="emulator", now=NOW)
    assert session is not None
    assert session.user.name == "Joe Contractor"


@ON_SQLITE
def test_writers_of_one_store_queue_for_no_longer_than_they_may(
    new_store: Callable[..., Store],
) -> None:
    store = new_store(lock_timeout=0.2)
    inside, leave = threading.Event(), threading.Event()

    def hold(_: Transaction) -> None:
        inside.set()
        assert leave.wait(timeout=20)

    holder = threading.Thread(target=lambda: store._database.write(hold))
    holder.start()
    assert inside.wait(timeout=20)
    with pytest.raises(StoreUnavailable, match="locked or busy"):
        store.end_sessions(1)
    leave.set()
    holder.join()
    assert store.end_sessions(1) == 0


@ON_SQLITE
def test_a_transaction_that_has_only_read_so_far_keeps_other_writers_out(
    new_store: Callable[..., Store],
) -> None:
    """Or SQLite refuses its first change at once with "database is locked", without a wait."""
    first, second = new_store(), new_store(lock_timeout=0.1)

    def work(transaction: Transaction) -> None:
        transaction.one(first._statements.user, {"which_user": 1})
        with pytest.raises(StoreUnavailable, match="locked or busy"):
            second.end_sessions(1)

    first._database.write(work)
    assert second.end_sessions(1) == 0


KILL = {
    "postgresql": "SELECT pg_terminate_backend(:id)",
    "mariadb": "KILL CONNECTION :id",
}
OWN_ID = {"postgresql": "pg_backend_pid", "mariadb": "connection_id"}


@pytest.fixture
def kill(kind: str, engine: Engine) -> Callable[[Transaction], None]:
    """Kills the connection of a transaction, as an operator or a restart does."""

    def run(transaction: Transaction) -> None:
        own = Statement(select(getattr(func, OWN_ID[kind])()), engine.dialect, ())
        row = transaction.one(own, {})
        assert row is not None
        with engine.begin() as connection:
            connection.execute(text(KILL[kind].replace(":id", str(int(row[0])))))

    return run


@ON_SERVERS
def test_C12_a_connection_that_breaks_in_a_transaction_is_replaced_and_the_work_done_once(
    store: Store, sign_in: SignIn, sql: Sql, kill: Callable[[Transaction], None]
) -> None:
    user = sign_in().user
    tries: list[int] = []
    values = {"which_user": user.id, "email": "new@procore.com", "name": None}

    def work(transaction: Transaction) -> int:
        tries.append(1)
        found = transaction.run(
            store._statements.update_user, {**values, "last_signed_in_at": NOW + len(tries)}
        )
        if len(tries) == 1:
            kill(transaction)
            transaction.one(store._statements.user, {"which_user": user.id})
        return found

    assert store._database.write(work) == 1
    assert len(tries) == 2
    assert sql("SELECT last_signed_in_at FROM users") == [(NOW + 2,)]


@ON_SERVERS
def test_C12_a_connection_that_breaks_in_the_commit_is_told_and_the_work_not_repeated(
    store: Store, sign_in: SignIn, kill: Callable[[Transaction], None]
) -> None:
    sign_in()
    tries: list[int] = []

    def work(transaction: Transaction) -> None:
        tries.append(1)
        transaction.run(store._statements.end_sessions, {"which_user": 0})
        kill(transaction)

    with pytest.raises(StoreUnavailable, match="closed the connection during a commit"):
        store._database.write(work)
    assert len(tries) == 1


@ON_SERVERS
def test_S7_a_restarted_server_costs_nobody_an_error(
    store: Store, sign_in: SignIn, hashed: Any, kind: str, engine: Engine
) -> None:
    sign_in()
    assert store.session(hashed("cookie"), environment="emulator", now=NOW) is not None
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
    assert store.session(hashed("cookie"), environment="emulator", now=NOW) is not None
    assert not sign_in(cookie="2").created


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class TestPatience:
    def always(self, failure: Failure, *, seconds: float = 60) -> tuple[int, Clock, Exception]:
        clock, tries = Clock(), 0

        def once() -> None:
            nonlocal tries
            tries += 1
            raise Failed(failure, "code")

        with pytest.raises(Exception, match="code") as raised:
            Patience(seconds, clock, clock.sleep).repeat(once, label="sqlite:///x")
        return tries, clock, raised.value

    @pytest.mark.parametrize("failure", ["collision", "locked", "disconnected"])
    def test_work_that_was_undone_is_repeated_a_bounded_number_of_times(
        self, failure: Failure
    ) -> None:
        tries, clock, error = self.always(failure)
        assert isinstance(error, StoreUnavailable)
        assert (8, 7) == (tries, len(clock.slept))
        assert clock.slept == sorted(clock.slept)
        assert max(clock.slept) <= 0.1

    def test_it_is_not_repeated_once_the_time_is_up(self) -> None:
        tries, clock, _ = self.always("collision", seconds=0.005)
        assert tries == 3
        assert sum(clock.slept) == pytest.approx(0.006)

    @pytest.mark.parametrize(
        "failure",
        ["uncertain", "unmigrated", "absent", "refused", "full", "read_only", "damaged", "closed"],
    )
    def test_what_repeating_cannot_help_is_told_at_once(self, failure: Failure) -> None:
        tries, _, error = self.always(failure)
        assert tries == 1
        assert isinstance(error, StoreUnavailable)
        assert error.hint is not None
        assert str(error).endswith(error.hint)

    def test_a_defect_is_no_outage(self) -> None:
        tries, _, error = self.always("defect")
        assert (1, RuntimeError) == (tries, type(error))

    def test_work_that_succeeds_after_a_collision_returns_what_it_made(self) -> None:
        outcomes = iter([Failed("collision"), Failed("locked"), None])
        clock = Clock()

        def once() -> str:
            outcome = next(outcomes)
            if outcome is not None:
                raise outcome
            return "made"

        assert Patience(60, clock, clock.sleep).repeat(once, label="x") == "made"


class DriverError(Exception):
    """Stands for any driver's exception."""


def driver_error(name: str, *arguments: object, **attributes: object) -> Exception:
    error: Exception = type(name, (DriverError,), {})(*arguments)
    for key, value in attributes.items():
        setattr(error, key, value)
    return error


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (driver_error("OperationalError", sqlite_errorname="SQLITE_BUSY"), "locked"),
        (driver_error("OperationalError", sqlite_errorname="SQLITE_BUSY_SNAPSHOT"), "locked"),
        (driver_error("OperationalError", sqlite_errorname="SQLITE_FULL"), "full"),
        (driver_error("OperationalError", sqlite_errorname="SQLITE_READONLY_DBMOVED"), "read_only"),
        (driver_error("OperationalError", "no such table: users"), "unmigrated"),
        (driver_error("DeadlockDetected", "…", sqlstate="40P01"), "collision"),
        (driver_error("SerializationFailure", "…", sqlstate="40001"), "collision"),
        (driver_error("UndefinedTable", "…", sqlstate="42P01"), "unmigrated"),
        (driver_error("AdminShutdown", "…", sqlstate="57P01"), "disconnected"),
        (driver_error("UniqueViolation", "…", sqlstate="23505"), "defect"),
        (driver_error("NumericValueOutOfRange", "…", sqlstate="22003"), "defect"),
        (driver_error("OperationalError", 1213, "…", sqlstate="40001"), "collision"),
        (driver_error("OperationalError", 1205, "…"), "locked"),
        (driver_error("ProgrammingError", 1146, "…"), "unmigrated"),
        (driver_error("IntegrityError", 1062, "…", sqlstate="23000"), "defect"),
        (driver_error("DataError", 1406, "…"), "defect"),
        (driver_error("OperationalError", 1040, "Too many connections"), "locked"),
        (driver_error("OperationalError", "FATAL: sorry, too many clients already"), "locked"),
        (driver_error("OperationalError", "something new"), "unavailable"),
        (driver_error("InterfaceError", "something new"), "unavailable"),
        (driver_error("ProgrammingError", "something new"), "defect"),
        (exc.TimeoutError("QueuePool limit"), "locked"),
    ],
)
def test_each_drivers_failures_are_told_apart(error: Exception, failure: Failure) -> None:
    assert failure == failed_by(error).failure


def test_O1_a_defect_shows_no_value_in_its_message_traceback_or_the_logs(
    store: Store,
    sign_in: SignIn,
    new_session: Callable[..., NewSession],
    hashed: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A driver quotes the values of a broken rule: "Key (id_hash)=(…) already exists"."""
    caplog.set_level(logging.DEBUG)
    user = sign_in(login="canary@procore.com", tag="canary").user
    session = new_session("cookie", me_json='"canary"')
    with pytest.raises(RuntimeError, match="refused a statement") as defect:
        store.open_session(user.id, session, now=NOW)
    store.session(hashed("cookie"), environment="emulator", now=NOW)
    store.tokens(user.id, "emulator")
    told = "".join(traceback.format_exception(defect.value)) + caplog.text
    assert defect.value.__context__ is None
    assert "canary" not in told
    assert hashed("cookie") not in told


def test_a_statement_wants_every_value_that_it_names() -> None:
    """A forgotten value must not become NULL, and match no row in silence."""
    users: SqlTable = metadata.tables["users"]
    statement = Statement(
        select(column("id")).select_from(users).where(users.c.id == bindparam("which")),
        sqlite_dialect.dialect(),
        (),
    )
    assert statement.arguments({"which": 1}) == [1]
    with pytest.raises(KeyError, match="which"):
        statement.arguments({"other": 1})


FORK = """
import os, sys
from sqlalchemy import func, select
from procore_signin.protocol.secret import Secret
from procore_signin.store import KeyRing, Store
from procore_signin.store.statement import Statement

store = Store(sys.argv[1], KeyRing.parse(Secret("fake:" + "A" * 42 + "E", "keys")))
database = store._database

def use(name):
    taken = store.take_attempt(name * 64, environment="emulator", now=1, expires_at=2)
    assert taken is None, name
    assert store.attempt(name * 64).status == "taken", name

def connection():
    if database.dialect.name == "sqlite":
        return id(database._writer), id(database._idle[0])
    own = func.pg_backend_pid() if database.dialect.name == "postgresql" else func.connection_id()
    statement = Statement(select(own), database.dialect, ())
    return database.write(lambda t: t.one(statement, {}))[0], database.one(statement, {})[0]

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
def test_a_forked_child_and_its_parent_both_go_on(url: str, sql: Sql) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("good\n", "")
    assert sql("SELECT count(*) FROM sign_in_ledger") == [(3,)]


def test_a_store_leaves_no_connection_open(url: str, keys: KeyRing, kind: str) -> None:
    script = (
        "import sys, threading\n"
        "from procore_signin.protocol.secret import Secret\n"
        "from procore_signin.store import KeyRing, Store\n"
        "store = Store(sys.argv[1], KeyRing.parse(Secret('fake:' + 'A' * 42 + 'E', 'keys')))\n"
        "threads = [threading.Thread(target=store.probe) for _ in range(3)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "store.purge(1)\n"
        "store.close()\n"
        "del store\n"
    )
    del keys
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), kind


def test_a_sqlite_file_whose_folder_is_read_only_is_told_from_a_missing_one(
    tmp_path: Path, keys: KeyRing
) -> None:
    path = tmp_path / "test.db"
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    store = Store(f"sqlite:///{path}", keys)
    connection: Any = store._database
    connection._writer = connection._open()
    connection._writer.execute("PRAGMA query_only=ON")
    with pytest.raises(StoreUnavailable, match="cannot be written to"):
        store.end_sessions(1)
    store.close()
