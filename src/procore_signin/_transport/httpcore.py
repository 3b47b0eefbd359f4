"""The transports for a process whose parent has used pyreqwest, over httpcore2 (decision 29).

The runtime of pyreqwest does not survive a fork and cannot be started a second time. These
transports keep the same promises (rows T2, T3) without it. They use more CPU, so every other
process uses `pyreqwest.py`.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore2

from procore_signin._forks import OPENSSL, Lock, abandon, look_after
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._transport import limits
from procore_signin._transport.deadline import DeadlineBackend, Seen, Wait, waits
from procore_signin._transport.kept import is_kept, keep
from procore_signin.errors import ProcoreSignInError, UnexpectedResponse

MAX_CONNECTIONS: Final = 100
MOST_HEADERS: Final = 100
_FAILURES: Final = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
)


class HttpcoreTransport:
    """A sync `Transport`. Each request has its own connection.

    Args:
        deadline: As in `PyreqwestTransport`.
        max_body: As in `PyreqwestTransport`.
        user_agent: As in `PyreqwestTransport`.
        root_certificates: As in `PyreqwestTransport`.
    """

    def __init__(
        self,
        *,
        deadline: float = limits.LONGEST_DEADLINE,
        max_body: int = limits.MAX_BODY,
        user_agent: str = limits.USER_AGENT,
        root_certificates: bytes | None = None,
    ) -> None:
        limits.check_deadline(deadline)
        self._deadline: Final = deadline
        self._max_body: Final = max_body
        self._user_agent: Final = user_agent
        self._root_certificates: Final = root_certificates
        self._lock: Final = Lock()
        self._pool: httpcore2.ConnectionPool | None = None
        look_after(self)

    def after_fork(self) -> None:
        """Open this process's own connections at the next use."""
        abandon(self._pool)
        self._pool = None

    def send(self, request: HttpRequest) -> HttpResponse:
        """Return the response to `request`: see `Transport.send`.

        Raises:
            ValueError: The URL of `request` is not http or https.
        """
        return self._send(request, *self._begin())

    def _begin(self) -> tuple[dict[str, Wait], Seen]:
        """Start the deadline."""
        seen, clock = Seen(), time.monotonic
        timeout = waits({}, self._deadline, clock, seen)
        timeout["connect"] = Wait(None, clock() + self._deadline / 2, clock, seen)
        return timeout, seen

    def _send(self, request: HttpRequest, timeout: dict[str, Wait], seen: Seen) -> HttpResponse:
        outgoing = self._outgoing(request, timeout)
        try:
            response = self._open().handle_request(outgoing)
            try:
                head = _head(request, response)
                if is_kept(request, head):
                    return keep(head, partial(next, iter(_parts(response)), None), _FAILURES)
                body = self._body(response)
            finally:
                response.close()
        except _FAILURES as error:
            failure = _failure(request, error, seen)
        else:
            if body is not None:
                return HttpResponse(head.status, head.headers, body)
            failure = UnexpectedResponse(
                f"The response to {request!r} is larger than {self._max_body} bytes",
                hint=limits.NOT_PROCORE,
            )
        raise failure  # outside the handler: the library's errors may show headers

    def close(self) -> None:
        """Close the connections of requests under way. A later `send` opens new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _open(self) -> httpcore2.ConnectionPool:
        with self._lock:
            if self._pool is None:
                self._pool = httpcore2.ConnectionPool(
                    ssl_context=_trust(self._root_certificates),
                    max_connections=MAX_CONNECTIONS,
                    # No connection is reused. Otherwise, extra bytes after a response would be read
                    # as the start of the next one.
                    max_keepalive_connections=0,
                    network_backend=DeadlineBackend(strict_end=True),
                )
            return self._pool

    def _outgoing(self, request: HttpRequest, timeout: dict[str, Wait]) -> httpcore2.Request:
        parts = urlsplit(request.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not request.url.isascii():
            raise ValueError("A request needs an address that begins with http:// or https://")
        url = httpcore2.URL(
            scheme=parts.scheme.encode(),
            host=parts.hostname.encode(),
            port=parts.port,
            target=(parts.path or "/").encode()
            + (f"?{parts.query}".encode() if parts.query else b""),
        )
        headers = [
            (b"host", parts.netloc.rpartition("@")[2].encode()),
            (b"user-agent", self._user_agent.encode()),
            (b"accept-encoding", b"identity"),
            *((name.encode(), value.encode()) for name, value in request.headers),
        ]
        if request.body or request.method == "POST":
            headers.append((b"content-length", b"%d" % len(request.body)))
        return httpcore2.Request(
            request.method,
            url,
            headers=headers,
            content=request.body,
            extensions={"timeout": timeout},
        )

    def _body(self, response: httpcore2.Response) -> bytes | None:
        """Return the body, or None if it is larger than the cap."""
        parts, size = [], 0
        for part in _parts(response):
            parts.append(part)
            size += len(part)
            if size > self._max_body:
                return None
        return b"".join(parts)


class AsyncHttpcoreTransport:
    """An `AsyncTransport` with a thread for each request. Shared by all event loops.

    Args:
        more: As in `HttpcoreTransport`.
    """

    def __init__(self, **more: Any) -> None:
        self._inside: Final = HttpcoreTransport(**more)

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Return the response to `request`: see `AsyncTransport.send`."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[HttpResponse] = loop.create_future()
        timeout, seen = self._inside._begin()  # noqa: SLF001  # of the same file
        thread = threading.Thread(
            target=self._send_on_thread,
            args=(request, timeout, seen, loop, outcome),
            name="procore-signin-request",
            daemon=True,
        )
        thread.start()
        return await outcome

    def _send_on_thread(
        self,
        request: HttpRequest,
        timeout: dict[str, Wait],
        seen: Seen,
        loop: asyncio.AbstractEventLoop,
        outcome: asyncio.Future[HttpResponse],
    ) -> None:
        response: HttpResponse | None = None
        failure: BaseException | None = None
        try:
            response = self._inside._send(request, timeout, seen)  # noqa: SLF001  # of the same file
        except BaseException as error:  # noqa: BLE001  # every error must reach the waiting task
            failure = error

        def tell() -> None:
            if outcome.done():  # the task was cancelled
                return
            if response is None:
                outcome.set_exception(failure or RuntimeError("a request ended without an outcome"))
            else:
                outcome.set_result(response)

        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:  # the loop has ended, and the task with it
            return

    async def aclose(self) -> None:
        """Close the connections. A later `send` opens new ones."""
        self._inside.close()


def _trust(root_certificates: bytes | None) -> ssl.SSLContext:
    """Return a context that trusts this machine's authorities, and those in the given PEM."""
    with OPENSSL.block():
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # By default an end without `close_notify` counts as the end of a response, and anyone on
        # the network path can cause one.
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        if root_certificates is not None:
            context.load_verify_locations(cadata=root_certificates.decode())
        return context


def _head(request: HttpRequest, response: httpcore2.Response) -> HttpResponse:
    """Return the response without its body, or raise before its body is read."""
    if len(response.headers) > MOST_HEADERS:
        raise UnexpectedResponse(
            f"The response to {request!r} is not HTTP: it has more than {MOST_HEADERS} headers",
            hint=limits.NOT_PROCORE,
        )
    head = HttpResponse(
        response.status,
        # A header that is not ASCII is never needed here, and must not fail the response.
        {
            name.decode().lower(): value.decode()
            for name, value in response.headers
            if value.isascii()
        },
        b"",
    )
    encoding = head.headers.get("content-encoding", "identity").lower()
    if encoding != "identity" and not is_kept(request, head):
        raise UnexpectedResponse(
            f"The response to {request!r} is encoded although it was asked not to be",
            hint=limits.NOT_PROCORE,
        )
    return head


def _parts(response: httpcore2.Response) -> Iterable[bytes]:
    assert isinstance(response.stream, Iterable)  # noqa: S101  # for the type checker
    return response.stream


def _failure(request: HttpRequest, error: Exception, seen: Seen) -> ProcoreSignInError:
    """Return the error for the caller's decision."""
    if not seen.sent:
        return limits.not_sent(request, _reason(error))
    if isinstance(error, httpcore2.TimeoutException):
        return limits.not_in_time(request, "the time is up")
    # A connection that ends early is also a protocol error. If the received bytes start as HTTP
    # does, that is what happened, and the request may have been carried out.
    cut = seen.ended and b"HTTP/"[: len(seen.first)] == seen.first[: len(b"HTTP/")]
    if isinstance(error, httpcore2.RemoteProtocolError) and not cut:
        # The library's message shows the received bytes.
        return limits.not_http(request, "it breaks the rules of HTTP/1.1")
    return limits.cut_off(request, "the connection was lost")


def _reason(error: Exception) -> str:
    """Return the message of the system or of the certificate check, if it is safe to show."""
    if isinstance(error, httpcore2.LocalProtocolError):  # it would show the header or the token
        return "a header has a character that headers may not have"
    cause = error.__context__ or error  # the pool removes the cause
    words = getattr(cause, "strerror", None) or str(cause)
    if isinstance(error, httpcore2.TimeoutException):
        words = "the time is up"
    return "".join(filter(str.isprintable, words))[:200]
