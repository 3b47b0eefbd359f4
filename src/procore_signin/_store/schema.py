"""The tables. Times are UTC unix seconds; sealed columns hold what `seal.py` makes.

Hashes and environments compare byte for byte on every database: MariaDB's default collation would
take `abc`, `ABC` and `ábc` for one (CVE-2024-32879). Numbers are never given twice, so a late
request that still holds a deleted row's number cannot meet another user's row under it; that is
why SQLite's AUTOINCREMENT is on.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    or_,
    text,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT, VARCHAR
from sqlalchemy.types import TypeEngine

from procore_signin._store.records import LONGEST_REFERENCE

SCHEMA_REVISION: Final = "0004"
"""The migration that makes these tables. `Store.probe` demands it; a test compares it to Alembic's
head, so that reading it costs no import of Alembic."""

VERSION_TABLE: Final = "procore_signin_alembic_version"
"""Where Alembic notes the revision: our own name, because the host application may use Alembic."""

LATER: Final = "later"
"""Marks, in its `info`, a column that a migration after the first one adds to a table."""

_LATER: Final = {LATER: True}


def _exact(length: int) -> TypeEngine[str]:
    ascii_bin = VARCHAR(length, charset="ascii", collation="ascii_bin")
    return String(length).with_variant(ascii_bin, "mysql", "mariadb")


_ID: Final = BigInteger().with_variant(Integer, "sqlite")
_HASH: Final = _exact(64)
_ENVIRONMENT: Final = _exact(32)
_STATUS: Final = _exact(16)
# SQLAlchemy takes a mysql:// address and a mariadb:// address for two dialects with options each.
_SERVER_OPTIONS: Final[dict[str, Any]] = {
    f"{dialect}_{name}": value
    for dialect in ("mysql", "mariadb")
    for name, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
_OPTIONS: Final[dict[str, Any]] = {"sqlite_autoincrement": True, **_SERVER_OPTIONS}

metadata: Final = MetaData()

users: Final = Table(
    "users",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("procore_id", BigInteger, nullable=False),
    Column("email", String(255), nullable=False),
    Column("name", String(255)),
    Column("environment", _ENVIRONMENT, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_signed_in_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("company_id", BigInteger),
    UniqueConstraint("environment", "procore_id", name="uq_users_environment_procore_id"),
    **_OPTIONS,
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("id_hash", _HASH, nullable=False),
    Column(
        "user_id",
        BigInteger,
        ForeignKey("users.id", name="fk_sessions_user_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("environment", _ENVIRONMENT, nullable=False),
    Column(
        "me_json", Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb"), nullable=False
    ),  # up to 64 KiB, one byte more than MariaDB's TEXT holds
    Column("user_agent", String(255)),
    Column("created_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    Column("idle_expires_at", BigInteger, nullable=False),
    Column("absolute_expires_at", BigInteger, nullable=False),
    # whose login at the application it belongs to
    Column("reference", String(LONGEST_REFERENCE), info=_LATER),
    UniqueConstraint("id_hash", name="uq_sessions_id_hash"),
    Index("ix_sessions_user_id", "user_id"),
    Index("ix_sessions_idle_expires_at", "idle_expires_at"),
    **_OPTIONS,
)

token_sets: Final = Table(
    "token_sets",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column(
        "user_id",
        BigInteger,
        ForeignKey("users.id", name="fk_token_sets_user_id"),
        nullable=False,
    ),  # no cascade: tokens are revoked at Procore before their row goes
    Column("environment", _ENVIRONMENT, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("access_token", Text, nullable=False),
    Column("refresh_token", Text),
    Column("expires_at", BigInteger, nullable=False),
    Column("status", _STATUS, nullable=False),
    Column("lease_owner", String(64)),
    Column("lease_until", BigInteger),
    Column("lease_seconds", BigInteger, info=_LATER),  # how long it was meant: a clock may jump
    Column("ambiguous", Integer, nullable=False, server_default=text("0")),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column(
        "predecessor", Text, info=_LATER
    ),  # sealed: the pair before, while it may still be honoured
    UniqueConstraint("user_id", "environment", name="uq_token_sets_user_id_environment"),
    **_OPTIONS,
)

sign_in_ledger: Final = Table(
    "sign_in_ledger",
    metadata,
    Column("state_hash", _HASH, primary_key=True),
    Column("environment", _ENVIRONMENT, nullable=False),
    Column("status", _STATUS, nullable=False),
    Column(
        "user_id",
        BigInteger,
        ForeignKey("users.id", name="fk_sign_in_ledger_user_id", ondelete="SET NULL"),
    ),
    Column("outcome", String(64)),
    Column("escrow", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("escrowed_at", BigInteger),
    Column("code_hash", _HASH, info=_LATER),
    Column("joined_at", BigInteger, info=_LATER),
    Column("held_by", String(64), info=_LATER),  # who is revoking what is in escrow
    Column("held_until", BigInteger, info=_LATER),
    # Procore's number of someone whom `user_id` cannot name: no user here, or not any more. It is
    # there for as long as the escrow holds tokens, and has no index of its own, which each sign-in
    # would have to keep: who looks for it looks through those rows, which are few.
    Column("procore_id", BigInteger, info=_LATER),
    Index("ix_sign_in_ledger_user_id", "user_id"),
    Index("ix_sign_in_ledger_expires_at", "expires_at"),
    Index("ix_sign_in_ledger_escrowed_at", "escrowed_at"),
    **_SERVER_OPTIONS,
)

# A row for each connection of a user to an account of the application. The application's own tables
# are not referred to: they may be in another database, and change under their own migrations.
linked_users: Final = Table(
    "linked_users",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column(
        "user_id",
        BigInteger,
        ForeignKey("users.id", name="fk_linked_users_user_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("environment", _ENVIRONMENT, nullable=False),
    Column("reference", String(LONGEST_REFERENCE), nullable=False),
    # 0 where the reference may have one user, else the user's own number: the database itself
    # lets in one row for each
    Column("slot", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("environment", "reference", "slot", name="uq_linked_users_reference"),
    UniqueConstraint("user_id", "reference", name="uq_linked_users_user_id"),
    **_OPTIONS,
)

TAKEN: Final = sign_in_ledger.c.status == literal_column("'taken'")
"""That an attempt waits for its exchange. Constants stand in the text: nothing to bind."""

UNFINISHED: Final = or_(TAKEN, sign_in_ledger.c.status == literal_column("'exchanged'"))
"""That an attempt has not ended."""
