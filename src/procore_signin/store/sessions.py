"""Sessions: a random cookie's hash, whose it is, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

from procore_signin.store import statements
from procore_signin.store.base import StoreBase, affected, person_disabled, storable
from procore_signin.store.records import NewSession, Session, User

_USER_AGENT_LENGTH: Final = 255
_FIRST_USER_COLUMN: Final = 1
_AFTER_USER: Final = 9


class Sessions(StoreBase):
    """Who is signed in, in which browser (rows S1 to S7)."""

    def open_session(self, user_id: int, session: NewSession, *, now: int) -> None:
        """Open one more session for a person who has just signed in.

        Raises:
            SignInRefused: The person is disabled or gone.
        """

        def work(connection: Connection) -> None:
            environment = connection.scalar(statements.LOCK_ENABLED_USER, {"which_user": user_id})
            if environment is None:
                raise person_disabled()
            insert_session(connection, user_id, environment, session, now)

        self._database.write(work)

    def session(self, id_hash: str, *, environment: str, now: int) -> Session | None:
        """Return the open session of a cookie, by the SHA-256 of its token.

        One indexed read. Every page with a cookie makes it, so that an ended session and a
        disabled person are out at once in every process (rows S3, I5).

        Returns:
            None where it is unknown, ended, expired, of another environment, or its person is
            disabled.
        """
        row = self._database.one(
            self._queries.session,
            {"which_hash": id_hash, "which_environment": environment, "now": now},
        )
        return None if row is None else _session(row)

    def me_json(self, session_id: int) -> str:
        """Return what `/me` answered at the sign-in of a session, as JSON text.

        Raises:
            LookupError: The session ended since it was looked up.
        """
        row = self._database.one(self._queries.me_json, {"which_session": session_id})
        if row is None:
            raise LookupError("The session has ended.")
        text: str = row[0]
        return text

    def touch_session(self, session_id: int, *, now: int, idle_expires_at: int) -> bool:
        """Note that a session is in use and put off its idle end, at most to its absolute end.

        Returns:
            False where it has ended or expired, and it stays so (row S4), or where a later use was
            noted already.
        """
        values = {"which_session": session_id, "now": now, "idle_end": idle_expires_at}
        return self._database.write(
            lambda connection: affected(connection, statements.TOUCH_SESSION, values) == 1
        )

    def end_session(self, id_hash: str) -> int | None:
        """End the session of a cookie and return whose it was, or None where there was none."""

        def work(connection: Connection) -> int | None:
            row = connection.execute(statements.LOCK_SESSION, {"which_hash": id_hash}).first()
            if row is None:
                return None
            connection.execute(statements.END_SESSION, {"which_session": row.id})
            user_id: int = row.user_id
            return user_id

        return self._database.write(work)

    def end_session_of(self, user_id: int, session_id: int) -> bool:
        """End a session that the person chose from the list. False where it is not the person's."""
        values = {"which_user": user_id, "which_session": session_id}
        return self._database.write(
            lambda connection: affected(connection, statements.END_SESSION_OF, values) == 1
        )

    def end_sessions(self, user_id: int, *, except_session_id: int | None = None) -> int:
        """End all sessions of a person, but for one if so wished, and return how many (row S6)."""
        values: dict[str, object] = {"which_user": user_id}
        statement = statements.END_SESSIONS
        if except_session_id is not None:
            values["which_session"] = except_session_id
            statement = statements.END_OTHER_SESSIONS
        return self._database.write(lambda connection: affected(connection, statement, values))

    def sessions_of(self, user_id: int, now: int) -> list[Session]:
        """Return a person's open sessions, the last used one first."""
        rows = self._database.many(self._queries.sessions_of, {"which_user": user_id, "now": now})
        return [_session(row) for row in rows]


def insert_session(
    connection: Connection, user_id: int, environment: str, session: NewSession, now: int
) -> None:
    """Insert a session in the transaction of `connection`."""
    user_agent = session.user_agent
    connection.execute(
        statements.INSERT_SESSION,
        {
            "id_hash": session.id_hash,
            "user_id": user_id,
            "environment": environment,
            "me_json": session.me_json,
            "user_agent": None if user_agent is None else storable(user_agent, _USER_AGENT_LENGTH),
            "created_at": now,
            "last_seen_at": now,
            "idle_expires_at": min(session.idle_expires_at, session.absolute_expires_at),
            "absolute_expires_at": session.absolute_expires_at,
        },
    )


def _session(row: Sequence[Any]) -> Session:
    user = User(*row[_FIRST_USER_COLUMN:_AFTER_USER])
    return Session(row[0], user, *row[_AFTER_USER:])
