"""The endpoints of a sign-in, from the browser's bytes to a response, for every framework.

Each endpoint is a flow: it yields store work and requests to Procore, and the framework's mapping
runs it, sync or async. `Router.respond` is the only entry point.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from procore_signin._flow import sessions
from procore_signin._flow.attempt import NO_LOGIN, OwnLogin, SignInAttempt, attempt_name
from procore_signin._flow.hooks import Occasion
from procore_signin._flow.phases import SignedIn
from procore_signin._flow.sessions import Browser, hash_session_token
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._flow.steps import Flow, ask
from procore_signin._flow.users import references_of
from procore_signin._protocol.authorization import (
    AuthorizationDenied,
    CodeGranted,
    parse_authorization_response,
)
from procore_signin._store.records import Session
from procore_signin._store.sessions import SessionsOf
from procore_signin._web import problems
from procore_signin._web.attempts import begin_attempt, find_attempt
from procore_signin._web.embedded.login import (
    Login,
    kept_by,
    log_in_to,
    log_out_of,
    who_is_logged_in,
)
from procore_signin._web.http.cookies import clear_cookie, read_cookies, set_cookie
from procore_signin._web.http.limits import RateLimit
from procore_signin._web.http.messages import BrowserRequest, BrowserResponse, see_other
from procore_signin._web.http.origin import is_navigation, may_set_cookies
from procore_signin._web.json.answers import json_response, session_shape, sessions_shape
from procore_signin._web.json.fields import Fields, fields_of, in_form, is_yes, whole_number
from procore_signin._web.json.shapes import DisconnectedJson, GoToJson
from procore_signin._web.return_to import safe_return_to
from procore_signin._web.router import Router, explain, note_failure
from procore_signin.errors import (
    AlreadyLinked,
    AttemptInvalid,
    ProcoreSignInError,
    StoreUnavailable,
)
from procore_signin.events import Event, emit

SESSION_COOKIE: Final = "session"
CLEAR_SITE_DATA: Final = ("clear-site-data", '"cache"')
_AGAIN: Final = b"&again=1"
"""The end of the query of a callback that a page of ours has led to."""


class SignInEndpoints:
    """The endpoints for signing in, the callback, sessions, signing out and disconnecting.

    Args:
        router: Where the endpoints are added; it also knows the context and the paths.
        starts: How often an address may begin a sign-in.
        callbacks: How often an address may call the callback.
        choose_company: Whether a user without a chosen company is asked for one.
        login: The application's own login, or None.
        sign_up_page: The path of a page to sign up at, or None.

    Attributes:
        asks_for_company: Whether a user without a chosen company is asked for one.
    """

    def __init__(
        self,
        router: Router,
        *,
        starts: RateLimit,
        callbacks: RateLimit,
        choose_company: bool = False,
        login: Login | None = None,
        sign_up_page: str | None = None,
    ) -> None:
        self._router = router
        self._context = router.context
        self._paths = router.paths
        self._starts = starts
        self._callbacks = callbacks
        self.asks_for_company = choose_company
        self._login = login
        self._sign_up_page = sign_up_page
        router.add("GET", self._paths.signin, self.sign_in)
        router.add("GET", self._paths.callback, self.callback)
        router.add("GET", self._paths.session, self.show_session)
        router.add("GET", self._paths.sessions, self.list_sessions)
        router.add("POST", self._paths.end_session, self.end_session)
        router.add("POST", self._paths.sign_out, self.sign_out)
        router.add("POST", self._paths.sign_out_everywhere, self.sign_out_everywhere)
        router.add("POST", self._paths.disconnect, self.disconnect)

    def session(self, request: BrowserRequest) -> Flow[Session | None]:
        """Return the live session of the browser that sent `request`, or None."""
        token = self._session_token(request)
        session = yield from sessions.current_session(self._context, token)
        if session is None:
            return None
        return (yield from kept_by(self._login, request, session))

    def session_and_me(self, request: BrowserRequest) -> Flow[tuple[Session, str] | None]:
        """Return the same with what `/me` answered at its sign-in, as JSON text."""
        token = self._session_token(request)
        found = yield from sessions.session_and_me(self._context, token)
        if found is None:
            return None
        session = yield from kept_by(self._login, request, found[0])
        return None if session is None else (session, found[1])

    def end_here(self, request: BrowserRequest) -> Flow[str]:
        """End the session of the browser that sent `request`, because the application logs out.

        Returns:
            The `Set-Cookie` value that makes the browser forget it.

        Raises:
            StoreUnavailable: The session may not have ended.
        """
        token = self._session_token(request)
        session = yield from sessions.current_session(self._context, token)
        if session is not None:
            yield from sessions.sign_out(self._context, session, self._occasion(request))
        return self.forget_session

    @property
    def forget_session(self) -> str:
        """The `Set-Cookie` value that makes a browser forget its session."""
        return clear_cookie(SESSION_COOKIE, secure=self._context.secure)

    def _session_token(self, request: BrowserRequest) -> str | None:
        return read_cookies(request.cookies, secure=self._context.secure).get(SESSION_COOKIE)

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
        if may_set_cookies(request):
            refused = self.too_many(request)
            if refused is not None:
                return refused
        begun = begin_attempt(self._context, request, return_to=return_to)
        page = self._router.page(name, session=session, values=values | {url_name: begun.url})
        return page.with_cookies(*begun.cookies)

    def too_many(self, request: BrowserRequest) -> BrowserResponse | None:
        """Count a sign-in that begins; return the refusal if its address began too many."""
        if self._starts.admits(request.client_address):
            return None
        emit(Event.RATE_LIMITED, request=request.request_id, address=request.client_address)
        retry = ("retry-after", "60")
        page = self._router.problem(request, problems.RATE_LIMITED, is_logged=True)
        return page.with_headers(retry)

    def sign_in(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Show "Sign In with Procore"."""
        yield from ()
        wanted = in_form(request.query).get("return_to")
        return_to = safe_return_to(wanted, default=self._paths.home)
        return self.begin_page(
            request,
            "signin",
            "sign_in_url",
            return_to=return_to,
            values={
                "return_to": return_to if wanted == return_to else None,
                "notice": None,
                "sign_up_page": self._sign_up_page,
            },
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
        return_to = safe_return_to(return_to or request.address, default=self._paths.home)
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
            return self._router.problem(request, problems.RATE_LIMITED, is_logged=True)
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
        return_to, login = None, NO_LOGIN
        name = attempt_name(response.state)
        forget = clear_cookie(name, secure=self._context.secure)
        cookies = read_cookies(request.cookies, secure=self._context.secure)
        try:
            attempt = find_attempt(self._context, cookies, response.state, name)
            return_to = attempt.return_to
            browser = yield from self._browser(request, attempt, cookies.get(SESSION_COOKIE))
            login = browser.login
            if self._login is not None and self._may_lack_a_cookie(request, attempt, login):
                again = (request.query + _AGAIN).decode()
                return self._lead_to(f"{self._context.client.redirect_uri}?{again}")
            signed_in = yield from finish_sign_in(self._context, attempt, response, browser)
            own_cookies = yield from self._follow_login(request, signed_in, login)
        except AttemptInvalid as error:
            # The back button, or a late second click: a signed-in user goes on.
            if error.reason == "other_login" and login.reference is None:
                self._note_invalid(request, error)
                page = self._router.problem(request, problems.LOGIN_OVER, is_logged=True)
                return page.with_cookies(forget)
            is_late = error.reason != "other_login"
            if is_late and (yield from self.session(request)) is not None:
                return see_other(self._paths.home).with_cookies(forget)
            return self._invalid(request, error, return_to).with_cookies(forget)
        except StoreUnavailable as error:
            note_failure(request, error)
            # The attempt stays in the browser: if the code was not sent, a reload finishes it.
            return self._failed(request, error, return_to)
        except AlreadyLinked as error:
            explain(request, error)
            connects = attempt.bound is not None and attempt.bound.connects
            beside = login.reference is not None and not connects
            problem = problems.of_link(error, beside=beside)
            page = self._router.problem(request, problem, is_logged=True)
            return page.with_cookies(forget)
        except ProcoreSignInError as error:
            explain(request, error)
            return self._failed(request, error, return_to).with_cookies(forget)
        landing = self._landing(signed_in)
        session_cookie = set_cookie(
            SESSION_COOKIE,
            signed_in.session_token.reveal(),
            max_age=self._context.session_absolute,
            secure=self._context.secure,
        )
        # A redirect is still part of the way from Procore: no `Strict` cookie comes along.
        is_strict = "samesite=strict" in "\n".join(own_cookies).lower()
        landed = self._lead_to(landing) if is_strict else see_other(landing)
        return landed.with_cookies(session_cookie, forget, *own_cookies)

    def _may_lack_a_cookie(
        self, request: BrowserRequest, attempt: SignInAttempt, login: OwnLogin
    ) -> bool:
        """Return whether the application's login may only seem to be over (row L10).

        A browser that another site leads here leaves out cookies with `SameSite=Strict`, and sends
        them once a page of ours leads on. That is done once, and before anything is compared.
        """
        if login.reference is not None or request.wants_json or request.query.endswith(_AGAIN):
            return False
        if request.header(b"sec-fetch-site") not in {None, "cross-site"}:
            return False
        framework = request.framework()
        began_logged_in = attempt.bound is not None and attempt.bound.login is not None
        return began_logged_in or (framework is not None and framework.is_strict)

    def _lead_to(self, address: str) -> BrowserResponse:
        """Return a page that leads on to `address` by itself, which is then asked by our site."""
        page = self._router.page("returning", values={"onward_url": address})
        return page.with_headers(("refresh", f"0;url={address}"))

    def _browser(
        self, request: BrowserRequest, attempt: SignInAttempt, token: str | None
    ) -> Flow[Browser]:
        session_hash = None if token is None else hash_session_token(token)
        is_bound = attempt.bound is not None
        user_agent, framework = request.user_agent, request.framework()
        login = NO_LOGIN
        if self._login is not None:
            login = yield from who_is_logged_in(self._login, request, in_which_session=is_bound)
        return Browser(
            user_agent=user_agent,
            session_hash=session_hash,
            login=login,
            request=None if framework is None else framework.request,
            is_active=None if framework is None or self._login is None else self._login.is_active,
            request_id=request.request_id,
        )

    def _follow_login(
        self, request: BrowserRequest, signed_in: SignedIn, before: OwnLogin
    ) -> Flow[tuple[str, ...]]:
        """Bring the new session and the application's login together.

        It belongs to whom a hook has logged in. If no one is logged in, the user who is connected
        will be (row L6): this returns the `Set-Cookie` values for that. Where that comes to
        nothing, the session ends when it is read first (row L8).
        """
        if self._login is None:
            return ()
        login = yield from who_is_logged_in(self._login, request, in_which_session=False)
        whose = login.reference
        cookies: tuple[str, ...] = ()
        if login.reference is None:
            if self._login.log_in is None:
                return ()
            references = yield from references_of(signed_in.user.id)
            cookies = yield from log_in_to(self._login, request, references)
            whose = references[0] if len(references) == 1 else None
        if whose is not None and whose != before.reference:
            token = signed_in.session_token.reveal()
            session = yield from sessions.current_session(self._context, token)
            if session is not None:
                yield from sessions.move_to(session, whose)
        return cookies

    def _landing(self, signed_in: SignedIn) -> str:
        return_to = safe_return_to(signed_in.return_to, default=self._paths.home)
        if self.asks_for_company and signed_in.user.company_id is None:
            return f"{self._paths.company}?return_to={quote(return_to, safe='/')}"
        return return_to

    def _invalid(
        self, request: BrowserRequest, error: AttemptInvalid, return_to: str | None
    ) -> BrowserResponse:
        self._note_invalid(request, error)
        return self._failed(request, error, return_to)

    def _note_invalid(self, request: BrowserRequest, error: AttemptInvalid) -> None:
        emit(Event.ATTEMPT_INVALID, request=request.request_id, reason=error.reason)

    def _failed(
        self, request: BrowserRequest, error: ProcoreSignInError, return_to: str | None
    ) -> BrowserResponse:
        """Return the page for a failed sign-in, which has been logged."""
        problem = problems.of_sign_in(error)
        return self._router.problem(request, problem, return_to=return_to, is_logged=True)

    def show_session(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Say who is signed in, in JSON alone. No one is a response like any other."""
        session = yield from self.session(request)
        environment = self._context.environment.name
        shape = session_shape(session, environment=environment, sign_in_url=self._paths.start)
        return json_response(shape)

    def list_sessions(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Show where the user is signed in."""
        session = yield from self.session(request)
        if session is None:
            return self.to_sign_in(request)
        live = yield from self._live(session)
        if request.wants_json:
            return json_response(sessions_shape(live, current=session))
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

    def _live(self, session: Session) -> Flow[list[Session]]:
        return (yield from ask(SessionsOf(session.user.id, now=self._context.now())))

    def end_session(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """End one session of the user, or all others."""
        session = yield from self.session(request)
        if session is None:
            return self.to_sign_in(request, return_to=self._paths.sessions)
        fields = yield from fields_of(request)
        if is_yes(fields, "others"):
            yield from sessions.end_others(session)
        else:
            session_id = whole_number(fields, "session_id")
            if session_id is None or not (yield from sessions.end_session(session, session_id)):
                return self._router.problem(request, problems.NO_SUCH_SESSION)
        if request.wants_json:
            return json_response(sessions_shape((yield from self._live(session)), current=session))
        return see_other(self._paths.sessions)

    def sign_out(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """End this session. A browser without one gets the page that says so.

        The form of a user may name a `return_to`, a page of this application to go to. Without a
        session no form is waited for (row O8).
        """
        session = yield from self.session(request)
        fields: Fields = {}
        if session is not None:
            fields = (yield from fields_of(request)) if request.has_body else {}
            yield from sessions.sign_out(self._context, session, self._occasion(request))
        cookies = yield from log_out_of(self._login, request)
        return self._signed_out(
            request, "signed_out", {"everywhere": False}, return_to=fields.get("return_to")
        ).with_cookies(*cookies)

    def sign_out_everywhere(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """End all sessions of the user, on every device."""
        session = yield from self.session(request)
        if session is not None:
            occasion = self._occasion(request)
            yield from sessions.sign_out_everywhere(self._context, session, occasion)
        cookies = yield from log_out_of(self._login, request)
        values: dict[str, object] = {"everywhere": session is not None}
        return self._signed_out(request, "signed_out", values).with_cookies(*cookies)

    def disconnect(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Revoke the user's tokens at Procore, forget them, and sign out everywhere."""
        session = yield from self.session(request)
        if session is None:
            return self.to_sign_in(request, return_to=self._paths.sessions)
        outcome = yield from sessions.disconnect(self._context, session)
        if request.wants_json:
            answer = json_response(DisconnectedJson(self._paths.landing, outcome.revoked))
            return answer.with_cookies(self.forget_session).with_headers(CLEAR_SITE_DATA)
        return self._signed_out(request, "disconnected", {"revoked": outcome.revoked})

    def _occasion(self, request: BrowserRequest) -> Occasion:
        framework = request.framework()
        return Occasion(None if framework is None else framework.request)

    def _signed_out(
        self,
        request: BrowserRequest,
        name: str,
        values: dict[str, object],
        *,
        return_to: str | None = None,
    ) -> BrowserResponse:
        gone = self.forget_session
        there = safe_return_to(return_to, default=self._paths.landing)
        if request.wants_json:
            answer = json_response(GoToJson(there))
            return answer.with_cookies(gone).with_headers(CLEAR_SITE_DATA)
        if return_to is not None:
            return see_other(there).with_cookies(gone).with_headers(CLEAR_SITE_DATA)
        # The form came from a page of ours, or the router would have refused it (row K8).
        begun = begin_attempt(self._context, request, return_to=self._paths.home, wanted=True)
        page = self._router.page(name, values=values | {"sign_in_url": begun.url})
        return page.with_cookies(gone, *begun.cookies).with_headers(CLEAR_SITE_DATA)
