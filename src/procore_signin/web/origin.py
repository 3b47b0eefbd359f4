"""Who made this request: a person on our pages, or another site through their browser?"""

from __future__ import annotations

from typing import Final

from procore_signin.web.http import BrowserRequest

_PURPOSES: Final = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")
_AHEAD: Final = (b"prefetch", b"prerender", b"preview")


def is_navigation(request: BrowserRequest) -> bool:
    """Whether the request fills a browser's window, as far as the browser says (row C8).

    An image, a frame or a prefetch must neither consume an attempt nor begin one. A browser that
    sends no `Sec-Fetch-Dest` is taken at its word: state and cookie still have to match.
    """
    destination = request.header(b"sec-fetch-dest")
    return destination in {None, "document"} and not is_prefetch(request)


def is_prefetch(request: BrowserRequest) -> bool:
    """Whether the browser fetches ahead of the person's wish (row C8).

    It says so in `Sec-Purpose` (Fetch, HTML): `prefetch`, with `;prerender` where it also draws the
    page unseen. Before that, Chromium and Safari said `Purpose: prefetch`, Safari's previews
    `X-Purpose: preview`, and Firefox `X-Moz: prefetch`.
    """
    for name in _PURPOSES:
        if name in request.headers:
            purpose = request.headers[name].lower()
            if any(word in purpose for word in _AHEAD):
                return True
    return False


def is_from_our_pages(request: BrowserRequest, origin: str) -> bool:
    """Whether a form was sent from a page of this application (rows A2, K8).

    Browsers say so in `Sec-Fetch-Site`, which no page can forge. Older ones send `Origin`. When
    neither is there, or they disagree with us, the answer is no.

    Args:
        request: The POST that came.
        origin: Scheme, host and port at which this application is reached.
    """
    site = request.header(b"sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return request.header(b"origin") == origin


def may_set_cookies(request: BrowserRequest) -> bool:
    """Whether a page asked for like this may begin an attempt in the browser.

    Another site can make a browser fetch our pages unseen; that must not push a person's own
    attempts out of the browser.
    """
    if request.method != "GET" or is_prefetch(request):
        return False
    if request.header(b"sec-fetch-dest") in {None, "document"}:
        return True
    return request.header(b"sec-fetch-site") in {"same-origin", "none"}
