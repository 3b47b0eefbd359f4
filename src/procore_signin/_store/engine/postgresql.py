"""psycopg with an end to its patience: a server that says nothing more is given up.

`statement_timeout` is kept by the server. Where it has gone without a farewell (a failover, a
firewall that forgets connections, a proxy that stands still) only the client can see that. PyMySQL
has a timeout for this; psycopg has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.waiting import Ready

T = TypeVar("T")

LOOK_SECONDS: Final = 0.1
"""How often a wait for the server looks at the time."""


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that waits so long for the server, and is closed after that."""

    longest_wait: float = 60.0
    """Seconds."""

    def wait(
        self, gen: PQGen[T], interval: float = LOOK_SECONDS, timeout: float | None = None
    ) -> T:
        """As in psycopg.

        Raises:
            psycopg.OperationalError: The server said nothing for too long. No one knows whether it
                has done what was asked.
        """
        return super().wait(self._limited(gen), interval, timeout)

    def _limited(self, gen: PQGen[T]) -> PQGen[T]:
        until = time.monotonic() + self.longest_wait
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready == Ready.NONE and time.monotonic() > until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(
                        f"the server said nothing for {self.longest_wait} seconds"
                    )
                wanted = gen.send(ready)
        except StopIteration as end:
            value: T = end.value
            return value


def connecting(longest_wait: float) -> Callable[..., LimitedConnection]:
    """Return what SQLAlchemy calls to connect (its event `do_connect`)."""

    def connect(
        _dialect: object, _record: object, arguments: Any, options: Any
    ) -> LimitedConnection:
        connection = LimitedConnection.connect(*arguments, **options)
        connection.longest_wait = longest_wait
        return connection

    return connect
