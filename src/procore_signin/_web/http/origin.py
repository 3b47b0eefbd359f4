"""Tell requests of our own pages from those that another site made a browser send.

docs/explanation/browsers.md has a table of what each browser sends and our response (row K10).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from procore_signin._web.http.messages import BrowserRequest

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PURPOSES: Final = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")
_AHEAD: Final = (b"prefetch", b"prerender", b"preview")


def origin_of(address: str) -> str:
    """Return the origin of a URL as browsers write it (RFC 6454 §6.2): no default port."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{_hosts(address)[0]}"


def hosts_of(address: str) -> frozenset[str]:
    """Return the `Host` headers, in lower case, that name the origin of `address` (row A10).

    The default port may be left out or named (RFC 9110 §4.2.3): browsers leave it out, and some
    proxies name it. A final dot is another origin to browsers, with cookies of its own.
    """
    return frozenset(_hosts(address))


def _hosts(address: str) -> tuple[str, ...]:
    parts = urlsplit(address)
    name = parts.hostname or ""
    if ":" in name:
        name = f"[{name}]"
    default = _DEFAULT_PORTS.get(parts.scheme)
    port = parts.port or default
    return (name, f"{name}:{port}") if port == default else (f"{name}:{port}",)


def is_navigation(request: BrowserRequest) -> bool:
    """Return whether the request fills a browser's window, as far as the browser says (row C8).

    An image, a frame or a prefetch must neither consume an attempt nor begin one. A browser that
    sends no `Sec-Fetch-Dest` is trusted: state and cookie still have to match.
    """
    return not is_prefetch(request) and _fills_a_window(request)


def _fills_a_window(request: BrowserRequest) -> bool:
    """Return whether a window shows the response, or a service worker of ours passes it on to one.

    A worker's requests have no destination. If it passes the browser's own request on, the mode is
    still `navigate`, which no page can set. If it makes a new request, for example to add headers,
    that one looks like any request of our scripts: from the same origin.
    """
    headers = request.headers
    destination = headers.get(b"sec-fetch-dest")
    if destination != b"empty":
        return destination in {None, b"document"}
    mode = headers.get(b"sec-fetch-mode")
    if mode == b"navigate":
        return True
    return mode in {b"same-origin", b"cors"} and headers.get(b"sec-fetch-site") == b"same-origin"


def is_prefetch(request: BrowserRequest) -> bool:
    """Return whether the browser prefetches the page (row C8).

    It says so in `Sec-Purpose` (Fetch, HTML): `prefetch`, with `;prerender` where it also draws the
    page unseen. Before that, Chromium and Safari said `Purpose: prefetch`, Safari's previews
    `X-Purpose: preview`, and Firefox `X-Moz: prefetch`.
    """
    headers = request.headers
    if headers.keys().isdisjoint(_PURPOSES):  # nearly every request
        return False
    purposes = b",".join(headers[name] for name in _PURPOSES if name in headers).lower()
    return any(word in purposes for word in _AHEAD)


def is_from_our_pages(request: BrowserRequest, origin: str) -> bool:
    """Return whether a form was sent from a page of this application (rows A2, K8).

    Browsers send `Sec-Fetch-Site`, which no page can forge. Older ones send `Origin`. Without
    either, or if one names another site, the result is False. An `Origin` of "null" proves nothing:
    any page can cause it, from a sandboxed frame or through a redirect. Our own pages must
    therefore have a `Referrer-Policy` that lets their forms name their origin (`web.headers`).

    Args:
        request: The POST that came.
        origin: This application's origin, as `origin_of` writes it.
    """
    site = request.header(b"sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return request.header(b"origin") == origin


def may_set_cookies(request: BrowserRequest) -> bool:
    """Return whether the page of this request may begin an attempt in the browser.

    Another site can make a browser fetch our pages unseen; that must not push the user's own
    attempts out of the browser.
    """
    if request.method != "GET" or is_prefetch(request):
        return False
    if _fills_a_window(request):
        return True
    return request.header(b"sec-fetch-site") in {"same-origin", "none"}
