"""A database that is down, locked, foreign or not migrated (rows C12, S7, O1)."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from procore_signin._protocol.me import Me
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import CompletedSignIn, KeyRing, NewSession, Store
from procore_signin._store.engine.address import parse_address
from procore_signin._store.engine.statement import Transaction
from procore_signin._store.escrows import Escrows
from procore_signin._store.ledger import Ledger
from procore_signin._store.records import Escrow
from procore_signin._store.schema import metadata
from procore_signin._store.sessions import Sessions
from procore_signin._store.users import Users
from procore_signin.errors import StoreUnavailable

NOW = 1_800_000_000
Sql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]

# Every public method of the store, with arguments that would do.
CALLS: dict[str, Callable[[Store, Any, Any], object]] = {
    "take_attempt": lambda s, _t, _n: s.take_attempt(
        "0" * 64, environment="emulator", now=NOW, expires_at=NOW
    ),
    "attempt": lambda s, _t, _n: s.attempt("0" * 64),
    "escrow": lambda s, t, _n: s.escrow("0" * 64, t(), environment="emulator", now=NOW),
    "escrowed": lambda s, _t, _n: s.escrowed(NOW),
    "escrowed_in": lambda s, _t, _n: s.escrowed_in("emulator", NOW),
    "clear_escrow": lambda s, _t, _n: s.clear_escrow("0" * 64),
    "give_up_tokens": lambda s, t, _n: s.give_up_tokens(
        t(), state_hash="0" * 64, environment="emulator", user_id=1, refreshed=None, now=NOW
    ),
    "hold_escrow": lambda s, _t, _n: s.hold_escrow("0" * 64, holder="me", now=NOW),
    "release_escrow": lambda s, _t, _n: s.release_escrow("0" * 64, holder="me"),
    "replace_escrow": lambda s, t, _n: s.replace_escrow(
        Escrow("0" * 64, "emulator", t()), outcome=None, now=NOW
    ),
    "finish_escrow": lambda s, _t, _n: s.finish_escrow(
        "0" * 64, holder="me", outcome=None, now=NOW
    ),
    "keep_renewed": lambda s, t, _n: s.keep_renewed(
        Escrow("0" * 64, "emulator", t()), t("newer"), outcome=None, now=NOW, holder="me"
    ),
    "has_sign_in_under_way": lambda s, _t, _n: s.has_sign_in_under_way(
        "emulator", since=NOW, now=NOW
    ),
    "put_off": lambda s, t, _n: s.put_off([Escrow("0" * 64, "emulator", t())], now=NOW),
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
    "join_sign_in": lambda s, _t, n: s.join_sign_in(
        "0" * 64, session=n("cookie"), replaces=None, now=NOW
    ),
    "session": lambda s, _t, _n: s.session("0" * 64, environment="emulator", now=NOW),
    "me_json": lambda s, _t, _n: s.me_json(1),
    "touch_session": lambda s, _t, _n: s.touch_session(1, now=NOW, idle_expires_at=NOW),
    "end_session_of": lambda s, _t, _n: s.end_session_of(1, 1),
    "end_sessions": lambda s, _t, _n: s.end_sessions(1),
    "sessions_of": lambda s, _t, _n: s.sessions_of(1, NOW),
    "count_sessions": lambda s, _t, _n: s.count_sessions(now=NOW),
    "token_row": lambda s, _t, _n: s.token_row(1, "emulator", now=NOW),
    "user": lambda s, _t, _n: s.user(1),
    "choose_company": lambda s, _t, _n: s.choose_company(1, 42),
    "tokens": lambda s, _t, _n: s.tokens(1, "emulator"),
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
    methods = {name for part in (Store, Escrows, Ledger, Sessions, Users) for name in vars(part)}
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
    """Hold the lock that someone's long transaction would hold on every person."""
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


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
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
