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
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from procore_signin._store.engine.command import Command
from procore_signin._store.engine.database import Group, NotTogetherError, Transaction
from procore_signin._store.engine.failures import Failed, failed_by
from procore_signin._store.engine.shared_outcome import copy_of, tell
from procore_signin._store.engine.statement import Texts
from procore_signin._store.keys.token_seal import TokenSeal

T = TypeVar("T")

OTHERS_SECONDS: Final = 0.5
"""How long a group waits for those of other event loops of this process."""

BEAT_SECONDS: Final = 1.0
"""How soon work goes on by itself where an interrupt took along what was to go on with it."""

_Wanted = tuple[Command[Any], asyncio.Future[Any]]
_Told = tuple[asyncio.Future[Any], Any, BaseException | None]


class _Batch:
    """What is done in one transaction: first on the event loop, then on a thread.

    Attributes:
        wanted: All of it.
        groups: The transaction, once it has begun.
        jobs: What is left to do on a thread: one job, once it is known.
        threads: Whose job it is.
        taken: Whether a thread has begun it. What a thread has begun, it ends.
    """

    __slots__ = ("groups", "jobs", "taken", "threads", "wanted")

    def __init__(self, wanted: list[_Wanted], threads: Executor) -> None:
        self.wanted: Final = wanted
        self.groups: Final[list[Group]] = []
        self.jobs: Final[deque[Callable[[], None]]] = deque()
        self.threads = threads
        self.taken = False


class GroupCommit:
    """Does the writes of one event loop's flows.

    It has no task of its own: nothing that an event loop cancels at its end. A flow that must not
    be lost waits for its write, and the event loop for that flow.

    A signal handler may raise in any line that runs on the event loop, and so take along what was
    to go on with the work (row R13). So what there is to do is known here, not to a callback: each
    turn takes it up where it stands, and there are more turns than would be needed.

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
        begin: Callable[[float, list[Group]], Group | None],
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
        self._batch: _Batch | None = None
        self._told: Final[deque[_Told]] = deque()
        self._beat: asyncio.TimerHandle | None = None
        self._quiet: asyncio.Future[None] | None = None

    def do(self, command: Command[T]) -> asyncio.Future[T]:
        """Do a command; what came of it is told once that is durable.

        It is carried out also for a caller that is cancelled meanwhile.
        """
        waiter: asyncio.Future[T] = self._loop.create_future()
        self._queue.append((command, waiter))
        if self._batch is None:
            self._loop.call_soon(self._turn)
        if self._beat is None or self._beat.when() < self._loop.time():
            self._beat = self._loop.call_later(BEAT_SECONDS, self._look)
        return waiter

    async def drained(self) -> None:
        """Wait until nothing is under way."""
        while not self._is_quiet():
            self._quiet = self._loop.create_future()
            await asyncio.wait([self._quiet], timeout=BEAT_SECONDS)
            self._turn()

    def _is_quiet(self) -> bool:
        return not self._queue and self._batch is None and not self._told

    def _look(self) -> None:
        self._beat = None
        if not self._is_quiet():
            self._beat = self._loop.call_later(BEAT_SECONDS, self._look)
            self._turn()

    def _turn(self) -> None:
        """Tell what has come of a group, and begin the next one."""
        told = self._told
        while told:  # which a thread may add to
            tell(*told[0])
            told.popleft()
        batch = self._batch
        if batch is not None:
            if not batch.taken:  # only an interrupt leaves one so
                self._take_up(batch)
        elif self._queue:
            self._work()
        elif self._quiet is not None:
            tell(self._quiet, None, None)

    def _work(self) -> None:
        """Do what is wanted by now in one transaction, and have it flushed."""
        batch = _Batch(self._queue, self._flusher)
        self._batch, self._queue = batch, []
        try:
            group = self._begin(0, batch.groups)
            if group is None:
                batch.threads = self._threads
                self._hand_over(batch, partial(self._when_others_are_done, batch))
                return
            told, alone = _done(group, batch.wanted)
            self._hand_over(batch, partial(self._flush, batch, group, told, alone))
        except BaseException:  # an interrupt met this callback
            self._loop.call_soon(self._turn)
            raise

    def _take_up(self, batch: _Batch) -> None:
        """Go on with what an interrupt has met: undo it, and do it again off the event loop."""
        if batch.jobs:
            self._submit(batch)
            return
        batch.threads = self._threads
        self._hand_over(batch, partial(self._when_others_are_done, batch))

    def _hand_over(self, batch: _Batch, job: Callable[[], None]) -> None:
        batch.jobs.append(job)
        self._submit(batch)

    def _submit(self, batch: _Batch) -> None:
        try:
            batch.threads.submit(self._take, batch)
        except RuntimeError:  # they have ended with the runner: the last caller waits here
            self._take(batch)

    def _take(self, batch: _Batch) -> None:
        batch.taken = True
        try:
            job = batch.jobs.popleft()
        except IndexError:  # it was submitted twice
            return
        job()

    def _when_others_are_done(self, batch: _Batch) -> None:
        """Do what is wanted in one transaction, on a thread: another event loop's are under way.

        Where an interrupt has met one that had begun, perhaps half of it was done: it is undone.
        """
        while batch.groups:
            batch.groups.pop().undo()
        group = self._begin(OTHERS_SECONDS, [])
        if group is None:
            self._each_alone(batch.wanted)
        else:
            self._flush(batch, group, *_done(group, batch.wanted))

    def _flush(self, batch: _Batch, group: Group, told: list[_Told], alone: list[_Wanted]) -> None:
        try:
            group.commit()
        except NotTogetherError:
            told, alone = [], batch.wanted
        except BaseException as failed:  # noqa: BLE001  # as above
            # Also what a command found may be what another one of this group had written.
            told = [(waiter, None, copy_of(failed)) for waiter, _, _ in told]
        if not alone:
            self._end(told)
            return
        self._tell(told)
        batch.threads = self._threads
        batch.jobs.append(partial(self._each_alone, alone))
        self._submit(batch)

    def _each_alone(self, wanted: list[_Wanted]) -> None:
        for command, waiter in wanted:
            outcome, failed = None, None
            try:
                outcome = self._alone(command)
            except BaseException as error:  # noqa: BLE001  # as above
                failed = error
            self._tell([(waiter, outcome, failed)])
        self._end([])

    def _tell(self, told: list[_Told]) -> None:
        """Have the event loop tell this, from a thread."""
        self._told.extend(told)
        with suppress(RuntimeError):  # the event loop has ended: no one waits any more
            self._loop.call_soon_threadsafe(self._turn)

    def _end(self, told: list[_Told]) -> None:
        self._told.extend(told)
        self._batch = None
        self._tell([])


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

    def undo(self) -> None:
        """See `Group.undo`."""
        self._spoiled = True
        with suppress(NotTogetherError):
            self.commit()

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
