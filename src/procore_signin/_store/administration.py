"""What an operator asks of the store: who is there, and to end sessions and old token sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.engine import Dialect

from procore_signin._store.engine.clock import database_now
from procore_signin._store.engine.statement import Statement, Transaction
from procore_signin._store.keys.seal import VERSION
from procore_signin._store.records import GrantStatus, Session, User
from procore_signin._store.schema import sessions, token_sets, users
from procore_signin._store.withdrawal import Withdrawals

_LONGEST_HEAD: Final = len(VERSION) + 1 + 32 + 1
"""As much of a sealed value as names its key: version, dot, key id, dot."""

# The order of these columns is the order of the fields of User and Session.
_session_columns: Final = (
    sessions.c.id,
    *users.c,
    sessions.c.created_at,
    sessions.c.last_seen_at,
    sessions.c.idle_expires_at,
    sessions.c.absolute_expires_at,
    sessions.c.user_agent,
)
_AFTER_USER: Final = 1 + len(users.c)


@dataclass(frozen=True, slots=True)
class TokenState:
    """All that can be told of a token set without opening it.

    Attributes:
        environment: Where it is for.
        status: See `GrantStatus`.
        generation: Counts the pairs.
        expires_in: Seconds that the access token has left; negative when it has expired.
        refreshable: Whether there is a refresh token.
        leased_for: Seconds that a refresh under way may still take; 0 where there is none.
        retry_in: Seconds until Procore may be asked again; 0 when it may be now.
        ambiguous: How many requests with this refresh token had no known outcome.
        key_ids: Which keys sealed it; None stands for a value of no known form.
        created_at: The first sign-in that brought tokens; UTC unix seconds.
        updated_at: When this pair was written.
    """

    environment: str
    status: GrantStatus
    generation: int
    expires_in: int
    refreshable: bool
    leased_for: int
    retry_in: int
    ambiguous: int
    key_ids: tuple[str | None, ...]
    created_at: int
    updated_at: int


class _Statements:
    def __init__(self, dialect: Dialect) -> None:
        now = database_now(dialect).label("at")
        of_user = token_sets.c.user_id == bindparam("which_user")

        def made(element: Any, *columns: str) -> Statement:
            return Statement(element, dialect, columns)

        self.token_states = made(
            select(
                token_sets.c.environment,
                token_sets.c.status,
                token_sets.c.generation,
                token_sets.c.expires_at,
                token_sets.c.lease_owner,
                token_sets.c.lease_until,
                token_sets.c.ambiguous,
                func.substr(token_sets.c.access_token, 1, _LONGEST_HEAD),
                func.substr(token_sets.c.refresh_token, 1, _LONGEST_HEAD),
                token_sets.c.created_at,
                token_sets.c.updated_at,
                now,
            )
            .where(of_user)
            .order_by(token_sets.c.environment)
        )
        self.open_sessions = made(
            select(*_session_columns)
            .join_from(sessions, users, users.c.id == sessions.c.user_id)
            .where(
                sessions.c.id > bindparam("after"),
                sessions.c.idle_expires_at > bindparam("now"),
                sessions.c.absolute_expires_at > bindparam("now"),
                users.c.disabled_at.is_(None),
            )
            .order_by(sessions.c.id)
            .limit(bindparam("limit"))
        )
        self.any_sessions = made(
            select(sessions.c.id).order_by(sessions.c.id).limit(bindparam("limit"))
        )
        self.ended_grants = made(
            select(
                token_sets.c.id,
                token_sets.c.user_id,
                token_sets.c.environment,
                token_sets.c.status,
                token_sets.c.updated_at,
            )
            .where(
                token_sets.c.id > bindparam("after"),
                token_sets.c.status != "ok",
                token_sets.c.predecessor.is_(None),
                token_sets.c.updated_at < bindparam("before"),
            )
            .order_by(token_sets.c.id)
            .limit(bindparam("limit"))
        )
        self.purge_grant = made(
            delete(token_sets).where(
                token_sets.c.id == bindparam("which_tokens"),
                token_sets.c.status != "ok",
                token_sets.c.predecessor.is_(None),
                token_sets.c.updated_at < bindparam("before"),
            )
        )


class Administration(Withdrawals):
    """People, sessions and token sets for those who run the application (rows I5, S6, O6)."""

    @cached_property
    def _administration(self) -> _Statements:
        return _Statements(self._database.dialect)

    def find_users(
        self,
        *,
        environment: str | None = None,
        procore_id: int | None = None,
        email: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[User]:
        """Return people in the order of their first sign-in, those that fit everything given.

        Args:
            environment: Only of this one.
            procore_id: Procore's number. Two environments may share numbers.
            email: What Procore called the login last, whatever the case of its ASCII letters. It
                proves nothing and may fit several people: never act on more than one (row I2).
            after: Only people with a greater id, to go on where a list ended.
            limit: As many at most.
        """
        wanted = [users.c.id > after]
        if environment is not None:
            wanted.append(users.c.environment == environment)
        if procore_id is not None:
            wanted.append(users.c.procore_id == procore_id)
        if email is not None:
            wanted.append(func.lower(users.c.email) == func.lower(email))
        statement = Statement(
            select(users).where(*wanted).order_by(users.c.id).limit(limit),
            self._database.dialect,
            (),
        )
        return [User(*row) for row in self._database.many(statement, {})]

    def token_states(self, user_id: int, *, now: int) -> list[TokenState]:
        """Return what can be told of a person's token sets. Nothing sealed leaves the database."""
        rows = self._database.many(
            self._administration.token_states, {"which_user": user_id, "now": now}
        )
        return [_token_state(row) for row in rows]

    def open_sessions(self, *, now: int, after: int = 0, limit: int = 100) -> list[Session]:
        """Return everyone's open sessions, the oldest first.

        Args:
            now: Unix seconds.
            after: Only sessions with a greater id, to go on where a list ended.
            limit: As many at most.
        """
        some = {"now": now, "after": after, "limit": limit}
        rows = self._database.many(self._administration.open_sessions, some)
        return [Session(row[0], User(*row[1:_AFTER_USER]), *row[_AFTER_USER:]) for row in rows]

    def end_some_sessions(self, *, limit: int = 1000) -> int:
        """End sessions, of any user, at most `limit`; 0 when none is left (row S6)."""

        def work(transaction: Transaction) -> int:
            rows = transaction.many(self._administration.any_sessions, {"limit": limit})
            return transaction.run_each(
                self._statements.end_session,
                ({"which_session": session_id} for (session_id,) in rows),
            )

        return self._database.write(work)

    def purge_grants(self, *, before: int, after: int = 0, limit: int = 1000) -> tuple[int, int]:
        """Delete token sets that are `lost` or `revoked` and were last written before a time.

        That tokens of a person may live which no one knows is not forgotten with them (row I7).

        Args:
            before: Unix seconds.
            after: Where the batch before ended; 0 at first.
            limit: How many to delete at most.

        Returns:
            How many were deleted, and where the batch ended: 0 when there is no more.
        """
        some = {"before": before, "after": after, "limit": limit}
        rows = self._database.many(self._administration.ended_grants, some)

        def work(transaction: Transaction) -> int:
            deleted = 0
            for number, user_id, environment, status, updated_at in rows:
                lost = status == "lost" and self._lock_owner(transaction, user_id) is not None
                this = {"which_tokens": number, "before": before}
                gone = transaction.run(self._administration.purge_grant, this)
                if gone and lost:  # a late commit may have made it good meanwhile
                    self._doubt(transaction, user_id, environment, updated_at)
                deleted += gone
            return deleted

        deleted = self._database.write(work)
        return deleted, int(rows[-1][0]) if len(rows) == limit else 0


def key_id_of(sealed: str) -> str | None:
    """Return the id of the key that sealed a value, told by its head; None for no known form."""
    version, dot, rest = sealed.partition(".")
    key_id, second_dot, _ = rest.partition(".")
    return key_id if version == VERSION and dot and second_dot and key_id else None


def _token_state(row: Sequence[Any]) -> TokenState:
    environment, status, generation, expires_at, owner, until, ambiguous = row[:7]
    access, refresh, created_at, updated_at, at = row[7:]
    left = 0 if until is None else max(0, int(until) - int(at))
    heads = [access] if refresh is None else [access, refresh]
    return TokenState(
        environment=environment,
        status=status,
        generation=generation,
        expires_in=expires_at - int(at),
        refreshable=refresh is not None,
        leased_for=0 if owner is None else left,
        retry_in=left if owner is None else 0,
        ambiguous=ambiguous,
        key_ids=tuple(dict.fromkeys(key_id_of(head) for head in heads)),
        created_at=created_at,
        updated_at=updated_at,
    )
