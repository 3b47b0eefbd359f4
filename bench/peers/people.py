"""The users table of every Python peer: the tutorial's, in SQLite with a write-ahead log.

Commits are flushed to the disk, as SQLite does unless told otherwise: the same durability as the
application's. One connection stays open, which is kinder to a peer than opening one each time.
"""

from __future__ import annotations

import os
import sqlite3
import threading


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
            " (id INTEGER PRIMARY KEY, procore_id INTEGER UNIQUE, email VARCHAR(255))"
        )

    def signed_in(self, procore_id: int, email: str) -> int:
        """Return the id of the user, who is made if need be."""
        with self._lock:
            found = self._connection.execute(
                "SELECT id FROM users WHERE procore_id = ?", (procore_id,)
            ).fetchone()
            if found is not None:
                return int(found[0])
            added = self._connection.execute(
                "INSERT INTO users (procore_id, email) VALUES (?, ?)", (procore_id, email)
            )
            return int(added.lastrowid or 0)

    def row(self, user_id: int | None) -> list[object] | None:
        """Return the user's row, or None."""
        with self._lock:
            found = self._connection.execute(
                "SELECT id, procore_id, email FROM users WHERE id = ?", (user_id,)
            ).fetchone()
        return None if found is None else list(found)
