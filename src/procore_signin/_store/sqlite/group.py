"""Works of several callers in one SQLite transaction, made durable with one flush to the disk.

What a commit costs is the flush, and a change of threads to wait for it. Statements alone take
microseconds: they run where the callers are, and the flush on another thread, once for all of them.

A work that fails after it has changed something spoils its group: everything is undone, and each
work is done again, alone. That is seldom, and a savepoint for each work costs all the others more
(decision 21).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from procore_signin._store.engine.database import NotTogetherError
from procore_signin._store.engine.failures import Failed, failed_by
from procore_signin._store.engine.statement import Statement, Transaction

T = TypeVar("T")


class SqliteGroup:
    """A `Group`: an open transaction and what runs in it. `SqliteDatabase.group` begins one.

    Args:
        connection: The group's for as long as it is open; its transaction has begun.
        label: The database's name without a password.
        ended: Called once when the group holds the database no more, with whether its connection
            can be used again. Closing it undoes whatever was not committed.
    """

    __slots__ = ("_connection", "_ended", "_label", "_over", "_spoiled", "owner")

    def __init__(
        self, connection: sqlite3.Connection, label: str, ended: Callable[[bool], None]
    ) -> None:
        self._connection: Final = connection
        self._label: Final = label
        self._ended: Final = ended
        self._spoiled = False
        self._over = False
        self.owner: int | None = None

    def run(self, do: Callable[[], T]) -> T:
        """See `Group.run`."""
        if self._spoiled:
            raise NotTogetherError
        self.owner, before = threading.get_ident(), self._changes()
        try:
            outcome = do()
        except (sqlite3.Error, Failed):
            self._spoil_if_changed(before)
        except BaseException:  # whatever it is, it is the caller's, unless all is done again
            if not self._spoiled:
                raise
        else:
            if not self._spoiled:
                return outcome
        finally:
            self.owner = None
        raise NotTogetherError  # outside the handler: a driver's error may quote values

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run one of the works of `run`: see `Database.write`."""
        before = self._changes()
        try:
            return work(Transaction(self._connection.cursor(), sqlite3.IntegrityError))
        except BaseException:  # whatever ends it, what it changed has to be undone
            self._spoil_if_changed(before)
            raise

    def many(self, statement: Statement, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """Read with the eyes of the group: what its works wrote is seen by them alone."""
        return self._connection.execute(statement.text, statement.arguments(values)).fetchall()

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
