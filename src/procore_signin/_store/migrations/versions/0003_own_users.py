"""Keep whose login at the application a session belongs to, and who is connected to whom there.

MariaDB commits after each statement, so each can be repeated: see 0001.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from procore_signin._store.migrations.names import naming

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
ENVIRONMENT = sa.String(32).with_variant(
    mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
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


def upgrade() -> None:
    name, schema = naming().name, naming().schema
    if "reference" not in present("sessions"):
        op.add_column(name("sessions"), sa.Column("reference", sa.String(255)), schema=schema)
    op.create_table(
        name("linked_users"),
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column(
            "user_id",
            sa.BigInteger,
            sa.ForeignKey(
                f"{naming().key('users')}.id",
                name=name("fk_linked_users_user_id"),
                ondelete="CASCADE",
            ),
            nullable=False,
        ),
        sa.Column("environment", ENVIRONMENT, nullable=False),
        sa.Column("reference", sa.String(255), nullable=False),
        sa.Column("slot", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint(
            *("environment", "reference", "slot"),
            name=name("uq_linked_users_reference"),
        ),
        sa.UniqueConstraint("user_id", "reference", name=name("uq_linked_users_user_id")),
        **{**OPTIONS, "schema": schema},
    )


def downgrade() -> None:
    name, schema = naming().name, naming().schema
    op.drop_table(name("linked_users"), schema=schema, if_exists=True)
    if "reference" in present("sessions"):
        op.drop_column(name("sessions"), "reference", schema=schema)


def present(table: str) -> set[str]:
    """Return the names of the columns that `table` has: MySQL knows no ADD COLUMN IF NOT EXISTS."""
    name, schema = naming().name(table), naming().schema
    found = sa.inspect(op.get_bind()).get_columns(name, schema=schema)
    return {column["name"] for column in found}
