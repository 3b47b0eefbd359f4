"""Keep whose the tokens in an escrow are after their user was deleted: by Procore's number.

MariaDB commits after each statement, so each can be repeated: see 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from procore_signin._store.migrations.names import naming

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Without a default: replicas of the version before write no such column, and no row is touched.
    if not is_present():
        column = sa.Column("procore_id", sa.BigInteger())
        op.add_column(naming().name("sign_in_ledger"), column, schema=naming().schema)


def downgrade() -> None:
    if is_present():
        name = naming().name("sign_in_ledger")
        op.drop_column(name, "procore_id", schema=naming().schema)


def is_present() -> bool:
    """Tell whether the column is there: MySQL knows no ADD COLUMN IF NOT EXISTS."""
    name, schema = naming().name("sign_in_ledger"), naming().schema
    found = sa.inspect(op.get_bind()).get_columns(name, schema=schema)
    return "procore_id" in {column["name"] for column in found}
