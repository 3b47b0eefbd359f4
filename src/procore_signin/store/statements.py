"""Every statement of the store, built once. Values are always bound, never written into the text.

Parameters called `which_…` choose rows; a parameter called like a column is a value to write.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Column,
    Insert,
    MetaData,
    Table,
    bindparam,
    case,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect

from procore_signin.store.database import Query
from procore_signin.store.schema import VERSION_TABLE, sessions, sign_in_ledger, token_sets, users

_now: Final[BindParameter[Any]] = bindparam("now")
_which_user: Final[BindParameter[Any]] = bindparam("which_user")
_which_session: Final[BindParameter[Any]] = bindparam("which_session")
_which_hash: Final[BindParameter[Any]] = bindparam("which_hash")
_which_environment: Final[BindParameter[Any]] = bindparam("which_environment")
_this_attempt: Final = sign_in_ledger.c.state_hash == bindparam("which_state")
_this_session: Final = sessions.c.id_hash == _which_hash
_these_tokens: Final = (
    token_sets.c.user_id == _which_user,
    token_sets.c.environment == _which_environment,
)
_live: Final = (
    sessions.c.idle_expires_at > _now,
    sessions.c.absolute_expires_at > _now,
    users.c.disabled_at.is_(None),
)
_owner: Final = (users.c.id == sessions.c.user_id) & (users.c.environment == sessions.c.environment)
_unfinished: Final = sign_in_ledger.c.status.in_(("taken", "exchanged"))
# A session's idle end is never later than its absolute end, so the idle end alone decides here.
_ended: Final = sessions.c.idle_expires_at <= _now
# Tokens in escrow keep their row until somebody has revoked them.
_over: Final = (sign_in_ledger.c.expires_at <= _now, sign_in_ledger.c.escrow.is_(None))
_limit: Final[BindParameter[Any]] = bindparam("limit")

# The order of these columns is the order of the fields of User, Session and LedgerEntry.
_session_columns: Final = (
    sessions.c.id,
    *users.c,
    sessions.c.created_at,
    sessions.c.last_seen_at,
    sessions.c.idle_expires_at,
    sessions.c.absolute_expires_at,
    sessions.c.user_agent,
)
_attempt_columns: Final = tuple(
    column for column in sign_in_ledger.c if column.name not in {"escrow", "escrowed_at"}
)
_token_columns: Final = (
    token_sets.c.access_token,
    token_sets.c.refresh_token,
    token_sets.c.expires_at,
    token_sets.c.generation,
)
_version: Final = Table(VERSION_TABLE, MetaData(), Column("version_num"))


class Queries:
    """The reads that take no lock, compiled for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self.revision: Final = Query(select(_version.c.version_num), dialect)
        self.session: Final = Query(
            select(*_session_columns)
            .join_from(sessions, users, _owner)
            .where(_this_session, sessions.c.environment == _which_environment, *_live),
            dialect,
        )
        self.sessions_of: Final = Query(
            select(*_session_columns)
            .join_from(sessions, users, _owner)
            .where(sessions.c.user_id == _which_user, *_live)
            .order_by(sessions.c.last_seen_at.desc(), sessions.c.id.desc()),
            dialect,
        )
        self.me_json: Final = Query(
            select(sessions.c.me_json).where(sessions.c.id == _which_session), dialect
        )
        self.user: Final = Query(select(users).where(users.c.id == _which_user), dialect)
        self.tokens: Final = Query(
            select(*_token_columns).where(*_these_tokens, token_sets.c.status == "ok"), dialect
        )
        self.attempt: Final = Query(select(*_attempt_columns).where(_this_attempt), dialect)
        self.escrowed: Final = Query(
            select(
                sign_in_ledger.c.state_hash, sign_in_ledger.c.environment, sign_in_ledger.c.escrow
            )
            .where(
                sign_in_ledger.c.escrowed_at < bindparam("before"),
                sign_in_ledger.c.escrow.is_not(None),
            )
            .order_by(sign_in_ledger.c.escrowed_at)
            .limit(_limit),
            dialect,
        )


def insert_if_absent(table: Table, dialect: Dialect) -> Insert:
    """Return an INSERT of one row that does nothing where its key is taken. See `insert_absent`.

    On MariaDB it raises the duplicate-key error instead, to be told by its number: there INSERT
    IGNORE hides every other error too, and ON DUPLICATE KEY UPDATE counts a found row like a new
    one as long as SQLAlchemy sets CLIENT.FOUND_ROWS, which it always does.
    """
    if dialect.name == "postgresql":
        key = table.primary_key.columns[0]
        return postgresql.insert(table).on_conflict_do_nothing().returning(key)
    if dialect.name == "sqlite":  # no RETURNING: older SQLites have none
        return sqlite.insert(table).on_conflict_do_nothing()
    return insert(table)


# users
LOCK_USER: Final = (
    select(users)
    .where(
        users.c.environment == _which_environment,
        users.c.procore_id == bindparam("which_procore_id"),
    )
    # PostgreSQL: FOR NO KEY UPDATE, which lets others open sessions that refer to the person
    .with_for_update(key_share=True)
)
UPDATE_USER: Final = update(users).where(users.c.id == _which_user)

# token sets
LOCK_TOKENS: Final = (
    select(token_sets.c.id, *_token_columns).where(*_these_tokens).with_for_update()
)
INSERT_TOKENS: Final = insert(token_sets)
UPDATE_TOKENS: Final = update(token_sets).where(token_sets.c.id == bindparam("which_tokens"))
DELETE_TOKENS: Final = delete(token_sets).where(token_sets.c.id == bindparam("which_tokens"))

# sessions
INSERT_SESSION: Final = insert(sessions)
LOCK_ENABLED_USER: Final = (
    select(users.c.environment)
    .where(users.c.id == _which_user, users.c.disabled_at.is_(None))
    .with_for_update(read=True, key_share=True)
)
TOUCH_SESSION: Final = (
    update(sessions)
    .where(
        sessions.c.id == _which_session,
        sessions.c.last_seen_at <= _now,
        sessions.c.idle_expires_at > _now,
        sessions.c.absolute_expires_at > _now,
    )
    .values(
        last_seen_at=_now,
        idle_expires_at=case(
            (
                sessions.c.absolute_expires_at < bindparam("idle_end"),
                sessions.c.absolute_expires_at,
            ),
            else_=bindparam("idle_end"),
        ),
    )
)
LOCK_SESSION: Final = (
    select(sessions.c.id, sessions.c.user_id).where(_this_session).with_for_update()
)
END_SESSION: Final = delete(sessions).where(sessions.c.id == _which_session)
END_SESSION_BY_HASH: Final = delete(sessions).where(_this_session)
END_SESSION_OF: Final = delete(sessions).where(
    sessions.c.id == _which_session, sessions.c.user_id == _which_user
)
END_SESSIONS: Final = delete(sessions).where(sessions.c.user_id == _which_user)
END_OTHER_SESSIONS: Final = END_SESSIONS.where(sessions.c.id != _which_session)
ENDED_SESSIONS: Final = (
    select(sessions.c.id).where(_ended).order_by(sessions.c.idle_expires_at).limit(_limit)
)
PURGE_SESSIONS: Final = delete(sessions).where(
    _ended, sessions.c.id.in_(bindparam("which_ids", expanding=True))
)

# ledger
ESCROW: Final = update(sign_in_ledger).where(_this_attempt, sign_in_ledger.c.status == "taken")
CLEAR_ESCROW: Final = (
    update(sign_in_ledger).where(_this_attempt).values(escrow=None, escrowed_at=None)
)
FINISH_ATTEMPT: Final = update(sign_in_ledger).where(_this_attempt, _unfinished)
OVER_ATTEMPTS: Final = (
    select(sign_in_ledger.c.state_hash)
    .where(*_over)
    .order_by(sign_in_ledger.c.expires_at)
    .limit(_limit)
)
PURGE_ATTEMPTS: Final = delete(sign_in_ledger).where(
    *_over, sign_in_ledger.c.state_hash.in_(bindparam("which_states", expanding=True))
)
