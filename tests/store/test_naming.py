"""Our tables beside an application's own `users` and `sessions`: a prefix, or a schema."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from pages import run_by
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.mysql import pymysql
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.engine import Dialect

import procore_signin._store
from procore_signin._client import AsyncProcoreSignIn, ProcoreSignIn
from procore_signin._store import KeyRing, Store, migrate
from procore_signin._store.engine.address import (
    LONGEST_PREFIX,
    Address,
    Naming,
    parse_address,
)
from procore_signin._store.engine.statement import Sql
from procore_signin._store.records import NewSession
from procore_signin._store.schema import VERSION_TABLE, metadata
from procore_signin._store.sessions import SessionOf
from procore_signin._store.tokens import FirstAndLastOwner
from procore_signin._store.users import FindUsers, UserOf
from procore_signin.environments import emulator
from procore_signin.errors import SettingsInvalid, StoreUnavailable

NOW = 1_800_000_000
JOE = "joecontractor@procore.com"
OURS = [*metadata.tables, VERSION_TABLE]
HOSTS = {
    "users": "CREATE TABLE users"
    " (id INTEGER NOT NULL PRIMARY KEY, email VARCHAR(99), password_hash TEXT)",
    "sessions": "CREATE TABLE sessions (id INTEGER NOT NULL PRIMARY KEY, cookie VARCHAR(99))",
}
NAMINGS = [Naming("procore_signin_"), Naming("App_2_")]


@contextmanager
def connected(address: Address) -> Iterator[Connection]:
    engine = create_engine(address.url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@pytest.fixture
def host_url(empty_url: str, kind: str, tmp_path: Path) -> str:
    """A database with an application's own tables, and a row in each."""
    if kind == "sqlite":
        (tmp_path / "signin.db").touch()
    with connected(parse_address(empty_url)) as connection:
        for statement in HOSTS.values():
            connection.execute(text(statement))
        connection.execute(text("INSERT INTO users VALUES (1, 'ann@example.com', 'theirs')"))
        connection.execute(text("INSERT INTO sessions VALUES (1, 'theirs')"))
    return empty_url


def rows_of_the_host(address: Address) -> list[Any]:
    with connected(address) as connection:
        return [connection.execute(text(f"SELECT * FROM {name}")).all() for name in HOSTS]


UNTOUCHED = [[(1, "ann@example.com", "theirs")], [(1, "theirs")]]


def sign_in_and_look_around(
    address: Address,
    keys: KeyRing,
    sign_in: Callable[..., Any],
    new_session: Callable[..., NewSession],
) -> None:
    store = Store(address, keys)
    try:
        store.probe()
        completed = sign_in(through=store, session=new_session("their-cookie"))
        user = store.ask(UserOf(completed.user.id))
        assert user is not None
        assert user.email == "joecontractor@procore.com"
        found = store.ask(
            SessionOf(new_session("their-cookie").id_hash, environment="emulator", now=NOW)
        )
        assert found is not None
        assert store.ask(FirstAndLastOwner()) == ((user.id, "emulator"),)
    finally:
        store.close()


@pytest.mark.parametrize("naming", NAMINGS, ids=lambda naming: naming.prefix)
def test_O15_with_a_prefix_the_tables_stand_beside_the_applications_own(
    host_url: str, naming: Naming, keys: KeyRing, sign_in: Any, new_session: Any
) -> None:
    address = parse_address(host_url, naming)

    migrate.upgrade(address)
    migrate.upgrade(address)
    sign_in_and_look_around(address, keys, sign_in, new_session)

    assert migrate.current(address) == migrate.head()
    assert rows_of_the_host(address) == UNTOUCHED
    migrate.downgrade(address, "base")
    with connected(address) as connection:
        left = set(inspect(connection).get_table_names()) - {"sqlite_sequence"}
    assert left == {*HOSTS, naming.name(VERSION_TABLE)}
    assert rows_of_the_host(address) == UNTOUCHED


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("naming", [Naming(schema="procore"), Naming("app_", "Procore")])
def test_in_a_schema_of_their_own_they_are_found_whatever_the_search_path_is(
    host_url: str, naming: Naming, keys: KeyRing, sign_in: Any, new_session: Any
) -> None:
    address = parse_address(host_url, naming)
    elsewhere = parse_address(f"{host_url}?options=-csearch_path%3Dpg_catalog", naming)

    migrate.upgrade(elsewhere)
    migrate.upgrade(address)
    sign_in_and_look_around(elsewhere, keys, sign_in, new_session)

    with connected(address) as connection:
        made = set(inspect(connection).get_table_names(schema=naming.schema))
    assert made == {naming.name(plain) for plain in OURS}
    assert rows_of_the_host(address) == UNTOUCHED


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_schema_that_is_there_needs_no_right_to_make_one(host_url: str) -> None:
    naming = Naming(schema="procore")
    role = f"procore_signin_test_{host_url[-8:]}"
    database = parse_address(host_url).url.database
    with connected(parse_address(host_url)) as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        connection.execute(text(f"REVOKE CREATE ON DATABASE {database} FROM PUBLIC"))
        connection.execute(text(f"CREATE SCHEMA procore AUTHORIZATION {role}"))
    try:
        address = parse_address(host_url.replace("postgres@", f"{role}@"), naming)
        migrate.upgrade(address)
        assert migrate.current(address) == migrate.head()
    finally:
        with connected(parse_address(host_url)) as connection:
            connection.execute(text(f"DROP OWNED BY {role} CASCADE"))
            connection.execute(text(f"DROP ROLE {role}"))


@pytest.mark.parametrize("kind_of_door", [ProcoreSignIn, AsyncProcoreSignIn])
def test_a_front_door_makes_its_own_tables(
    host_url: str, keys: KeyRing, kind_of_door: type[ProcoreSignIn | AsyncProcoreSignIn]
) -> None:
    door = kind_of_door(
        environment=emulator(),
        client_id="id",
        client_secret="a-fake-secret",
        redirect_uri="http://localhost/callback",
        keys=keys,
        database_url=host_url,
        table_prefix="app_",
    )
    # The command would act on another database, and on tables of other names.
    with pytest.raises(StoreUnavailable, match=r"Run: procore\.upgrade_tables\(\)$"):
        door.store.probe()

    door.upgrade_tables()

    door.store.probe()
    door.store.close()
    assert rows_of_the_host(parse_address(host_url)) == UNTOUCHED


def identifiers(address: Address) -> set[str | None]:
    """Return the name of every table, index and constraint that is not the host's."""
    found: set[str | None] = set()
    with connected(address) as connection:
        inspector = inspect(connection)
        schema = address.naming.schema
        for table in set(inspector.get_table_names(schema=schema)) - {*HOSTS, "sqlite_sequence"}:
            found.add(table)
            found |= {each["name"] for each in inspector.get_indexes(table, schema=schema)}
            found |= {
                each["name"] for each in inspector.get_unique_constraints(table, schema=schema)
            }
            found |= {each["name"] for each in inspector.get_foreign_keys(table, schema=schema)}
            found.add(inspector.get_pk_constraint(table, schema=schema)["name"] or table)
    return found - {"PRIMARY"}


def test_indexes_and_constraints_carry_the_prefix(host_url: str, empty_url: str) -> None:
    naming = Naming("x" * LONGEST_PREFIX)
    migrate.upgrade(parse_address(empty_url, naming))

    found = {name or "" for name in identifiers(parse_address(host_url, naming))}

    assert {name for name in found if not name.startswith(naming.prefix)} == set()
    for plain in ("uq_users_environment_procore_id", "ix_sessions_user_id", "fk_sessions_user_id"):
        assert naming.name(plain) in found


def test_two_applications_share_a_database_by_their_prefixes(
    empty_url: str, keys: KeyRing, sign_in: Any, new_session: Any
) -> None:
    for naming in (Naming(), Naming("one_"), Naming("two_")):
        migrate.upgrade(parse_address(empty_url, naming))
    sign_in_and_look_around(parse_address(empty_url, Naming("one_")), keys, sign_in, new_session)
    for naming in (Naming(), Naming("two_")):
        store = Store(parse_address(empty_url, naming), keys)
        store.probe()
        assert store.ask(FirstAndLastOwner()) == ()
        store.close()


@pytest.mark.parametrize(("before", "after"), [("", "app_"), ("app_", ""), ("app_", "other_")])
def test_O15_a_prefix_that_is_changed_later_signs_nobody_out(
    empty_url: str, keys: KeyRing, sign_in: Any, new_session: Any, before: str, after: str
) -> None:
    first, second = (parse_address(empty_url, Naming(prefix)) for prefix in (before, after))
    migrate.upgrade(first)
    sign_in_and_look_around(first, keys, sign_in, new_session)

    with pytest.raises(StoreUnavailable) as refused:
        migrate.upgrade(second)
    assert f'Set the prefix back to "{before}"' in str(refused.value)
    assert str(refused.value).endswith("run once: procore-signin db upgrade --beside")
    assert migrate.current(second) is None

    migrate.upgrade(second, beside=True)
    migrate.upgrade(second)
    sign_in_and_look_around(second, keys, sign_in, new_session)
    migrate.upgrade(first)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_schema_that_is_changed_later_is_told_and_its_tables_can_be_moved(
    empty_url: str,
    keys: KeyRing,
    sign_in: Any,
    new_session: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before, after = parse_address(empty_url), parse_address(empty_url, Naming("", "procore"))
    migrate.upgrade(before)
    migrate.upgrade(parse_address(empty_url, Naming("", "of_a_customer")))
    assert caplog.messages == [], "there are no users yet"
    sign_in_and_look_around(before, keys, sign_in, new_session)
    migrate.upgrade(parse_address(empty_url, Naming("", "of_another")))
    [told] = [each for each in caplog.messages if "signed in any more" in each]
    assert "users of procore-signin in the schema public, and gets new, empty tables" in told
    assert "in the schema of_another" in told
    assert "set PROCORE_DATABASE_SCHEMA=public, or move the tables" in told
    migrate.upgrade(parse_address(empty_url, Naming("", "of_another")))

    [page] = run_by("move-schema")
    with connected(before) as connection:
        connection.execute(text(page.text))
    assert migrate.current(before) is None
    store = Store(after, keys)
    store.probe()
    assert [user.email for user in store.ask(FindUsers(after=0, limit=9))] == [JOE]
    store.close()
    migrate.upgrade(after)
    migrate.downgrade(after, "base")
    assert len([each for each in caplog.messages if "signed in any more" in each]) == 1


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_database_whose_search_path_names_no_schema_is_told_with_the_cure(empty_url: str) -> None:
    address = parse_address(f"{empty_url}?options=-csearch_path%3Dnowhere")
    with pytest.raises(StoreUnavailable, match="search_path names none that exists") as refused:
        migrate.upgrade(address)
    assert "set PROCORE_DATABASE_SCHEMA" in str(refused.value)
    assert "db upgrade" not in str(refused.value)
    migrate.upgrade(replace(address, naming=Naming("", "procore")))


def test_a_folder_that_is_missing_is_told_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="its folder is missing") as refused:
        migrate.upgrade(f"sqlite:///{tmp_path}/none/signin.db")
    assert str(refused.value).endswith("Make the folder, or correct PROCORE_DATABASE_URL.")


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_tables_of_another_application_that_cannot_be_read_are_its_own_affair(
    empty_url: str, keys: KeyRing, sign_in: Any, new_session: Any
) -> None:
    theirs = parse_address(empty_url, Naming("theirs_"))
    migrate.upgrade(theirs)
    sign_in_and_look_around(theirs, keys, sign_in, new_session)
    role = f"procore_signin_test_{theirs.url.database[-8:]}"  # type: ignore[index]
    with connected(theirs) as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        connection.execute(text(f"GRANT CREATE ON SCHEMA public TO {role}"))
    try:
        url = empty_url.replace("postgres@", f"{role}@")
        migrate.upgrade(parse_address(url, Naming("ours_")))
        assert migrate.current(parse_address(url, Naming("ours_"))) == migrate.head()
    finally:
        with connected(theirs) as connection:
            connection.execute(text(f"DROP OWNED BY {role} CASCADE"))
            connection.execute(text(f"DROP ROLE {role}"))


def test_O15_a_table_of_the_application_is_refused_with_the_cure_that_keeps_it(
    host_url: str,
) -> None:
    with pytest.raises(StoreUnavailable, match="PROCORE_TABLE_PREFIX=procore_signin_") as refused:
        migrate.upgrade(host_url)

    schema_too = "PROCORE_DATABASE_SCHEMA" in str(refused.value)
    assert schema_too == host_url.startswith("postgresql")
    assert rows_of_the_host(parse_address(host_url)) == UNTOUCHED


def test_a_refused_prefix_is_not_proposed_again(host_url: str) -> None:
    with connected(parse_address(host_url)) as connection:
        connection.execute(text("CREATE TABLE procore_signin_users (id INTEGER PRIMARY KEY)"))

    with pytest.raises(StoreUnavailable, match=r"`procore_signin_users`.* PROCORE_TABLE_PREFIX=s"):
        migrate.upgrade(parse_address(host_url, Naming("procore_signin_")))


@pytest.mark.parametrize(
    "prefix", ["1_", "a-b", "a b", "a;b", 'a"', "é_", "x" * (LONGEST_PREFIX + 1), "sqlite_", "_x"]
)
def test_a_prefix_that_is_no_part_of_a_name_is_refused_at_the_door(prefix: str) -> None:
    with pytest.raises(ValueError, match=r"Write (1 to|another prefix)"):
        Naming(prefix)


@pytest.mark.parametrize("schema", ["", "1x", "a.b", 'a"b', "x" * 64])
def test_a_schema_that_is_no_name_is_refused_at_the_door(schema: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        Naming(schema=schema)


@pytest.mark.parametrize("schema", ["pg_x", "pg_catalog", "PG_toast", "information_schema"])
def test_a_schema_that_is_postgresqls_own_is_refused_at_the_door(schema: str) -> None:
    with pytest.raises(ValueError, match="to itself"):
        Naming(schema=schema)


@pytest.mark.parametrize("url", ["sqlite:///x.db", "mariadb://host/x"])
def test_only_postgresql_has_schemas(url: str) -> None:
    with pytest.raises(ValueError, match="Only PostgreSQL has schemas"):
        parse_address(url, Naming(schema="procore"))


def statements_in(value: object) -> Iterator[Sql]:
    """Yield the statements that a module, a class or a collection holds."""
    if isinstance(value, Sql):
        yield value
    elif isinstance(value, dict):
        yield from statements_in(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from statements_in(each)
    elif isinstance(value, type) and value.__module__.startswith("procore_signin._store."):
        yield from statements_in(tuple(vars(value).values()))


def every_statement() -> set[Sql]:
    found: set[Sql] = set()
    for module in pkgutil.walk_packages(procore_signin._store.__path__, "procore_signin._store."):
        if ".migrations." not in module.name:
            found.update(statements_in(vars(import_module(module.name))))
    return found


@pytest.mark.parametrize("dialect", [sqlite.dialect(), psycopg.dialect(), pymysql.dialect()])  # type: ignore[no-untyped-call]  # SQLAlchemy's
@pytest.mark.parametrize("naming", [*NAMINGS, Naming("app_", "procore")])
def test_every_statement_names_the_tables_so_and_changes_in_nothing_else(
    dialect: Dialect, naming: Naming
) -> None:
    quote = dialect.identifier_preparer.quote
    schema = f"{naming.schema}." if naming.schema else ""
    # A table's name: never behind a dot, which a column's name is where both have the same.
    tables = re.compile(rf"(?<![\w.])({'|'.join(OURS)})(?=[\s.)]|$)")

    def called(found: re.Match[str]) -> str:
        return schema + quote(naming.name(found[1]))

    statements = every_statement()
    assert len(statements) > 80
    for sql in statements:
        assert sql.on(dialect, naming).text == tables.sub(called, sql.on(dialect).text)


ENV = """
from alembic import context
from sqlalchemy import create_engine, MetaData, NullPool, Table, Column, Integer, String, Text
{imports}

models = MetaData()
Table("users", models, Column("id", Integer, primary_key=True), Column("email", String(99)),
      Column("password_hash", Text))
Table("sessions", models, Column("id", Integer, primary_key=True), Column("cookie", String(99)))
engine = create_engine(context.config.attributes["url"], poolclass=NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=models, {options})
    with context.begin_transaction():
        context.run_migrations()
"""


def autogenerated(address: Address, folder: Path, imports: str, options: str) -> str:
    """Return what the host's `alembic revision --autogenerate` writes."""
    folder.mkdir(exist_ok=True)
    config = Config(folder / "alembic.ini")
    config.set_main_option("script_location", str(folder / "alembic"))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = address.url
    command.init(config, str(folder / "alembic"))
    (folder / "alembic" / "env.py").write_text(ENV.format(imports=imports, options=options))
    command.upgrade(config, "head")
    made = command.revision(config, autogenerate=True)
    assert made is not None
    assert not isinstance(made, list)
    return Path(made.path).read_text("utf-8").partition("def upgrade()")[2]


@pytest.mark.parametrize("schemas", [False, True])
def test_O15_the_hosts_autogenerate_leaves_our_tables_alone(
    host_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, schemas: bool
) -> None:
    address = parse_address(host_url, Naming("procore_signin_"))
    migrate.upgrade(address)
    monkeypatch.setenv("PROCORE_TABLE_PREFIX", "procore_signin_")
    monkeypatch.setenv("PROCORE_DATABASE_URL", host_url)
    from procore_signin import alembic  # noqa: PLC0415

    alembic._by_the_settings.cache_clear()
    more = ", include_schemas=True" if schemas and host_url.startswith("postgresql") else ""

    unfiltered = autogenerated(address, tmp_path / "1", "", "include_name=None")
    found = autogenerated(
        address,
        tmp_path / "2",
        "from procore_signin.alembic import include_name",
        f"include_name=include_name{more}",
    )

    alembic._by_the_settings.cache_clear()
    assert "procore_signin_token_sets" in unfiltered  # the trap is there
    assert "op." not in found


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("schema", ["procore", "public"])
def test_the_hosts_autogenerate_leaves_our_schema_alone(
    host_url: str, tmp_path: Path, schema: str
) -> None:
    naming = Naming("app_", schema)
    address = parse_address(host_url, naming)
    migrate.upgrade(address)

    found = autogenerated(
        address,
        tmp_path,
        "from procore_signin.alembic import include_name_beside",
        f"include_name=include_name_beside('app_', {schema!r}), include_schemas=True",
    )

    assert "op." not in found


@pytest.mark.parametrize("address", [None, "sqlite:///site.db"])
def test_O15_without_settings_no_names_are_guessed_because_our_tables_would_be_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    """An address alone says nothing: the prefix may be in the application's code."""
    from procore_signin.alembic import include_name  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    for name in ("TABLE_PREFIX", "DATABASE_SCHEMA", "DATABASE_URL"):
        monkeypatch.delenv(f"PROCORE_{name}", raising=False)
    if address is not None:
        monkeypatch.setenv("PROCORE_DATABASE_URL", address)
    monkeypatch.setenv("PROCORE_KEYS", "k1:" + "A" * 43)  # which says nothing about tables
    for table in ("procore_signin_users", "users"):
        with pytest.raises(SettingsInvalid, match=r"include_name_beside\(") as refused:
            include_name(table, "table", {"schema_name": None})
    assert str(tmp_path / ".env") in str(refused.value)


def test_the_hosts_tables_of_our_names_are_looked_at() -> None:
    from procore_signin.alembic import include_name_beside  # noqa: PLC0415

    beside = include_name_beside("procore_signin_")
    in_schema = include_name_beside(database_schema="procore")
    default: dict[str, str | None] = {"schema_name": None}

    assert beside("users", "table", default)
    assert beside("procore_signin_reports", "table", default)
    assert beside("procore_signin_users", "column", default)
    assert not beside("procore_signin_users", "table", default)
    assert in_schema("users", "table", default)
    assert not in_schema("users", "table", {"schema_name": "procore"})
