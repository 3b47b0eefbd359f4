"""Migrations: bring a database's tables to this version's, or back.

Alembic is imported inside the functions: only the commands that migrate pay for it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, column, create_engine, inspect, select, table, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool
from sqlalchemy.schema import CreateSchema

from procore_signin._forks import Lock
from procore_signin._store.engine.address import Address, Label, Naming, address_of
from procore_signin._store.engine.database import Patience
from procore_signin._store.engine.failures import Failed, failed_by
from procore_signin._store.engine.migrating import writer_engine
from procore_signin._store.engine.statement import renamed
from procore_signin._store.schema import LATER, SCHEMA_REVISION, VERSION_TABLE, metadata, users
from procore_signin._store.sqlite import database as sqlite
from procore_signin.errors import StoreUnavailable

LOGGER: Final = logging.getLogger("procore_signin")
T = TypeVar("T")

_OTHER_SCHEMA: Final = (
    "The database %s has users of procore-signin in the schema %s, and gets new, empty tables in "
    "the schema %s. If that schema was to be changed, its users are not signed in any more: set "
    "PROCORE_DATABASE_SCHEMA=%s, or move the tables (docs/how-to/existing-application.md). If both "
    "are wanted, all is well."
)

_WAIT_SECONDS: Final = 60.0
_LONGEST_STATEMENT: Final = 3600
_NO_SCHEMA: Final = "3F000"
"""PostgreSQL's code. Elsewhere it says that our schema is yet to be made."""

_LOCK_NAME: Final = "procore-signin migration"
_LOCK_NUMBER: Final = int.from_bytes(sha256(_LOCK_NAME.encode()).digest()[:8], signed=True)
_one_at_a_time: Final = Lock()
"""Alembic keeps the running migration in module globals."""


def upgrade(where: Address | str, *, beside: bool = False) -> None:
    """Bring the tables to this version's. Makes SQLite's file, readable by its owner alone.

    Processes that upgrade at the same time wait for one another, and all succeed.

    Args:
        where: The address, or its text as in `PROCORE_DATABASE_URL`. PostgreSQL's schema is made
            where it is missing.
        beside: Whether new tables may be made where users are in tables of ours that have another
            prefix. Those of another application, that is; else the prefix was changed by mistake.

    Raises:
        ValueError: `where` is no address, or its driver is not installed.
        StoreUnavailable: The database does not answer, has tables of these names that are not
            ours, has users in tables of another prefix, or was migrated by a newer version. On
            SQLite and PostgreSQL nothing was changed; on MariaDB an upgrade that was cut short is
            finished by the next one.
    """
    address = address_of(where)
    if address.path is not None:
        try:
            sqlite.create_file(address.path)
        except OSError:
            raise Failed("no_folder").raised(address.label) from None

    _locked(address, lambda connection: _upgrade(connection, address, beside=beside))


def upgrade_in_memory(raw: sqlite3.Connection, naming: Naming) -> None:
    """Bring the tables to this version's in a database that belongs to one connection.

    Args:
        raw: The connection, on which no transaction is open.
        naming: What the tables are called.

    Raises:
        StoreUnavailable: As `upgrade` says.
    """
    label = Label("in memory")
    address = Address("sqlite", label, URL.create("sqlite"), naming=naming)
    engine = create_engine(
        address.url, creator=lambda: raw, poolclass=StaticPool, hide_parameters=True
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            _upgrade(connection, address)
            connection.commit()
    finally:
        engine.dispose(close=False)  # it is not ours


def downgrade(where: Address | str, revision: str) -> None:
    """Bring the tables back to `revision`; `base` removes them all, with everything in them.

    Raises:
        ValueError: `where` is no address, or there is no such revision.
        StoreUnavailable: The database does not answer, or was migrated by a newer version.
    """
    address = address_of(where)
    _locked(address, lambda connection: _alembic(connection, "downgrade", revision, address))


def current(where: Address | str) -> str | None:
    """Return the revision of the tables, or None where there are none of ours.

    Raises:
        ValueError: `where` is no address, or its driver is not installed.
        StoreUnavailable: The database does not answer.
    """
    address = address_of(where)
    if address.path is not None and not address.path.exists():
        return None

    def once(engine: Engine) -> str | None:
        with engine.connect() as connection:
            return _revision(connection, address.naming)

    return _with_engine(address, once)


def head() -> str:
    """Return the revision that this version needs."""
    return SCHEMA_REVISION


def _upgrade(connection: Connection, address: Address, *, beside: bool = False) -> None:
    _make_schema(connection, address.naming.schema)
    if not beside:
        _refuse_second_tables(connection, address)
        _tell_of_other_schemas(connection, address)
    _refuse_foreign_tables(connection, address)
    _alembic(connection, "upgrade", "head", address)


def _with_engine(address: Address, work: Callable[[Engine], T]) -> T:
    def once() -> T:
        engine = _engine(address)
        try:
            return work(engine)
        except (SQLAlchemyError, sqlite3.Error) as error:
            failed = failed_by(error)
            if failed.code == _NO_SCHEMA:
                failed = Failed("no_schema", failed.code)
        finally:
            engine.dispose()
        raise failed

    patience = Patience(_WAIT_SECONDS, time.monotonic, time.sleep)
    return patience.repeat(once, label=address.label)


def _engine(address: Address) -> Engine:
    path = address.path
    if path is None:
        return writer_engine(address, timeout=_WAIT_SECONDS, longest_statement=_LONGEST_STATEMENT)
    return create_engine(
        address.url,
        creator=lambda: sqlite.connect(path, timeout=_WAIT_SECONDS),
        poolclass=NullPool,
        hide_parameters=True,
    )


def _locked(address: Address, work: Callable[[Connection], None]) -> None:
    """Run `work` in a transaction that no other migration runs beside.

    On MariaDB the first change of a table ends the transaction, but the lock lasts as long as the
    connection.
    """

    def once(engine: Engine) -> None:
        with engine.connect() as connection:
            if address.backend == "sqlite":
                # written into the file, so that stores need not ask for it
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                connection.rollback()
            with connection.begin():
                _lock(connection, address)
                work(connection)

    _with_engine(address, once)


def _lock(connection: Connection, address: Address) -> None:
    if address.backend == "sqlite":
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
    elif address.backend == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK_NUMBER})
    else:
        name = sha256(f"{_LOCK_NAME} {address.url.database}".encode()).hexdigest()
        values = {"name": name, "seconds": _WAIT_SECONDS}
        if connection.scalar(text("SELECT GET_LOCK(:name, :seconds)"), values) != 1:
            raise Failed("locked")


def _alembic(connection: Connection, command_name: str, revision: str, address: Address) -> None:
    from alembic import command  # noqa: PLC0415 - see the module's docstring
    from alembic.config import Config  # noqa: PLC0415 - as above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above
    from alembic.util import CommandError  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", "procore_signin._store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["naming"] = address.naming
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = _revision(connection, address.naming)
    if found is not None and found not in known:
        cure = "Run that version."
        raise StoreUnavailable(
            f"The database {address.label} was migrated to {found} by a newer version of "
            f"procore-signin. {cure}",
            hint=cure,
        )
    with _one_at_a_time:
        try:
            getattr(command, command_name)(config, revision)
        except CommandError:
            raise ValueError(f"There is no revision {revision}; this is {head()}.") from None


def _make_schema(connection: Connection, schema: str | None) -> None:
    # Asked first: who may use a schema need not have the right to make one.
    if schema is not None and not inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema, if_not_exists=True))


def _revision(connection: Connection, naming: Naming) -> str | None:
    name = naming.name(VERSION_TABLE)
    if not inspect(connection).has_table(name, schema=naming.schema):
        return None
    versions = table(name, column("version_num"), schema=naming.schema)
    revision: str | None = connection.scalar(select(versions.c.version_num))
    return revision


def _refuse_second_tables(connection: Connection, address: Address) -> None:
    """Refuse to begin with empty tables where users are in those of another prefix.

    It would sign everyone out, and leave jobs without tokens.
    """
    naming = address.naming
    if _revision(connection, naming) is not None:
        return
    for name in sorted(inspect(connection).get_table_names(schema=naming.schema)):
        if not name.endswith(VERSION_TABLE):
            continue
        prefix = name.removesuffix(VERSION_TABLE)
        if _has_users(connection, Naming(prefix, naming.schema)):
            cure = (
                f'Set the prefix back to "{prefix}", in PROCORE_TABLE_PREFIX or where your '
                "application sets it. If those tables belong to another application, run once: "
                f"{address.label.program} db upgrade --beside"
            )
            raise StoreUnavailable(
                f"The database {address.label} has users of procore-signin in the table "
                f'`{prefix}{users.name}`. With the prefix "{naming.prefix}" it would begin again '
                f"with empty tables, and every user would have to sign in again. {cure}",
                hint=cure,
            )


_SCHEMAS_WITH: Final = text(
    "SELECT table_schema FROM information_schema.tables WHERE table_name = :name ORDER BY 1"
)


def _tell_of_other_schemas(connection: Connection, address: Address) -> None:
    """Say, before tables are made in a schema, that users are in another one.

    It is not refused: an application may have a schema for each of its customers.
    """
    naming = address.naming
    if address.backend != "postgresql" or _revision(connection, naming) is not None:
        return
    here = naming.schema or inspect(connection).default_schema_name
    for schema in connection.scalars(_SCHEMAS_WITH, {"name": naming.name(VERSION_TABLE)}):
        with contextlib.suppress(ValueError):  # a name that no setting of ours has
            if schema != here and _has_users(connection, Naming(naming.prefix, schema)):
                LOGGER.warning(_OTHER_SCHEMA, address.label, schema, here, schema)
                return


def _has_users(connection: Connection, naming: Naming) -> bool:
    there = renamed(users, naming)
    try:
        with connection.begin_nested():
            return connection.execute(select(there.c.id).limit(1)).first() is not None
    except SQLAlchemyError:
        return False  # another application's, which this user may not read; or half of it is gone


def _refuse_foreign_tables(connection: Connection, address: Address) -> None:
    """Refuse a database that another program made, such as the tutorial's Ruby application.

    Tables like ours without a revision are what an upgrade left that was cut short: those of the
    first migration, which lack what later ones add.
    """
    naming = address.naming
    if _revision(connection, naming) is not None:
        return
    inspector = inspect(connection)
    for ours in metadata.sorted_tables:
        name = naming.name(ours.name)
        if not inspector.has_table(name, schema=naming.schema):
            continue
        present = {found["name"] for found in inspector.get_columns(name, schema=naming.schema)}
        first = {column.name for column in ours.columns if LATER not in column.info}
        if not first <= present <= set(ours.columns.keys()):
            cure = _to_stand_beside(address)
            raise StoreUnavailable(
                f"The database {address.label} has a table `{name}` that procore-signin did "
                f"not make, and it is left as it is. {cure}",
                hint=cure,
            )


def _to_stand_beside(address: Address) -> str:
    """Return how our tables get names that an application's own do not have."""
    prefix = "procore_signin_" if address.naming.prefix != "procore_signin_" else "sign_in_"
    cure = f"Set PROCORE_TABLE_PREFIX={prefix} to give procore-signin's own tables other names"
    if address.backend == "postgresql":
        cure += ", or PROCORE_DATABASE_SCHEMA to put them into a schema of their own"
    return f"{cure}; or name another database in {address.label.setting}."
