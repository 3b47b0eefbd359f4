"""The real commands and queries of the store on a SQLite database in memory.

Each command is one step of the world: it happens, or it does not. A schedule is one transaction
that is never committed, so the next one finds the database as the last one found it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sqlalchemy.dialects import sqlite

from procore_signin._protocol.secret import Secret
from procore_signin._store.engine.command import Command, Query
from procore_signin._store.engine.database import Transaction
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.statement import Row, Sql, Values, texts_for
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.migrate import upgrade
from procore_signin._store.schema import sign_in_ledger, token_sets, users
from procore_signin.errors import VaultSealed

T = TypeVar("T")

_TEXTS = texts_for(sqlite.dialect())
TOKEN_SETS = tuple(column.name for column in token_sets.c)
LEDGER = tuple(column.name for column in sign_in_ledger.c)
USERS = tuple(column.name for column in users.c)
_SELECT = tuple(
    f"SELECT {', '.join(names)} FROM {table}"
    for table, names in (
        ("token_sets", TOKEN_SETS),
        ("sign_in_ledger", LEDGER),
        ("users", USERS),
    )
)


class PlainSeal:
    """Binds what it seals to its key and its place, as the real seal does, and hides nothing.

    So a schedule costs no encryption, and whoever looks at a row sees which pair is in it.
    """

    def __init__(self, *key_ids: str) -> None:
        self.key_ids = key_ids

    def seal(self, plain: bytes | str, *, context: tuple[str, ...]) -> str:
        raw = plain if isinstance(plain, str) else plain.decode()
        return f"v1.{self.key_ids[0]}.{'|'.join(context)}#{raw}"

    def open(self, sealed: str, *, context: tuple[str, ...]) -> bytes:
        version, key_id, body = sealed.split(".", 2)
        place, _, plain = body.partition("#")
        if version != "v1" or key_id not in self.key_ids or place != "|".join(context):
            raise VaultSealed("This key does not open it here.")
        return plain.encode()

    def open_secret(self, sealed: str, *, context: tuple[str, ...], label: str) -> Secret:
        return Secret(self.open(sealed, context=context).decode(), label)


@cache
def seal_of(*key_ids: str) -> TokenSeal:
    """Return what seals with the first of these keys."""
    return TokenSeal(PlainSeal(*key_ids))  # type: ignore[arg-type]  # a seal of our own


@cache
def _tables() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        upgrade(f"sqlite:///{path}")
        return path.read_bytes()


class Keeping:
    """One database.

    Args:
        content: What it holds at first; nothing but the tables where it is None.
    """

    def __init__(self, content: bytes | None = None) -> None:
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, cached_statements=400, check_same_thread=False
        )
        tables = _tables() if content is None else content
        # The header says "write-ahead log", which a database in memory has not.
        self._connection.deserialize(tables[:18] + b"\x01\x01" + tables[20:])
        self._connection.execute("PRAGMA foreign_keys=ON")
        self._cursor = self._connection.cursor()

    def begin(self) -> None:
        """Begin a schedule."""
        self._cursor.execute("BEGIN")

    def end(self) -> None:
        """Have the schedule never have been."""
        self._cursor.execute("ROLLBACK")

    def content(self) -> bytes:
        """Keep what the schedule wrote, and return all there is."""
        self._cursor.execute("COMMIT")
        return self._connection.serialize()

    def do(self, command: Command[T], seal: TokenSeal) -> T:
        """Run a command: all of it happens, or nothing."""
        cursor = self._cursor
        cursor.execute("SAVEPOINT command")
        try:
            outcome = Transaction(cursor, _TEXTS, sqlite3.IntegrityError).do(command.run(seal))
        except BaseException as error:
            cursor.execute("ROLLBACK TO command")
            cursor.execute("RELEASE command")
            if isinstance(error, Failed):
                raise error.raised("in memory") from None
            raise
        cursor.execute("RELEASE command")
        return outcome

    def ask(self, query: Query[T], seal: TokenSeal) -> T:
        """Return what a query finds."""
        return query.find(self._rows, seal)

    def _rows(self, sql: Sql, values: Values) -> Sequence[Row]:
        statement = _TEXTS[sql]
        return self._cursor.execute(statement.text, statement.arguments(values)).fetchall()

    def changes(self) -> int:
        """Return a number that grows with every change."""
        return self._connection.total_changes

    def rows(self) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Return every token set, and every row of the ledger."""
        execute = self._cursor.execute
        return execute(_SELECT[0]).fetchall(), execute(_SELECT[1]).fetchall()

    def users(self) -> list[tuple[Any, ...]]:
        """Return every user."""
        return self._cursor.execute(_SELECT[2]).fetchall()
