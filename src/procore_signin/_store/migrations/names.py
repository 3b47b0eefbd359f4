"""What a running migration calls our tables, indexes and constraints."""

from __future__ import annotations

from typing import cast

from alembic import op
from alembic.config import Config

from procore_signin._store.engine.address import Naming


def naming() -> Naming:
    """Return the naming that `migrate.py` was given."""
    config = cast("Config", op.get_context().config)
    return cast("Naming", config.attributes["naming"])
