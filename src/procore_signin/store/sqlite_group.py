"""Works of several callers in one SQLite transaction, made durable with one flush to the disk.

What a commit costs is the flush, and a change of threads to wait for it. Statements alone take
microseconds: they run where the callers are, and the flush on another thread, once for all of them.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from procore_signin.store.database import NotTogetherError
from procore_signin.store.failures import Failed, failed_by
from procore_signin.store.statement import Statement, Transaction

T = TypeVar("T")


class SqliteGroup:
    """A `Group`: an open transaction and what runs in it. `SqliteDatabase.group` begins one.

    Args:
        connection: The group's for as long as it is open; its transaction has begun.
        label: The database's name without a password.
        ended: Called once when the group holds the database no more, with the failure that its
            connection had, or None.
    """

    __slots__ = ("_broken", "_connection", "_ended", "_label", "_over", "_wrote", "owner")

    def __init__(
        self, connection: sqlite3.Connection, label: str, ended: Callable[[Failed | None], None]
    ) -> None:
        self._connection: Final = connection
        self._label: Final = label
        self._ended: Final = ended
        self._broken: Failed | None = None
        self._over = False
        self._wrote = False
        self.owner: int | None = None

    def run(self, do: Callable[[], T]) -> T:
        """See `Group.run`."""
        if self._broken is not None:
            raise NotTogetherError
        self.owner, self._wrote = threading.get_ident(), False
        try:
            self._connection.execute("SAVEPOINT work")
            outcome = self._kept_or_raised(do)
        except (sqlite3.Error, Failed) as error:
            self._undo(error if isinstance(error, Failed) else failed_by(error))
        else:
            return outcome
        finally:
            self.owner = None
        raise NotTogetherError  # outside the handler: a driver's error may quote values

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run one of the works of `run`: see `Database.write`."""
        first, self._wrote = not self._wrote, True
        try:
            return work(Transaction(self._connection.cursor(), sqlite3.IntegrityError))
        except (sqlite3.Error, Failed):
            raise
        except BaseException as error:
            if not first:  # the savepoint would undo what came before it as well
                raise Failed("collision") from error
            self._connection.execute("ROLLBACK TO work")
            raise

    def many(self, statement: Statement, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """Read with the eyes of the group: what its works wrote is seen by them alone."""
        return self._connection.execute(statement.text, statement.arguments(values)).fetchall()

    def commit(self) -> None:
        """See `Group.commit`."""
        if self._over:
            return
        self._over, failed = True, self._broken
        try:
            if failed is None:
                self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            failed = failed_by(error)
        finally:
            if failed is not None:
                with contextlib.suppress(sqlite3.Error):  # SQLite undid everything by itself
                    self._connection.execute("ROLLBACK")
            self._ended(failed)
        if failed is not None:
            raise failed.raised(self._label)

    def _kept_or_raised(self, do: Callable[[], T]) -> T:
        try:
            outcome = do()
        except (sqlite3.Error, Failed):
            raise
        except BaseException:  # `write` has undone what it wrote
            self._connection.execute("RELEASE work")
            raise
        self._connection.execute("RELEASE work")
        return outcome

    def _undo(self, failed: Failed) -> None:
        try:
            self._connection.execute("ROLLBACK TO work")
            self._connection.execute("RELEASE work")
        except sqlite3.Error:  # SQLite undid everything: a full disk, or one that fails
            self._broken = failed
