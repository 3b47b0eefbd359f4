"""Whether rows can be written, found out without leaving a trace.

A standby, a server that was demoted and one that an operator has made read-only say so when they
are asked. Whether there is room on the disk no server says: only after a write has failed for want
of it is that tried out, with pages of a temporary table that goes at once.
"""

from __future__ import annotations

from typing import Any, Final

from procore_signin._store.engine.failures import Failed

FULL_SECONDS: Final = 10.0
"""How long MariaDB counts as full after a write found it so; the next writes find out."""

_READ_ONLY: Final = (
    "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
)
_TAKE_ROOM: Final = (
    "CREATE TEMPORARY TABLE procore_signin_room ON COMMIT DROP AS"
    " SELECT repeat(md5(random()::text), 200) AS filler FROM generate_series(1, 32)"
)


def take_room(cursor: Any) -> None:
    """Take some pages in PostgreSQL's transaction under way, which is to be rolled back."""
    cursor.execute(_TAKE_ROOM)


def may_write_postgresql(cursor: Any) -> None:
    """Raise `Failed` where PostgreSQL takes no writes."""
    cursor.execute(_READ_ONLY)
    if cursor.fetchone()[0]:
        raise Failed("read_only")


def may_write_mariadb(cursor: Any) -> None:
    """Raise an error of the driver where MariaDB takes no writes."""
    # Refused with 1290 where `read_only` is on, but to those whom it does not concern.
    cursor.execute("START TRANSACTION READ WRITE")
    cursor.execute("ROLLBACK")
