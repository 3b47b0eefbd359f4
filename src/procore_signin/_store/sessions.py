"""Sessions: a random cookie's hash, whose it is, and until when (rows S1 to S7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Final

from sqlalchemy import bindparam, case, delete, func, insert, select, update

from procore_signin._store.engine.command import Command, LookUp
from procore_signin._store.engine.statement import (
    Change,
    Last,
    Row,
    Sql,
    Statements,
    Values,
    change,
    change_each,
    many,
    one,
)
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._store.linking.links import stay_beside
from procore_signin._store.records import (
    NewLink,
    NewSession,
    Session,
    User,
    check_limit,
    storable,
)
from procore_signin._store.schema import sessions, users

_USER_AGENT_LENGTH: Final = 255

# The order of these columns is the order of the fields of Session and User.
_COLUMNS: Final = (
    sessions.c.id,
    *users.c,
    sessions.c.created_at,
    sessions.c.last_seen_at,
    sessions.c.idle_expires_at,
    sessions.c.absolute_expires_at,
    sessions.c.user_agent,
    sessions.c.reference,
)
_AFTER_USER: Final = 1 + len(users.c)

_this: Final = sessions.c.id == bindparam("which_session")
_of_cookie: Final = sessions.c.id_hash == bindparam("which_hash")
_of_user: Final = sessions.c.user_id == bindparam("which_user")
# Not `==`: from two that are equal to a third PostgreSQL concludes that users can be found by their
# environment, and reads all of them for each page where it has no statistics yet.
_same_environment: Final = users.c.environment.is_not_distinct_from(sessions.c.environment)
_owner: Final = (users.c.id == sessions.c.user_id) & _same_environment
_open: Final = (
    sessions.c.idle_expires_at > bindparam("now"),
    sessions.c.absolute_expires_at > bindparam("now"),
)
_live: Final = (*_open, users.c.disabled_at.is_(None))
_current: Final = (_of_cookie, sessions.c.environment == bindparam("which_environment"), *_live)
# A session's idle end is never later than its absolute end, so the idle end alone decides here.
_ended: Final = sessions.c.idle_expires_at <= bindparam("now")


def _session(row: Row) -> Session:
    return Session(row[0], User(*row[1:_AFTER_USER]), *row[_AFTER_USER:])


@dataclass(frozen=True, slots=True, repr=False)
class SessionOf(LookUp[Session | None]):
    """The open session of a cookie, by the SHA-256 of its token.

    One indexed read. Every page with a cookie makes it, so that an ended session and a disabled
    user are out at once in every process (rows S3, I5). None where it is unknown, ended, expired,
    of another environment, or its user is disabled.
    """

    id_hash: str
    _: KW_ONLY
    environment: str
    now: int

    by_key: ClassVar = True
    sql: ClassVar = Sql(select(*_COLUMNS).join_from(sessions, users, _owner).where(*_current))

    def values(self) -> Values:
        return {
            "which_hash": self.id_hash,
            "which_environment": self.environment,
            "now": self.now,
        }

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> Session | None:
        return _session(rows[0]) if rows else None


@dataclass(frozen=True, slots=True, repr=False)
class SessionAndMe(LookUp[tuple[Session, str] | None]):
    """The same session, and what `/me` answered at its sign-in, as JSON text."""

    id_hash: str
    _: KW_ONLY
    environment: str
    now: int

    by_key: ClassVar = True
    sql: ClassVar = Sql(
        select(*_COLUMNS, sessions.c.me_json).join_from(sessions, users, _owner).where(*_current)
    )

    def values(self) -> Values:
        return {
            "which_hash": self.id_hash,
            "which_environment": self.environment,
            "now": self.now,
        }

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> tuple[Session, str] | None:
        if not rows:
            return None
        *columns, me_json = rows[0]
        return _session(columns), str(me_json)


@dataclass(frozen=True, slots=True, repr=False)
class SessionsOf(LookUp[list[Session]]):
    """A user's open sessions, the last used one first."""

    user_id: int
    now: int

    sql: ClassVar = Sql(
        select(*_COLUMNS)
        .join_from(sessions, users, _owner)
        .where(_of_user, *_live)
        .order_by(sessions.c.last_seen_at.desc(), sessions.c.id.desc())
    )

    def values(self) -> Values:
        return {"which_user": self.user_id, "now": self.now}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> list[Session]:
        return [_session(row) for row in rows]


@dataclass(frozen=True, slots=True, repr=False)
class OpenSessions(LookUp[list[Session]]):
    """Everyone's open sessions, the oldest first.

    Attributes:
        now: Unix seconds.
        after: Only sessions with a greater id, to go on where a list ended.
        limit: As many at most.
    """

    _: KW_ONLY
    now: int
    after: int = 0
    limit: int = 100

    sql: ClassVar = Sql(
        select(*_COLUMNS)
        .join_from(sessions, users, users.c.id == sessions.c.user_id)
        .where(sessions.c.id > bindparam("after"), *_live)
        .order_by(sessions.c.id)
        .limit(bindparam("limit"))
    )

    def values(self) -> Values:
        return {"now": self.now, "after": self.after, "limit": self.limit}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> list[Session]:
        return [_session(row) for row in rows]


@dataclass(frozen=True, slots=True, repr=False)
class CountSessions(LookUp[int]):
    """How many sessions have not ended. It reads an index from end to end."""

    _: KW_ONLY
    now: int

    long: ClassVar = True
    sql: ClassVar = Sql(
        select(func.count())
        .select_from(sessions)
        .where(sessions.c.idle_expires_at > bindparam("now"))
    )

    def values(self) -> Values:
        return {"now": self.now}

    def read(self, rows: Sequence[Row], seal: TokenSeal) -> int:
        return int(rows[0][0])


_TOUCH: Final = Sql(
    update(sessions)
    .where(_this, sessions.c.last_seen_at <= bindparam("now"), *_open)
    .values(
        last_seen_at=bindparam("now"),
        idle_expires_at=case(
            (
                sessions.c.absolute_expires_at < bindparam("idle_end"),
                sessions.c.absolute_expires_at,
            ),
            else_=bindparam("idle_end"),
        ),
    )
)


@dataclass(frozen=True, slots=True, repr=False)
class TouchSession(Command[bool]):
    """Note that a session is in use and put off its idle end, at most to its absolute end.

    False where it has ended or expired, and it stays so (row S4), or where a later use was noted
    already.
    """

    session_id: int
    _: KW_ONLY
    now: int
    idle_expires_at: int

    def run(self, seal: TokenSeal) -> Statements[bool]:
        values = {
            "which_session": self.session_id,
            "now": self.now,
            "idle_end": self.idle_expires_at,
        }
        return bool((yield Last(Change(_TOUCH, values))))


_BIND: Final = Sql(update(sessions).where(_this), "reference")
_BIND_FREE: Final = Sql(update(sessions).where(_this, sessions.c.reference.is_(None)), "reference")


@dataclass(frozen=True, slots=True, repr=False)
class BindSession(Command[bool]):
    """Note whose login at the application a session belongs to; it ends with that (row L1).

    False where it has ended, or belongs to one already and is not to be moved.

    Attributes:
        session_id: The session.
        reference: The application's own name for its user.
        move: Whether it may belong to another one's before.
        beside: Whose session it is, and the connection to that login which is not made, but has
            to be possible; or None.

    Raises:
        AlreadyLinked: It is not. Nothing was written.
    """

    session_id: int
    reference: str
    _: KW_ONLY
    move: bool = False
    beside: tuple[int, NewLink] | None = None

    def run(self, seal: TokenSeal) -> Statements[bool]:
        if self.beside is not None:
            yield from stay_beside(*self.beside)
        values = {"which_session": self.session_id, "reference": self.reference}
        return (yield from change(_BIND if self.move else _BIND_FREE, values)) == 1


_END_OF_USER: Final = Sql(delete(sessions).where(_this, _of_user))


@dataclass(frozen=True, slots=True, repr=False)
class EndSessionOf(Command[bool]):
    """End a session that the user chose from the list. False where it is not the user's."""

    user_id: int
    session_id: int

    def run(self, seal: TokenSeal) -> Statements[bool]:
        values = {"which_user": self.user_id, "which_session": self.session_id}
        return bool((yield Last(Change(_END_OF_USER, values))))


_END_ALL_OF_USER: Final = Sql(delete(sessions).where(_of_user))


@dataclass(frozen=True, slots=True, repr=False)
class EndSessions(Command[int]):
    """End all sessions of a user; it returns how many (row S6)."""

    user_id: int

    def run(self, seal: TokenSeal) -> Statements[int]:
        return (yield from end_all(self.user_id))


_END_OTHERS_OF_USER: Final = Sql(
    delete(sessions).where(_of_user, sessions.c.id != bindparam("which_session"))
)


@dataclass(frozen=True, slots=True, repr=False)
class EndOtherSessions(Command[int]):
    """End all sessions of a user but one; it returns how many."""

    user_id: int
    session_id: int

    def run(self, seal: TokenSeal) -> Statements[int]:
        values = {"which_user": self.user_id, "which_session": self.session_id}
        return (yield from change(_END_OTHERS_OF_USER, values))


def end_all(user_id: int) -> Statements[int]:
    """End all sessions of a user and return how many."""
    return (yield from change(_END_ALL_OF_USER, {"which_user": user_id}))


_ANY: Final = Sql(select(sessions.c.id).order_by(sessions.c.id).limit(bindparam("limit")))
_END: Final = Sql(delete(sessions).where(_this))


@dataclass(frozen=True, slots=True, repr=False)
class EndSomeSessions(Command[int]):
    """End sessions, of any user, at most `limit`; it returns 0 when none is left (row S6)."""

    _: KW_ONLY
    limit: int = 1000

    def run(self, seal: TokenSeal) -> Statements[int]:
        rows = yield from many(_ANY, {"limit": self.limit})
        return (yield from change_each(_END, ({"which_session": number} for (number,) in rows)))


_ENDED: Final = Sql(
    select(sessions.c.id)
    .where(_ended)
    .order_by(sessions.c.idle_expires_at)
    .limit(bindparam("limit"))
)
_PURGE: Final = Sql(delete(sessions).where(_this, _ended))


@dataclass(frozen=True, slots=True, repr=False)
class PurgeSessions(Command[int]):
    """Delete expired sessions, at most `limit`; it returns how many (row O6).

    Raises:
        ValueError: `limit` is not 1 to 10,000.
    """

    now: int
    limit: int = 1000

    long: ClassVar = True

    def __post_init__(self) -> None:
        check_limit(self.limit)

    def run(self, seal: TokenSeal) -> Statements[int]:
        rows = yield from many(_ENDED, {"now": self.now, "limit": self.limit})
        ended = ({"which_session": number, "now": self.now} for (number,) in rows)
        return (yield from change_each(_PURGE, ended))


_END_OF_COOKIE: Final = Sql(delete(sessions).where(_of_cookie))
_INSERT: Final = Sql(
    insert(sessions).inline(), *(column.name for column in sessions.c if column.name != "id")
)


def opening(
    user_id: int, environment: str, session: NewSession, *, replaces: str | None, now: int
) -> list[Change]:
    """Return what opens a session, and ends the one that the browser held before (row S2).

    Args:
        user_id: Whose. The one before may be anyone's.
        environment: Where.
        session: Which.
        replaces: `id_hash` of the session cookie that the browser sent, or None.
        now: Unix seconds.
    """
    agent = session.user_agent
    values = {
        "id_hash": session.id_hash,
        "user_id": user_id,
        "environment": environment,
        "me_json": session.me_json,
        "user_agent": None if agent is None else storable(agent, _USER_AGENT_LENGTH),
        "created_at": now,
        "last_seen_at": now,
        "idle_expires_at": min(session.idle_expires_at, session.absolute_expires_at),
        "absolute_expires_at": session.absolute_expires_at,
        "reference": session.reference,
    }
    opened = [Change(_INSERT, values)]
    return (
        opened if replaces is None else [Change(_END_OF_COOKIE, {"which_hash": replaces}), *opened]
    )


_OPENED_AT: Final = Sql(
    select(sessions.c.me_json)
    .where(
        _of_user,
        sessions.c.environment == bindparam("which_environment"),
        sessions.c.created_at == bindparam("opened_at"),
        *_open,
    )
    .order_by(sessions.c.id)
    .limit(1)
    .with_for_update()
)


def lock_opened_at(
    user_id: int, environment: str, opened_at: int | None, *, now: int
) -> Statements[str | None]:
    """Lock the session that a sign-in of that second opened; return its `/me`, or None."""
    values = {
        "which_user": user_id,
        "which_environment": environment,
        "opened_at": opened_at,
        "now": now,
    }
    row = yield from one(_OPENED_AT, values)
    return None if row is None else str(row[0])
