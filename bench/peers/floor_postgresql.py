"""The floor's rows in PostgreSQL, the fastest way that we know.

asyncpg on a few connections. A sign-in is one statement, which is a durable transaction by itself.
The look-ups that come in one turn of the event loop, or while every connection is busy, go as one
statement: with many callers a look-up costs a fraction of a round trip.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import asyncpg

CONNECTIONS = 4
TABLES = """
CREATE TABLE IF NOT EXISTS users (id SERIAL PRIMARY KEY, procore_id BIGINT UNIQUE, email TEXT);
CREATE TABLE IF NOT EXISTS sessions
  (id TEXT PRIMARY KEY, user_id INTEGER, access_token TEXT, refresh_token TEXT)
"""
COMMIT = """
WITH person AS (
  INSERT INTO users (procore_id, email) VALUES ($2, $3)
  ON CONFLICT (procore_id) DO UPDATE SET email = excluded.email RETURNING id
)
INSERT INTO sessions SELECT $1, id, $4, $5 FROM person
"""
LOOK_UP = """
SELECT sessions.id, users.id, procore_id, email FROM sessions JOIN users ON users.id = user_id
WHERE sessions.id = ANY($1::text[])
"""


class Database:
    """One pool for the writers, and for the readers connections that are free or busy."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[tuple[Any, ...] | None]]] = {}
        self._free: list[Any] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked = False

    async def open(self) -> None:
        url = os.environ["BENCH_POSTGRESQL"]
        self.writers = await asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS)
        await self.writers.execute(TABLES)
        for _ in range(CONNECTIONS):
            connection = await asyncpg.connect(url)
            self._free.append(await connection.prepare(LOOK_UP))

    async def look_up(self, session: str) -> tuple[Any, ...] | None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[Any, ...] | None] = loop.create_future()
        self._waiting.setdefault(session, []).append(answer)
        if self._free and not self._asked:
            self._asked = True
            loop.call_soon(self._ask)
        return await answer

    def _ask(self) -> None:
        self._asked = False
        if self._waiting and self._free:
            waiting, self._waiting = self._waiting, {}
            task = asyncio.get_running_loop().create_task(self._fetch(self._free.pop(), waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fetch(
        self, statement: Any, waiting: dict[str, list[asyncio.Future[tuple[Any, ...] | None]]]
    ) -> None:
        rows: Sequence[Any] = await statement.fetch(list(waiting))
        found = {row[0]: tuple(row)[1:] for row in rows}
        for session, answers in waiting.items():
            for answer in answers:
                if not answer.done():
                    answer.set_result(found.get(session))
        self._free.append(statement)
        self._ask()


_database: asyncio.Task[Database] | None = None


async def database() -> Database:
    global _database  # noqa: PLW0603  # opened by the first request, on the loop of the server
    if _database is None:
        _database = asyncio.get_running_loop().create_task(_opened())
    return _database.result() if _database.done() else await _database


async def _opened() -> Database:
    opened = Database()
    await opened.open()
    return opened


async def commit(session: str, me: dict[str, Any], tokens: dict[str, Any]) -> None:
    writers = (await database()).writers
    await writers.execute(
        COMMIT, session, me["id"], me["login"], tokens["access_token"], tokens["refresh_token"]
    )


async def row_of(session: str | None) -> tuple[Any, ...] | None:
    return await (await database()).look_up(session or "")
