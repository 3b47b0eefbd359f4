"""`/auth/verify`: a proxy asks who sent a request, before it passes it on to another application.

For nginx `auth_request`, Caddy `forward_auth` and Traefik `forwardAuth`: any application, in any
language, can stand behind the sign-in. It reads who is there from headers, which the proxy takes
from this response alone (`deploy/`, docs/how-to/reverse-proxies.md).

The endpoint answers about the session cookie of the request, changes nothing but that session's
last use, and sets no cookie. Another site cannot read its response: the cookie is SameSite=Lax, no
origin is allowed to read across, and `Cross-Origin-Resource-Policy` keeps it out of other pages.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from procore_signin._flow.return_to import safe_return_to
from procore_signin._flow.steps import Flow
from procore_signin._store.records import User
from procore_signin._web.endpoints import SignInEndpoints
from procore_signin._web.http.messages import Answer, BrowserRequest
from procore_signin._web.router import Router

REDIRECT: Final = b"signed-out=redirect"
"""The query for a proxy that shows our response to the browser as it is (Caddy, Traefik)."""

SIGN_IN: Final = "x-procore-sign-in"
"""The header that names the sign-in page, for a proxy that redirects by itself (nginx)."""

_METHOD: Final = b"x-forwarded-method"
_ADDRESS: Final = b"x-forwarded-uri"
_IN_EMAIL: Final = "@!#$&'*+/=?^`{|}~"  # RFC 5322 §3.2.3: e-mail addresses stay as they are


class ForwardAuthEndpoint:
    """Answer a proxy: 200 and who it is, or 401 and where to sign in.

    Args:
        router: Where the endpoint is added. It answers whatever the Host header says: Traefik asks
            by address. The proxies ask with GET, whatever the method of the request in question.
        sign_in: Knows whose session a request carries.
    """

    def __init__(self, router: Router, sign_in: SignInEndpoints) -> None:
        self._origin: Final = router.origin
        self._sign_in_page: Final = router.paths.signin
        self._sign_in: Final = sign_in
        router.add("GET", router.paths.verify, self.verify, any_host=True)

    def verify(self, request: BrowserRequest) -> Flow[Answer]:
        """Say whose session the request carries.

        Raises:
            StoreUnavailable: No one can tell. The router answers 503 (row S7).
        """
        session = yield from self._sign_in.session(request)
        if session is not None:
            return Answer(status=HTTPStatus.OK, headers=identity_headers(session.user))
        if "text/html" not in (request.header(b"accept") or ""):
            return Answer(status=HTTPStatus.UNAUTHORIZED, body=b"Not signed in.\n")
        page = self._page_for(request)
        if request.query == REDIRECT:
            return Answer(status=HTTPStatus.SEE_OTHER, headers=(("location", page),))
        return Answer(
            status=HTTPStatus.UNAUTHORIZED, body=b"Not signed in.\n", headers=((SIGN_IN, page),)
        )

    def _page_for(self, request: BrowserRequest) -> str:
        """Return the sign-in page's address, which leads back where that is possible.

        It is whole, because a proxy would complete a path with what it takes for its own address.
        """
        page = f"{self._origin}{self._sign_in_page}"
        if request.header(_METHOD) not in {None, "GET", "HEAD"}:
            return page  # what was posted is gone, and its address may have no page
        return_to = safe_return_to(request.header(_ADDRESS), default="")
        return f"{page}?return_to={quote(return_to, safe='/')}" if return_to else page


def identity_headers(user: User) -> tuple[tuple[str, str], ...]:
    """Return the headers that tell an application who sent the request. All are always there.

    E-mail address and name are percent-encoded UTF-8; an ordinary address looks the same either
    way. The name is empty where Procore tells none. People are told apart by `x-procore-user-id`
    or, in one environment, by `x-procore-id`; an e-mail address may change hands (row I2).
    """
    return (
        ("x-procore-user-id", str(user.id)),
        ("x-procore-id", str(user.procore_id)),
        ("x-procore-email", quote(user.email, safe=_IN_EMAIL)),
        ("x-procore-name", quote(user.name or "", safe="")),
        ("x-procore-environment", user.environment),
    )
