"""Named points of a flow, where a process can be made to die or to stand still.

The points lie around and inside the steps that a flow asks for: `before take_lease`,
`after /oauth/token`, and, between the last statement of a transaction and its COMMIT,
`inside commit_refresh`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from procore_signin._protocol.wire import HttpRequest, HttpResponse
from procore_signin._store import Store
from procore_signin._store.engine.statement import Transaction
from procore_signin._transport.contract import Transport

T = TypeVar("T")

WRITES: Final = (
    *("take_lease", "note_ambiguous", "commit_refresh", "end_grant", "release_lease"),
    *("take_attempt", "escrow", "complete_sign_in", "fail_attempt"),
    *("give_up_tokens", "hold_escrow", "replace_escrow", "finish_escrow", "release_escrow"),
)


class Points:
    """Does something once, when a flow comes to a point.

    Attributes:
        armed: The point, or None.
        passed: How often each point was passed.
    """

    def __init__(self) -> None:
        self.armed: str | None = None
        self.act: Callable[[], object] = lambda: None
        self.passed: dict[str, int] = {}
        self._writing = ""

    def arm(self, point: str, act: Callable[[], object]) -> None:
        """Have `act` done when a flow next comes to `point`."""
        self.armed, self.act = point, act

    def reach(self, point: str) -> None:
        """Say that a flow is at `point`."""
        self.passed[point] = self.passed.get(point, 0) + 1
        if point == self.armed:
            self.armed = None
            self.act()

    def watch(self, store: Store) -> None:
        """Have the points of every write of `store` reached."""
        for name in WRITES:
            setattr(store, name, self._around(name, getattr(store, name)))
        database = store._database
        write = database.write

        def watched(work: Callable[[Transaction], T]) -> T:
            def within(transaction: Transaction) -> T:
                outcome = work(transaction)
                self.reach(f"inside {self._writing}")
                return outcome

            return write(within)

        database.write = watched  # type: ignore[method-assign]

    def _around(self, name: str, method: Callable[..., T]) -> Callable[..., T]:
        def around(*arguments: Any, **named: Any) -> T:
            self._writing = name
            self.reach(f"before {name}")
            outcome = method(*arguments, **named)
            if outcome is None:
                self.reach(f"in vain {name}")
            self.reach(f"after {name}")
            return outcome

        return around


class WatchedTransport:
    """A transport whose requests have points: `before <path>` and `after <path>`."""

    def __init__(self, transport: Transport, points: Points) -> None:
        self._transport = transport
        self._points = points

    def send(self, request: HttpRequest) -> HttpResponse:
        path = urlsplit(request.url).path
        self._points.reach(f"before {path}")
        response = self._transport.send(request)
        self._points.reach(f"after {path}")
        return response

    def close(self) -> None:
        self._transport.close()
