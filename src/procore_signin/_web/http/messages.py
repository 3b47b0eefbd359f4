"""A browser's request and our response, independent of any framework.

Frameworks disagree on what a duplicated parameter or cookie means. So the endpoints read the raw
bytes, and the result is the same in every framework (rows C2, K3).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote

from procore_signin._protocol.value import value

LONGEST_USER_AGENT: Final = 255
LONGEST_BODY: Final = 16 * 1024
"""The longest form, in bytes. Ours hold one number; a request that announces more is refused
unread."""


def no_body(_request: BrowserRequest) -> bytes:
    """Return the body of a request that has none."""
    return b""


@dataclass(frozen=True, slots=True)
class Framework:
    """How the application's framework sees a request, for functions of the application's own.

    Attributes:
        request: Its request.
        response: Returns a new response of its, which the application may set cookies on.
        cookies_of: Returns the `Set-Cookie` values of such a response.
        session: Returns the framework's own session, or None where the application has none.
        knows_login: Whether the application's own login can be asked; in Django a middleware may
            have to run first.
        is_strict: Whether the cookie of that session is `SameSite=Strict`, as far as is known.
    """

    request: Any
    response: Callable[[], Any]
    cookies_of: Callable[[Any], Iterable[str]]
    session: Callable[[], MutableMapping[str, Any] | None]
    knows_login: bool = True
    is_strict: bool = False


def no_framework() -> Framework | None:
    """Return None: the ready application has no framework that others write for."""
    return None


@value(frozen=True, slots=True)
class BrowserRequest:
    """A request from a browser.

    Attributes:
        method: Such as `GET`, in capitals.
        path: The path without the query, as the framework routed it.
        query: The raw bytes after the question mark.
        headers: Raw values by raw name, in lower case. Repeated headers are joined by commas (RFC
            9110 §5.3). Cookies are not included.
        cookies: The raw values of the `Cookie` headers, as separate as the server keeps them.
        client_address: The address of the peer, or of the client that our own proxies name; never
            what others claim in a header (row O4).
        request_id: The id of this request in the log and on a problem page.
        read_body: Reads the body, sync or async. An endpoint that needs it calls `bodies.body_of`,
            after it has found the session: until then nothing waits for the client.
        framework: Returns how the application's framework sees it, or None.
        native: Returns the framework's own request, for templates and functions of the
            application's own; None where there is no framework that others write for.
        target: The path as the browser sent it, perhaps with the query behind it; None where the
            server does not pass it on.
    """

    method: str
    path: str
    query: bytes = field(repr=False)
    headers: Mapping[bytes, bytes] = field(repr=False)
    cookies: tuple[bytes, ...] = field(repr=False)
    client_address: str
    request_id: str
    read_body: ReadBody = field(default=no_body, repr=False)
    framework: Callable[[], Framework | None] = field(default=no_framework, repr=False)
    native: Callable[[], Any] = field(default=no_framework, repr=False)
    target: bytes | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """The path and the query as the browser sent them, for an address that leads back here.

        Where the server does not pass on what was sent, the path is encoded anew: a `%2F` that was
        in it is a slash then.
        """
        sent = (self.target or b"").partition(b"?")[0].decode("latin-1")
        decoded = unquote(sent)  # what servers do: UTF-8, a wrong byte replaced
        if sent.isascii() and decoded and self.path.endswith(decoded):
            # In front of it, a proxy or the server may have a prefix.
            path = quote(self.path.removesuffix(decoded), safe=_OF_A_PATH) + sent
        else:
            path = quote(self.path, safe=_OF_A_PATH)
        return f"{path}?{self.query.decode('latin-1')}" if self.query else path

    def header(self, name: bytes) -> str | None:
        """Return the value of a header, or None when it is absent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def is_read(self) -> bool:
        """Whether the method only reads (GET or HEAD)."""
        return self.method in {"GET", "HEAD"}

    @property
    def has_body(self) -> bool:
        """Whether a body follows the headers (RFC 9112 §6)."""
        length = self.headers.get(b"content-length", b"0")
        return length != b"0" or b"transfer-encoding" in self.headers

    @property
    def has_too_long_body(self) -> bool:
        """Whether the announced length exceeds that of any form of ours."""
        length = self.headers.get(b"content-length", b"0").lstrip(b"0")
        return len(length) > _MOST_DIGITS or (length.isdigit() and int(length) > LONGEST_BODY)

    @property
    def wants_json(self) -> bool:
        """Whether the client is a program: it accepts JSON and not HTML."""
        accept = self.header(b"accept") or ""
        return "application/json" in accept and "text/html" not in accept

    @property
    def user_agent(self) -> str | None:
        """The `User-Agent`, printable characters only, at most 255."""
        raw = self.header(b"user-agent")
        if raw is None:
            return None
        printable = raw if raw.isprintable() else "".join(filter(str.isprintable, raw))
        return printable[:LONGEST_USER_AGENT] or None


ReadBody: TypeAlias = Callable[[BrowserRequest], bytes | Coroutine[Any, Any, bytes]]
_MOST_DIGITS: Final = 8
_OF_A_PATH: Final = "/!$&'()*+,;=:@"
"""What stands for itself in a path (RFC 3986 §3.3), beside what `quote` knows."""


@value(frozen=True, slots=True)
class Page:
    """A page for the host to render.

    Attributes:
        name: The page's name, such as `signin`.
        values: The page's values.
    """

    name: str
    values: dict[str, Any]


@value(frozen=True, slots=True)
class BrowserResponse:
    """A response to a browser: a page to render, or a finished body.

    Attributes:
        status: The HTTP status code.
        page: The page to render as the body, or None.
        body: The body, if there is no page.
        content_type: The media type of `body`.
        headers: More headers; names in lower case.
        cookies: Values of `Set-Cookie` headers.
    """

    status: int
    page: Page | None = None
    body: bytes = field(default=b"", repr=False)
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cookies: tuple[str, ...] = field(default=(), repr=False)

    def with_cookies(self, *cookies: str) -> BrowserResponse:
        """Return this response with `cookies` added."""
        together = (*self.cookies, *cookies)
        return BrowserResponse(
            self.status, self.page, self.body, self.content_type, self.headers, together
        )

    def with_headers(self, *headers: tuple[str, str]) -> BrowserResponse:
        """Return this response with more headers."""
        together = (*self.headers, *headers)
        return BrowserResponse(
            self.status, self.page, self.body, self.content_type, together, self.cookies
        )


RawHeaders = tuple[tuple[bytes, bytes], ...]


@value(frozen=True, slots=True)
class RawResponse:
    """A response as bytes, for any server.

    Attributes:
        status: The HTTP status code.
        headers: Raw names, in lower case, and values.
        body: Empty for HEAD, whatever `content-length` says.
    """

    status: int
    headers: RawHeaders
    body: bytes

    @property
    def text_headers(self) -> list[tuple[str, str]]:
        """The headers as text, for frameworks that want them so."""
        return [(name.decode(), value.decode("latin-1")) for name, value in self.headers]


def raw_headers(headers: Sequence[tuple[str, str]], common: RawHeaders = ()) -> RawHeaders:
    """Return `headers` as they go over the wire, and those of `common` that they do not name."""
    if not headers:
        return common
    own = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    named = dict(own)
    return (*own, *[pair for pair in common if pair[0] not in named])


def in_bytes(
    request: BrowserRequest,
    response: BrowserResponse,
    content: bytes,
    content_type: str,
    headers: RawHeaders,
) -> RawResponse:
    """Return `response` with this content as it goes over the wire.

    Args:
        request: A HEAD gets the headers alone.
        response: Its status and its cookies.
        content: The body.
        content_type: What it is.
        headers: All others, as `raw_headers` returns them.
    """
    whole = (
        (b"content-type", content_type.encode()),
        (b"content-length", b"%d" % len(content)),
        *headers,
        *[(b"set-cookie", cookie.encode("latin-1")) for cookie in response.cookies],
    )
    return RawResponse(response.status, whole, b"" if request.method == "HEAD" else content)


def see_other(location: str) -> BrowserResponse:
    """Return a redirect (303) that makes a browser GET `location`."""
    return BrowserResponse(status=303, headers=(("location", location),))


Render = Callable[[Page], str]
"""Turns a page into HTML, in the application's own design."""
