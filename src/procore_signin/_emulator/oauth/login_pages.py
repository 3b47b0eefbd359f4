"""The browser's side of signing in: log-in panel, consent dialog, out-of-band page, log-out."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from procore_signin._emulator.oauth import authorization
from procore_signin._emulator.oauth.authorization import AuthorizationRequest
from procore_signin._emulator.oauth.doorkeeper import OAuthError
from procore_signin._emulator.oauth.parameters import Malformed, body_parameters, query_parameters
from procore_signin._emulator.pages import Pages
from procore_signin._emulator.state import State
from procore_signin._emulator.wire.messages import Reply, Request, redirect_reply
from procore_signin._emulator.world.logins import COOKIE
from procore_signin._emulator.world.people import DEMO_PASSWORD, Person

AUTHORIZE: Final = "/oauth/authorize"
_NO_CODE_CURE: Final = (
    "Start again at the application. A code is shown once, to the person it is for."
)


class LoginPages:
    """The pages of the authorization server."""

    __slots__ = ("_pages", "_state")

    def __init__(self, state: State, pages: Pages) -> None:
        self._state = state
        self._pages = pages

    def authorize(self, request: Request) -> Reply:
        """Respond to the authorization request (RFC 6749 §4.1.1).

        The request is checked before the person logs in, so that a mistake in it shows at once;
        Procore seems to ask for the log-in first.
        """
        asked = authorization.read(self._state, request.query)
        if isinstance(asked, OAuthError):
            return self._refusal(request, asked)
        person = self._person(request)
        if person is None:
            return self._to_login(request, f"{AUTHORIZE}?{request.query}")
        if self._state.grants.has_live(asked.client.client_id, person.id):
            return self._allowed(request, asked, person, "consent is remembered")
        return self._consent(request, asked, person)

    def decide(self, request: Request) -> Reply:
        """Handle the form of the consent dialog."""
        form = self._form(request)
        if isinstance(form, Reply):
            return form
        continue_to = _safe_continuation(form.get("continue_to", ""))
        asked = authorization.read(self._state, continue_to.partition("?")[2])
        if isinstance(asked, OAuthError):
            return self._refusal(request, asked)
        person = self._person(request)
        if person is None:
            return self._to_login(request, continue_to)
        decision = form.get("decision")
        if decision == "allow":
            return self._allowed(request, asked, person, f"{person.login} chose Allow")
        if decision == "deny":
            return self._denied(request, asked)
        note = "the form's decision is neither allow nor deny"
        return self._refusal(request, self._state.dialect.error("invalid_request", note))

    def login_panel(self, request: Request) -> Reply:
        """Show the log-in panel, or go on when the browser is logged in."""
        try:
            continue_to = _safe_continuation(query_parameters(request.query).get("continue_to", ""))
        except Malformed as refused:
            return self._refusal(
                request, self._state.dialect.error("invalid_request", str(refused))
            )
        if self._person(request) is not None:
            return redirect_reply(request.root + continue_to)
        return self._panel(request, continue_to, error=None)

    def log_in(self, request: Request) -> Reply:
        """Check login and password, log the browser in and go on."""
        form = self._form(request)
        if isinstance(form, Reply):
            return form
        continue_to = _safe_continuation(form.get("continue_to", ""))
        person = self._state.directory.person_by_login(form.get("login", "").strip())
        if person is None or person.password != form.get("password"):
            return self._panel(request, continue_to, error="Invalid email or password.")
        # A new value at every log-in: a value that was planted before becomes useless.
        self._state.logins.close(request.cookie(COOKIE))
        cookie = self._state.logins.open(person.id)
        return redirect_reply(
            request.root + continue_to,
            ("set-cookie", f"{COOKIE}={cookie}; {_cookie_scope(request)}"),
            note=f"{person.login} logged in",
        )

    def log_out(self, request: Request) -> Reply:
        """Log the browser out. Consent and tokens stay."""
        self._state.logins.close(request.cookie(COOKIE))
        expired = f"{COOKIE}=; {_cookie_scope(request)}; Max-Age=0"
        return self._pages.reply(
            "logged_out.html", root=request.root, headers=(("set-cookie", expired),)
        )

    def out_of_band(self, request: Request) -> Reply:
        """Show the code to the person it was issued for."""
        shown = request.path.removeprefix(f"{AUTHORIZE}/")
        if shown == "native":
            try:
                shown = query_parameters(request.query).get("code", "")
            except Malformed:
                shown = ""
        code = self._state.grants.code(shown)
        person = self._person(request)
        if code is None or person is None or code.person_id != person.id:
            return self._pages.reply(
                "error.html",
                root=request.root,
                status=404,
                note="no code of this person is shown at this address",
                title="No code here",
                message="This page shows an authorization code to the person it was issued for.",
                error=None,
                cure=_NO_CODE_CURE,
            )
        return self._pages.reply("oob.html", root=request.root, code=code.code)

    def _person(self, request: Request) -> Person | None:
        return self._state.logged_in(request.cookie(COOKIE))

    def _form(self, request: Request) -> dict[str, str] | Reply:
        try:
            return body_parameters(request)
        except Malformed as refused:
            return self._refusal(
                request, self._state.dialect.error("invalid_request", str(refused))
            )

    def _to_login(self, request: Request, continue_to: str) -> Reply:
        location = f"{request.root}/login?continue_to={quote(continue_to, safe='')}"
        return redirect_reply(location, note="no one is logged in in this browser")

    def _allowed(
        self, request: Request, asked: AuthorizationRequest, person: Person, note: str
    ) -> Reply:
        location = authorization.allow(self._state, asked, person, request.base)
        if asked.out_of_band:
            location = request.root + location
        return redirect_reply(location, note=note)

    def _denied(self, request: Request, asked: AuthorizationRequest) -> Reply:
        note = "the person chose Deny"
        if asked.out_of_band:
            refused = self._state.dialect.error("access_denied", note)
            return self._state.dialect.reply(refused, state=asked.state)
        return redirect_reply(authorization.deny(self._state, asked, request.base), note=note)

    def _consent(self, request: Request, asked: AuthorizationRequest, person: Person) -> Reply:
        return self._pages.reply(
            "consent.html",
            root=request.root,
            form_target=None if asked.out_of_band else asked.redirect_uri,
            client_name=asked.client.name,
            person_name=person.name or person.login,
            person_login=person.login,
            redirect_host=authorization.redirect_host(asked),
            continue_to=f"{AUTHORIZE}?{request.query}",
        )

    def _panel(self, request: Request, continue_to: str, *, error: str | None) -> Reply:
        read = authorization.read(self._state, continue_to.partition("?")[2])
        asked = read if isinstance(read, AuthorizationRequest) else None
        return self._pages.reply(
            "login.html",
            root=request.root,
            status=200 if error is None else 422,
            note=error,
            # With consent remembered, the log-in form leads all the way to the application.
            form_target=asked.redirect_uri if asked and not asked.out_of_band else None,
            client_name=asked.client.name if asked else "the emulator",
            error=error,
            people=[
                (person.login, person.name or person.login)
                for person in self._state.directory.people.values()
            ],
            continue_to=continue_to,
            demo_password=DEMO_PASSWORD,
        )

    def _refusal(self, request: Request, refused: OAuthError) -> Reply:
        return self._pages.reply(
            "error.html",
            root=request.root,
            status=self._state.dialect.page_status(refused.error),
            note=refused.note,
            title="An error has occurred",
            message=refused.description,
            error=refused.error,
            cure=refused.cure,
        )


def _cookie_scope(request: Request) -> str:
    """Return the attributes that keep the cookie to this emulator, wherever it is mounted."""
    return f"Path={request.root or '/'}; HttpOnly; SameSite=Lax"


def _safe_continuation(continue_to: str) -> str:
    """Return an authorization request to go on with, or the start page for anything else."""
    expected = continue_to.startswith(f"{AUTHORIZE}?")
    return continue_to if expected and continue_to.isascii() and continue_to.isprintable() else "/"
