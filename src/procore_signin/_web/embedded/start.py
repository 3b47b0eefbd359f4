"""The one address at which a sign-in starts, for a button anywhere in the application (row A13).

A click on the application's own pages goes straight to Procore. Anything else, such as a link on
another site or in a message, shows the sign-in page: no other site can sign a browser in. What is
more than a sign-in, a connection or a value of the application's, starts by a form of our own pages
alone.
"""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote
from uuid import UUID

from procore_signin._flow.attempt import Bound
from procore_signin._flow.context import Context
from procore_signin._flow.steps import Flow
from procore_signin._store.records import text_of_key
from procore_signin._web import problems
from procore_signin._web.attempts import Begun, begin_attempt
from procore_signin._web.embedded.login import Login, who_is_logged_in
from procore_signin._web.endpoints import SignInEndpoints
from procore_signin._web.http.messages import BrowserRequest, BrowserResponse, see_other
from procore_signin._web.json.answers import json_response
from procore_signin._web.json.fields import fields_of, in_form, is_yes
from procore_signin._web.json.shapes import GoToJson
from procore_signin._web.return_to import safe_return_to
from procore_signin._web.router import Router
from procore_signin.errors import VaultSealed

LONGEST_VALUE: Final = 128
"""The most bytes of a button's value: the attempt that carries it has to fit into a cookie (K4)."""

_VALUE: Final = ("value of the application",)


def seal_value(context: Context, value: str | int | UUID) -> str:
    """Return a value of the application's, sealed as text for the hidden field of a button's form.

    Raises:
        ValueError: It has none or more than 128 bytes of UTF-8, or characters that do not print.
        TypeError: It is no text, whole number or UUID.
    """
    text = text_of_key(value, "A button's value")
    if not text.isprintable() or not 1 <= len(text.encode()) <= LONGEST_VALUE:
        raise ValueError(f"A button's value has 1 to {LONGEST_VALUE} bytes of text that prints.")
    return context.attempt_seal.seal(json.dumps(text), context=_VALUE)


def open_value(context: Context, sealed: str) -> str | None:
    """Return the value that was sealed, or None if it does not open."""
    try:
        value: str = json.loads(context.attempt_seal.open(sealed, context=_VALUE))
    except VaultSealed:
        return None
    return value


class StartEndpoint:
    """Start a sign-in, or a connection.

    Args:
        router: Where the endpoint is added; it also knows the context and the paths.
        sign_in: Counts the sign-ins that an address begins.
        login: The application's own login, or None.
    """

    def __init__(self, router: Router, sign_in: SignInEndpoints, login: Login | None) -> None:
        self._router: Final = router
        self._sign_in: Final = sign_in
        self._login: Final = login
        router.add("GET", router.paths.start, self.follow)
        router.add("POST", router.paths.start, self.press, any_origin=True)

    def follow(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Handle a click on a link."""
        if request.wants_json:  # a script would be sent to Procore in the place of the window
            return self._router.problem(request, problems.NOT_A_NAVIGATION)
        return_to = in_form(request.query).get("return_to")
        if not _is_click_on_our_page(request):
            return self._to_sign_in_page(return_to)
        begun = yield from self._begin(request, return_to, None, connects=False)
        if isinstance(begun, BrowserResponse):
            return begun
        return see_other(begun.url).with_cookies(*begun.cookies)

    def press(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Handle a form: a button that signs in, connects, or brings a value.

        A script is told where to go: what it asks for by `fetch` cannot be redirected to Procore.
        """
        if not self._router.is_ours(request):
            if request.wants_json:
                return self._router.problem(request, problems.FOREIGN_FORM)
            return self._to_sign_in_page(None)
        fields = yield from fields_of(request)
        sealed, value = fields.get("value"), None
        if sealed is not None:
            value = open_value(self._router.context, sealed)
            if value is None:
                return self._router.problem(request, problems.VALUE_INVALID)
        connects = is_yes(fields, "connect")
        begun = yield from self._begin(request, fields.get("return_to"), value, connects=connects)
        if isinstance(begun, BrowserResponse):
            return begun
        if request.wants_json:
            return json_response(GoToJson(begun.url)).with_cookies(*begun.cookies)
        if request.header(b"sec-fetch-mode") == "navigate":
            # Chromium measures each redirect of a form by the `form-action` of the page that it is
            # on, which need not name Procore. A page that leads on by itself is no redirect.
            onward = self._router.page("onward", values={"authorization_url": begun.url})
            refresh = ("refresh", f"0;url={begun.url}")
            return onward.with_headers(refresh).with_cookies(*begun.cookies)
        return see_other(begun.url).with_cookies(*begun.cookies)

    def _begin(
        self, request: BrowserRequest, return_to: str | None, value: str | None, *, connects: bool
    ) -> Flow[Begun | BrowserResponse]:
        refused = self._sign_in.too_many(request)
        if refused is not None:
            return refused
        login = yield from who_is_logged_in(self._login, request, in_which_session=True)
        if connects and login.reference is None:
            return self._router.problem(request, problems.NOT_LOGGED_IN)
        return begin_attempt(
            self._router.context,
            request,
            return_to=safe_return_to(return_to, default=self._router.paths.home),
            bound=Bound(login.mark, value, connects),
            wanted=True,
        )

    def _to_sign_in_page(self, return_to: str | None) -> BrowserResponse:
        page, checked = self._router.paths.signin, safe_return_to(return_to, default="")
        return see_other(f"{page}?return_to={quote(checked, safe='/')}" if checked else page)


def _is_click_on_our_page(request: BrowserRequest) -> bool:
    """Return whether a page of ours leads a window here.

    A service worker does not count: its request looks the same if another site led the window here.
    """
    return (
        request.header(b"sec-fetch-site") == "same-origin"
        and request.header(b"sec-fetch-dest") == "document"
    )
