"""The transports that talk to Procore, over pyreqwest (reqwest, rustls).

Row T2: TLS 1.2 or later with verified certificates, no redirects, no proxy or `.netrc` from the
environment, no cookies. Row T3: one deadline from connecting to the last byte, which a slow server
cannot extend; a cap on the body; no decompression, hence no bombs. Row T9: of a success that cannot
be requested again, everything received is returned.

The two classes differ only in being sync or async; `_Rules` below is shared.

pyreqwest has one runtime per process, which a forked child can neither use nor restart. A child of
a process that has used it sends over `httpcore.py` (decision 29).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from procore_signin._transport.loading import ON_A_THREAD

# isort: split
from pyreqwest.bytes import Bytes
from pyreqwest.client import (
    BaseClientBuilder,
    Client,
    ClientBuilder,
    SyncClient,
    SyncClientBuilder,
)
from pyreqwest.exceptions import (
    BuilderError,
    DecodeError,
    DetailedPyreqwestError,
    RequestError,
    RequestTimeoutError,
)
from pyreqwest.http import HeaderMap
from pyreqwest.request import BaseRequestBuilder
from pyreqwest.response import BaseResponse

from procore_signin._forks import Lock, abandon, look_after
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._transport import limits
from procore_signin._transport.kept import is_kept, keep, keep_async
from procore_signin._transport.limits import LONGEST_DEADLINE, MAX_BODY, USER_AGENT
from procore_signin.errors import ProcoreSignInError, UnexpectedResponse

if TYPE_CHECKING:
    from procore_signin._transport.httpcore import AsyncHttpcoreTransport, HttpcoreTransport


T = TypeVar("T")


class _Runtime:
    """The runtime of pyreqwest; a process has only one.

    A process that cannot have it uses nothing of the library, not even its allocator (row T11).
    """

    def __init__(self) -> None:
        self._begun = False
        self._left_behind = False
        look_after(self)

    def after_fork(self) -> None:
        """Note that the runtime, if there was one, stayed in the parent."""
        self._left_behind = self._left_behind or self._begun or ON_A_THREAD

    def use(self, build: Callable[[], T]) -> T | None:
        """Return the client that `build` makes, or None in a process that cannot have a runtime."""
        if self._left_behind:
            return None
        self._begun = True  # set before it starts: a fork during the start leaves it behind too
        try:
            return build()
        except RuntimeError:  # other code used it before the fork
            self._left_behind = True
            return None


_RUNTIME: Final = _Runtime()


class PyreqwestTransport:
    """A sync `Transport`. Its connections are opened on first use and shared.

    Args:
        deadline: Seconds for a whole exchange: waiting, connecting, sending and the last byte of
            the response. Connecting takes at most half of it.
        max_body: The largest response, in bytes.
        user_agent: The value of `User-Agent`.
        root_certificates: PEM of certificate authorities to trust in addition to those of this
            machine.
    """

    def __init__(
        self,
        *,
        deadline: float = LONGEST_DEADLINE,
        max_body: int = MAX_BODY,
        user_agent: str = USER_AGENT,
        root_certificates: bytes | None = None,
    ) -> None:
        self._rules: Final = _Rules(deadline, max_body, user_agent, root_certificates)
        self._lock: Final = Lock()
        self._client: SyncClient | HttpcoreTransport | None = None
        look_after(self)

    def after_fork(self) -> None:
        """Choose this process's own connections at the next use."""
        abandon(self._client)
        self._client = None

    def send(self, request: HttpRequest) -> HttpResponse:
        """Return the response to `request`: see `Transport.send`."""
        try:
            client = self._open()
            if not isinstance(client, SyncClient):
                return client.send(request)
            outgoing = client.request(request.method, request.url)
            with self._rules.fill(outgoing, request).build_streamed() as response:
                head = self._rules.head(request, response)
                if is_kept(request, head):
                    return keep(head, response.body_reader.read_chunk, RequestError)
                return self._rules.whole(
                    request, head, response.body_reader.read(self._rules.max_body + 1)
                )
        except (RequestError, BuilderError) as error:
            failure = _failure(request, error)
        raise failure  # outside the handler: the library's error shows the query of the URL

    def close(self) -> None:
        """Close the connections. A later `send` opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _open(self) -> SyncClient | HttpcoreTransport:
        with self._lock:
            if self._client is None:
                self._client = _RUNTIME.use(self._build) or self._without_runtime()
            return self._client

    def _build(self) -> SyncClient:
        return self._rules.configure(SyncClientBuilder()).build()

    def _without_runtime(self) -> HttpcoreTransport:
        from procore_signin._transport.httpcore import HttpcoreTransport  # noqa: PLC0415  # seldom

        return HttpcoreTransport(**self._rules.arguments())


Observe = Callable[[HttpRequest, HttpResponse | ProcoreSignInError | None, float], None]


class AsyncPyreqwestTransport:
    """An `AsyncTransport`. Its connections are opened on first use and shared by all event loops.

    Args:
        deadline: As in `PyreqwestTransport`.
        max_body: As in `PyreqwestTransport`.
        user_agent: As in `PyreqwestTransport`.
        root_certificates: As in `PyreqwestTransport`.
        observe: Called with each request, its response or error (None where it was cancelled), and
            the seconds that this took. From any thread.
    """

    for_any_loop: Final = True

    def __init__(
        self,
        *,
        deadline: float = LONGEST_DEADLINE,
        max_body: int = MAX_BODY,
        user_agent: str = USER_AGENT,
        root_certificates: bytes | None = None,
        observe: Observe | None = None,
    ) -> None:
        self._observe: Final = observe
        self._rules: Final = _Rules(deadline, max_body, user_agent, root_certificates)
        self._lock: Final = Lock()
        self._client: Client | AsyncHttpcoreTransport | None = None
        look_after(self)

    def after_fork(self) -> None:
        """Choose this process's own connections at the next use."""
        abandon(self._client)
        self._client = None

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Return the response to `request`: see `AsyncTransport.send`."""
        if self._observe is None:
            return await self._send(request)
        came: HttpResponse | ProcoreSignInError | None = None
        began = time.perf_counter()
        try:
            response = came = await self._send(request)
        except ProcoreSignInError as error:
            came = error
            raise
        finally:
            self._observe(request, came, time.perf_counter() - began)
        return response

    async def _send(self, request: HttpRequest) -> HttpResponse:
        try:
            client = self._open()
            if not isinstance(client, Client):
                return await client.send(request)
            outgoing = client.request(request.method, request.url)
            async with self._rules.fill(outgoing, request).build_streamed() as response:
                head = self._rules.head(request, response)
                if not request.repeatable and is_kept(request, head):
                    return await keep_async(head, response.body_reader.read_chunk, RequestError)
                return self._rules.whole(
                    request, head, await response.body_reader.read(self._rules.max_body + 1)
                )
        except (RequestError, BuilderError) as error:
            failure = _failure(request, error)
        raise failure  # outside the handler: the library's error shows the query of the URL

    async def aclose(self) -> None:
        """Close the connections. A later `send` opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if isinstance(client, Client):
            await client.close()
        elif client is not None:
            await client.aclose()

    def _open(self) -> Client | AsyncHttpcoreTransport:
        with self._lock:
            if self._client is None:
                self._client = _RUNTIME.use(self._build) or self._without_runtime()
            return self._client

    def _build(self) -> Client:
        return self._rules.configure(ClientBuilder()).build()

    def _without_runtime(self) -> AsyncHttpcoreTransport:
        from procore_signin._transport.httpcore import (  # noqa: PLC0415  # seldom
            AsyncHttpcoreTransport,
        )

        return AsyncHttpcoreTransport(**self._rules.arguments())


_AnyClientBuilder = TypeVar("_AnyClientBuilder", bound=BaseClientBuilder)
_AnyRequestBuilder = TypeVar("_AnyRequestBuilder", bound=BaseRequestBuilder)


@dataclass(frozen=True, slots=True)
class _Rules:
    """The settings of pyreqwest for both transports, and what they accept from a server."""

    deadline: float
    max_body: int
    user_agent: str
    root_certificates: bytes | None

    def __post_init__(self) -> None:
        limits.check_deadline(self.deadline)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments for another transport with these rules."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def configure(self, builder: _AnyClientBuilder) -> _AnyClientBuilder:
        builder = (
            builder.user_agent(self.user_agent)
            .default_headers({"accept-encoding": "identity"})
            .timeout(timedelta(seconds=self.deadline))
            # Shorter than the deadline: only if this one runs out first is it certain that no
            # connection was made.
            .connect_timeout(timedelta(seconds=self.deadline / 2))
            .pool_idle_timeout(limits.KEEP_IDLE)
            .min_tls_version("TLSv1.2")
            .no_proxy()
            .follow_redirects(enable=False)
            .referer(enable=False)
            # A folded header must be read (RFC 9112 §5.2), and must not lose a response that cannot
            # be requested again (T9).
            .http1_allow_obsolete_multiline_headers_in_responses(True)  # noqa: FBT003
            .gzip(enable=False)
            .brotli(enable=False)
            .zstd(enable=False)
            .deflate(enable=False)
        )
        if self.root_certificates is not None:
            builder = builder.add_root_certificate_pem(self.root_certificates)
        return builder

    def fill(self, builder: _AnyRequestBuilder, request: HttpRequest) -> _AnyRequestBuilder:
        for name, value in request.headers:
            builder = builder.header(name, value, is_sensitive=name == "authorization")
        if not request.repeatable:
            # Bytes read ahead are lost if a response breaks off: at most one part.
            builder = builder.streamed_read_buffer_limit(1)
        return builder.body_bytes(request.body) if request.body else builder

    def head(self, request: HttpRequest, response: BaseResponse) -> HttpResponse:
        """Return the response without its body, or raise before its body is read."""
        head = HttpResponse(response.status, _headers(response.headers), b"")
        encoding = head.headers.get("content-encoding", "identity").lower()
        if encoding != "identity" and not is_kept(request, head):
            raise UnexpectedResponse(
                f"The response to {request!r} is encoded although it was asked not to be",
                hint=_NOT_PROCORE,
            )
        return head

    def whole(self, request: HttpRequest, head: HttpResponse, body: Bytes | None) -> HttpResponse:
        """Return the response with its body, unless the body is larger than the cap."""
        if body is None:
            return head
        if len(body) <= self.max_body:
            return HttpResponse(head.status, head.headers, bytes(body))
        del body  # a traceback that prints local variables must not show it
        raise UnexpectedResponse(
            f"The response to {request!r} is larger than {self.max_body} bytes", hint=_NOT_PROCORE
        )


def _headers(headers: HeaderMap) -> dict[str, str]:
    """Return the headers without those that are not ASCII, which pyreqwest cannot read."""
    try:
        return dict(headers.items())
    except ValueError:
        pass
    readable = {}
    for name in headers:
        with suppress(ValueError):
            readable[name] = headers.getall(name)[-1]
    return readable


_NOT_PROCORE: Final = limits.NOT_PROCORE


# Messages of hyper and rustls. pyreqwest uses one class, ConnectError, both for a connection that
# was never made and for one that was lost after sending; only the list of causes tells them apart.
# An unknown message counts as "perhaps sent", which is the safe mistake.
_NOT_CONNECTED: Final = "client error (Connect)"
_CUT_OFF: Final = ("end of file before message length reached", "peer closed connection")


def _failure(request: HttpRequest, error: DetailedPyreqwestError) -> ProcoreSignInError:
    """Return the error for the caller's decision."""
    causes = [cause["message"] for cause in error.details["causes"] or ()]
    # A certificate can contribute to this text.
    reason = "".join(filter(str.isprintable, (causes or [error.message])[-1]))[:200]
    if isinstance(error, DecodeError) and not reason.startswith(_CUT_OFF):
        return limits.not_http(request, reason)
    if isinstance(error, BuilderError) or _NOT_CONNECTED in causes:
        return limits.not_sent(request, reason)
    if isinstance(error, RequestTimeoutError):
        return limits.not_in_time(request, reason)
    return limits.cut_off(request, reason)
