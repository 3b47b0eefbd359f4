"""Commands of several callers in one SQLite transaction, made durable with one flush to the disk.

What a commit costs is the flush, and a change of threads to wait for it. Statements alone take
microseconds: they run where the callers are, and the flush on another thread, once for all of them.

A command that fails after it has changed something spoils its group: everything is undone, and each
command is done again, alone. That is seldom, and a savepoint for each command costs all the others
more (decision 21).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar

from procore_signin._store.engine.command import Command
from procore_signin._store.engine.database import NotTogetherError, Transaction
from procore_signin._store.engine.failures import Failed, failed_by
from procore_signin._store.engine.statement import Texts
from procore_signin._store.keys.token_seal import TokenSeal

T = TypeVar("T")


class SqliteGroup:
    """A `Group`: an open transaction and what runs in it. `SqliteDatabase.group` begins one.

    Args:
        connection: The group's for as long as it is open; its transaction has begun.
        texts: The statements' texts for SQLite.
        seal: Seals and opens tokens.
        label: The database's name without a password.
        ended: Called once when the group holds the database no more, with whether its connection
            can be used again. Closing it undoes whatever was not committed.
    """

    __slots__ = ("_connection", "_ended", "_label", "_over", "_seal", "_spoiled", "_texts")

    def __init__(
        self,
        connection: sqlite3.Connection,
        texts: Texts,
        seal: TokenSeal,
        label: str,
        ended: Callable[[bool], None],
    ) -> None:
        self._connection: Final = connection
        self._texts: Final = texts
        self._seal: Final = seal
        self._label: Final = label
        self._ended: Final = ended
        self._spoiled = False
        self._over = False

    def do(self, command: Command[T]) -> T:
        """See `Group.do`."""
        if self._spoiled:
            raise NotTogetherError
        before = self._changes()
        try:
            cursor = self._connection.cursor()
            transaction = Transaction(cursor, self._texts, sqlite3.IntegrityError)
            return transaction.do(command.run(self._seal))
        except (sqlite3.Error, Failed):
            self._spoil_if_changed(before)
        except BaseException:  # whatever it is, it is the caller's, unless all is done again
            self._spoil_if_changed(before)
            if not self._spoiled:
                raise
        raise NotTogetherError  # outside the handler: a driver's error may quote values

    def commit(self) -> None:
        """See `Group.commit`."""
        if self._over:
            return
        self._over, failed = True, None
        try:
            if not self._spoiled:
                self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            failed = failed_by(error)
        finally:
            self._ended(failed is None and not self._spoiled)
        if failed is not None:
            raise failed.raised(self._label)
        if self._spoiled:
            raise NotTogetherError

    def _changes(self) -> int | None:
        """Return a number that changes with every row; None where the transaction has ended.

        SQLite undoes everything by itself when a disk is full, or fails.
        """
        try:
            return self._connection.total_changes if self._connection.in_transaction else None
        except sqlite3.Error:  # it was closed
            return None

    def _spoil_if_changed(self, before: int | None) -> None:
        now = self._changes()
        self._spoiled = self._spoiled or now is None or now != before
