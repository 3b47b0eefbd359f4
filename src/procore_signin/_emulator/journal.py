"""The emulator's journal: every exchange, in order, exactly as on the wire.

Tests read it to prove what a client really sent; the inspector draws its diagram from it. Because
it keeps codes, tokens and secrets whole, it exists only in memory, and everything shown from it
passes through `redaction.shorten_secrets` first.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

BODY_KEPT: Final = 64 * 1024
"""Bytes kept of each request body and each response body; the rest is dropped."""

Caller = Literal["user", "app"]
Lane = Literal["auth", "api"]
Headers = tuple[tuple[str, str], ...]

UNSERVED: Final = "the emulator does not serve"
"""The beginning of the note on a request that the emulator does not serve."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and the response the emulator gave.

    The repr shows neither target, headers nor bodies: they hold codes, tokens and passwords.

    Attributes:
        number: 1 for the first exchange of this emulator, then counting up without gaps.
        started_at: When the request arrived, UTC unix seconds.
        took: Seconds from the request's arrival to the response.
        caller: The sender: `user` is a browser, `app` is the application's server.
        lane: The receiver: `auth` for `/oauth/*` and the log-in pages, `api` for the API's.
        method: Such as `GET`.
        target: Path, with `?` and query when there is one, as received.
        request_headers: Names and values in the order received.
        request_body: At most `BODY_KEPT` bytes.
        status: HTTP status of the response.
        response_headers: Names and values in the order sent.
        response_body: At most `BODY_KEPT` bytes.
        note: The emulator's remark, such as the reason of a refusal, or None.
    """

    number: int
    started_at: float
    took: float
    caller: Caller
    lane: Lane
    method: str
    target: str = field(repr=False)
    request_headers: Headers = field(repr=False)
    request_body: bytes = field(repr=False)
    status: int
    response_headers: Headers = field(repr=False)
    response_body: bytes = field(repr=False)
    note: str | None = field(repr=False)


class Subscription:
    """Wakes one asyncio task whenever the journal changes. Made by `Journal.subscribe`."""

    __slots__ = ("_event", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def wake(self) -> bool:
        """Wake the waiting task, from any thread; False when its event loop has ended."""
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:  # the loop is closed: no task waits any more
            return False
        return True

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 - a pause between heartbeats
        """Wait until the journal changed since the last call.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            True when it changed, False when the time is up.
        """
        try:
            await asyncio.wait_for(self._event.wait(), timeout)
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Journal:
    """The newest exchanges, numbered from 1. Every method may be called from any thread.

    Args:
        capacity: How many exchanges to keep; older ones are dropped.
    """

    def __init__(self, capacity: int = 1000) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Exchange] = deque(maxlen=capacity)
        self._last_number = 0
        self._cleared_up_to = 0
        self._subscriptions: set[Subscription] = set()

    @property
    def last_number(self) -> int:
        """Number of the newest exchange ever recorded, kept or not; 0 when there was none."""
        return self._last_number

    @property
    def cleared_up_to(self) -> int:
        """Number of the newest exchange that `clear` removed; 0 when it removed none."""
        return self._cleared_up_to

    def record(
        self,
        *,
        started_at: float,
        took: float,
        caller: Caller,
        lane: Lane,
        method: str,
        target: str,
        request_headers: Headers,
        request_body: bytes,
        status: int,
        response_headers: Headers,
        response_body: bytes,
        note: str | None = None,
    ) -> Exchange:
        """Keep one exchange and wake the callers that wait for it.

        Takes the fields of `Exchange` (see there), all but the number, which it gives.
        """
        with self._lock:
            self._last_number += 1
            exchange = Exchange(
                number=self._last_number,
                started_at=started_at,
                took=took,
                caller=caller,
                lane=lane,
                method=method,
                target=target,
                request_headers=request_headers,
                request_body=request_body[:BODY_KEPT],
                status=status,
                response_headers=response_headers,
                response_body=response_body[:BODY_KEPT],
                note=note,
            )
            self._kept.append(exchange)
        self._wake_all()
        return exchange

    def exchanges(self, after: int = 0) -> list[Exchange]:
        """Return the kept exchanges whose number is greater than `after`, oldest first."""
        with self._lock:
            return [exchange for exchange in self._kept if exchange.number > after]

    def exchange(self, number: int) -> Exchange | None:
        """Return the exchange with that number, or None when it is unknown or no longer kept."""
        with self._lock:
            return next((kept for kept in self._kept if kept.number == number), None)

    def clear(self) -> None:
        """Forget every exchange. Numbers go on counting, so that none is ever used twice."""
        with self._lock:
            self._kept.clear()
            self._cleared_up_to = self._last_number
        self._wake_all()

    def subscribe(self) -> Subscription:
        """Return a subscription that wakes when the journal changes.

        Call it on the event loop that will wait, before reading `exchanges`, so that nothing falls
        between the two; hand it to `unsubscribe` when done.

        Raises:
            RuntimeError: No event loop is running in this thread.
        """
        subscription = Subscription()
        with self._lock:
            self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop waking `subscription`; harmless when it was already removed."""
        with self._lock:
            self._subscriptions.discard(subscription)

    def _wake_all(self) -> None:
        with self._lock:
            waiting = tuple(self._subscriptions)
        for subscription in waiting:
            if not subscription.wake():
                self.unsubscribe(subscription)
