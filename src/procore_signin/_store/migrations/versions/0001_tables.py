"""Make the tables: users, sessions, token sets and the ledger of sign-ins.

SQLite and PostgreSQL do this whole or not at all. MariaDB commits after each statement, so every
statement here can be repeated: an upgrade that was cut short is finished by the next one.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from procore_signin._store.migrations.names import naming

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
OPTIONS: dict[str, Any] = {
    "sqlite_autoincrement": True,
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
    "if_not_exists": True,
}


def exact(length: int) -> sa.types.TypeEngine[str]:
    """Return a text type that compares byte for byte on MariaDB too."""
    ascii_bin = mysql.VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.String(length).with_variant(ascii_bin, "mysql", "mariadb")


def upgrade() -> None:
    name, users = naming().name, naming().key("users")
    options = {**OPTIONS, "schema": naming().schema}
    op.create_table(
        name("users"),
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("procore_id", sa.BigInteger, nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("environment", exact(32), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_signed_in_at", sa.BigInteger, nullable=False),
        sa.Column("disabled_at", sa.BigInteger),
        sa.Column("company_id", sa.BigInteger),
        sa.UniqueConstraint(
            "environment", "procore_id", name=name("uq_users_environment_procore_id")
        ),
        **options,
    )
    op.create_table(
        name("sessions"),
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("id_hash", exact(64), nullable=False),
        sa.Column(
            "user_id",
            sa.BigInteger,
            sa.ForeignKey(f"{users}.id", name=name("fk_sessions_user_id"), ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("environment", exact(32), nullable=False),
        sa.Column(
            "me_json",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"),
            nullable=False,
        ),
        sa.Column("user_agent", sa.String(255)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_seen_at", sa.BigInteger, nullable=False),
        sa.Column("idle_expires_at", sa.BigInteger, nullable=False),
        sa.Column("absolute_expires_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("id_hash", name=name("uq_sessions_id_hash")),
        **options,
    )
    op.create_table(
        name("token_sets"),
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column(
            "user_id",
            sa.BigInteger,
            sa.ForeignKey(f"{users}.id", name=name("fk_token_sets_user_id")),
            nullable=False,
        ),
        sa.Column("environment", exact(32), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("access_token", sa.Text, nullable=False),
        sa.Column("refresh_token", sa.Text),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("status", exact(16), nullable=False),
        sa.Column("lease_owner", sa.String(64)),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("ambiguous", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint(
            "user_id", "environment", name=name("uq_token_sets_user_id_environment")
        ),
        **options,
    )
    op.create_table(
        name("sign_in_ledger"),
        sa.Column("state_hash", exact(64), primary_key=True),
        sa.Column("environment", exact(32), nullable=False),
        sa.Column("status", exact(16), nullable=False),
        sa.Column(
            "user_id",
            sa.BigInteger,
            sa.ForeignKey(
                f"{users}.id", name=name("fk_sign_in_ledger_user_id"), ondelete="SET NULL"
            ),
        ),
        sa.Column("outcome", sa.String(64)),
        sa.Column("escrow", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("escrowed_at", sa.BigInteger),
        **{**options, "sqlite_autoincrement": False},
    )
    make_index("ix_sessions_user_id", "sessions", "user_id")
    make_index("ix_sessions_idle_expires_at", "sessions", "idle_expires_at")
    make_index("ix_sign_in_ledger_user_id", "sign_in_ledger", "user_id")
    make_index("ix_sign_in_ledger_expires_at", "sign_in_ledger", "expires_at")
    make_index("ix_sign_in_ledger_escrowed_at", "sign_in_ledger", "escrowed_at")


def make_index(plain: str, table: str, column: str) -> None:
    """Make an index unless it is there: MySQL knows no CREATE INDEX IF NOT EXISTS."""
    name, of, schema = naming().name(plain), naming().name(table), naming().schema
    present = sa.inspect(op.get_bind()).get_indexes(of, schema=schema)
    if name not in {index["name"] for index in present}:
        op.create_index(name, of, [column], schema=schema)


def downgrade() -> None:
    for table in ("sign_in_ledger", "token_sets", "sessions", "users"):
        op.drop_table(naming().name(table), schema=naming().schema, if_exists=True)
