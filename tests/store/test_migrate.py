"""Migrations: up, down, together, and never over someone else's tables."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from procore_signin._store import KeyRing, Store, migrate
from procore_signin._store.access import DeleteUser, EscrowsOf
from procore_signin._store.engine.address import parse_address
from procore_signin._store.ledger import TakeAttempt
from procore_signin._store.schema import SCHEMA_REVISION, VERSION_TABLE, metadata
from procore_signin._store.tokens import TokenStates
from procore_signin._store.users import UserOf
from procore_signin.errors import StoreUnavailable

TABLES = {*metadata.tables, VERSION_TABLE}


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = create_engine(parse_address(url).url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def tables(url: str) -> set[str]:
    with connected(url) as connection:
        return set(inspect(connection).get_table_names()) - {"sqlite_sequence"}


def test_an_upgrade_makes_the_tables_and_a_downgrade_removes_them(empty_url: str) -> None:
    assert migrate.current(empty_url) is None
    migrate.upgrade(empty_url)
    assert (migrate.head(), TABLES) == (migrate.current(empty_url), tables(empty_url))
    migrate.upgrade(empty_url)
    migrate.downgrade(empty_url, "base")
    assert migrate.current(empty_url) is None
    assert tables(empty_url) == {VERSION_TABLE}
    migrate.upgrade(empty_url)
    assert TABLES == tables(empty_url)


def test_people_of_the_first_revision_keep_their_tokens(empty_url: str, keys: KeyRing) -> None:
    migrate.upgrade(empty_url)
    migrate.downgrade(empty_url, "0001")
    with connected(empty_url) as connection:
        connection.execute(
            text(
                "INSERT INTO users (procore_id, email, environment, created_at, last_signed_in_at)"
                " VALUES (7, 'a@b.example', 'emulator', 1, 1)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO token_sets (user_id, environment, generation, access_token,"
                " expires_at, status, lease_until, created_at, updated_at)"
                " VALUES (1, 'emulator', 3, 'sealed', 1, 'ok', 9, 1, 1)"
            )
        )

    migrate.upgrade(empty_url)
    with closing(Store(empty_url, keys)) as store:
        (state,) = store.ask(TokenStates(1, now=1))
    assert (state.generation, state.status) == (3, "ok")


def test_I7_grants_that_wait_since_the_revision_before_are_known_by_number_when_a_person_goes(
    empty_url: str, keys: KeyRing
) -> None:
    """And a replica of the version before, which runs on, writes rows as it did."""
    migrate.upgrade(empty_url)
    migrate.downgrade(empty_url, "0003")

    def wait(place: str) -> None:
        with connected(empty_url) as connection:
            connection.execute(
                text(
                    "INSERT INTO sign_in_ledger (state_hash, environment, status, user_id, outcome,"
                    " escrow, created_at, expires_at, finished_at, escrowed_at, code_hash,"
                    " joined_at, held_by, held_until) VALUES (:place, 'emulator', 'failed', 1,"
                    " 'access_ended', 'sealed', 1, 1, 1, 1, NULL, NULL, NULL, NULL)"
                ),
                {"place": place},
            )

    with connected(empty_url) as connection:
        connection.execute(
            text(
                "INSERT INTO users (procore_id, email, environment, created_at, last_signed_in_at)"
                " VALUES (7, 'a@b.example', 'emulator', 1, 1)"
            )
        )
    wait("a" * 64)
    migrate.upgrade(empty_url)
    wait("b" * 64)
    with closing(Store(empty_url, keys)) as store:
        user = store.ask(UserOf(1))
        assert user is not None
        assert len(store.ask(EscrowsOf(user))) == 2
        store.do(DeleteUser(1, now=1))
        assert len(store.ask(EscrowsOf(user))) == 2
    with connected(empty_url) as connection:
        left = connection.execute(text("SELECT user_id, procore_id FROM sign_in_ledger")).all()
    assert left == [(None, 7)] * 2
    migrate.downgrade(empty_url, "0003")
    migrate.upgrade(empty_url)


def test_the_migrations_make_exactly_the_tables_that_the_statements_expect(
    migrated_url: str,
) -> None:
    with connected(migrated_url) as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []


def test_the_revision_that_the_store_demands_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "procore_signin._store:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_REVISION


def test_the_migrations_are_part_of_the_package() -> None:
    folder = resources.files("procore_signin._store") / "migrations"
    names = {found.name for found in (folder / "versions").iterdir()}
    assert {"0001_tables.py", "0002_what_is_kept_longer.py"} <= names
    assert (folder / "env.py").is_file()
    assert (folder / "script.py.mako").is_file()


UPGRADE_IN_A_PROCESS = """
import sys
from procore_signin._store import migrate
import alembic.command
print("ready", flush=True)
sys.stdin.readline()
migrate.upgrade(sys.argv[1])
"""


def test_three_processes_that_upgrade_at_once_all_succeed(empty_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", UPGRADE_IN_A_PROCESS, empty_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=90)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert ["", "", ""] == said
    assert [0, 0, 0] == [process.returncode for process in processes]
    assert (migrate.head(), TABLES) == (migrate.current(empty_url), tables(empty_url))


@pytest.mark.parametrize("name", ["users", "sessions"])
def test_somebody_elses_table_is_refused_and_left_as_it_is(
    empty_url: str, kind: str, tmp_path: Path, name: str
) -> None:
    """As the tutorial's Ruby application leaves it in a `test.db`."""
    if kind == "sqlite":
        (tmp_path / "signin.db").touch()
    with connected(empty_url) as connection:
        connection.execute(
            text(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, procore_id INTEGER)")
        )
        connection.execute(text(f"INSERT INTO {name} VALUES (1, 11111)"))
    with pytest.raises(StoreUnavailable, match=f"a table `{name}` that procore-signin did not"):
        migrate.upgrade(empty_url)
    assert tables(empty_url) == {name}
    with connected(empty_url) as connection:
        assert connection.execute(text(f"SELECT * FROM {name}")).all() == [(1, 11111)]


def test_other_tables_of_the_host_application_are_no_hindrance(
    empty_url: str, kind: str, tmp_path: Path
) -> None:
    if kind == "sqlite":
        (tmp_path / "signin.db").touch()
    with connected(empty_url) as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    migrate.upgrade(empty_url)
    migrate.downgrade(empty_url, "base")
    with connected(empty_url) as connection:
        assert connection.execute(text("SELECT * FROM alembic_version")).all() == [("theirs",)]


@pytest.mark.parametrize("index", [True, False])
def test_an_upgrade_that_was_cut_short_is_finished_by_the_next(
    empty_url: str, kind: str, *, index: bool
) -> None:
    """On MariaDB each table is committed by itself; the others make all or nothing."""
    migrate.upgrade(empty_url)
    with connected(empty_url) as connection:
        connection.execute(text(f"DELETE FROM {VERSION_TABLE}"))
        connection.execute(text("DROP TABLE sign_in_ledger"))
        if index:
            on = "" if kind != "mariadb" else " ON sessions"
            connection.execute(text(f"DROP INDEX ix_sessions_idle_expires_at{on}"))
    migrate.upgrade(empty_url)
    assert (migrate.head(), TABLES) == (migrate.current(empty_url), tables(empty_url))
    with connected(empty_url) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("kind", ["mariadb"], indirect=True)
@pytest.mark.parametrize("statements", range(1, 18))
def test_an_upgrade_is_finished_wherever_it_was_cut_short(empty_url: str, statements: int) -> None:
    """The tables of the first migration lack the columns that the later ones add."""
    code = """if True:
        import os, sys
        from sqlalchemy import event
        from sqlalchemy.engine import Engine
        from procore_signin._store import migrate
        left = int(sys.argv[2])
        @event.listens_for(Engine, "after_cursor_execute")
        def cut(connection, cursor, statement, *more):
            global left
            left -= statement.lstrip().startswith(("CREATE", "ALTER"))
            if not left:
                os._exit(9)
        migrate.upgrade(sys.argv[1])
    """
    command = [sys.executable, "-c", code, empty_url, str(statements)]
    assert subprocess.run(command, check=False).returncode == 9
    migrate.upgrade(empty_url)
    assert (migrate.head(), TABLES) == (migrate.current(empty_url), tables(empty_url))


def test_tables_of_a_newer_version_are_left_alone(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    with connected(empty_url) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match="migrated to 9999 by a newer version"):
        migrate.upgrade(empty_url)
    with pytest.raises(StoreUnavailable, match="migrated to 9999 by a newer version"):
        migrate.downgrade(empty_url, "base")
    assert migrate.current(empty_url) == "9999"


def test_O14_a_newer_version_that_only_added_leaves_this_one_ready(
    empty_url: str, keys: KeyRing
) -> None:
    """So that replicas can be replaced one by one after the upgrade."""
    migrate.upgrade(empty_url)
    with connected(empty_url) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        connection.execute(text("ALTER TABLE users ADD COLUMN added_later INTEGER"))
    store = Store(empty_url, keys)
    store.probe()
    with connected(empty_url) as connection:
        connection.execute(text("ALTER TABLE users DROP COLUMN company_id"))
    with pytest.raises(StoreUnavailable, match="`users` lacks what this version needs") as refused:
        store.probe()
    store.close()
    assert refused.value.reason == "unmigrated"


def test_a_revision_that_does_not_exist_is_refused_by_name(migrated_url: str) -> None:
    with pytest.raises(ValueError, match="There is no revision 4711"):
        migrate.downgrade(migrated_url, "4711")
    assert migrate.head() == migrate.current(migrated_url)


@pytest.mark.parametrize("kind", ["mariadb"], indirect=True)
def test_hashes_and_environments_compare_byte_for_byte(migrated_url: str) -> None:
    """As SQLite and PostgreSQL do by default."""
    with connected(migrated_url) as connection:
        rows = connection.execute(
            text(
                "SELECT table_name, column_name, collation_name FROM information_schema.columns"
                " WHERE table_schema = database() AND collation_name IS NOT NULL"
                f" AND table_name <> '{VERSION_TABLE}'"
            )
        ).all()
    collations: dict[str, set[str]] = {}
    for _, column, collation in rows:
        collations.setdefault(column, set()).add(collation)
    for column in ("id_hash", "state_hash", "code_hash", "environment", "status"):
        assert collations.pop(column) == {"ascii_bin"}
    assert set.union(*collations.values()) == {"utf8mb4_bin"}


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"], indirect=True)
def test_a_value_that_does_not_fit_is_refused_and_never_cut(
    sign_in: Callable[..., Any], hashed: Any
) -> None:
    """Without its strict mode MariaDB stores a part and reports success. SQLite has no lengths."""
    with pytest.raises(RuntimeError, match="refused a statement"):
        sign_in(login="x" * 256)
    with pytest.raises(RuntimeError, match="refused a statement"):
        sign_in(2**63, cookie=hashed("2"))


class TestSqliteFile:
    def test_it_is_readable_by_its_owner_alone(self, tmp_path: Path, keys: KeyRing) -> None:
        before = os.umask(0)
        try:
            url = f"sqlite:///{tmp_path / 'test.db'}"
            migrate.upgrade(url)
            store = Store(url, keys)
            store.do(TakeAttempt("0" * 64, environment="emulator", now=1, expires_at=2))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
            store.close()
        finally:
            os.umask(before)
        assert modes == {"test.db": 0o600, "test.db-wal": 0o600, "test.db-shm": 0o600}

    def test_it_keeps_a_write_ahead_log_and_flushes_every_commit(
        self, tmp_path: Path, keys: KeyRing
    ) -> None:
        url = f"sqlite:///{tmp_path / 'test.db'}"
        migrate.upgrade(url)
        store = Store(url, keys)
        database: Any = store._database
        store.do(TakeAttempt("0" * 64, environment="emulator", now=1, expires_at=2))
        pragmas = [
            database._writer.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
        store.close()
        assert pragmas == ["wal", 2, 1, 3000]

    def test_a_missing_folder_is_named_and_nothing_is_made(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable, match="its folder is missing"):
            migrate.upgrade(f"sqlite:///{tmp_path / 'missing' / 'test.db'}")
        assert list(tmp_path.iterdir()) == []

    def test_neither_looking_nor_a_store_makes_a_file(self, tmp_path: Path, keys: KeyRing) -> None:
        url = f"sqlite:///{tmp_path / 'test.db'}"
        assert migrate.current(url) is None
        store = Store(url, keys)
        with pytest.raises(StoreUnavailable, match="Create it: procore-signin db upgrade"):
            store.probe()
        with pytest.raises(StoreUnavailable, match="does not exist"):
            migrate.downgrade(url, "base")
        store.close()
        assert list(tmp_path.iterdir()) == []

    def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(
        self, tmp_path: Path, keys: KeyRing
    ) -> None:
        path = tmp_path / "test.db"
        path.write_bytes(b"not a database, " * 100)
        url = f"sqlite:///{path}"
        store = Store(url, keys)
        with pytest.raises(StoreUnavailable, match="is damaged, or is no database"):
            migrate.upgrade(url)
        with pytest.raises(StoreUnavailable, match="is damaged, or is no database"):
            store.probe()
        store.close()
        assert path.read_bytes() == b"not a database, " * 100


def test_importing_the_store_imports_no_driver_and_no_alembic() -> None:
    script = (
        "import sys, procore_signin._store, procore_signin._store.migrate as _;"
        "print(sorted({'alembic', 'psycopg', 'pymysql'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_person_cannot_be_stored_twice_even_by_hand(
    sql: Callable[..., Any], sign_in: Callable[..., Any]
) -> None:
    sign_in(7)
    with pytest.raises(DBAPIError):
        sql(
            "INSERT INTO users (procore_id, email, environment, created_at, last_signed_in_at)"
            " VALUES (7, 'x', 'emulator', 1, 1)"
        )
