"""The writes of many flows on SQLite, committed together: one flush to the disk for all of them.

What a commit costs is the flush, and a change of threads to wait for it. Statements alone take
microseconds, like reads: they run on the event loop, and a thread waits for the disk, once for all
of them. A write that comes meanwhile is in the next group. No one is told of a write before it is
durable.

A command that fails after it has changed something spoils its group: everything is undone, and each
command is done again, alone. That is seldom, and a savepoint for each command costs all the others
more (decision 21).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Final, TypeVar

from procore_signin._store.engine.command import Command
from procore_signin._store.engine.database import Group, NotTogetherError, Transaction
from procore_signin._store.engine.failures import Failed, failed_by
from procore_signin._store.engine.shared_outcome import copy_of, for_another, tell
from procore_signin._store.engine.statement import Texts
from procore_signin._store.keys.token_seal import TokenSeal

T = TypeVar("T")

OTHERS_SECONDS: Final = 0.5
"""How long a group waits for those of other event loops of this process."""

_Wanted = tuple[Command[Any], asyncio.Future[Any]]
_Told = tuple[asyncio.Future[Any], Any, BaseException | None]


class GroupCommit:
    """Does the writes of one event loop's flows.

    It has no task of its own: nothing that an event loop cancels at its end. A flow that must not
    be lost waits for its write, and the event loop for that flow.

    Args:
        begin: Begins a group: see `Database.group`.
        alone: Does a command by itself.
        loop: That event loop.
        threads: Do what has to be done alone.
        flusher: Waits for the disk, and does nothing else: while it does not come to that, no one
            in this process can write.
    """

    def __init__(
        self,
        begin: Callable[[float], Group | None],
        alone: Callable[[Command[Any]], Any],
        loop: asyncio.AbstractEventLoop,
        threads: Executor,
        flusher: Executor,
    ) -> None:
        self._begin: Final = begin
        self._alone: Final = alone
        self._loop: Final = loop
        self._threads: Final = threads
        self._flusher: Final = flusher
        self._queue: list[_Wanted] = []
        self._working = False
        self._quiet: asyncio.Future[None] | None = None

    def do(self, command: Command[T]) -> asyncio.Future[T]:
        """Do a command; what came of it is told once that is durable.

        It is carried out also for a caller that is cancelled meanwhile.
        """
        waiter: asyncio.Future[T] = self._loop.create_future()
        self._queue.append((command, waiter))
        if not self._working:
            self._working = True
            self._loop.call_soon(self._work)
        return waiter

    async def drained(self) -> None:
        """Wait until nothing is under way."""
        while self._working:
            self._quiet = self._loop.create_future()
            await asyncio.wait([self._quiet])

    def _work(self) -> None:
        """Do what is wanted by now in one transaction, and have it flushed."""
        wanted, self._queue = self._queue, []
        group = None
        try:
            group = self._begin(0)
            if group is None:
                self._submit(self._threads, self._when_others_are_done, wanted)
                return
            told, alone = _done(group, wanted)
            self._submit(self._flusher, self._flush, group, wanted, told, alone)
        except BaseException as error:  # an interrupt met this callback
            for _, waiter in wanted:
                tell(waiter, None, for_another(error))
            if group is None:
                self._soon(self._go_on, [], [])
            else:
                self._submit(self._flusher, self._flush, group, [], [], [])
            raise

    def _when_others_are_done(self, wanted: list[_Wanted]) -> None:
        """Do what is wanted in one transaction, on a thread: another event loop's are under way."""
        group = self._begin(OTHERS_SECONDS)
        if group is None:
            self._each_alone(wanted)
        else:
            self._flush(group, wanted, *_done(group, wanted))

    def _submit(self, threads: Executor, work: Callable[..., None], *arguments: Any) -> None:
        try:
            threads.submit(work, *arguments)
        except RuntimeError:  # they have ended with the runner: the last caller waits here
            work(*arguments)

    def _flush(
        self, group: Group, wanted: list[_Wanted], told: list[_Told], alone: list[_Wanted]
    ) -> None:
        try:
            group.commit()
        except NotTogetherError:
            told, alone = [], wanted
        except BaseException as failed:  # noqa: BLE001  # as above
            # Also what a command found may be what another one of this group had written.
            told = [(waiter, None, copy_of(failed)) for waiter, _, _ in told]
        self._soon(self._go_on, told, alone)

    def _go_on(self, told: list[_Told], alone: list[_Wanted]) -> None:
        """Tell what came of a group, and do what is wanted next."""
        try:
            for waiter, outcome, failure in told:
                tell(waiter, outcome, failure)
        except BaseException as error:  # as above
            for waiter, _, _ in told:
                tell(waiter, None, for_another(error))
            self._submit(self._threads, self._each_alone, alone)
            raise
        if alone:
            self._submit(self._threads, self._each_alone, alone)
        elif self._queue:
            self._work()
        else:
            self._working = False
            if self._quiet is not None:
                tell(self._quiet, None, None)

    def _each_alone(self, wanted: list[_Wanted]) -> None:
        for command, waiter in wanted:
            outcome, failed = None, None
            try:
                outcome = self._alone(command)
            except BaseException as error:  # noqa: BLE001  # as above
                failed = error
            self._soon(tell, waiter, outcome, failed)
        self._soon(self._go_on, [], [])

    def _soon(self, work: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the event loop has ended: no one waits any more
            self._loop.call_soon_threadsafe(work, *arguments)


def _done(group: Group, wanted: list[_Wanted]) -> tuple[list[_Told], list[_Wanted]]:
    """Do everything in one transaction; return what came of it, and what has to be done alone."""
    told: list[_Told] = []
    alone: list[_Wanted] = []
    for command, waiter in wanted:
        try:
            told.append((waiter, group.do(command), None))
        except NotTogetherError:
            alone.append((command, waiter))
        except BaseException as error:  # noqa: BLE001  # whatever it is, its caller must know
            told.append((waiter, None, error))
    return told, alone


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
