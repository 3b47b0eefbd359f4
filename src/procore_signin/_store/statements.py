"""Every statement of the store, compiled once for its database. Values are always bound.

Parameters called `which_…` choose rows; a parameter called like a column is a value to write.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Column,
    MetaData,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from procore_signin._store.engine.clock import database_now
from procore_signin._store.engine.statement import Statement
from procore_signin._store.schema import VERSION_TABLE, sessions, sign_in_ledger, token_sets, users

_now: Final[BindParameter[Any]] = bindparam("now")
_limit: Final[BindParameter[Any]] = bindparam("limit")
_which_user: Final[BindParameter[Any]] = bindparam("which_user")
_which_environment: Final[BindParameter[Any]] = bindparam("which_environment")
_this_user: Final = users.c.id == _which_user
_this_session: Final = sessions.c.id == bindparam("which_session")
_session_of_cookie: Final = sessions.c.id_hash == bindparam("which_hash")
_sessions_of_user: Final = sessions.c.user_id == _which_user
_this_token_set: Final = token_sets.c.id == bindparam("which_tokens")
_tokens_of_user: Final = (
    token_sets.c.user_id == _which_user,
    token_sets.c.environment == _which_environment,
)
_this_attempt: Final = sign_in_ledger.c.state_hash == bindparam("which_state")
unfinished: Final = or_(sign_in_ledger.c.status == "taken", sign_in_ledger.c.status == "exchanged")
_live: Final = (
    sessions.c.idle_expires_at > _now,
    sessions.c.absolute_expires_at > _now,
    users.c.disabled_at.is_(None),
)
_owner: Final = (users.c.id == sessions.c.user_id) & (users.c.environment == sessions.c.environment)
# A session's idle end is never later than its absolute end, so the idle end alone decides here.
_ended: Final = sessions.c.idle_expires_at <= _now
# Tokens in escrow keep their row until someone has revoked them.
_over: Final = (sign_in_ledger.c.expires_at <= _now, sign_in_ledger.c.escrow.is_(None))

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
    column
    for column in sign_in_ledger.c
    if column.name not in {"escrow", "escrowed_at", "held_by", "held_until"}
)
_escrow_columns: Final = (
    sign_in_ledger.c.state_hash,
    sign_in_ledger.c.environment,
    sign_in_ledger.c.escrow,
    sign_in_ledger.c.escrowed_at,
)
_token_columns: Final = (
    token_sets.c.access_token,
    token_sets.c.refresh_token,
    token_sets.c.expires_at,
    token_sets.c.generation,
)
_version: Final = Table(VERSION_TABLE, MetaData(), Column("version_num"))


class Statements:
    """All statements, for one database."""

    def __init__(self, dialect: Dialect) -> None:
        def made(element: ClauseElement, *columns: str) -> Statement:
            return Statement(element, dialect, columns)

        self.revision = made(select(_version.c.version_num))

        # people
        self.user = made(select(users).where(_this_user))
        self.lock_user = made(
            select(users)
            .where(
                users.c.environment == _which_environment,
                users.c.procore_id == bindparam("which_procore_id"),
            )
            # PostgreSQL: NO KEY UPDATE, which lets others insert rows that refer to the person
            .with_for_update(key_share=True)
        )
        self.lock_enabled_user = made(
            select(users.c.environment)
            .where(_this_user, users.c.disabled_at.is_(None))
            .with_for_update(read=True, key_share=True)
        )
        self.insert_user = made(
            insert_if_absent(users, dialect),
            *("procore_id", "email", "name", "environment", "created_at", "last_signed_in_at"),
        )
        self.update_user = made(
            update(users).where(_this_user), "email", "name", "last_signed_in_at"
        )

        self.choose_company = made(update(users).where(_this_user), "company_id")

        # their tokens
        self.tokens = made(
            select(*_token_columns).where(*_tokens_of_user, token_sets.c.status == "ok")
        )
        self.lock_tokens = made(
            select(
                token_sets.c.id,
                *_token_columns,
                token_sets.c.status,
                token_sets.c.lease_owner,
                token_sets.c.ambiguous,
                token_sets.c.predecessor,
            )
            .where(*_tokens_of_user)
            .with_for_update()
        )
        grant = ("generation", "access_token", "refresh_token", "status")
        lease = ("lease_owner", "lease_until", "ambiguous")
        shared_now = database_now(dialect)
        written = {"expires_at": shared_now + bindparam("seconds"), "updated_at": shared_now}
        self.insert_tokens = made(
            insert(token_sets).inline().values(**written, created_at=shared_now),
            *("user_id", "environment", *grant, *lease),
        )
        self.update_tokens = made(
            update(token_sets).where(_this_token_set).values(**written, predecessor=None),
            *grant,
            *lease,
        )
        self.delete_tokens = made(delete(token_sets).where(_this_token_set))

        # sessions
        self.session = made(
            select(*_session_columns)
            .join_from(sessions, users, _owner)
            .where(_session_of_cookie, sessions.c.environment == _which_environment, *_live)
        )
        self.sessions_of = made(
            select(*_session_columns)
            .join_from(sessions, users, _owner)
            .where(_sessions_of_user, *_live)
            .order_by(sessions.c.last_seen_at.desc(), sessions.c.id.desc())
        )
        self.me_json = made(select(sessions.c.me_json).where(_this_session))
        self.session_opened_at = made(
            select(sessions.c.me_json)
            .where(
                _sessions_of_user,
                sessions.c.environment == _which_environment,
                sessions.c.created_at == bindparam("opened_at"),
                sessions.c.idle_expires_at > _now,
                sessions.c.absolute_expires_at > _now,
            )
            .order_by(sessions.c.id)
            .limit(1)
            .with_for_update()
        )
        self.insert_session = made(
            insert(sessions).inline(),
            *(column.name for column in sessions.c if column.name != "id"),
        )
        self.touch_session = made(
            update(sessions)
            .where(
                _this_session,
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
        self.end_session = made(delete(sessions).where(_this_session))
        self.end_session_of_cookie = made(delete(sessions).where(_session_of_cookie))
        self.end_session_of = made(delete(sessions).where(_this_session, _sessions_of_user))
        self.end_sessions = made(delete(sessions).where(_sessions_of_user))
        self.count_sessions = made(
            select(func.count()).select_from(sessions).where(sessions.c.idle_expires_at > _now)
        )
        self.ended_sessions = made(
            select(sessions.c.id).where(_ended).order_by(sessions.c.idle_expires_at).limit(_limit)
        )
        self.purge_session = made(delete(sessions).where(_this_session, _ended))

        # the ledger
        self.attempt = made(select(*_attempt_columns).where(_this_attempt))
        self.insert_attempt = made(
            insert_if_absent(sign_in_ledger, dialect),
            *("state_hash", "environment", "status", "created_at", "expires_at", "code_hash"),
        )
        self.escrow = made(
            update(sign_in_ledger).where(
                _this_attempt,
                sign_in_ledger.c.environment == _which_environment,
                sign_in_ledger.c.status == "taken",
            ),
            *("status", "escrow", "escrowed_at"),
        )
        escrowed = (
            select(*_escrow_columns)
            .where(
                or_(
                    sign_in_ledger.c.escrowed_at < bindparam("before"),
                    sign_in_ledger.c.escrowed_at > bindparam("misdated"),
                ),
                sign_in_ledger.c.escrow.is_not(None),
            )
            .order_by(sign_in_ledger.c.escrowed_at, sign_in_ledger.c.state_hash)
            .limit(_limit)
        )
        self.escrowed = made(escrowed)
        after: BindParameter[Any] = bindparam("after")
        self.escrowed_in = made(
            escrowed.where(
                sign_in_ledger.c.environment == _which_environment,
                sign_in_ledger.c.escrowed_at >= after,
                or_(
                    sign_in_ledger.c.escrowed_at > after,
                    sign_in_ledger.c.state_hash > bindparam("after_state"),
                ),
            )
        )
        self.nameless = made(
            select(sign_in_ledger.c.state_hash)
            .where(
                sign_in_ledger.c.environment == _which_environment,
                sign_in_ledger.c.user_id.is_(None),
                or_(
                    and_(
                        sign_in_ledger.c.status == "taken",
                        sign_in_ledger.c.created_at > bindparam("since"),
                        sign_in_ledger.c.expires_at > _now,
                    ),
                    and_(
                        sign_in_ledger.c.status == "exchanged",
                        sign_in_ledger.c.escrowed_at >= 0,
                        sign_in_ledger.c.escrow.is_not(None),
                    ),
                ),
            )
            .limit(1)
        )
        self.put_off = made(
            update(sign_in_ledger).where(_this_attempt, sign_in_ledger.c.escrow.is_not(None)),
            "escrowed_at",
        )
        self.clear_escrow = made(
            update(sign_in_ledger).where(_this_attempt).values(escrow=None, escrowed_at=None)
        )
        self.fail_attempt = made(
            update(sign_in_ledger).where(_this_attempt, unfinished),
            *("status", "outcome", "finished_at"),
        )
        self.complete_attempt = made(
            update(sign_in_ledger).where(_this_attempt, unfinished),
            *("status", "user_id", "outcome", "escrow", "escrowed_at", "finished_at"),
        )
        self.join_attempt = made(
            update(sign_in_ledger).where(
                _this_attempt,
                sign_in_ledger.c.status == "done",
                sign_in_ledger.c.joined_at.is_(None),
            ),
            "joined_at",
        )
        self.over_attempts = made(
            select(sign_in_ledger.c.state_hash)
            .where(*_over)
            .order_by(sign_in_ledger.c.expires_at)
            .limit(_limit)
        )
        self.purge_attempt = made(delete(sign_in_ledger).where(_this_attempt, *_over))


def insert_if_absent(table: Table, dialect: Dialect) -> ClauseElement:
    """Return an INSERT of one row that does nothing where its key is taken.

    On MariaDB it raises the duplicate-key error instead, and `Transaction.insert_absent` tells it
    by its number: there INSERT IGNORE hides every other error too, and ON DUPLICATE KEY UPDATE
    counts a found row like a new one as long as SQLAlchemy sets CLIENT.FOUND_ROWS, which it always
    does.
    """
    if dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # 20 ms where it is not used

        key = table.primary_key.columns[0]
        return postgresql.insert(table).on_conflict_do_nothing().returning(key)
    if dialect.name == "sqlite":  # no RETURNING: older SQLites have none
        return sqlite.insert(table).on_conflict_do_nothing()
    return insert(table)
