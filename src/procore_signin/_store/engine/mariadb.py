"""PyMySQL with one deadline for a whole piece of work, not one for each read of its socket."""

from __future__ import annotations

from typing import Any, Final

import pymysql

from procore_signin._store.engine.deadline import CONNECTING, left
from procore_signin._store.engine.failures import Failed

_LEAST_SECONDS: Final = 0.05


class LimitedConnection(pymysql.connections.Connection):  # type: ignore[misc]  # PyMySQL has no types
    """A connection that waits for the server until the deadline."""

    _longest: float | None = None

    def _limit(self) -> float | None:
        until = left()
        longest = until if self._longest is None else min(self._longest, until)
        return max(_LEAST_SECONDS, longest)

    def _set_longest(self, seconds: float | None) -> None:
        self._longest = seconds

    # PyMySQL reads them before each wait for its socket.
    _read_timeout = property(_limit, _set_longest)
    _write_timeout = property(_limit, _set_longest)


def connect(_dialect: object, _record: object, arguments: Any, options: Any) -> LimitedConnection:
    """Connect, for SQLAlchemy's event `do_connect`.

    Raises:
        Failed: The address has a parameter that PyMySQL does not know.
    """
    longest = max(_LEAST_SECONDS, min(options["connect_timeout"], left() / 2))
    try:
        with CONNECTING:
            return LimitedConnection(*arguments, **options | {"connect_timeout": longest})
    except TypeError:  # its message quotes a name of the address, and nothing else
        pass
    raise Failed("parameter")
