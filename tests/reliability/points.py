"""Named points of a flow, where a process can be made to die or to stand still.

The points lie around and inside the steps that a flow asks for: `before TakeLease`,
`after /oauth/token`, and, between the last statement of a transaction and its COMMIT,
`inside CommitRefresh`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._store import Store
from procore_signin._store.engine.command import Command
from procore_signin._store.engine.statement import Statements
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin._transport.contract import Transport

T = TypeVar("T")


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
        """Have the points of every command of `store` reached."""
        usual = store.do

        def do(command: Command[T]) -> T:
            name = type(command).__name__
            self.reach(f"before {name}")
            outcome = usual(_Watched(command, self))
            if outcome is None:
                self.reach(f"in vain {name}")
            self.reach(f"after {name}")
            return outcome

        store.do = do  # type: ignore[method-assign]


class _Watched(Command[T]):
    """A command that says when it has run its last statement."""

    def __init__(self, command: Command[T], points: Points) -> None:
        self._command = command
        self._points = points
        self.long = command.long  # type: ignore[misc]  # as the command's

    def run(self, seal: TokenSeal) -> Statements[T]:
        outcome = yield from self._command.run(seal)
        self._points.reach(f"inside {type(self._command).__name__}")
        return outcome


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
