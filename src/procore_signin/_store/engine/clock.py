"""The clock that everyone who uses a row shares.

It is the database's own where that is a server, because the clocks of its users may differ by more
than a lease lasts. On SQLite all users share one machine and its clock.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, bindparam, cast, extract, func
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler


class _SharedNow(ColumnElement[Any]):
    inherit_cache = True
    type = BigInteger()


@compiles(_SharedNow)
def _shared_now(_: _SharedNow, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(_by_the_clock_of(compiler.dialect), **options)


def _by_the_clock_of(dialect: Dialect) -> ColumnElement[Any]:
    if dialect.name == "postgresql":
        return cast(extract("epoch", func.clock_timestamp()), BigInteger)
    if dialect.name == "sqlite":
        return bindparam("now")
    return func.unix_timestamp()


SHARED_NOW: Final = _SharedNow()
"""The unix second by the shared clock. On SQLite it is the value `now`, of the caller."""
