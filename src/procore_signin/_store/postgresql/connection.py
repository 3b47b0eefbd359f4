"""psycopg with an end to its patience, and without anything that a pooler would have to remember.

A server that says nothing more is given up. `statement_timeout` is kept by the server. Where it has
gone without a farewell (a failover, a firewall that forgets connections, a proxy that stands still)
only the client can see that. psycopg's `connect_timeout` counts for each address by itself and is
at least two seconds; for what comes after it has no limit.

PgBouncer hands a transaction any of its connections. What is set or prepared for a session would
stay on one of them, for others to find. So nothing is prepared, and limits are set with BEGIN, for
that transaction alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen, PQGenConn
from psycopg.waiting import Ready

from procore_signin._forks import OPENSSL
from procore_signin._store.engine.deadline import left

T = TypeVar("T")

LOOK_SECONDS: Final = 0.1
"""How often a wait for the server looks at the time."""

_CONNECT_TIMEOUT: Final = 5
_LONGEST_CONNECT: Final = 5.0
_LONGEST_CANCEL: Final = 2.0
_LEAST_SECONDS: Final = 0.05
_LOCK_SHARE: Final = 0.75
"""How much of the time a statement may wait for a lock: then the server itself says so in time."""


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that waits for the server until the deadline, and is given up after that."""

    made_at: float = 0.0
    """When it was begun."""
    longest_wait: float = 60.0
    """Seconds that one statement may take, also where there is no deadline."""
    given_up: bool = False
    """Whether it is closed beside its user."""

    # What both take differs: psycopg 3.2 has no `timeout` here, and one for connecting.
    def wait(self, gen: PQGen[T], interval: float = LOOK_SECONDS, *more: Any, **named: Any) -> T:
        """As in psycopg.

        Raises:
            psycopg.OperationalError: The server said nothing for too long. No one knows whether it
                has done what was asked; it is asked to stop.
        """
        limit = max(_LEAST_SECONDS, min(self.longest_wait, left()))
        outcome: T = super().wait(_limited(gen, limit, self.give_up), interval, *more, **named)
        return outcome

    def close(self) -> None:
        """As in psycopg; one that was given up is closed by who asks the server to stop."""
        if not self.given_up:
            super().close()

    @classmethod
    def _connect_gen(cls, conninfo: str = "", **more: Any) -> PQGenConn[Any]:
        """Leave half of the time for the next address, or for what is to be done there."""
        limit = max(_LEAST_SECONDS, min(_LONGEST_CONNECT, left() / 2))
        limited: PQGenConn[Any] = _limited(
            super()._connect_gen(conninfo, **more), limit, lambda: None
        )
        return limited

    def give_up(self) -> None:
        """Have the statement stopped beside the caller, who has waited long enough.

        A statement that waits for a lock would go on for as long as that is held: the server does
        not notice that no one listens. A pooler has to be asked before the connection closes.
        """
        self.given_up = True
        try:
            threading.Thread(target=self._stop, name="procore-signin-stop", daemon=True).start()
        except RuntimeError:  # the interpreter ends
            self.pgconn.finish()

    def _stop(self) -> None:
        with suppress(psycopg.Error), OPENSSL.block():  # it connects
            self.cancel_safe(timeout=_LONGEST_CANCEL)
        self.pgconn.finish()


def _limited(gen: PQGenConn[T] | PQGen[T], limit: float, give_up: Callable[[], None]) -> Any:
    """Pass on what `gen` waits for, until it has taken `limit` seconds."""
    until = time.monotonic() + limit
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if time.monotonic() > until and ready == Ready.NONE:
                give_up()
                raise psycopg.OperationalError(f"timed out: nothing came for {limit:.3g} seconds")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


def connecting(longest_wait: float) -> Callable[..., LimitedConnection]:
    """Return what SQLAlchemy calls to connect (its event `do_connect`)."""

    def connect_for(
        _dialect: object, _record: object, arguments: Any, options: Any
    ) -> LimitedConnection:
        return connect(arguments, options, longest_wait)

    return connect_for


def connect(arguments: Any, options: Any, longest_wait: float) -> LimitedConnection:
    """Connect, and prepare nothing.

    Args:
        arguments: psycopg's.
        options: psycopg's as well.
        longest_wait: Seconds that one statement may take.
    """
    began = time.monotonic()
    with OPENSSL.block():
        connection = LimitedConnection.connect(*arguments, **options, prepare_threshold=None)
    connection.made_at, connection.longest_wait = began, longest_wait
    return connection


def connect_options() -> dict[str, object]:
    """Return psycopg's options besides those of the address."""
    return {"connect_timeout": _CONNECT_TIMEOUT, "client_encoding": "utf8"}


def limits(lock_timeout: float, longest_statement: float) -> str:
    """Return what sets both for the transaction under way; the server then ends it itself.

    Args:
        lock_timeout: Seconds that a statement may wait for a lock.
        longest_statement: Seconds that it may take.
    """
    locks, whole = milliseconds(lock_timeout, min(longest_statement, left()))
    return f"SET LOCAL lock_timeout = {locks}; SET LOCAL statement_timeout = {whole}"


def milliseconds(lock_timeout: float, seconds: float) -> tuple[int, int]:
    """Return how long a statement may wait for a lock, and how long it may take."""
    whole = max(_LEAST_SECONDS, seconds)
    return round(min(lock_timeout, whole * _LOCK_SHARE) * 1000), round(whole * 1000)


def begin(lock_timeout: float, longest_statement: float) -> Callable[[Any], None]:
    """Return what begins a transaction, with its limits, in one message to the server."""

    def run(cursor: Any) -> None:
        cursor.execute(
            f"BEGIN ISOLATION LEVEL READ COMMITTED; {limits(lock_timeout, longest_statement)}"
        )

    return run
