"""What every Python peer's home page shows, beside what its template says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

WHEN = "%-d %B %Y, %H:%M UTC"
SESSION = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Person:
    """A row of the users table; `me` is Procore's response as it came."""

    id: int
    procore_id: int
    email: str
    name: str
    me: str
    created_at: datetime
    last_signed_in_at: datetime


def row_of(person: Person) -> list[object]:
    """Return the row that home shows to a program."""
    return [person.id, person.procore_id, person.email]


def values(person: Person, session_ends_at: datetime | None = None) -> dict[str, object]:
    """Return the values of `home.html`; a session in a cookie ends two weeks after the sign-in."""
    return {
        "person": person,
        "session_ends_at": session_ends_at or person.last_signed_in_at + SESSION,
        "row": json.dumps(row_of(person)),
        "me": json.dumps(json.loads(person.me), indent=2),
        "when": WHEN,
    }
