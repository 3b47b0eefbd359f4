"""Fills the application's SQLite database with people and sessions, faster than they could sign in.

    python -m harness.fill <database> <people> <sessions>

Run with the application's own Python. Session number i belongs to the cookie `seeded-session-i`.
"""

from __future__ import annotations

import hashlib
import sqlite3
import sys
import time
from collections.abc import Iterator

from procore_signin._store.migrate import upgrade

FIRST_PROCORE_ID = 10**9
PEOPLE = """
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :people)
INSERT INTO users (id, procore_id, email, name, environment, created_at, last_signed_in_at)
SELECT n, :first + n, 'person-' || n || '@example.com', 'Person ' || n, 'emulator', :now, :now
FROM number
"""
SESSION = """
INSERT INTO sessions (id_hash, user_id, environment, me_json, user_agent, created_at, last_seen_at,
                      idle_expires_at, absolute_expires_at)
VALUES (?, ?, 'emulator', ?, 'bench', ?, ?, ?, ?)
"""


def rows(people: int, sessions: int, now: int) -> Iterator[tuple[object, ...]]:
    """Yield the sessions, in the order of their hashes: an index grows fastest from its end."""
    hashed = sorted(
        (hashlib.sha256(f"seeded-session-{number}".encode()).hexdigest(), number)
        for number in range(sessions)
    )
    for id_hash, number in hashed:
        user = number * (people // sessions) + 1
        me = f'{{"id":{FIRST_PROCORE_ID + user},"login":"person-{user}@example.com"}}'
        # As if used a moment ago and in the future: no page of the measurement writes.
        yield id_hash, user, me, now, now + 7200, now + 86400, now + 86400


def fill(path: str, people: int, sessions: int) -> None:
    """Make the database and its rows."""
    upgrade(f"sqlite:///{path}")
    now = int(time.time())
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-1000000")
    connection.execute(PEOPLE, {"people": people, "first": FIRST_PROCORE_ID, "now": now})
    connection.executemany(SESSION, rows(people, sessions, now))
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


if __name__ == "__main__":
    fill(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
