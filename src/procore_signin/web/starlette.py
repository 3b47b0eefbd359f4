"""The mapping for Starlette, and for any ASGI server: raw scope in, response out.

```python
sign_in = SignIn(procore)
app = Starlette(
    routes=[Mount("/procore", routes=sign_in.routes), …], lifespan=sign_in.lifespan
)

async def projects(request: Request) -> Response:
    user = await current_user(request)
```
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, cast

from procore_signin._extras import extra

with extra("fastapi"):
    from jinja2 import Template
    from markupsafe import Markup
    from starlette.applications import Starlette
    from starlette.datastructures import MutableHeaders
    from starlette.exceptions import HTTPException, WebSocketException
    from starlette.middleware.exceptions import ExceptionMiddleware
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.routing import Mount, NoMatchFound, Route
    from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

    from procore_signin._client import AsyncProcoreSignIn
    from procore_signin._store.records import Session, User
    from procore_signin._web.http.asgi_wsgi import of_scope
    from procore_signin._web.http.bodies import Bodies
    from procore_signin._web.http.messages import (
        BrowserRequest,
        BrowserResponse,
        Framework,
        RawResponse,
        no_body,
        no_framework,
    )
    from procore_signin._web.janitor import sweeping
    from procore_signin._web.look.jinja import JinjaTemplates, OwnTemplates, look_alikes
    from procore_signin._web.look.languages import Language
    from procore_signin._web.options import Options
    from procore_signin._web.settings import completed
    from procore_signin._web.site import NO_STORE, ONLY_ONE, Site, check_place, vary
    from procore_signin.errors import ProcoreSignInError

__all__ = [
    "Options",
    "SignIn",
    "answer_problem",
    "buttons",
    "current_session",
    "current_user",
    "mounted_lifespan",
    "optional_user",
    "sign_out",
]

LOGGER: Final = logging.getLogger("procore_signin")
VISIT: Final = "procore_signin.visit"
"""The key of the visit in a scope, once the lifespan has begun."""

_WITHOUT_BODY: Final = frozenset({"GET", "HEAD"})
_CLOSE: Final = (b"connection", b"close")
_ROUTE_NAME: Final = "procore_signin:{}"
_WITH_ANY_BODY: Final = frozenset({"location", "cache-control", "vary", "retry-after"})
_FRAMEWORKS: Final = frozenset({"starlette", "fastapi"})
_POLICY_VIOLATION: Final = 1008  # RFC 6455 §7.4.1
_NOT_STARTED: Final = (
    "The lifespan of the sign-in has not begun. FastAPI begins it with the routes that "
    "`app.include_router(sign_in_routes(procore))` adds; Starlette when you pass "
    "`lifespan=sign_in.lifespan`. Neither begins it for an application that is mounted in another: "
    "write `lifespan=mounted_lifespan` there. In a test, write `with TestClient(app) as client:`."
)


class SignIn:
    """The sign-in as routes and a lifespan for an application of Starlette's.

    Args:
        procore: The front door. The routes must be mounted at the path of its redirect URI.
        options: What the application chooses; see `procore_signin.Options`.

    Raises:
        SettingsInvalid: The redirect URI does not end in `/callback`.
        TypeError: The front door is the sync one.
    """

    def __init__(self, procore: AsyncProcoreSignIn, options: Options | None = None) -> None:
        if not isinstance(procore, AsyncProcoreSignIn):
            raise TypeError("An ASGI application needs AsyncProcoreSignIn, not ProcoreSignIn")
        self.procore: Final = procore
        options = completed(procore, options)
        self.site: Final = Site(procore.context, options, templates=_own_templates(options))
        self.routes: Final = [
            Route(
                page.below,
                SignInApp(procore, self.site, page.path, sign_in=self),
                name=_name(page.name),
                include_in_schema=False,
            )
            for page in self.site.pages
        ]

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Open the front door while the application runs, then close it.

        Raises:
            SettingsInvalid: The routes are not mounted at the path of the redirect URI.
            RuntimeError: The application has another front door's routes as well.
        """
        if any(each is not self for each in _sign_ins_in(app)):
            raise RuntimeError(ONLY_ONE)
        callback = _callback_in(app)
        if not self.site.root_path:
            self.site.stand_below(getattr(app, "root_path", ""))  # FastAPI knows its own
        root, redirect_uri = self.site.root_path, self.procore.context.client.redirect_uri
        place = None if callback is None else f"{root}{callback}"
        check_place(redirect_uri, place, outside="Options(root_path=…)", root_path=root)
        with visits(app, self):
            async with self.procore, sweeping(self.procore):
                yield

    def lifespan_with(self, own: Lifespan[Starlette]) -> Lifespan[Starlette]:
        """Return a lifespan that runs the application's `own` inside the sign-in's."""

        @asynccontextmanager
        async def both(app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
            async with self.lifespan(app), own(app) as state:
                yield cast("Mapping[str, Any]", state)  # or None, which Starlette accepts as well

        return both


@asynccontextmanager
async def mounted_lifespan(app: Starlette) -> AsyncIterator[None]:
    """Begin the sign-in of an application that is mounted in `app`, whose lifespan this is.

    Starlette and FastAPI do not run the lifespan of what is mounted. Write
    `outer = FastAPI(lifespan=mounted_lifespan)` and `outer.mount("/app", inner)`; in a lifespan of
    your own, `async with mounted_lifespan(outer): yield`. The redirect URI has the whole path, such
    as `/app/procore/callback`. Pages of `outer` know the user as well.

    Raises:
        SettingsInvalid: The redirect URI does not lead to the routes as they are mounted.
        RuntimeError: No sign-in is mounted in `app`.
    """
    sign_in = sign_in_in(app)
    if sign_in is None:
        raise RuntimeError("No application that is mounted here has a sign-in")
    async with sign_in.lifespan(app):
        yield


async def current_session(connection: HTTPConnection) -> Session | None:
    """Return the live session of this request's user, or None. Looked up once per request.

    Raises:
        HTTPException: 503, if the database does not respond: no one is let in or signed out.
        RuntimeError: The lifespan has not begun.
    """
    return await _visit(connection).session()


async def optional_user(connection: HTTPConnection) -> User | None:
    """Return the signed-in user, or None; raises as `current_session` does."""
    session = await current_session(connection)
    return None if session is None else session.user


async def current_user(connection: HTTPConnection) -> User:
    """Return the signed-in user.

    Raises:
        HTTPException: 303 to the sign-in page for a browser, which then comes back here; 401 for a
            program; 503 as in `current_session`.
        WebSocketException: 1008, on a WebSocket.
        RuntimeError: The lifespan has not begun.
    """
    visit = _visit(connection)
    session = await visit.session()
    if session is None:
        raise visit.turned_away()
    return session.user


async def sign_out(connection: HTTPConnection) -> None:
    """End the sign-in of this browser, in the application's own log-out.

    With `Options(login=…)` it also ends by itself, at the next request, when the user of the
    application is not logged in any more. Without a sign-in nothing happens.

    Raises:
        HTTPException: 503, if the database does not respond. The browser forgets the session.
        RuntimeError: The lifespan has not begun.
    """
    await _visit(connection).sign_out()


def buttons(request: Request) -> dict[str, Callable[..., Markup]]:
    """Return the buttons for a page of the application: a context processor for templates.

    `Jinja2Templates("templates", context_processors=[buttons])`; then `{{ procore_button() }}`,
    `{{ procore_connect_button() }}` and `{{ procore_sign_out_button() }}`. They take a label, and
    by name `return_to`, a path of the application; those that sign in and connect `value`, a text
    for the application's hooks.

    Raises:
        RuntimeError: The lifespan has not begun.
    """
    visit = _visit(request)
    return visit.sign_in.site.buttons_in(visit.language()).by_name


async def answer_problem(request: Request, error: Exception) -> Response:
    """Return the response to an error of ours in a request of the application.

    The lifespan registers it, unless the application handles `ProcoreSignInError` itself.
    """
    if not isinstance(error, ProcoreSignInError) or request.scope["type"] != "http":
        raise error  # a WebSocket has no HTTP response
    return _visit(request).problem(error)


class Refusal(HTTPException):
    """A refusal of ours in a page of the application.

    Attributes:
        raw: The response, for an application that does not handle `HTTPException` itself.
    """

    def __init__(self, raw: RawResponse, detail: str) -> None:
        told = [pair for pair in raw.text_headers if pair[0] in _WITH_ANY_BODY]
        super().__init__(raw.status, detail, headers=dict(told))
        self.raw: Final = raw


def _answer_refusal(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return _response(error.raw)


class SignInApp:
    """The pages of a site, as an ASGI application.

    Args:
        procore: The front door. Its runner performs the endpoints' steps.
        site: The pages.
        path: The path of the one page to serve, or None for the path of the request.
        sign_in: Whose page it is.

    Attributes:
        sign_in: As given.
    """

    def __init__(
        self,
        procore: AsyncProcoreSignIn,
        site: Site,
        path: str | None = None,
        *,
        sign_in: SignIn | None = None,
    ) -> None:
        self.sign_in: Final = sign_in
        self._procore: Final = procore
        self._site = site
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request."""
        path, site = self._path or scope["path"], self._site
        body = None if scope["method"] in _WITHOUT_BODY else _Body(site.bodies, receive)
        read_body = no_body if body is None else body.read
        request = of_scope(
            scope,
            path=path,
            read_body=read_body,
            trusted=site.trusted,
            framework=no_framework if self.sign_in is None else partial(_framework, scope),
            native=partial(_native, scope),
        )
        try:
            response = await self._procore.run(site.router.respond(request))
            raw = site.raw_response(request, response)
        except Exception:  # the last resort (row O3): a page for the user, a traceback for us
            LOGGER.exception("Request %s failed", request.request_id)
            raw = site.failure(request)
        unread = request.has_body and (body is None or not body.is_read)
        await _send(raw, send, last=unread and scope["http_version"] != "2")


@dataclass(slots=True)
class _Visit:
    """One request to the application, and its session."""

    sign_in: SignIn
    scope: Scope
    personal: bool = False
    found: Session | None = None
    forgets: bool = False
    localized: bool = False

    async def session(self) -> Session | None:
        if not self.personal:
            self.personal = True
            if self._is_foreign_socket():
                return None
            try:
                asked = self.sign_in.site.session(self.request)
                self.found = await self.sign_in.procore.run(asked)
            except ProcoreSignInError as error:
                self.personal = False
                raise self._unavailable(error) from error
        return self.found

    def language(self) -> Language:
        """Return the language for a part of a page of the application."""
        self.localized = self.sign_in.site.languages.is_negotiated
        return self.sign_in.site.language_of(self.request)

    @property
    def request(self) -> BrowserRequest:
        return of_scope(
            self.scope,
            path=_outside_path(self.scope),
            trusted=self.sign_in.site.trusted,
            framework=partial(_framework, self.scope),
            native=partial(_native, self.scope),
        )

    async def sign_out(self) -> None:
        self.personal, self.found, self.forgets = True, None, True
        try:
            await self.sign_in.procore.run(self.sign_in.site.sign_out(self.request))
        except ProcoreSignInError as error:
            raise self._unavailable(error) from error

    def turned_away(self) -> HTTPException | WebSocketException:
        return self._exception(self.sign_in.site.not_signed_in(self.request), "Not signed in")

    def problem(self, error: ProcoreSignInError) -> Response:
        request, site = self.request, self.sign_in.site
        return _response(site.raw_response(request, site.problem(request, error)))

    def _unavailable(self, error: ProcoreSignInError) -> HTTPException | WebSocketException:
        response = self.sign_in.site.problem(self.request, error)
        return self._exception(
            response, "The signed-in user cannot be looked up now. Try again later."
        )

    def _exception(
        self, response: BrowserResponse, detail: str
    ) -> HTTPException | WebSocketException:
        if self.scope["type"] == "websocket":
            return WebSocketException(_POLICY_VIOLATION, detail)
        return Refusal(self.sign_in.site.raw_response(self.request, response), detail)

    def _is_foreign_socket(self) -> bool:
        """Return whether a page of another origin opened this WebSocket: CORS allows it."""
        if self.scope["type"] != "websocket":
            return False
        return self.request.header(b"origin") not in {None, self.sign_in.site.router.origin}


@contextmanager
def visits(app: Starlette, sign_in: SignIn) -> Iterator[None]:
    """Let requests to `app` look their user up while the block, and others like it, run."""
    outermost = app.middleware_stack
    if not isinstance(outermost, _Visits) or outermost.sign_in is not sign_in:
        inside = outermost or app.build_middleware_stack()
        _answer_problems(app, inside)
        for inner in _parts_of(app):
            if isinstance(inner, Starlette) and inner is not app:
                inner.middleware_stack = inner.middleware_stack or inner.build_middleware_stack()
                _answer_problems(inner, inner.middleware_stack)
        # Every response must be marked as personal, whatever sends it (row K7); only the outermost
        # middleware can do that.
        app.middleware_stack = outermost = _Visits(inside, sign_in, replaces=outermost)
    outermost.blocks += 1
    try:
        yield
    finally:
        outermost.blocks -= 1
        if not outermost.blocks and app.middleware_stack is outermost:
            app.middleware_stack = outermost.replaces


class _Visits:
    """The outermost middleware: gives each request its visit, and marks personal responses.

    Args:
        inside: The application's own middleware.
        sign_in: The sign-in.
        replaces: What the application had in its place.

    Attributes:
        sign_in: As given.
        replaces: As given.
        blocks: How many `visits` are open.
    """

    def __init__(self, inside: ASGIApp, sign_in: SignIn, *, replaces: ASGIApp | None) -> None:
        self._inside = inside
        self.sign_in = sign_in
        self.replaces = replaces
        self.blocks = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._inside(scope, receive, send)
            return
        if not scope.get("root_path"):  # the server need not know what a proxy removes
            scope["root_path"] = self.sign_in.site.root_path
        visit = _Visit(self.sign_in, scope)
        scope[VISIT] = visit

        async def mark(message: Message) -> None:
            if message["type"] == "http.response.start":
                if visit.personal:
                    _mark_personal(message)
                    if visit.forgets:
                        _forget_session(message, self.sign_in.site.forget_session)
                if visit.localized:
                    MutableHeaders(scope=message).add_vary_header("Accept-Language")
            await send(message)

        await self._inside(scope, receive, mark)


def _mark_personal(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    headers["vary"] = vary(headers.get("vary"))
    # An application that says how long its responses may be kept knows why.
    headers.setdefault("cache-control", NO_STORE)


def _forget_session(message: Message, cookie: str) -> None:
    """Have the browser forget its session, unless a page of ours has just opened a new one."""
    name = cookie.partition("=")[0].encode() + b"="
    headers = message["headers"]
    if not any(key == b"set-cookie" and value.startswith(name) for key, value in headers):
        MutableHeaders(scope=message).append("set-cookie", cookie)


def _visit(connection: HTTPConnection) -> _Visit:
    visit = connection.scope.get(VISIT)
    if not isinstance(visit, _Visit):
        raise RuntimeError(_NOT_STARTED)  # noqa: TRY004  # the application is wrong, not a value
    visit.scope = connection.scope  # a middleware may have replaced it, and put a session into it
    return visit


def _own_templates(options: Options) -> OwnTemplates | None:
    """Return the application's templates: a folder, or what it renders its own pages with."""
    given: Any = options.look.templates
    if given is None:
        return None
    processors: Sequence[Callable[[Any], Mapping[str, object]]] = ()
    if isinstance(given, str | PathLike):
        environment, folders = None, [Path(given)]
    else:  # Jinja2Templates, or an Environment
        environment, folders = getattr(given, "env", given), []
        processors = getattr(given, "context_processors", ())

    def fill(template: Template, values: Mapping[str, object], request: Any) -> str:
        more: dict[str, object] = {"url_for": request.url_for}
        for processor in processors:
            more |= processor(request)
        return template.render({**more, **values})

    known = None if processors else ("url_for",)
    templates = JinjaTemplates(environment, folders, fill, more_values=known)
    for told in look_alikes(folders):
        LOGGER.warning(told)
    return templates


def _framework(scope: Scope) -> Framework:
    """Return the request as Starlette sees it, for functions of the application."""
    return Framework(
        _native(scope),
        Response,
        _cookies_of,
        lambda: scope.get("session"),
        is_strict="session" in scope and _has_strict_cookie(scope.get("app")),
    )


def _has_strict_cookie(app: Any) -> bool:
    """Return whether a middleware of the application was given `same_site="strict"`.

    Starlette's sessions call it that, and those of other libraries `cookie_same_site`.
    """
    return any(
        name.endswith("same_site") and str(value).lower() == "strict"
        for middleware in getattr(app, "user_middleware", ())
        for name, value in middleware.kwargs.items()
    )


def _native(scope: Scope) -> Any:
    return Request(scope) if scope["type"] == "http" else HTTPConnection(scope)


def _cookies_of(response: Response) -> list[str]:
    return [
        value.decode("latin-1") for name, value in response.raw_headers if name == b"set-cookie"
    ]


class _Body:
    """The body of one request, read on demand."""

    __slots__ = ("_bodies", "_receive", "is_read")

    def __init__(self, bodies: Bodies, receive: Receive) -> None:
        self._bodies = bodies
        self._receive = receive
        self.is_read = False

    async def read(self, request: BrowserRequest) -> bytes:
        body = await self._bodies.receive(self._receive, request)
        self.is_read = True
        return body


async def _send(raw: RawResponse, send: Send, *, last: bool) -> None:
    """Send `raw`; as the `last` response on its connection, if a body was not read to its end."""
    headers = list(raw.headers)  # other middleware may append to it
    if last:
        headers.append(_CLOSE)
    await send({"type": "http.response.start", "status": raw.status, "headers": headers})
    await send({"type": "http.response.body", "body": raw.body})


def _response(raw: RawResponse) -> Response:
    response = Response(raw.body, raw.status)
    response.raw_headers = list(raw.headers)
    return response


def _outside_path(scope: Scope) -> str:
    """Return the path as the browser sent it, even if a proxy in front removed a prefix."""
    outside: str = scope.get("app_root_path", scope.get("root_path", ""))
    path: str = scope["path"]
    return path if path == outside or path.startswith(f"{outside}/") else outside + path


def _name(page: str) -> str:
    return _ROUTE_NAME.format(page)


def _answer_problems(app: Starlette, stack: ASGIApp) -> None:
    """Register what answers our errors and refusals, inside the middleware stack already built.

    What the application handles itself is its own.
    """
    layer: ASGIApp | None = stack
    while layer is not None and not isinstance(layer, ExceptionMiddleware):
        layer = getattr(layer, "app", None)  # where a middleware keeps the inner application
    if layer is None:
        return
    if ProcoreSignInError not in app.exception_handlers:
        layer.add_exception_handler(ProcoreSignInError, answer_problem)
    handler = app.exception_handlers.get(HTTPException)
    if getattr(handler, "__module__", "starlette").partition(".")[0] in _FRAMEWORKS:
        layer.add_exception_handler(Refusal, _answer_refusal)


def sign_in_in(app: Any) -> SignIn | None:
    """Return the sign-in whose routes `app`, or what is mounted in it, has."""
    return next(_sign_ins_in(app), None)


def _sign_ins_in(app: Any) -> Iterator[SignIn]:
    """Yield the sign-in of each of the routes of ours that `app`, or what is mounted in it, has."""
    pages = (each.sign_in for each in _parts_of(app) if isinstance(each, SignInApp))
    return (sign_in for sign_in in pages if sign_in is not None)


def _parts_of(app: Any) -> Iterator[Any]:
    """Yield `app`, and what its routes, mounts, included routers and middleware lead to."""
    seen: set[int] = set()
    waiting: list[Any] = [app]
    while waiting:
        place = waiting.pop(0)
        if place is None or id(place) in seen:
            continue
        seen.add(id(place))
        yield place
        # Only what it holds: to ask a mock for an attribute would make one, and so on without end.
        held = getattr(place, "__dict__", {})
        waiting += [held.get(name) for name in ("app", "original_router", "router")]
        routes = held.get("routes")
        waiting += routes if isinstance(routes, list) else []


def outermost_in(app: Any) -> Starlette | None:
    """Return the first application of Starlette's: `app`, or what it leads to."""
    return next((each for each in _parts_of(app) if isinstance(each, Starlette)), None)


def _callback_in(app: Starlette) -> str | None:
    """Return the path at which `app` has the callback page, or None."""
    mounts = [route.name for route in app.routes if isinstance(route, Mount) and route.name]
    for place in ("", *(f"{name}:" for name in mounts)):
        try:
            path = app.url_path_for(f"{place}{_name('callback')}")
        except NoMatchFound:
            continue
        return str(path)
    return None


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
