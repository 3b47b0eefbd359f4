"""SQLite, PostgreSQL and MariaDB for runs with many processes.

Where a server is missing its runs are skipped and say so; with PROCORE_SIGNIN_REQUIRE_DATABASES=1
they fail instead.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from procore_signin._store import migrate
from procore_signin._store.engine.address import parse_address
from procore_signin._store.schema import metadata

SERVERS: Final = {
    "postgresql": ("postgresql://postgres@127.0.0.1:5432", "postgres"),
    "mariadb": ("mariadb://root@127.0.0.1:3306", "mysql"),
}
KINDS: Final = ("sqlite", *SERVERS)
TIMES: Final = ("_at", "_until")
"""How the names of columns end that hold a time."""


class Database:
    """A migrated database and our own way into it, beside the store's.

    Attributes:
        kind: One of `KINDS`.
        url: As in `PROCORE_DATABASE_URL`.
    """

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self._engine = create_engine(parse_address(url).url)

    @property
    def has_a_clock(self) -> bool:
        """Whether leases are told by the database's clock, which no test can move."""
        return self.kind != "sqlite"

    def run(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """Run one statement, commit it, and return its rows."""
        with self._engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    def empty(self) -> None:
        """Delete every row."""
        with self._engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())

    def close(self) -> None:
        """Close our connections. The next statement opens new ones."""
        self._engine.dispose()

    def pass_time(self, seconds: float) -> None:
        """Make every row `seconds` older, as if everyone's clock had moved on."""
        for table in metadata.tables.values():
            times = [column.name for column in table.columns if column.name.endswith(TIMES)]
            older = ", ".join(f"{name} = {name} - :seconds" for name in times)
            self.run(f"UPDATE {table.name} SET {older}", seconds=round(seconds))


@contextmanager
def a_database(kind: str, folder: Path) -> Iterator[Database]:
    """Make a migrated database of our own, and drop it."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'reliability.db'}"
        migrate.upgrade(url)
        with closing(Database(kind, url)) as database:
            yield database
        return
    server, home = SERVERS[kind]
    name = f"procore_signin_reliability_{os.getpid()}_{secrets.token_hex(4)}"
    admin = create_engine(
        parse_address(f"{server}/{home}").url, poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError:
        problem = f"no {kind} server answers at {server}"
        if os.environ.get("PROCORE_SIGNIN_REQUIRE_DATABASES") == "1":
            pytest.fail(f"{problem}, and PROCORE_SIGNIN_REQUIRE_DATABASES=1 demands one")
        pytest.skip(f"{problem}: races and crashes are NOT tested on {kind}")
    try:
        migrate.upgrade(f"{server}/{name}")
        with closing(Database(kind, f"{server}/{name}")) as database:
            yield database
    finally:
        with admin.connect() as connection:
            force = " WITH (FORCE)" if kind == "postgresql" else ""
            connection.execute(text(f"DROP DATABASE {name}{force}"))
