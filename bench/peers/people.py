"""The users table of the Python peers on SQLite, with a write-ahead log.

The tutorial's three columns, and what a page shows besides. Commits are flushed to the disk, as
SQLite does unless told otherwise: the same durability as the application's. One connection stays
open, which is kinder to a peer than opening one each time.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from datetime import UTC, datetime
from typing import Any

from page import Person


class People:
    """Finds people by Procore's id, and makes those who are new."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            os.environ["BENCH_DATABASE"], check_same_thread=False, isolation_level=None
        )
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS users"
            " (id INTEGER PRIMARY KEY, procore_id INTEGER UNIQUE, email VARCHAR(255),"
            " name VARCHAR(255), me TEXT, created_at INTEGER, last_signed_in_at INTEGER)"
        )

    def signed_in(self, me: dict[str, Any]) -> int:
        """Return the id of the user, who is made if need be."""
        now, text = int(time.time()), json.dumps(me)
        with self._lock:
            found = self._connection.execute(
                "SELECT id FROM users WHERE procore_id = ?", (me["id"],)
            ).fetchone()
            if found is not None:
                self._connection.execute(
                    "UPDATE users SET name = ?, me = ?, last_signed_in_at = ? WHERE id = ?",
                    (me["name"], text, now, found[0]),
                )
                return int(found[0])
            added = self._connection.execute(
                "INSERT INTO users"
                " (procore_id, email, name, me, created_at, last_signed_in_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (me["id"], me["login"], me["name"], text, now, now),
            )
            return int(added.lastrowid or 0)

    def row(self, user_id: int | None) -> list[object] | None:
        """Return the user's row, or None."""
        found = self._one("SELECT id, procore_id, email FROM users WHERE id = ?", user_id)
        return None if found is None else list(found)

    def person(self, user_id: int | None) -> Person | None:
        """Return all of the user that the page shows, or None."""
        found = self._one("SELECT * FROM users WHERE id = ?", user_id)
        if found is None:
            return None
        *texts, created_at, last_signed_in_at = found
        return Person(*texts, _moment(created_at), _moment(last_signed_in_at))

    def _one(self, statement: str, user_id: int | None) -> tuple[Any, ...] | None:
        with self._lock:
            found: tuple[Any, ...] | None = self._connection.execute(
                statement, (user_id,)
            ).fetchone()
        return found


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
