"""Sessions: a random cookie's hash, whose it is, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from procore_signin._store.base import StoreBase, storable
from procore_signin._store.engine.statement import Transaction
from procore_signin._store.records import NewSession, Session, User

_USER_AGENT_LENGTH: Final = 255
_FIRST_USER_COLUMN: Final = 1
_AFTER_USER: Final = 10


class Sessions(StoreBase):
    """Who is signed in, in which browser (rows S1 to S7)."""

    def session(self, id_hash: str, *, environment: str, now: int) -> Session | None:
        """Return the open session of a cookie, by the SHA-256 of its token.

        One indexed read. Every page with a cookie makes it, so that an ended session and a
        disabled person are out at once in every process (rows S3, I5).

        Returns:
            None where it is unknown, ended, expired, of another environment, or its person is
            disabled.
        """
        row = self._database.one(
            self._statements.session,
            {"which_hash": id_hash, "which_environment": environment, "now": now},
        )
        return None if row is None else _session(row)

    def me_json(self, session_id: int) -> str:
        """Return what `/me` answered at the sign-in of a session, as JSON text.

        `null` where the session has ended since it was looked up.
        """
        row = self._database.one(self._statements.me_json, {"which_session": session_id})
        return "null" if row is None else str(row[0])

    def touch_session(self, session_id: int, *, now: int, idle_expires_at: int) -> bool:
        """Note that a session is in use and put off its idle end, at most to its absolute end.

        Returns:
            False where it has ended or expired, and it stays so (row S4), or where a later use was
            noted already.
        """
        values = {"which_session": session_id, "now": now, "idle_end": idle_expires_at}
        return self._database.write(
            lambda transaction: transaction.run(self._statements.touch_session, values) == 1
        )

    def end_session_of(self, user_id: int, session_id: int) -> bool:
        """End a session that the person chose from the list. False where it is not the person's."""
        values = {"which_user": user_id, "which_session": session_id}
        return self._database.write(
            lambda transaction: transaction.run(self._statements.end_session_of, values) == 1
        )

    def end_sessions(self, user_id: int) -> int:
        """End all sessions of a person and return how many (row S6)."""
        values = {"which_user": user_id}
        return self._database.write(
            lambda transaction: transaction.run(self._statements.end_sessions, values)
        )

    def sessions_of(self, user_id: int, now: int) -> list[Session]:
        """Return a person's open sessions, the last used one first."""
        rows = self._database.many(
            self._statements.sessions_of, {"which_user": user_id, "now": now}
        )
        return [_session(row) for row in rows]

    def count_sessions(self, *, now: int) -> int:
        """Return how many sessions have not ended. It reads an index from end to end."""
        row = self._database.one(self._statements.count_sessions, {"now": now})
        return 0 if row is None else int(row[0])

    def _insert_session(
        self,
        transaction: Transaction,
        user_id: int,
        environment: str,
        session: NewSession,
        now: int,
    ) -> None:
        agent = session.user_agent
        transaction.run(
            self._statements.insert_session,
            {
                "id_hash": session.id_hash,
                "user_id": user_id,
                "environment": environment,
                "me_json": session.me_json,
                "user_agent": None if agent is None else storable(agent, _USER_AGENT_LENGTH),
                "created_at": now,
                "last_seen_at": now,
                "idle_expires_at": min(session.idle_expires_at, session.absolute_expires_at),
                "absolute_expires_at": session.absolute_expires_at,
            },
        )


def _session(row: Sequence[Any]) -> Session:
    user = User(*row[_FIRST_USER_COLUMN:_AFTER_USER])
    return Session(row[0], user, *row[_AFTER_USER:])
