"""Connections for httpcore2 with one deadline, usable only in the process that made them.

The timeouts of httpx2 limit each wait separately, so a server that sends a byte now and then can
hold a caller as long as it likes. Here each wait gets the time that is left.

A forked child shares its parent's sockets: bytes that one reads are missing in the other. So a
connection cannot be used or closed in another process than its own, whatever holds it there: a
pool, a half-read response, or a call under way.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Final, Self

import httpcore2

from procore_signin._forks import Owned, abandon
from procore_signin._transport.tls import AsyncTlsStream, Tls, TlsStream

SLICE: Final = 64 * 1024
"""Bytes written at once, so that a slow reader is noticed."""

FIRST: Final = 8
"""The first bytes of a response that tell whether it is HTTP."""


_INHERITED: Final = "The connection belongs to the process that this one was forked from"


class Seen:
    """What happened on the connection during one exchange.

    Attributes:
        sent: Whether a byte of the request may have been sent.
        first: The first bytes received, at most `FIRST`.
        ended: Whether the server has closed its side.
    """

    __slots__ = ("ended", "first", "sent")

    def __init__(self) -> None:
        self.sent = False
        self.first = b""
        self.ended = False

    def received(self, data: bytes) -> None:
        """Note the bytes that were read; no bytes mean the end."""
        if not data:
            self.ended = True
        elif len(self.first) < FIRST:
            self.first += data[: FIRST - len(self.first)]


class Wait(float):
    """A timeout in seconds that shrinks as the deadline approaches.

    httpcore2 passes the timeouts of a request on to each wait unchanged, so this object gets there;
    as a plain number it is the longest wait.
    """

    _each: float | None
    _until: float
    _clock: Callable[[], float]
    seen: Seen

    def __new__(
        cls,
        each: float | None,
        until: float,
        clock: Callable[[], float],
        seen: Seen | None = None,
    ) -> Self:
        """Return a wait of at most `each` seconds (None: no limit) that ends at `until`."""
        left = until - clock()
        wait = super().__new__(cls, max(0.0, left if each is None else min(each, left)))
        wait._each, wait._until, wait._clock = each, until, clock
        wait.seen = seen or Seen()
        return wait

    def left(self) -> float:
        """Return the most seconds for a wait that starts now; 0 or less after the deadline."""
        left = self._until - self._clock()
        return left if self._each is None else min(self._each, left)


def waits(
    timeouts: Mapping[str, float | None],
    deadline: float,
    clock: Callable[[], float],
    seen: Seen | None = None,
) -> dict[str, Wait]:
    """Return the timeouts of an exchange that starts now.

    Args:
        timeouts: Those of httpx2: `connect`, `read`, `write` and `pool`; None for no limit.
        deadline: Seconds for the whole exchange.
        clock: Returns seconds that never run backwards.
        seen: Records what happens.
    """
    until, seen = clock() + deadline, seen or Seen()
    return {
        kind: Wait(timeouts.get(kind), until, clock, seen)
        for kind in ("connect", "read", "write", "pool")
    }


def _left(timeout: float | None, over: type[httpcore2.TimeoutException]) -> float | None:
    if not isinstance(timeout, Wait):
        return timeout
    left = timeout.left()
    if left <= 0:
        raise over("The deadline of the exchange has passed")
    return left


class DeadlineStream(Owned, httpcore2.NetworkStream):
    """A connection whose every wait ends at the deadline.

    Args:
        stream: The connection.
        strict_end: Whether an end of TLS without `close_notify` is an error.
    """

    def __init__(self, stream: httpcore2.NetworkStream, *, strict_end: bool = False) -> None:
        super().__init__()
        self._stream = stream
        self._strict_end = strict_end

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come, at most `max_bytes`."""
        if self.inherited():
            raise httpcore2.ReadError(_INHERITED)
        data = self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))
        if isinstance(timeout, Wait):
            timeout.seen.received(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send `buffer`."""
        if self.inherited():
            raise httpcore2.WriteError(_INHERITED)
        for start in range(0, len(buffer), SLICE):
            left = _left(timeout, httpcore2.WriteTimeout)
            if isinstance(timeout, Wait):
                timeout.seen.sent = True
            self._stream.write(buffer[start : start + SLICE], left)

    def close(self) -> None:
        """Close the connection, also for a thread that waits on it."""
        if self.inherited():
            abandon(self._stream)
            return
        with contextlib.suppress(OSError):  # the peer may have closed it
            self._stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        """Return the connection under TLS."""
        if self.inherited():
            raise httpcore2.ConnectError(_INHERITED)
        left = _left(timeout, httpcore2.ConnectTimeout)
        tls = Tls(ssl_context, server_hostname, strict_end=self._strict_end)
        secured = TlsStream(self._stream, tls)
        secured.handshake(left)
        return DeadlineStream(secured)

    def get_extra_info(self, info: str) -> Any:
        """Return information about the connection for httpcore2."""
        return self._stream.get_extra_info(info)


class DeadlineBackend(httpcore2.NetworkBackend):
    """Opens connections whose every wait ends at the deadline.

    Args:
        strict_end: As in `DeadlineStream`.
    """

    def __init__(self, *, strict_end: bool = False) -> None:
        self._backend = httpcore2.SyncBackend()
        self._strict_end = strict_end

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Return a connection to the first address of `host` that accepts one."""
        failure: Exception = httpcore2.ConnectError("The name has no address")
        for address in _addresses(host, port, timeout):
            left = _left(timeout, httpcore2.ConnectTimeout)
            try:
                stream = self._backend.connect_tcp(
                    address, port, left, local_address, socket_options
                )
            except httpcore2.ConnectError as error:
                failure = error
            else:
                return DeadlineStream(stream, strict_end=self._strict_end)
        raise failure


def _addresses(host: str, port: int, timeout: float | None) -> list[str]:
    """Return the addresses of `host`.

    The system's look-up has no timeout and cannot be stopped: it runs on a thread, which is left
    behind when the time is up.
    """
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    found: Future[list[str]] = Future()

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.set_result(list(dict.fromkeys(str(info[4][0]) for info in infos)))
        except Exception as error:  # noqa: BLE001  # whatever it is, the one who waits must know
            found.set_exception(error)

    try:
        threading.Thread(target=look_up, name="procore-signin-resolver", daemon=True).start()
    except RuntimeError:  # no thread can be started, for example at interpreter shutdown
        look_up()
    try:
        return found.result(_left(timeout, httpcore2.ConnectTimeout))
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise httpcore2.ConnectTimeout("The name was not resolved in time") from None
        raise httpcore2.ConnectError(str(error)) from error
    except UnicodeError as error:  # from a label that is too long
        raise httpcore2.ConnectError(str(error)) from error


class AsyncDeadlineStream(Owned, httpcore2.AsyncNetworkStream):
    """The async `DeadlineStream`."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        super().__init__()
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # httpcore2's interface
        """Return what has come, at most `max_bytes`."""
        if self.inherited():
            raise httpcore2.ReadError(_INHERITED)
        data = await self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))
        if isinstance(timeout, Wait):
            timeout.seen.received(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as above
        """Send `buffer`."""
        if self.inherited():
            raise httpcore2.WriteError(_INHERITED)
        await self._stream.write(buffer, _left(timeout, httpcore2.WriteTimeout))

    async def aclose(self) -> None:
        """Close the connection."""
        if (
            self.inherited()
        ):  # closing would remove it from the parent's event loop, which is shared
            abandon(self._stream)
            return
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # as above
    ) -> httpcore2.AsyncNetworkStream:
        """Return the connection under TLS."""
        if self.inherited():
            raise httpcore2.ConnectError(_INHERITED)
        left = _left(timeout, httpcore2.ConnectTimeout)
        secured = AsyncTlsStream(self._stream, Tls(ssl_context, server_hostname))
        await secured.handshake(left)
        return AsyncDeadlineStream(secured)

    def get_extra_info(self, info: str) -> Any:
        """Return information about the connection for httpcore2."""
        return self._stream.get_extra_info(info)


class AsyncDeadlineBackend(httpcore2.AsyncNetworkBackend):
    """The async `DeadlineBackend`, for asyncio."""

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
