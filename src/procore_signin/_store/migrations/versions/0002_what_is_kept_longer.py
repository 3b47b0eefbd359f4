"""Keep how long a lease was meant, the pair before, an attempt's code, and who revokes an escrow.

MariaDB commits after each statement, so each can be repeated: see 0001.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from procore_signin._store.migrations.names import naming

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

HASH = sa.String(64).with_variant(
    mysql.VARCHAR(64, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
COLUMNS: tuple[tuple[str, str, sa.types.TypeEngine[Any]], ...] = (
    ("token_sets", "lease_seconds", sa.BigInteger()),
    ("token_sets", "predecessor", sa.Text()),
    ("sign_in_ledger", "code_hash", HASH),
    ("sign_in_ledger", "joined_at", sa.BigInteger()),
    ("sign_in_ledger", "held_by", sa.String(64)),
    ("sign_in_ledger", "held_until", sa.BigInteger()),
)


def upgrade() -> None:
    for table, name, kind in COLUMNS:
        if name not in present(table):
            op.add_column(naming().name(table), sa.Column(name, kind), schema=naming().schema)


def downgrade() -> None:
    for table, name, _ in reversed(COLUMNS):
        if name in present(table):
            op.drop_column(naming().name(table), name, schema=naming().schema)


def present(table: str) -> set[str]:
    """Return the names of the columns that `table` has: MySQL knows no ADD COLUMN IF NOT EXISTS."""
    name, schema = naming().name(table), naming().schema
    found = sa.inspect(op.get_bind()).get_columns(name, schema=schema)
    return {column["name"] for column in found}
