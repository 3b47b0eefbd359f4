"""Connections to Procore's API: HTTP/1.1 and TLS by httpcore2, with a deadline.

Nothing here follows a redirect, retries, or reads the environment: no proxy, no `.netrc`, only the
certificate authorities of this machine (rows P3, P5). A forked child opens its own connections, and
does not touch inherited ones (row F1).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import httpcore2
import httpx2

from procore_signin._api.errors import ApiError, ApiUnreachable, NotSent
from procore_signin._forks import OPENSSL, Lock, Owned, abandon, look_after
from procore_signin._public import public_in
from procore_signin._transport.deadline import AsyncDeadlineBackend, DeadlineBackend, Wait

MAX_CONNECTIONS: Final = 100
MAX_IDLE_CONNECTIONS: Final = 20
KEEP_IDLE: Final = 15.0
"""Seconds. Well below the keep-alive time of servers, because a request on a connection that the
server is closing fails, and it is unknown whether it was carried out."""

FAILURES: Final = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
)
_NEVER_SENT: Final = (
    httpcore2.ConnectTimeout,
    httpcore2.ConnectError,
    httpcore2.PoolTimeout,
    httpcore2.UnsupportedProtocol,
)


@public_in("procore_signin.api")
class Wire(httpx2.BaseTransport):
    """Sends requests unchanged, on connections that are kept and shared between threads.

    Args:
        ssl_context: For https; by default one that trusts this machine's certificate authorities.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl_context = ssl_context
        self._lock = Lock()
        self._pool: httpcore2.ConnectionPool | None = None
        look_after(self)

    def after_fork(self) -> None:
        """Open this process's own connections at the next use."""
        abandon(self._pool)
        self._pool = None

    def _open(self) -> httpcore2.ConnectionPool:
        with self._lock:
            if self._pool is None:
                self._pool = httpcore2.ConnectionPool(
                    **_settings(self._ssl_context), network_backend=DeadlineBackend()
                )
            return self._pool

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response, with its body unread.

        Raises:
            ApiUnreachable: No response came.
            NotSent: The request is not valid HTTP.
        """
        pool = self._pool or self._open()
        try:
            return self._handled(pool, request)
        except ApiError:
            raise
        except BaseException:  # an interrupt, which may come between any two steps of the pool
            self._replace(pool)
            raise

    def _handled(self, pool: httpcore2.ConnectionPool, request: httpx2.Request) -> httpx2.Response:
        failure: ApiError
        try:
            response = pool.handle_request(_for_httpcore(request))
            if _came_before(request):
                response.close()
                raise httpcore2.RemoteProtocolError(_CAME_BEFORE)
        except FAILURES as error:
            failure = failed(request, error)
        else:
            replace = partial(self._replace, pool)
            return _for_httpx(response, _Stream(response.stream, request, replace))
        raise failure  # outside the handler: httpcore2's errors may show headers

    def _replace(self, pool: httpcore2.ConnectionPool) -> None:
        """Use another pool for later requests: an interrupt came while this one was at work.

        The interrupt may have left a slot taken or the lock held. Requests under way finish on the
        old pool, and its connections end with the last of them; closing it here would wait for that
        lock.
        """
        with self._lock:
            if self._pool is pool:
                self._pool = None

    def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            self._pool.close()


@public_in("procore_signin.api")
class AsyncWire(httpx2.AsyncBaseTransport):
    """The async `Wire`, for one event loop.

    Args:
        ssl_context: As in `Wire`.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl_context = ssl_context
        self._pool: httpcore2.AsyncConnectionPool | None = None
        look_after(self)

    def after_fork(self) -> None:
        """As `Wire.after_fork`."""
        abandon(self._pool)
        self._pool = None

    def _open(self) -> httpcore2.AsyncConnectionPool:
        self._pool = httpcore2.AsyncConnectionPool(
            **_settings(self._ssl_context), network_backend=AsyncDeadlineBackend()
        )
        return self._pool

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As `Wire.handle_request`."""
        failure: ApiError
        try:
            pool = self._pool or self._open()
            response = await pool.handle_async_request(_for_httpcore(request))
            if _came_before(request):
                await response.aclose()
                raise httpcore2.RemoteProtocolError(_CAME_BEFORE)
        except FAILURES as error:
            failure = failed(request, error)
        else:
            return _for_httpx(response, _AsyncStream(response.stream, request))
        raise failure  # outside the handler, as above

    async def aclose(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.aclose()


class _Body(Owned):
    """A body that belongs to the process that sent the request.

    A child uses and closes nothing of it: not the connection, and not the pool, whose lock another
    thread may have held.
    """

    def __init__(self, stream: Any, request: httpx2.Request) -> None:
        super().__init__()
        self._stream = stream
        self._request = request

    def _leave(self, *parts: object) -> ApiError:
        """Abandon the body in a child; return the error for the caller."""
        abandon(self._stream, *parts)
        return failed(self._request, httpcore2.ReadError(_INHERITED))


_INHERITED: Final = "it belongs to the process that this one was forked from"


class _Stream(_Body, httpx2.SyncByteStream):
    def __init__(
        self, stream: Any, request: httpx2.Request, replace_pool: Callable[[], None]
    ) -> None:
        super().__init__(stream, request)
        self._replace_pool = replace_pool

    def __iter__(self) -> Iterator[bytes]:
        if self.inherited():
            raise self._leave()
        stream: Iterable[bytes] = self._stream
        parts = iter(stream)
        try:
            for part in parts:
                yield part
                if self.inherited():
                    break
        except FAILURES as error:
            failure: ApiError = failed(self._request, error)
        except GeneratorExit:
            if self.inherited():
                self._leave(parts)
            raise
        except BaseException:  # as in `handle_request`
            self._replace_pool()
            raise
        else:
            if not self.inherited():
                return
            failure = self._leave(parts)
        raise failure

    def close(self) -> None:
        if self.inherited():
            self._leave()
            return
        close = getattr(self._stream, "close", None)
        if close is None:
            return
        try:
            close()
        except BaseException:  # as in `handle_request`
            self._replace_pool()
            raise


class _AsyncStream(_Body, httpx2.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.inherited():
            raise self._leave()
        stream: AsyncIterable[bytes] = self._stream
        parts = aiter(stream)
        try:
            async for part in parts:
                yield part
                if self.inherited():
                    break
        except FAILURES as error:
            failure: ApiError = failed(self._request, error)
        except GeneratorExit:
            if self.inherited():
                self._leave(parts)
            raise
        else:
            if not self.inherited():
                return
            failure = self._leave(parts)
        raise failure

    async def aclose(self) -> None:
        if self.inherited():
            self._leave()
            return
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


class _Trust:
    """A context that trusts this machine's authorities, read once: reading takes 20 ms.

    A child reads them again: OpenSSL loads some of them lazily, under its own lock that another
    thread may have held.
    """

    def __init__(self, read: Callable[[], ssl.SSLContext]) -> None:
        self._read = read
        self._lock = Lock()
        self._context: ssl.SSLContext | None = None
        look_after(self)

    def after_fork(self) -> None:
        """Read them again at the next use."""
        abandon(self._context)
        self._context = None

    def context(self) -> ssl.SSLContext:
        """Return the context, made at first use."""
        with self._lock:
            if self._context is None:
                self._context = self._read()
            return self._context


def _authorities() -> ssl.SSLContext:
    """As the transport of the sign-in: SSL_CERT_FILE and SSL_CERT_DIR name a company's own."""
    with OPENSSL.block():
        return httpx2.create_ssl_context(trust_env=True)


_TRUST: Final = _Trust(_authorities)


def _settings(ssl_context: ssl.SSLContext | None) -> dict[str, Any]:
    return {
        "ssl_context": ssl_context or _TRUST.context(),
        "max_connections": MAX_CONNECTIONS,
        "max_keepalive_connections": MAX_IDLE_CONNECTIONS,
        "keepalive_expiry": KEEP_IDLE,
        "http1": True,
        "http2": False,
        "retries": 0,
    }


_CAME_BEFORE: Final = "it was there before the request was sent"


def _came_before(request: httpx2.Request) -> bool:
    """Return whether the response was there before `request` was sent.

    Otherwise a server or gateway that sends two responses to one request would shift all that
    follow on this connection: each caller would get the response to the previous request (row F1).
    """
    wait = request.extensions.get("timeout", {}).get("read")
    return isinstance(wait, Wait) and not wait.seen.first


def _for_httpcore(request: httpx2.Request) -> httpcore2.Request:
    url = request.url
    return httpcore2.Request(
        method=request.method,
        url=httpcore2.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        ),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _for_httpx(
    response: httpcore2.Response, stream: httpx2.SyncByteStream | httpx2.AsyncByteStream
) -> httpx2.Response:
    known = ("http_version", "reason_phrase")
    return httpx2.Response(
        response.status,
        headers=response.headers,
        stream=stream,
        extensions={name: response.extensions[name] for name in known},
    )


def failed(request: httpx2.Request, error: Exception) -> ApiError:
    """Return the error for the caller that an error of httpcore2 stands for."""
    call: dict[str, Any] = {"method": request.method, "path": request.url.path}
    named = f"{request.method} {request.url.path}"
    if isinstance(error, httpcore2.LocalProtocolError):
        # Its message shows the invalid header, which may be the one with the token.
        return NotSent(
            f"{named} was not sent: it is not HTTP",
            hint="A header has a line break or another character that headers may not have.",
            **call,
        )
    if isinstance(error, _NEVER_SENT):
        return ApiUnreachable(
            f"Procore was not reached, and {named} was not sent: {_reason(error)}",
            ambiguous=False,
            hint="Check this machine's network, firewall, name resolution, certificate authorities"
            " and clock. Proxies named in environment variables are not used.",
            **call,
        )
    return ApiUnreachable(
        f"The response to {named} did not come, or only part of it: {_reason(error)}",
        ambiguous=True,
        hint="Procore may have carried out the request. Read before writing again.",
        **call,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, httpcore2.TimeoutException):
        return "the time is up"
    # A certificate can contribute to this text.
    return "".join(filter(str.isprintable, str(error)))[:200] or "the connection ended"
