"""TLS on a connection of httpcore2, with OpenSSL apart from the network (row F3).

A fork must not meet another thread inside OpenSSL (`_forks.OPENSSL`), and must not wait for a
server that says nothing. So OpenSSL takes bytes and gives bytes, and a thread that waits for the
network is outside of it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import httpcore2

from procore_signin._forks import OPENSSL

T = TypeVar("T")

Talk = Generator[bytes | None, bytes, T]
"""Yields bytes to be sent, or None where it wants those that come next; none mean the end."""

_MOST: Final = 64 * 1024
"""Bytes received at once."""


class Tls:
    """The TLS of one connection.

    Args:
        context: Whom it trusts.
        hostname: The name that the certificate must have.
        strict_end: Whether an end without `close_notify` is an error.

    Attributes:
        object: What OpenSSL knows of the connection.
    """

    def __init__(
        self, context: ssl.SSLContext, hostname: str | None, *, strict_end: bool = False
    ) -> None:
        self._incoming: Final = ssl.MemoryBIO()
        self._outgoing: Final = ssl.MemoryBIO()
        self._strict_end: Final = strict_end
        with OPENSSL.block():
            self.object: Final = context.wrap_bio(
                self._incoming, self._outgoing, server_hostname=hostname
            )

    def handshake(self) -> Talk[None]:
        """Shake hands."""
        return self._talk(self.object.do_handshake)

    def read(self, most: int) -> Talk[bytes]:
        """Return what has come, at most so many bytes; none after the end."""
        try:
            return (yield from self._talk(self.object.read, most))
        except ssl.SSLEOFError:
            if self._strict_end:
                raise
            return b""

    def write(self, data: bytes) -> Talk[int]:
        """Send `data`."""
        return self._talk(self.object.write, data)

    def _talk(self, work: Callable[..., T], *arguments: Any) -> Talk[T]:
        while True:
            failure: ssl.SSLError
            try:
                with OPENSSL.block():
                    outcome = work(*arguments)
            except ssl.SSLError as error:
                failure = error
            else:
                if self._outgoing.pending:
                    yield self._outgoing.read()
                return outcome
            if self._outgoing.pending:  # also why it failed: the server gets to know
                yield self._outgoing.read()
            if not isinstance(failure, ssl.SSLWantReadError):
                raise failure
            received = yield None
            if received:
                self._incoming.write(received)
            else:
                self._incoming.write_eof()


class TlsStream(httpcore2.NetworkStream):
    """A connection under TLS.

    Args:
        stream: The connection.
        tls: Its TLS.
    """

    def __init__(self, stream: httpcore2.NetworkStream, tls: Tls) -> None:
        self._stream: Final = stream
        self._tls: Final = tls

    def handshake(self, timeout: float | None) -> None:
        """Shake hands, or close the connection. It may take `timeout` seconds in all."""
        try:
            with _connecting():
                self._run(self._tls.handshake(), timeout)
        except BaseException:
            self.close()
            raise

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come, at most `max_bytes`."""
        with _named(httpcore2.ReadError):
            return self._run(self._tls.read(max_bytes), timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send `buffer`."""
        with _named(httpcore2.WriteError):
            self._run(self._tls.write(buffer), timeout)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """Return information about the connection for httpcore2."""
        return self._tls.object if info == "ssl_object" else self._stream.get_extra_info(info)

    def _run(self, talk: Talk[T], timeout: float | None) -> T:
        left = _Left(timeout)
        try:
            step = next(talk)
            while True:
                if step is None:
                    step = talk.send(self._stream.read(_MOST, left(httpcore2.ReadTimeout)))
                else:
                    self._stream.write(step, left(httpcore2.WriteTimeout))
                    step = next(talk)
        except StopIteration as end:
            value: T = end.value
            return value


class AsyncTlsStream(httpcore2.AsyncNetworkStream):
    """The async `TlsStream`."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, tls: Tls) -> None:
        self._stream: Final = stream
        self._tls: Final = tls

    async def handshake(self, timeout: float | None) -> None:  # noqa: ASYNC109  # as httpcore2's
        """As `TlsStream.handshake`."""
        try:
            with _connecting():
                await self._run(self._tls.handshake(), timeout)
        except BaseException:
            await self.aclose()
            raise

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # as above
        """Return what has come, at most `max_bytes`."""
        with _named(httpcore2.ReadError):
            return await self._run(self._tls.read(max_bytes), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as above
        """Send `buffer`."""
        with _named(httpcore2.WriteError):
            await self._run(self._tls.write(buffer), timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Return information about the connection for httpcore2."""
        return self._tls.object if info == "ssl_object" else self._stream.get_extra_info(info)

    async def _run(self, talk: Talk[T], timeout: float | None) -> T:  # noqa: ASYNC109  # as above
        left = _Left(timeout)
        try:
            step = next(talk)
            while True:
                if step is None:
                    received = await self._stream.read(_MOST, left(httpcore2.ReadTimeout))
                    step = talk.send(received)
                else:
                    await self._stream.write(step, left(httpcore2.WriteTimeout))
                    step = next(talk)
        except StopIteration as end:
            value: T = end.value
            return value


class _Left:
    """The seconds that are left of a timeout, which begins now."""

    def __init__(self, timeout: float | None) -> None:
        self._until: Final = None if timeout is None else time.monotonic() + timeout

    def __call__(self, over: type[httpcore2.TimeoutException]) -> float | None:
        if self._until is None:
            return None
        left = self._until - time.monotonic()
        if left <= 0:
            raise over("The time is up")
        return left


@contextmanager
def _named(name: type[httpcore2.NetworkError]) -> Generator[None]:
    """Give OpenSSL's errors a name of httpcore2's."""
    try:
        yield
    except ssl.SSLError as error:
        raise name(str(error)) from error


@contextmanager
def _connecting() -> Generator[None]:
    """Say of all errors that there was no connection yet."""
    try:
        yield
    except httpcore2.TimeoutException as error:
        raise httpcore2.ConnectTimeout(str(error)) from error
    except (httpcore2.NetworkError, ssl.SSLError) as error:
        raise httpcore2.ConnectError(str(error)) from error
