"""One command on an event loop: its statements in as few round trips as they allow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from psycopg.pq.abc import PGresult

from procore_signin._store.engine.command import Command
from procore_signin._store.engine.failures import Failed, failed_by
from procore_signin._store.engine.statement import (
    Bound,
    Change,
    ChangeEach,
    InsertAbsent,
    Last,
    Many,
    One,
    Statements,
    Texts,
    Together,
)
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.postgresql.connection import milliseconds
from procore_signin._store.postgresql.loop_connection import LoopConnection, Results, Told
from procore_signin._store.postgresql.loop_pool import LoopPool, Server
from procore_signin._store.postgresql.text import Prepared, error_in

_REST_SECONDS: Final = 0.5
_BEGIN: Final[Told] = (b"BEGIN ISOLATION LEVEL READ COMMITTED", None)
_LIMITS: Final = (
    b"SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)"
)
_COMMIT: Final[Told] = (b"COMMIT", None)
_ROLLBACK: Final[Told] = (b"ROLLBACK", None)


class Writing:
    """A command under way.

    Args:
        command: The command.
        seal: Seals and opens tokens.
        server: The server.
        connections: To it, for writes.
        told: Called once, with the outcome or the error.
    """

    def __init__(
        self,
        command: Command[Any],
        seal: TokenSeal,
        server: Server,
        connections: LoopPool,
        told: Callable[[Any, BaseException | None], None],
    ) -> None:
        self._command: Final = command
        self._seal: Final = seal
        self._server: Final = server
        self._connections: Final = connections
        self._told: Final = told
        self._began: Final = time.monotonic()
        self._moment: Final = self._began + server.timeout
        self._attempt = 0
        self._statements: Statements[Any]
        self._bound: Bound | None = None
        self._connection: LoopConnection | None = None
        self._open = False  # whether there is a transaction
        self._commits = False  # whether a COMMIT is under way
        self._value: Any = None

    def begin(self) -> None:
        """Run the command, from the start."""
        self._attempt += 1
        self._statements = self._command.run(self._seal)
        self._open = False
        if self._next(None):
            self._connections.take(self._moment, self._got)

    def _next(self, outcome: Any) -> bool:
        """Let the command say what comes next. False where it has ended with nothing to commit."""
        try:
            self._bound = self._statements.send(outcome)
        except StopIteration as end:
            self._value, self._bound = end.value, None
            if self._open:
                return True
            self._end(None)
            return False
        except BaseException as error:  # noqa: BLE001  # whatever it is, its caller must know
            self._end(error)
            return False
        return True

    def _got(self, connection: LoopConnection | None, failed: Failed | None) -> None:
        if connection is None:
            self._end(failed)
            return
        self._connection = connection
        self._send()

    def _send(self) -> None:
        bound, unit = self._bound, list[Told]()
        if not self._open:
            left = self._moment - time.monotonic()
            limits = milliseconds(self._server.lock_timeout, left)
            unit += [_BEGIN, (_LIMITS, [str(each).encode() for each in limits])]
        first = len(unit)
        try:
            if bound is not None:
                unit += _told(bound, self._server.texts)
        except Exception as error:  # noqa: BLE001  # a value that no statement can have
            self._end(failed_by(error))
            return
        self._commits = bound is None or isinstance(bound, Last)
        if self._commits:
            unit.append(_COMMIT)
        self._open = True
        assert self._connection is not None  # noqa: S101  # for the type checker
        self._connection.send([unit], self._moment, partial(self._came, first, len(unit)))

    def _came(self, first: int, count: int, results: Results, broken: Exception | None) -> None:
        came = results[0] if results else []
        error: Exception | None = error_in(came)
        if error is not None or len(came) < count:
            before = error is not None and len(came) < count
            began = self._commits and not before
            self._failed(error or broken, lost=broken is not None, began=began)
            return
        bound, self._open = self._bound, not self._commits
        if self._commits:
            self._server.wrote()
        if bound is None:
            self._end(None)
            return
        try:
            outcome = _outcome(bound, iter(came[first:]), self._server.texts)
        except ValueError as unreadable:  # the database's encoding is none that we read
            self._end(failed_by(unreadable))
            return
        if self._next(outcome):
            self._send()

    def _failed(self, error: Exception | None, *, lost: bool, began: bool) -> None:
        """Tell what is known.

        Args:
            error: What failed.
            lost: Whether the connection broke.
            began: Whether the COMMIT may have been begun. A statement before it that failed keeps
                it from doing anything. A server that is told to end answers a COMMIT with that
                which it has carried out, when it waits for a standby.
        """
        assert error is not None  # noqa: S101  # for the type checker
        failed = failed_by(error, lost=lost)
        self._end(Failed("uncertain", failed.code) if lost and began else failed, lost=lost)

    def _end(self, error: BaseException | None, *, lost: bool = False) -> None:
        """Bring the connection to rest, then tell, or begin again."""
        connection = self._connection
        if lost or (isinstance(error, Failed) and error.failure == "read_only"):
            self._connections.pool.renew()
        if connection is None or not self._open or not connection.open:
            self._rested(error)
            return
        until = time.monotonic() + _REST_SECONDS
        connection.send([[_ROLLBACK]], until, lambda _results, _broken: self._rested(error))

    def _rested(self, error: BaseException | None) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._connections.give_back(connection)
        if not isinstance(error, Failed):
            self._told(None if error is not None else self._value, error)
            return
        spent = time.monotonic() - self._began
        pause = self._server.patience.pause(error, self._attempt, spent)
        if pause is None:
            self._server.note(error, self._began)
            self._told(None, error.raised(self._server.label))
        else:
            self._connections.later(pause, self.begin)


def _told(bound: Bound, texts: Texts) -> Iterator[Told]:
    if isinstance(bound, Last):
        bound = bound.bound
    if isinstance(bound, Together):
        for each in bound.bound:
            yield from _told(each, texts)
        return
    prepared = Prepared.of(texts[bound.sql])
    if isinstance(bound, ChangeEach):
        yield from map(prepared.told, bound.each)
    else:
        yield prepared.told(bound.values)


def _outcome(bound: Bound, results: Iterator[PGresult], texts: Texts) -> Any:
    """Return what the command is sent for `bound`, and take its results."""
    if isinstance(bound, Last):
        bound = bound.bound
    if isinstance(bound, Together):
        return [_outcome(each, results, texts) for each in bound.bound]
    if isinstance(bound, ChangeEach):
        return sum(next(results).command_tuples or 0 for _ in bound.each)
    result = next(results)
    if isinstance(bound, Change):
        return result.command_tuples or 0
    rows = Prepared.of(texts[bound.sql]).rows(result)
    if isinstance(bound, Many):
        return rows
    if isinstance(bound, One):
        return rows[0] if rows else None
    assert isinstance(bound, InsertAbsent)  # noqa: S101  # for the type checker
    return rows[0][0] if rows else None
