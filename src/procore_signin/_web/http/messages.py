"""A browser's request and our response, in no framework's terms.

Frameworks disagree on what a duplicated parameter or cookie means. The endpoints therefore read
the bytes that came, and every framework gives the same verdict on them (rows C2, K3).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

LONGEST_USER_AGENT: Final = 255
LONGEST_BODY: Final = 16 * 1024
"""Bytes of a form. Ours hold one number; a request that says it brings more is refused unread."""


def no_body(_request: BrowserRequest) -> bytes:
    """Return the body of a request that has none."""
    return b""


@dataclass(frozen=True, slots=True)
class BrowserRequest:
    """What came from the browser.

    Attributes:
        method: Such as `GET`, in capitals.
        path: Without the query, as the framework routed it.
        query: The raw bytes after the question mark.
        headers: Raw values by raw name, in lower case. One that came several times is one value
            with commas (RFC 9110 §5.3). Cookies are not among them.
        cookies: The raw values of the `Cookie` headers, as many as the server keeps apart.
        client_address: The address of the peer, or the one that our own proxies name
            asked by; never what anyone else claims in a header (row O4).
        request_id: Names this request in the log and on a problem page.
        read_body: Reads the body, plain or `async`. An endpoint that needs it asks for it with
            `web.bodies.body_of`, once it knows who asks: until then no one waits for a client.
    """

    method: str
    path: str
    query: bytes = field(repr=False)
    headers: Mapping[bytes, bytes] = field(repr=False)
    cookies: tuple[bytes, ...] = field(repr=False)
    client_address: str
    request_id: str
    read_body: ReadBody = field(default=no_body, repr=False)

    def header(self, name: bytes) -> str | None:
        """Return the value of a header, or None when it is absent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def is_read(self) -> bool:
        """Whether the method only asks to see something."""
        return self.method in {"GET", "HEAD"}

    @property
    def has_body(self) -> bool:
        """Whether something comes after the headers (RFC 9112 §6)."""
        length = self.headers.get(b"content-length", b"0")
        return length != b"0" or b"transfer-encoding" in self.headers

    @property
    def has_too_long_body(self) -> bool:
        """Whether the body says that it is longer than any form of ours."""
        length = self.headers.get(b"content-length", b"0").lstrip(b"0")
        return len(length) > _MOST_DIGITS or (length.isdigit() and int(length) > LONGEST_BODY)

    @property
    def wants_json(self) -> bool:
        """Whether the caller is a program: it asks for JSON and not for a page."""
        accept = self.header(b"accept") or ""
        return "application/json" in accept and "text/html" not in accept

    @property
    def user_agent(self) -> str | None:
        """What the browser calls itself, in printable characters, at most 255."""
        raw = self.header(b"user-agent")
        if raw is None:
            return None
        printable = raw if raw.isprintable() else "".join(filter(str.isprintable, raw))
        return printable[:LONGEST_USER_AGENT] or None


ReadBody: TypeAlias = Callable[[BrowserRequest], bytes | Coroutine[Any, Any, bytes]]
_MOST_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class Page:
    """A page for the host to render.

    Attributes:
        name: Which page, such as `signin`.
        values: What it shows.
    """

    name: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a page to render, or a body that is ready.

    Attributes:
        status: The HTTP status code.
        page: The page to render as the body, or None.
        body: The body when there is no page.
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

    def with_cookies(self, *cookies: str) -> Answer:
        """Return this response with `cookies` set as well."""
        together = (*self.cookies, *cookies)
        return Answer(self.status, self.page, self.body, self.content_type, self.headers, together)

    def with_headers(self, *headers: tuple[str, str]) -> Answer:
        """Return this response with more headers."""
        together = (*self.headers, *headers)
        return Answer(self.status, self.page, self.body, self.content_type, together, self.cookies)


RawHeaders = tuple[tuple[bytes, bytes], ...]


def raw_headers(headers: Iterable[tuple[str, str]]) -> RawHeaders:
    """Return `headers` as they go over the wire."""
    return tuple([(name.encode(), value.encode("latin-1")) for name, value in headers])


def see_other(location: str) -> Answer:
    """Return the response that makes a browser GET `location`, whatever it did before."""
    return Answer(status=303, headers=(("location", location),))


Render = Callable[[Page], str]
"""Turns a page into HTML: the host application's look."""


def rendered(answer: Answer, render: Render) -> tuple[bytes, str]:
    """Return the body of `answer` and its media type."""
    if answer.page is None:
        return answer.body, answer.content_type
    return render(answer.page).encode(), "text/html; charset=utf-8"
