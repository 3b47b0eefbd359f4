"""The authorization server: `/oauth/*`, log-in and log-out."""

from __future__ import annotations

from procore_signin._emulator.oauth.login_pages import AUTHORIZE, LoginPages
from procore_signin._emulator.oauth.parameters import Malformed, query_parameters
from procore_signin._emulator.oauth.revocation_endpoint import RevocationEndpoint
from procore_signin._emulator.oauth.token_endpoint import TokenEndpoint
from procore_signin._emulator.pages import Pages
from procore_signin._emulator.rest.bearer import bearer_token
from procore_signin._emulator.rest.unserved import may_be_procores, not_served
from procore_signin._emulator.state import State
from procore_signin._emulator.wire.messages import Reply, Request, json_reply, text_reply
from procore_signin._emulator.world.grants import Token


class Provider:
    """Routes a request of the authorization server to the endpoint that responds to it."""

    __slots__ = ("_pages", "_paths", "_routes", "_state")

    def __init__(self, state: State, pages: Pages) -> None:
        self._state = state
        self._pages = LoginPages(state, pages)
        self._routes = {
            ("GET", AUTHORIZE): self._pages.authorize,
            ("POST", AUTHORIZE): self._pages.decide,
            ("GET", "/login"): self._pages.login_panel,
            ("POST", "/login"): self._pages.log_in,
            ("GET", "/logout"): self._pages.log_out,
            ("POST", "/logout"): self._pages.log_out,
            ("POST", "/oauth/token"): TokenEndpoint(state).answer,
            ("GET", "/oauth/token/info"): self._token_info,
            ("POST", "/oauth/revoke"): RevocationEndpoint(state).answer,
        }
        self._paths = frozenset(path for _, path in self._routes)

    def reads_body(self, request: Request) -> bool:
        """Return whether a request's body is read."""
        return request.method == "POST" and ("POST", request.path) in self._routes

    def answer(self, request: Request) -> Reply:
        """Return the response to one request."""
        method = "GET" if request.method == "HEAD" else request.method
        route = self._routes.get((method, request.path))
        if route is not None:
            return route(request)
        if method == "GET" and request.path.startswith(f"{AUTHORIZE}/"):
            return self._pages.out_of_band(request)
        if may_be_procores(request) and not self._is_known(request.path):
            return not_served(request)
        return text_reply(404, "Not Found", note=f"there is no {request.method} {request.path}")

    def _is_known(self, path: str) -> bool:
        """Return whether a path exists under another method."""
        return path in self._paths or path.startswith(f"{AUTHORIZE}/")

    def _token_info(self, request: Request) -> Reply:
        dialect, now = self._state.dialect, self._state.clock()
        token = bearer_token(self._state.grants, request) or self._token_in_query(request)
        if token is None or not token.accessible(now):
            return dialect.reply(dialect.unknown_token_info())
        return json_reply(200, dialect.token_info(token, now))

    def _token_in_query(self, request: Request) -> Token | None:
        """Return the token of `?access_token=`: Doorkeeper takes it, against RFC 6750 §2.3."""
        if "authorization" in request.headers:
            return None
        try:
            access_token = query_parameters(request.query).get("access_token", "")
        except Malformed:
            return None
        token = self._state.grants.by_access_token(access_token)
        if token is not None:
            self._state.grants.used(token)
        return token
