"""A request's raw bytes, from ASGI and from WSGI.

Both give the same result, so that all frameworks judge the same bytes alike (rows C2, K3). A
repeated header becomes one value with commas (RFC 9110 §5.3), as every WSGI server does; only
cookies stay separate if the server keeps them so.

WSGI (PEP 3333) hides three things. The path is decoded: `%63allback` becomes `callback`. Several
`Cookie` lines are joined by a comma: a cookie of ours next to that comma cannot be told from a
forged one, and is ignored. And Python's `urlsplit` removes tabs from the query; if the server also
passes on the raw target (`RAW_URI`: gunicorn, Werkzeug), the query is taken from there, and so is
the path that a sign-in leads back to.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from procore_signin._settings.trusted_proxies import HEADER, TrustedProxies
from procore_signin._web.http.messages import (
    BrowserRequest,
    Framework,
    ReadBody,
    no_body,
    no_framework,
)

NOBODY: Final = TrustedProxies()
_WITHOUT_PREFIX: Final = (("CONTENT_LENGTH", "content-length"), ("CONTENT_TYPE", "content-type"))

Headers = Iterable[tuple[bytes, bytes]]


def of_scope(
    scope: Mapping[str, Any],
    *,
    path: str,
    read_body: ReadBody = no_body,
    trusted: TrustedProxies = NOBODY,
    framework: Callable[[], Framework | None] = no_framework,
    native: Callable[[], Any] = no_framework,
) -> BrowserRequest:
    """Return the request of an ASGI HTTP or WebSocket scope.

    Args:
        scope: The server's scope.
        path: The path that the browser requested: a mount or a proxy may have changed the scope's.
        read_body: Reads the body on demand.
        trusted: Our own proxies, which are trusted to name the client (row O4).
        framework: Returns how the application's framework sees the request.
        native: Returns the framework's own request.
    """
    client, query = scope.get("client"), scope.get("query_string", b"")
    headers, cookies = folded(scope["headers"])
    return BrowserRequest(
        scope.get("method", "GET"),
        path,
        _bytes(query) if isinstance(query, str) else query,  # Django's AsyncClient: text
        headers,
        cookies,
        _client_address(client[0] if client else "", headers, trusted),
        _new_id(),
        read_body,
        framework,
        native,
        scope.get("raw_path"),
    )


def of_environ(
    environ: Mapping[str, Any],
    *,
    path: str,
    read_body: ReadBody = no_body,
    trusted: TrustedProxies = NOBODY,
    framework: Callable[[], Framework | None] = no_framework,
    native: Callable[[], Any] = no_framework,
) -> BrowserRequest:
    """Return the request of a WSGI environment; the arguments are those of `of_scope`."""
    sent = [
        (name[5:].replace("_", "-").lower().encode(), _bytes(value))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    sent += [
        (name.encode(), _bytes(environ[key])) for key, name in _WITHOUT_PREFIX if environ.get(key)
    ]
    target = environ.get("RAW_URI")
    query = environ.get("QUERY_STRING", "") if target is None else _query(target)
    headers, cookies = folded(sent)
    return BrowserRequest(
        environ["REQUEST_METHOD"],
        path,
        _bytes(query),
        headers,
        cookies,
        _client_address(environ.get("REMOTE_ADDR", ""), headers, trusted),
        _new_id(),
        read_body,
        framework,
        native,
        None if target is None else _bytes(target),
    )


def connection_of(environ: Mapping[str, Any]) -> socket.socket | None:
    """Return the client's connection, if the WSGI server provides it: gunicorn and Werkzeug do."""
    found = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return found if hasattr(found, "shutdown") else None


def _client_address(peer: str, headers: Mapping[bytes, bytes], trusted: TrustedProxies) -> str:
    if not trusted.some:
        return peer
    return trusted.client_address(peer, [headers[HEADER]] if HEADER in headers else [])


def _new_id() -> str:
    """Return a name for a request, which is no secret."""
    return f"{random.getrandbits(48):012x}"


def folded(sent: Headers) -> tuple[dict[bytes, bytes], tuple[bytes, ...]]:
    """Return the headers, repeated ones joined by commas, and the cookies."""
    headers: dict[bytes, bytes] = {}
    cookies: list[bytes] = []
    again: dict[bytes, list[bytes]] = {}
    for name, value in sent:
        if name == b"cookie":
            cookies.append(value)
        elif name in headers:
            again.setdefault(name, []).append(value)
        else:
            headers[name] = value
    for name, values in again.items():  # once for each name: linear time
        headers[name] = b",".join((headers[name], *values))
    return headers, tuple(cookies)


def _query(target: str) -> str:
    return target.partition("#")[0].partition("?")[2]


def _bytes(text: str) -> bytes:
    # PEP 3333: each character stands for one byte. Only a test or a proxy makes others.
    return text.encode("latin-1", "replace")
