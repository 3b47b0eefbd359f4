"""The clock that everyone who uses a row shares.

It is the database's own where that is a server, because the clocks of its users may differ by more
than a lease lasts. On SQLite all users share one machine and its clock.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, BindParameter, ColumnElement, bindparam, cast, extract, func
from sqlalchemy.engine import Dialect


def database_now(dialect: Dialect) -> ColumnElement[Any]:
    """Return the expression for the unix second by the shared clock; on SQLite, `:now`."""
    if dialect.name == "postgresql":
        return cast(extract("epoch", func.clock_timestamp()), BigInteger)
    if dialect.name == "sqlite":
        now: BindParameter[Any] = bindparam("now")
        return now
    return func.unix_timestamp()
