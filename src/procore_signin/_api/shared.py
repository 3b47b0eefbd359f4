"""What all API clients of one front door share: connections, pace, renewals, the service token."""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

import httpx2

from procore_signin._api.front_door import FrontDoor
from procore_signin._api.http.replay import Renewals
from procore_signin._api.http.wire import AsyncWire, Wire
from procore_signin._api.rate_limit import Pace
from procore_signin._api.service_account import ServiceTokens
from procore_signin._forks import Lock


class Shared:
    """What all API clients of one front door share. Safe for threads and tasks.

    Args:
        front_door: Provides the context. No reference to it is kept.
    """

    def __init__(self, front_door: FrontDoor) -> None:
        self.pace: Final = Pace()
        self.renewals: Final = Renewals()
        self.service: Final = ServiceTokens(front_door.context)
        self._lock = Lock()
        self._given: Final = front_door.wire
        self._wire: Wire | None = None
        self._async_wire: AsyncWire | None = None

    def wire(self) -> httpx2.BaseTransport:
        """Return the sync connections: the front door's own, else new ones, made on first use."""
        if isinstance(self._given, httpx2.BaseTransport):
            return self._given
        with self._lock:
            if self._wire is None:
                self._wire = Wire()
            return self._wire

    def async_wire(self) -> httpx2.AsyncBaseTransport:
        """Return the connections for the front door's event loop, as `wire` does."""
        if isinstance(self._given, httpx2.AsyncBaseTransport):
            return self._given
        with self._lock:
            if self._async_wire is None:
                self._async_wire = AsyncWire()
            return self._async_wire

    def close(self) -> None:
        """Close the sync connections."""
        if self._wire is not None:
            self._wire.close()

    async def aclose(self) -> None:
        """Close the async connections."""
        if self._async_wire is not None:
            await self._async_wire.aclose()


_LOCK: Final = Lock()
_SHARED: Final[WeakKeyDictionary[FrontDoor, Shared]] = WeakKeyDictionary()


def shared_by(front_door: FrontDoor) -> Shared:
    """Return what the API clients of `front_door` share, made on first use."""
    with _LOCK:
        shared = _SHARED.get(front_door)
        if shared is None:
            shared = _SHARED[front_door] = Shared(front_door)
        return shared


def forget(front_door: FrontDoor) -> Shared | None:
    """Return what the API clients of `front_door` shared, or None, and forget it."""
    with _LOCK:
        return _SHARED.pop(front_door, None)
