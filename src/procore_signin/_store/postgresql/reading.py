"""Look-ups of all who wait, as one statement for each class; the next are collected meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from psycopg.pq.abc import PGresult

from procore_signin._store.engine.command import LookUp, Query
from procore_signin._store.engine.failures import Failed, failed_by
from procore_signin._store.engine.shared_outcome import tell
from procore_signin._store.engine.statement import Many, Row, Sql, Statements, Values
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.postgresql.callbacks import Callbacks
from procore_signin._store.postgresql.loop_connection import LoopConnection, Results, Told
from procore_signin._store.postgresql.loop_pool import LoopPool, Server
from procore_signin._store.postgresql.text import Prepared, error_in

_LATE_SECONDS: Final = 0.02
"""How long look-ups wait for those before them. What takes longer is slow, or waits for a lock."""

_MOST: Final = 500
"""In one statement."""


class Asked:
    """A query and who waits for it.

    Args:
        query: The query.
        seal: Opens tokens.
        moment: Until when, by `time.monotonic`.
        waiter: Is told.
    """

    __slots__ = (
        "_query",
        "_seal",
        "_statements",
        "alone",
        "attempt",
        "began",
        "moment",
        "sql",
        "values",
        "waiter",
    )

    def __init__(
        self, query: Query[Any], seal: TokenSeal, moment: float, waiter: asyncio.Future[Any]
    ) -> None:
        self._query: Final = query
        self._seal: Final = seal
        self.moment: Final = moment
        self.waiter: Final = waiter
        self.began = time.monotonic()
        self.attempt = 0
        self.sql: Sql
        self.values: Values
        self._statements: Statements[Any] | None = None
        self.alone = True
        if isinstance(query, LookUp):
            self.sql, self.values, self.alone = query.sql, query.values(), not query.by_key
        else:
            self._statements = query.run(seal)
            self._wants(next(self._statements))

    def _wants(self, bound: object) -> None:
        if not isinstance(bound, Many):
            raise TypeError("A query finds rows, and changes none.")
        self.sql, self.values = bound.sql, bound.values

    def found(self, rows: Sequence[Row]) -> bool:
        """Take the rows, and return whether that was all."""
        try:
            if self._statements is not None:
                self._wants(self._statements.send(rows))
                return False
            assert isinstance(self._query, LookUp)  # noqa: S101  # for the type checker
            outcome = self._query.read(rows, self._seal)
        except StopIteration as end:
            outcome = end.value
        except BaseException as error:  # noqa: BLE001  # whatever it is, its caller must know
            tell(self.waiter, None, error)
            return True
        tell(self.waiter, outcome, None)
        return True


class Reader:
    """Asks for all of one event loop.

    Args:
        server: The server.
        connections: To it.
        callbacks: Of the event loop, which is running.
    """

    def __init__(self, server: Server, connections: LoopPool, callbacks: Callbacks) -> None:
        self._server: Final = server
        self._connections: Final = connections
        self._callbacks: Final = callbacks
        self._pending: list[Asked] = []
        self._under_way = 0
        self._late: asyncio.TimerHandle | None = None

    def ask(self, asked: Asked) -> None:
        """Ask, at once or together with others."""
        self._pending.append(asked)
        if not self._under_way:
            self._send_off()
        elif self._late is None:
            self._late = self._callbacks.later(_LATE_SECONDS, self._send_off)

    def begin_anew(self) -> None:
        """Forget who waits, after an interrupt."""
        self._pending, self._under_way = [], 0
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _send_off(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
        pending, self._pending = self._pending, []
        wanted = [asked for asked in pending if not asked.waiter.done()]
        if wanted:
            self._under_way += 1
            self._connections.take(wanted[0].moment, partial(self._got, wanted))

    def _got(
        self, wanted: list[Asked], connection: LoopConnection | None, failed: Failed | None
    ) -> None:
        if connection is None:
            assert failed is not None  # noqa: S101  # for the type checker
            self._ended()
            self._fail(wanted, failed)
            return
        units: list[list[Told]] = []
        groups: list[list[Asked]] = []
        for group in self._grouped(wanted):
            try:
                units.append([self._told(group)])
            except Exception as error:  # noqa: BLE001  # a value that no statement can have
                if len(group) == 1:
                    self._fail(group, failed_by(error))
                else:
                    self._again_alone(group)
            else:
                groups.append(group)
        if not units:
            self._connections.give_back(connection)
            self._ended()
            return
        connection.send(units, wanted[0].moment, partial(self._came, connection, groups))

    def _grouped(self, wanted: list[Asked]) -> list[list[Asked]]:
        known: dict[Sql, list[Asked]] = {}
        groups = []
        for asked in wanted:
            group = None if asked.alone else known.get(asked.sql)
            if group is None or len(group) == _MOST:
                group = []
                groups.append(group)
                if not asked.alone:
                    known[asked.sql] = group
            group.append(asked)
        return groups

    def _told(self, group: list[Asked]) -> Told:
        prepared = Prepared.of(self._server.texts[group[0].sql])
        if len(group) == 1:
            return prepared.told(group[0].values)
        return prepared.told_together([asked.values for asked in group])

    def _came(
        self,
        connection: LoopConnection,
        groups: list[list[Asked]],
        results: Results,
        broken: Exception | None,
    ) -> None:
        self._connections.give_back(connection)
        self._ended()  # first: the next are under way while these are told
        for number, group in enumerate(groups):
            unit = results[number] if number < len(results) else []
            error = error_in(unit) or (broken if not unit else None)
            if error is not None:
                self._failed(group, error, broken)
                continue
            try:
                found = self._found(group, unit[0])
            except ValueError as unreadable:  # the database's encoding is none that we read
                self._fail(group, failed_by(unreadable))
                continue
            for asked, rows in zip(group, found, strict=True):
                if not asked.found(rows):
                    self.ask(asked)

    def _found(self, group: list[Asked], result: PGresult) -> Sequence[Sequence[Row]]:
        prepared = Prepared.of(self._server.texts[group[0].sql])
        if len(group) == 1:
            return [prepared.rows(result)]
        return prepared.rows_together(result, len(group))

    def _failed(self, group: list[Asked], error: Exception, broken: Exception | None) -> None:
        failed = failed_by(error, lost=broken is not None)
        if broken is not None:
            self._connections.pool.renew()
        elif len(group) > 1:
            self._again_alone(group)
            return
        self._fail(group, failed)

    def _again_alone(self, group: list[Asked]) -> None:
        """Find out which one of several it was: the others have nothing to do with it."""
        for asked in group:
            asked.alone = True
            self.ask(asked)

    def _fail(self, group: list[Asked], failed: Failed) -> None:
        now = time.monotonic()
        for asked in group:
            asked.attempt += 1
            pause = self._server.patience.pause(failed, asked.attempt, now - asked.began)
            if pause is None:
                self._server.note(failed, asked.began)
                tell(asked.waiter, None, failed.raised(self._server.label))
            else:
                self._callbacks.later(pause, self.ask, asked)

    def _ended(self) -> None:
        self._under_way -= 1
        if self._pending:
            self._send_off()
