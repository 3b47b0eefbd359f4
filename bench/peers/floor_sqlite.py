"""The floor's rows in SQLite: one connection, a thread that commits."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

_writer = ThreadPoolExecutor(1)


@cache
def database() -> sqlite3.Connection:
    opened = sqlite3.connect(
        os.environ["BENCH_DATABASE"], check_same_thread=False, isolation_level=None
    )
    opened.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE IF NOT EXISTS users"
        " (id INTEGER PRIMARY KEY, procore_id INTEGER UNIQUE, email TEXT);"
        "CREATE TABLE IF NOT EXISTS sessions"
        " (id TEXT PRIMARY KEY, user_id INTEGER, access_token TEXT, refresh_token TEXT)"
        " WITHOUT ROWID"
    )
    return opened


async def commit(session: str, me: dict[str, Any], tokens: dict[str, Any]) -> None:
    work = partial(_commit, session, me, tokens)
    await asyncio.get_running_loop().run_in_executor(_writer, work)


def _commit(session: str, me: dict[str, Any], tokens: dict[str, Any]) -> None:
    writer = database()
    writer.execute("BEGIN IMMEDIATE")
    (user_id,) = writer.execute(
        "INSERT INTO users (procore_id, email) VALUES (?, ?)"
        " ON CONFLICT (procore_id) DO UPDATE SET email = excluded.email RETURNING id",
        (me["id"], me["login"]),
    ).fetchone()
    writer.execute(
        "INSERT INTO sessions VALUES (?, ?, ?, ?)",
        (session, user_id, tokens["access_token"], tokens["refresh_token"]),
    )
    writer.execute("COMMIT")


async def row_of(session: str | None) -> tuple[Any, ...] | None:
    found: tuple[Any, ...] | None = (
        database()
        .execute(
            "SELECT users.id, procore_id, email FROM sessions JOIN users ON users.id = user_id"
            " WHERE sessions.id = ?",
            (session,),
        )
        .fetchone()
    )
    return found
