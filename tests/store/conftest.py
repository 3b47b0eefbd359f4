"""One conformance suite for three databases: SQLite in a file, PostgreSQL and MariaDB on this host.

Each run makes a database of its own on each server and drops it. Where a server is missing its
tests are skipped and say so; with PROCORE_SIGNIN_REQUIRE_DATABASES=1 they fail instead.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import OperationalError

from procore_signin._protocol.me import Me
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import CompletedSignIn, KeyRing, NewSession, Store, migrate
from procore_signin._store.engine.address import parse_address
from procore_signin._store.ledger import TakeAttempt
from procore_signin._store.schema import metadata
from procore_signin._store.sign_in import CompleteSignIn, person_disabled

Sql = Callable[..., list[tuple[Any, ...]]]

SERVERS = {
    "postgresql": ("postgresql://postgres@127.0.0.1:5432", "postgresql+psycopg", "postgres"),
    "mariadb": ("mariadb://root@127.0.0.1:3306", "mariadb+pymysql", "mysql"),
}
NOW = 1_800_000_000


@pytest.fixture(scope="session")
def keys() -> KeyRing:
    return KeyRing.parse(Secret(f"fake1:{'A' * 42}E,fake0:{'B' * 42}E", "keys"))


@contextmanager
def a_database(kind: str, folder: Path) -> Iterator[str]:
    """Make an empty database, give its address, and drop it."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'signin.db'}"
        return
    server, driver, home = SERVERS[kind]
    name = f"procore_signin_test_{os.getpid()}_{secrets.token_hex(4)}"
    admin = create_engine(
        server.replace(kind, driver, 1) + f"/{home}",
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
    )
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError:
        problem = f"no {kind} server answers at {server}"
        if os.environ.get("PROCORE_SIGNIN_REQUIRE_DATABASES") == "1":
            pytest.fail(f"{problem}, and PROCORE_SIGNIN_REQUIRE_DATABASES=1 demands one")
        pytest.skip(f"{problem}: the store is NOT tested on {kind}")
    yield f"{server}/{name}"
    with admin.connect() as connection:
        force = " WITH (FORCE)" if kind == "postgresql" else ""
        connection.execute(text(f"DROP DATABASE {name}{force}"))


@pytest.fixture(scope="session", params=["sqlite", "postgresql", "mariadb"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def migrated_url(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with a_database(kind, tmp_path_factory.mktemp(kind)) as url:
        migrate.upgrade(url)
        yield url


@pytest.fixture(scope="session")
def engine(migrated_url: str) -> Iterator[Engine]:
    """Someone else's connections to the database, not the store's."""
    engine = create_engine(parse_address(migrated_url).url, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys=ON"))
    yield engine
    engine.dispose()


@pytest.fixture
def url(migrated_url: str, engine: Engine) -> str:
    """The address of a migrated database without rows."""
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    return migrated_url


@pytest.fixture
def empty_url(kind: str, tmp_path: Path) -> Iterator[str]:
    """The address of a database that no one has migrated. On SQLite there is no file yet."""
    with a_database(kind, tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
def unmigrated_url(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a database that is there and has no tables."""
    folder = tmp_path_factory.mktemp(f"unmigrated-{kind}")
    (folder / "signin.db").touch()
    with a_database(kind, folder) as url:
        yield url


@pytest.fixture
def sql(url: str, engine: Engine) -> Sql:  # noqa: ARG001 - without rows first
    """Runs one statement as someone else would, and commits it."""

    def run(statement: str, **values: object) -> list[tuple[Any, ...]]:
        with engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    return run


@pytest.fixture
def new_store(url: str, keys: KeyRing) -> Iterator[Callable[..., Store]]:
    """Makes stores on the same database: `new_store()`, `new_store(keys=…, lock_timeout=…)`."""
    made: list[Store] = []

    def make(keys: KeyRing = keys, **options: Any) -> Store:
        made.append(Store(url, keys, **options))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture(scope="session")
def open_store(migrated_url: str, keys: KeyRing) -> Iterator[Store]:
    store = Store(migrated_url, keys)
    yield store
    store.close()


@pytest.fixture
def store(url: str, open_store: Store) -> Store:  # noqa: ARG001 - without rows first
    """A store on a database without rows. One for all tests: do not close it."""
    return open_store


@pytest.fixture
def hashed() -> Callable[[str], str]:
    return lambda value: sha256(value.encode()).hexdigest()


@pytest.fixture
def tokens() -> Callable[..., TokenSet]:
    """Makes token sets whose texts are recognisable: `tokens("1")`."""

    def make(tag: str = "1", *, refreshable: bool = True) -> TokenSet:
        return TokenSet(
            Secret(f"canary-access-{tag}", "access token"),
            Secret(f"canary-refresh-{tag}", "refresh token") if refreshable else None,
            NOW + 5400,
        )

    return make


@pytest.fixture
def new_session(hashed: Callable[[str], str]) -> Callable[..., NewSession]:
    """Makes sessions for the cookie token `cookie`: idle for an hour, a day at most."""

    def make(cookie: str, *, me_json: str = "{}", user_agent: str | None = None) -> NewSession:
        return NewSession(hashed(cookie), me_json, user_agent, NOW + 3600, NOW + 86_400)

    return make


@pytest.fixture
def sign_in(
    store: Store,
    hashed: Callable[[str], str],
    tokens: Callable[..., TokenSet],
    new_session: Callable[..., NewSession],
) -> Callable[..., CompletedSignIn]:
    """Signs a person in: takes an attempt and completes it, with the cookie token `cookie`."""

    def run(
        procore_id: int = 11_111,
        *,
        cookie: str = "cookie",
        tag: str = "1",
        login: str = "joecontractor@procore.com",
        name: str | None = "Joe Contractor",
        environment: str = "emulator",
        now: int = NOW,
        through: Store = store,
        **changes: Any,
    ) -> CompletedSignIn:
        state_hash = hashed(f"state for {cookie} {tag}")
        taken = through.do(
            TakeAttempt(state_hash, environment=environment, now=now, expires_at=now + 1800)
        )
        assert taken is None
        complete = {
            "me": Me(procore_id, login, name, "{}"),
            "environment": environment,
            "tokens": tokens(tag),
            "session": new_session(cookie),
            "replaces": None,
            "now": now,
        }
        completed = through.do(CompleteSignIn(state_hash, **{**complete, **changes}))
        if completed is None:  # as the flow does
            raise person_disabled()
        return completed

    return run


@pytest.fixture
def everything_stored(kind: str, url: str, sql: Sql) -> Callable[[], bytes]:
    """Returns all that the database keeps: SQLite's files byte for byte, a server's rows."""

    def read() -> bytes:
        if kind == "sqlite":
            path = parse_address(url).path
            assert path is not None
            # In another process: a thread that opens and closes the file by itself drops every lock
            # that SQLite holds on it in the same process (sqlite.org/howtocorrupt.html §2.2).
            script = (
                "import pathlib, sys\n"
                "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
                "    sys.stdout.buffer.write(path.read_bytes())"
            )
            command = [sys.executable, "-c", script, str(path.parent)]
            return subprocess.run(command, capture_output=True, check=True).stdout
        rows = [sql(f"SELECT * FROM {table}") for table in metadata.tables]
        return repr(rows).encode()

    return read


@pytest.fixture
def at_once() -> Callable[..., list[Any]]:
    """Calls a function for each argument, in as many threads, all released by one barrier."""

    def run(call: Callable[[Any], Any], arguments: list[Any]) -> list[Any]:
        barrier = Barrier(len(arguments))

        def wait_and_call(argument: Any) -> Any:
            barrier.wait(timeout=30)
            return call(argument)

        with ThreadPoolExecutor(len(arguments)) as threads:
            return list(threads.map(wait_and_call, arguments))

    return run
