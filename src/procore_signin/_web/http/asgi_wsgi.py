"""A request's raw bytes, from ASGI and from WSGI.

Both give the same result, so that all frameworks judge the same bytes alike (rows C2, K3). A
repeated header becomes one value with commas (RFC 9110 §5.3), as every WSGI server does; only
cookies stay separate if the server keeps them so.

WSGI (PEP 3333) hides three things. The path is decoded: `%63allback` becomes `callback`. Several
`Cookie` lines are joined by a comma: a cookie of ours next to that comma cannot be told from a
forged one, and is ignored. And Python's `urlsplit` removes tabs from the query; if the server also
passes on the raw target (`RAW_URI`: gunicorn, Werkzeug), the query is taken from there.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final

from procore_signin._settings.trusted_proxies import HEADER, TrustedProxies
from procore_signin._web.http.messages import BrowserRequest, ReadBody, no_body

NOBODY: Final = TrustedProxies()

Headers = Iterable[tuple[bytes, bytes]]


def of_scope(
    scope: Mapping[str, Any],
    *,
    path: str,
    read_body: ReadBody = no_body,
    trusted: TrustedProxies = NOBODY,
) -> BrowserRequest:
    """Return the request of an ASGI HTTP or WebSocket scope.

    Args:
        scope: The server's scope.
        path: The path that the browser requested: a mount or a proxy may have changed the scope's.
        read_body: Reads the body on demand.
        trusted: Our own proxies, which are trusted to name the client (row O4).
    """
    client = scope.get("client")
    return _request(
        method=scope.get("method", "GET"),
        path=path,
        query=scope.get("query_string", b""),
        sent=scope["headers"],
        read_body=read_body,
        peer=client[0] if client else "",
        trusted=trusted,
    )


def of_environ(
    environ: Mapping[str, Any],
    *,
    path: str,
    read_body: ReadBody = no_body,
    trusted: TrustedProxies = NOBODY,
) -> BrowserRequest:
    """Return the request of a WSGI environment; the arguments are those of `of_scope`."""
    sent = [
        (name[5:].replace("_", "-").lower().encode(), _bytes(value))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    length = environ.get("CONTENT_LENGTH")
    if length:
        sent.append((b"content-length", _bytes(length)))
    target = environ.get("RAW_URI")
    query = environ.get("QUERY_STRING", "") if target is None else _query(target)
    return _request(
        method=environ["REQUEST_METHOD"],
        path=path,
        query=_bytes(query),
        sent=sent,
        read_body=read_body,
        peer=environ.get("REMOTE_ADDR", ""),
        trusted=trusted,
    )


def connection_of(environ: Mapping[str, Any]) -> socket.socket | None:
    """Return the client's connection, if the WSGI server provides it: gunicorn and Werkzeug do."""
    found = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return found if hasattr(found, "shutdown") else None


def _request(
    *,
    method: str,
    path: str,
    query: bytes,
    sent: Headers,
    read_body: ReadBody,
    peer: str,
    trusted: TrustedProxies,
) -> BrowserRequest:
    headers, cookies = folded(sent)
    forwarded = [headers[HEADER]] if trusted and HEADER in headers else []
    return BrowserRequest(
        method=method,
        path=path,
        query=query,
        headers=headers,
        cookies=cookies,
        client_address=trusted.client_address(peer, forwarded) if trusted else peer,
        request_id=f"{random.getrandbits(48):012x}",  # a name, not a secret
        read_body=read_body,
    )


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
