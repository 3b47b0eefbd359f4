"""One deadline over a whole exchange, kept where the waiting happens: at the socket.

The timeouts of httpx2 bound each wait by itself, so a server that sends a byte now and then, in a
header or in the body, holds a caller for as long as it likes. Here each wait gets what is left.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Self

import httpcore2

SLICE: Final = 64 * 1024
"""Bytes that are handed to the system at once, so that a reader that crawls is noticed."""


class Wait(float):
    """How long a wait may take: a number of seconds that shrinks as the deadline comes closer.

    httpcore2 hands the timeouts of a request through to each wait unseen, which is how this gets
    there; to whoever takes it for a plain number it is the longest wait.
    """

    _each: float | None
    _until: float
    _clock: Callable[[], float]

    def __new__(cls, each: float | None, until: float, clock: Callable[[], float]) -> Self:
        """Return a wait of at most `each` seconds (None: no limit) that ends at `until`."""
        left = until - clock()
        wait = super().__new__(cls, max(0.0, left if each is None else min(each, left)))
        wait._each, wait._until, wait._clock = each, until, clock
        return wait

    def left(self) -> float:
        """Return the seconds that a wait may take that begins now; 0 or less when it is over."""
        left = self._until - self._clock()
        return left if self._each is None else min(self._each, left)


def waits(
    timeouts: Mapping[str, float | None], deadline: float, clock: Callable[[], float]
) -> dict[str, Wait]:
    """Return the timeouts of an exchange that begins now.

    Args:
        timeouts: Those of httpx2: `connect`, `read`, `write` and `pool`; None where there is none.
        deadline: Seconds for the whole exchange.
        clock: Returns seconds that never run backwards.
    """
    until = clock() + deadline
    return {
        kind: Wait(timeouts.get(kind), until, clock)
        for kind in ("connect", "read", "write", "pool")
    }


def _left(timeout: float | None, over: type[httpcore2.TimeoutException]) -> float | None:
    if not isinstance(timeout, Wait):
        return timeout
    left = timeout.left()
    if left <= 0:
        raise over("The deadline of the exchange has passed")
    return left


class DeadlineStream(httpcore2.NetworkStream):
    """A connection whose every wait ends at the deadline."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come, at most `max_bytes`."""
        return self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send `buffer`."""
        for start in range(0, len(buffer), SLICE):
            left = _left(timeout, httpcore2.WriteTimeout)
            self._stream.write(buffer[start : start + SLICE], left)

    def close(self) -> None:
        """End the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        """Return the connection under TLS."""
        left = _left(timeout, httpcore2.ConnectTimeout)
        return DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore2 wants to know of the connection."""
        return self._stream.get_extra_info(info)


class DeadlineBackend(httpcore2.NetworkBackend):
    """Opens connections whose every wait ends at the deadline."""

    def __init__(self) -> None:
        self._backend = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Return a connection to `host`."""
        left = _left(timeout, httpcore2.ConnectTimeout)
        return DeadlineStream(
            self._backend.connect_tcp(host, port, left, local_address, socket_options)
        )


class AsyncDeadlineStream(httpcore2.AsyncNetworkStream):
    """As `DeadlineStream`, for tasks."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # httpcore2's interface
        """Return what has come, at most `max_bytes`."""
        return await self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as above
        """Send `buffer`."""
        await self._stream.write(buffer, _left(timeout, httpcore2.WriteTimeout))

    async def aclose(self) -> None:
        """End the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # as above
    ) -> httpcore2.AsyncNetworkStream:
        """Return the connection under TLS."""
        left = _left(timeout, httpcore2.ConnectTimeout)
        return AsyncDeadlineStream(await self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore2 wants to know of the connection."""
        return self._stream.get_extra_info(info)


class AsyncDeadlineBackend(httpcore2.AsyncNetworkBackend):
    """As `DeadlineBackend`, for tasks of an asyncio event loop."""

    def __init__(self) -> None:
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # as above
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Return a connection to `host`."""
        left = _left(timeout, httpcore2.ConnectTimeout)
        return AsyncDeadlineStream(
            await self._backend.connect_tcp(host, port, left, local_address, socket_options)
        )
