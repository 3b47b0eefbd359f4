"""SQLAlchemy's engine for migrations, and for the commands that look into the database once."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event

from procore_signin._store.engine.address import Address

_LONGEST_STATEMENT: Final = 30
_GRACE_SECONDS: Final = 2


def writer_engine(
    address: Address,
    *,
    timeout: float,
    longest_statement: int = _LONGEST_STATEMENT,
) -> Engine:
    """Return an engine whose transactions are READ COMMITTED, and which keeps one connection.

    Args:
        address: Where the server is.
        timeout: Seconds to wait for others' locks.
        longest_statement: Seconds that a statement may take.
    """
    # The drivers not at the top: who uses the one need not have the other.
    if address.backend == "postgresql":
        from procore_signin._store.postgresql import connection  # noqa: PLC0415

        engine = _engine(address, connection.connect_options())
        longest_wait = longest_statement + _GRACE_SECONDS
        event.listen(engine, "do_connect", connection.connecting(longest_wait))

        @event.listens_for(engine, "begin")
        def set_limits(begun: Connection) -> None:
            begun.exec_driver_sql(connection.limits(timeout, longest_statement))

    else:
        from procore_signin._store.engine import mariadb  # noqa: PLC0415

        engine = _engine(address, mariadb.connect_options(timeout, longest_statement))
        event.listen(engine, "do_connect", mariadb.connect)
    return engine


def _engine(address: Address, options: dict[str, Any]) -> Engine:
    return create_engine(
        address.url,
        isolation_level="READ COMMITTED",
        pool_size=1,
        max_overflow=1,
        hide_parameters=True,
        connect_args=options,
    )
