"""`/auth/verify`: a proxy asks which user sent a request, before it passes the request on.

For nginx `auth_request`, Caddy `forward_auth` and Traefik `forwardAuth`: any application, in any
language, can use the sign-in. It reads the user from headers, which the proxy takes only from this
response (`deploy/`, docs/how-to/reverse-proxies.md).

The endpoint checks the session cookie of the request, changes only that session's last use, and
sets no cookie. Another site cannot read its response: the cookie is SameSite=Lax, no origin is
allowed to read across, and `Cross-Origin-Resource-Policy` keeps it out of other pages.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from procore_signin._flow.return_to import safe_return_to
from procore_signin._flow.steps import Flow
from procore_signin._store.records import User
from procore_signin._web.endpoints import SignInEndpoints
from procore_signin._web.http.messages import BrowserRequest, BrowserResponse
from procore_signin._web.router import Router

REDIRECT: Final = b"signed-out=redirect"
"""The query for a proxy that passes our response on to the browser (Caddy, Traefik)."""

SIGN_IN: Final = "x-procore-sign-in"
"""The header that names the sign-in page, for a proxy that redirects itself (nginx)."""

_METHOD: Final = b"x-forwarded-method"
_ADDRESS: Final = b"x-forwarded-uri"
_IN_EMAIL: Final = "@!#$&'*+/=?^`{|}~"  # RFC 5322 §3.2.3: e-mail addresses stay as they are


class ForwardAuthEndpoint:
    """Respond to a proxy: 200 with the user, or 401 with the sign-in page.

    Args:
        router: Where the endpoint is added. It accepts any Host header: Traefik asks by address.
            The proxies use GET, whatever the method of the original request.
        sign_in: Finds the session of a request.
    """

    def __init__(self, router: Router, sign_in: SignInEndpoints) -> None:
        self._origin: Final = router.origin
        self._sign_in_page: Final = router.paths.signin
        self._sign_in: Final = sign_in
        router.add("GET", router.paths.verify, self.verify, any_host=True)

    def verify(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Return the user of the request's session.

        Raises:
            StoreUnavailable: Unknown. The router responds with 503 (row S7).
        """
        session = yield from self._sign_in.session(request)
        if session is not None:
            return BrowserResponse(status=HTTPStatus.OK, headers=identity_headers(session.user))
        if "text/html" not in (request.header(b"accept") or ""):
            return BrowserResponse(status=HTTPStatus.UNAUTHORIZED, body=b"Not signed in.\n")
        page = self._page_for(request)
        if request.query == REDIRECT:
            return BrowserResponse(status=HTTPStatus.SEE_OTHER, headers=(("location", page),))
        return BrowserResponse(
            status=HTTPStatus.UNAUTHORIZED, body=b"Not signed in.\n", headers=((SIGN_IN, page),)
        )

    def _page_for(self, request: BrowserRequest) -> str:
        """Return the URL of the sign-in page, which leads back if possible.

        It is absolute, because a proxy would complete a path with its own address.
        """
        page = f"{self._origin}{self._sign_in_page}"
        if request.header(_METHOD) not in {None, "GET", "HEAD"}:
            return page  # the posted form is lost, and its URL may not be a page
        return_to = safe_return_to(request.header(_ADDRESS), default="")
        return f"{page}?return_to={quote(return_to, safe='/')}" if return_to else page


def identity_headers(user: User) -> tuple[tuple[str, str], ...]:
    """Return the headers that name the request's user. All are always present.

    E-mail address and name are percent-encoded UTF-8; an ordinary address looks the same either
    way. The name is empty if Procore has none. `x-procore-user-id` identifies the user, and so does
    `x-procore-id` within one environment; an e-mail address can pass to another user (row I2).
    """
    return (
        ("x-procore-user-id", str(user.id)),
        ("x-procore-id", str(user.procore_id)),
        ("x-procore-email", quote(user.email, safe=_IN_EMAIL)),
        ("x-procore-name", quote(user.name or "", safe="")),
        ("x-procore-environment", user.environment),
    )
