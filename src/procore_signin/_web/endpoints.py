"""The endpoints of a sign-in, from the browser's bytes to a response, for every framework.

Each endpoint is a flow: it yields store work and requests to Procore, and the framework's mapping
runs it, sync or async. `Router.respond` is the only entry point.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, quote

from procore_signin._flow import sessions
from procore_signin._flow.return_to import safe_return_to
from procore_signin._flow.sign_in import Browser, SignedIn, finish_sign_in, hash_session_token
from procore_signin._flow.steps import Flow, read
from procore_signin._protocol.authorization import (
    AuthorizationDenied,
    CodeGranted,
    parse_authorization_response,
)
from procore_signin._store.records import Session
from procore_signin._web import problems
from procore_signin._web.attempts import begin_attempt, find_attempt, forget_attempt
from procore_signin._web.http.bodies import body_of
from procore_signin._web.http.cookies import clear_cookie, read_cookies, set_cookie
from procore_signin._web.http.limits import RateLimit
from procore_signin._web.http.messages import BrowserRequest, BrowserResponse, see_other
from procore_signin._web.http.origin import is_navigation, may_set_cookies
from procore_signin._web.router import Router, explain, note_failure
from procore_signin.errors import AttemptInvalid, ProcoreSignInError, StoreUnavailable
from procore_signin.events import Event, emit

SESSION_COOKIE: Final = "session"
LONGEST_ID: Final = 19
CLEAR_SITE_DATA: Final = ("clear-site-data", '"cache"')


class SignInEndpoints:
    """The endpoints for signing in, the callback, sessions, signing out and disconnecting.

    Args:
        router: Where the endpoints are added; it also knows the context and the paths.
        starts: How often an address may begin a sign-in.
        callbacks: How often an address may call the callback.
        choose_company: Whether a user without a chosen company is asked for one.
    """

    def __init__(
        self,
        router: Router,
        *,
        starts: RateLimit,
        callbacks: RateLimit,
        choose_company: bool = False,
    ) -> None:
        self._router = router
        self._context = router.context
        self._paths = router.paths
        self._starts = starts
        self._callbacks = callbacks
        self._choose_company = choose_company
        router.add("GET", self._paths.signin, self.sign_in)
        router.add("GET", self._paths.callback, self.callback)
        router.add("GET", self._paths.sessions, self.list_sessions)
        router.add("POST", self._paths.end_session, self.end_session)
        router.add("POST", self._paths.sign_out, self.sign_out)
        router.add("POST", self._paths.sign_out_everywhere, self.sign_out_everywhere)
        router.add("POST", self._paths.disconnect, self.disconnect)

    def session(self, request: BrowserRequest) -> Flow[Session | None]:
        """Return the live session of the browser that sent `request`, or None."""
        return sessions.current_session(self._context, self._session_token(request))

    def _session_token(self, request: BrowserRequest) -> str | None:
        return read_cookies(request.cookies, secure=self._context.secure).get(SESSION_COOKIE)

    def _session_hash(self, request: BrowserRequest) -> str | None:
        token = self._session_token(request)
        return None if token is None else hash_session_token(token)

    def begin_page(
        self,
        request: BrowserRequest,
        name: str,
        url_name: str,
        *,
        return_to: str,
        values: dict[str, object],
        session: Session | None = None,
    ) -> BrowserResponse:
        """Return a page with a button that begins a sign-in (tutorial, steps 1 and 6).

        Args:
            request: What came.
            name: The page.
            url_name: The name of the page's value for the button's URL.
            return_to: The checked path where the user lands.
            values: The page's other values.
            session: The session, if a user is signed in.
        """
        # A request that begins no attempt does not count: another site can make a browser fetch
        # this unseen.
        if may_set_cookies(request) and not self._starts.admits(request.client_address):
            emit(Event.RATE_LIMITED, request=request.request_id, address=request.client_address)
            retry = ("retry-after", "60")
            return self._router.problem(request, problems.RATE_LIMITED).with_headers(retry)
        begun = begin_attempt(self._context, request, return_to=return_to)
        page = self._router.page(name, session=session, values=values | {url_name: begun.url})
        return page.with_cookies(*begun.cookies)

    def sign_in(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Show "Sign In with Procore"."""
        yield from ()
        wanted = dict(parse_qsl(request.query.decode("latin-1"))).get("return_to")
        return_to = safe_return_to(wanted, default=self._paths.home)
        return self.begin_page(
            request,
            "signin",
            "sign_in_url",
            return_to=return_to,
            values={"return_to": return_to if wanted == return_to else None, "notice": None},
        )

    def to_sign_in(
        self, request: BrowserRequest, *, return_to: str | None = None
    ) -> BrowserResponse:
        """Redirect a browser without a session to the sign-in page, and then back.

        Args:
            request: What came.
            return_to: The page to come back to, if the URL of `request` is not a page.
        """
        if request.wants_json:
            return self._router.problem(request, problems.NOT_SIGNED_IN)
        query = f"?{request.query.decode('latin-1')}" if request.query else ""
        return_to = safe_return_to(return_to or request.path + query, default=self._paths.home)
        return see_other(f"{self._paths.signin}?return_to={quote(return_to, safe='/')}")

    def callback(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Take the authorization response from the address and finish the sign-in.

        The tutorial mentions a code in the fragment and one in the query. A fragment does not reach
        the server, so if the query is empty, a small page moves the response there.
        """
        if not is_navigation(request):
            return self._router.problem(request, problems.NOT_A_NAVIGATION)
        if not self._callbacks.admits(request.client_address):
            emit(Event.RATE_LIMITED, request=request.request_id, address=request.client_address)
            return self._router.problem(request, problems.RATE_LIMITED)
        try:
            response = parse_authorization_response(request.query)
        except AttemptInvalid as error:
            return self._invalid(request, error, None)
        if response is None:
            # The page begins no attempt: with five under way, a new one would push out the oldest,
            # which may be the one whose response is in the fragment (row K4).
            return self._router.page("fragment", values={"sign_in_url": self._paths.signin})
        return (yield from self._finish(request, response))

    def _finish(
        self, request: BrowserRequest, response: CodeGranted | AuthorizationDenied
    ) -> Flow[BrowserResponse]:
        return_to = None
        forget = forget_attempt(self._context, response.state)
        try:
            attempt = find_attempt(self._context, request, response.state)
            return_to = attempt.return_to
            browser = Browser(
                user_agent=request.user_agent, session_hash=self._session_hash(request)
            )
            signed_in = yield from finish_sign_in(self._context, attempt, response, browser)
        except AttemptInvalid as error:
            # The back button, or a late second click: a signed-in user goes on.
            if (yield from self.session(request)) is not None:
                return see_other(self._paths.home).with_cookies(forget)
            return self._invalid(request, error, return_to).with_cookies(forget)
        except StoreUnavailable as error:
            note_failure(request, error)
            # The attempt stays in the browser: if the code was not sent, a reload finishes it.
            return self._router.problem(request, problems.of_sign_in(error), return_to=return_to)
        except ProcoreSignInError as error:
            explain(request, error)
            return self._router.problem(
                request, problems.of_sign_in(error), return_to=return_to
            ).with_cookies(forget)
        session_cookie = set_cookie(
            SESSION_COOKIE,
            signed_in.session_token.reveal(),
            max_age=self._context.session_absolute,
            secure=self._context.secure,
        )
        return see_other(self._landing(signed_in)).with_cookies(session_cookie, forget)

    def _landing(self, signed_in: SignedIn) -> str:
        if self._choose_company and signed_in.user.company_id is None:
            return f"{self._paths.company}?return_to={quote(signed_in.return_to, safe='/')}"
        return signed_in.return_to

    def _invalid(
        self, request: BrowserRequest, error: AttemptInvalid, return_to: str | None
    ) -> BrowserResponse:
        emit(Event.ATTEMPT_INVALID, request=request.request_id, reason=error.reason)
        return self._router.problem(request, problems.of_sign_in(error), return_to=return_to)

    def list_sessions(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Show where the user is signed in."""
        session = yield from self.session(request)
        if session is None:
            return self.to_sign_in(request)
        user_id, now = session.user.id, self._context.now()
        live = yield from read(lambda store: store.sessions_of(user_id, now=now))
        shown = [
            {
                "id": each.id,
                "current": each.id == session.id,
                "created_at": each.created_at,
                "last_seen_at": each.last_seen_at,
                "user_agent": each.user_agent,
                "expires_at": min(each.idle_expires_at, each.absolute_expires_at),
            }
            for each in live
        ]
        return self._router.page("sessions", session=session, values={"sessions": shown})

    def end_session(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """End one other session of the user."""
        session = yield from self.session(request)
        if session is None:
            return self.to_sign_in(request, return_to=self._paths.sessions)
        session_id = whole_number((yield from body_of(request)), "session_id")
        if session_id is None or not (yield from sessions.end_session(session, session_id)):
            return self._router.problem(request, problems.NO_SUCH_SESSION)
        return see_other(self._paths.sessions)

    def sign_out(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """End this session. A browser without one gets the same page."""
        session = yield from self.session(request)
        if session is not None:
            yield from sessions.sign_out(self._context, session)
        return self._signed_out(request, "signed_out", {"everywhere": False})

    def sign_out_everywhere(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """End all sessions of the user, on every device."""
        session = yield from self.session(request)
        if session is not None:
            yield from sessions.sign_out_everywhere(self._context, session)
        return self._signed_out(request, "signed_out", {"everywhere": session is not None})

    def disconnect(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Revoke the user's tokens at Procore, forget them, and sign out everywhere."""
        session = yield from self.session(request)
        if session is None:
            return self.to_sign_in(request, return_to=self._paths.sessions)
        outcome = yield from sessions.disconnect(self._context, session)
        return self._signed_out(request, "disconnected", {"revoked": outcome.revoked})

    def _signed_out(
        self, request: BrowserRequest, name: str, values: dict[str, object]
    ) -> BrowserResponse:
        begun = begin_attempt(self._context, request, return_to=self._paths.home)
        page = self._router.page(name, values=values | {"sign_in_url": begun.url})
        gone = clear_cookie(SESSION_COOKIE, secure=self._context.secure)
        return page.with_cookies(gone, *begun.cookies).with_headers(CLEAR_SITE_DATA)


def whole_number(form: bytes, name: str) -> int | None:
    """Return the number in the form's field `name`, or None."""
    text = dict(parse_qsl(form.decode("latin-1"))).get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_ID else None
