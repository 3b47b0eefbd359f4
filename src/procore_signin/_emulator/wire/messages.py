"""A request that came to the emulator and the reply it gives, independent of any server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

Headers = tuple[tuple[str, str], ...]

JSON_TYPE: Final = ("content-type", "application/json; charset=utf-8")
NOT_STORED: Final = ("cache-control", "no-store")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole. Its repr shows neither query, headers nor body.

    Attributes:
        method: Such as `GET`.
        path: Without the query, percent-decoded, without a trailing slash (the root excepted).
        query: As received, without `?`.
        headers: Names in lower case; of a repeated name the values joined with `, `.
        body: All of it.
        origin: Scheme, host and port under which the client reached us.
        root: Path prefix under which the application is mounted, or nothing.
    """

    method: str
    path: str
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    origin: str = "http://127.0.0.1:4568"
    root: str = ""

    @property
    def base(self) -> str:
        """Origin and path prefix: what every address of this emulator begins with."""
        return self.origin + self.root

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def with_body(self, body: bytes) -> Request:
        """Return the same request with its body."""
        return Request(
            self.method, self.path, self.query, self.headers, body, self.origin, self.root
        )

    def cookie(self, name: str) -> str | None:
        """Return the value of a cookie, or None; sent twice with two values counts as none."""
        found: str | None = None
        for part in self.headers.get("cookie", "").split(";"):
            key, equals, value = part.strip().partition("=")
            if key == name and equals:
                if found is not None and found != value:
                    return None
                found = value
        return found


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, whole. `content-length` is added when it is sent.

    Attributes:
        status: The HTTP status code.
        headers: Names in lower case, in the order sent.
        body: All of it.
        note: Why, in words for the journal and the inspector; never sent.
    """

    status: int
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)
    note: str | None = None

    def with_headers(self, *headers: tuple[str, str]) -> Reply:
        """Return the same reply with more headers."""
        return replace(self, headers=self.headers + headers)

    def header(self, name: str) -> str | None:
        """Return the value of a header, or None."""
        return next((value for key, value in self.headers if key == name), None)


def json_reply(
    status: int, value: Any, *headers: tuple[str, str], note: str | None = None
) -> Reply:
    """Return a reply whose body is `value` as JSON."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Reply(status, (JSON_TYPE, *headers), body, note)


def redirect_reply(location: str, *headers: tuple[str, str], note: str | None = None) -> Reply:
    """Return a 302, the status of Rails' redirects."""
    return Reply(302, (("location", location), NOT_STORED, *headers), b"", note)


def text_reply(status: int, text: str, *headers: tuple[str, str], note: str | None = None) -> Reply:
    """Return a reply in plain text."""
    return Reply(
        status, (("content-type", "text/plain; charset=utf-8"), *headers), text.encode(), note
    )
