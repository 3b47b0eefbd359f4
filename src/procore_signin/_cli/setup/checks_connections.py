"""The doctor's arithmetic: how many processes the database server has connections for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from procore_signin._cli.setup.finding import Finding
from procore_signin._settings import Settings
from procore_signin._store.engine.migrating import writer_engine

_SECONDS: Final = 5
_CURE: Final = (
    "Lower PROCORE_DATABASE_CONNECTIONS, let the server admit more, or put a pooler in front of it."
)
_POSTGRESQL: Final = text("""
    SELECT current_setting('max_connections')::int,
           current_setting('superuser_reserved_connections')::int
             + coalesce(current_setting('reserved_connections', true), '0')::int,
           (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
           (SELECT datconnlimit FROM pg_database WHERE datname = current_database()),
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
""")
_MARIADB: Final = text("SELECT @@max_connections, @@max_user_connections")


@dataclass(frozen=True, slots=True)
class Room:
    """What a server admits.

    Attributes:
        admitted: Connections that this user may have in all.
        why: Which of its settings say so.
        taken: Connections that are open now, whosesoever they are.
    """

    admitted: int
    why: str
    taken: int


def check_connections(settings: Settings) -> Iterator[Finding]:
    """Compare what a process may open with what the server admits; nothing for SQLite."""
    address = settings.address
    if address.path is not None:
        return
    engine = writer_engine(address, timeout=_SECONDS, longest_statement=_SECONDS)
    try:
        with engine.connect() as connection:
            room = (
                _postgresql(connection) if address.backend == "postgresql" else _mariadb(connection)
            )
    except SQLAlchemyError:
        yield Finding(
            "connections",
            "warning",
            "How many connections the database server admits is not known.",
            "It did not say.",
            "Compare its limit with PROCORE_DATABASE_CONNECTIONS for each process.",
        )
    else:
        yield _compare(settings.database_connections, room)
    finally:
        engine.dispose()


def _compare(each: int, room: Room) -> Finding:
    half = each // 2
    what = (
        f"A process opens up to {2 * half} connections: {half} for reads and {half} for writes. "
        f"The server admits {room.admitted} ({room.why}); {room.taken} are open now, in all."
    )
    processes = room.admitted // (2 * half)
    if processes:
        return Finding("connections", "ok", f"{what} That is enough for {processes} processes.")
    return Finding("connections", "warning", what, "That is less than one process may open.", _CURE)


def _postgresql(connection: Connection) -> Room:
    most, reserved, of_role, of_database, taken = connection.execute(_POSTGRESQL).one()
    limits = {f"max_connections {most}, {reserved} of them reserved": most - reserved}
    # -1 is no limit; pg_roles says so of superusers as well.
    limits |= {f"CONNECTION LIMIT {of_role} of the user": of_role} if of_role >= 0 else {}
    limits |= (
        {f"CONNECTION LIMIT {of_database} of the database": of_database} if of_database >= 0 else {}
    )
    return _least(limits, taken)


def _mariadb(connection: Connection) -> Room:
    most, of_user = connection.execute(_MARIADB).one()
    limits = {f"max_connections {most}": int(most)}
    limits |= {f"max_user_connections {of_user}": int(of_user)} if of_user else {}
    row = connection.execute(text("SHOW GLOBAL STATUS LIKE 'Threads_connected'")).one()
    return _least(limits, int(row[1]))


def _least(limits: dict[str, int], taken: int) -> Room:
    why = min(limits, key=lambda each: limits[each])
    return Room(limits[why], why, taken)
