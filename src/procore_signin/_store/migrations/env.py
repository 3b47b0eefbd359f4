"""Alembic runs this file. It works on the connection that `migrate.py` opened, and locked."""

from __future__ import annotations

from alembic import context

from procore_signin._store.schema import VERSION_TABLE, metadata

naming = context.config.attributes["naming"]
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=naming.name(VERSION_TABLE),
    version_table_schema=naming.schema,
)
with context.begin_transaction():
    context.run_migrations()
