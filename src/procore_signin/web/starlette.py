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
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

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
from procore_signin._web.http.messages import BrowserRequest, BrowserResponse, no_body
from procore_signin._web.janitor import sweeping
from procore_signin._web.options import Options
from procore_signin._web.settings import completed
from procore_signin._web.site import NO_STORE, RawResponse, Site, check_place, vary
from procore_signin.errors import ProcoreSignInError

__all__ = [
    "Options",
    "SignIn",
    "answer_problem",
    "current_session",
    "current_user",
    "optional_user",
]

LOGGER: Final = logging.getLogger("procore_signin")
VISIT: Final = "procore_signin.visit"
"""The key of the visit in a scope, once the lifespan has begun."""

_WITHOUT_BODY: Final = frozenset({"GET", "HEAD"})
_CLOSE: Final = (b"connection", b"close")
_ROUTE_NAME: Final = "procore_signin{}"
_POLICY_VIOLATION: Final = 1008  # RFC 6455 §7.4.1
_NOT_STARTED: Final = (
    "The lifespan of the sign-in has not begun. FastAPI begins it with the routes that "
    "`app.include_router(sign_in_routes(procore))` adds; Starlette when you pass "
    "`lifespan=sign_in.lifespan`. In a test, write `with TestClient(app) as client:`."
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
        self.site: Final = Site(procore.context, options)
        self._root_path: Final = options.root_path
        self.routes: Final = [
            Route(
                below,
                SignInApp(procore, self.site, path),
                name=_name(below),
                include_in_schema=False,
            )
            for below, path in self.site.pages.items()
        ]

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Open the front door while the application runs, then close it.

        Raises:
            SettingsInvalid: The routes are not mounted at the path of the redirect URI.
        """
        callback = _callback_in(app)
        place = None if callback is None else f"{self._root_path}{callback}"
        check_place(self.procore.context.client.redirect_uri, place, outside="Options(root_path=…)")
        inside = app.middleware_stack or app.build_middleware_stack()
        _answer_problems(app, inside)
        # Every response must be marked as personal, whatever sends it (row K7); only the outermost
        # middleware can do that.
        app.middleware_stack = _Visits(inside, self)
        try:
            async with self.procore, sweeping(self.procore):
                yield
        finally:
            app.middleware_stack = inside

    def lifespan_with(self, own: Lifespan[Starlette]) -> Lifespan[Starlette]:
        """Return a lifespan that runs the application's `own` inside the sign-in's."""

        @asynccontextmanager
        async def both(app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
            async with self.lifespan(app), own(app) as state:
                yield cast("Mapping[str, Any]", state)  # or None, which Starlette accepts as well

        return both


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


async def answer_problem(request: Request, error: Exception) -> Response:
    """Return the response to an error of ours in a request of the application.

    The lifespan registers it, unless the application handles `ProcoreSignInError` itself.
    """
    if not isinstance(error, ProcoreSignInError) or request.scope["type"] != "http":
        raise error  # a WebSocket has no HTTP response
    return _visit(request).problem(error)


class SignInApp:
    """The pages of a site, as an ASGI application.

    Args:
        procore: The front door. Its runner performs the endpoints' steps.
        site: The pages.
        path: The path of the one page to serve, or None for the path of the request.
    """

    def __init__(self, procore: AsyncProcoreSignIn, site: Site, path: str | None = None) -> None:
        self._procore = procore
        self._site = site
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request."""
        path, site = self._path or scope["path"], self._site
        body = None if scope["method"] in _WITHOUT_BODY else _Body(site.bodies, receive)
        read_body = no_body if body is None else body.read
        request = of_scope(scope, path=path, read_body=read_body, trusted=site.trusted)
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

    @property
    def request(self) -> BrowserRequest:
        trusted = self.sign_in.site.trusted
        return of_scope(self.scope, path=_outside_path(self.scope), trusted=trusted)

    def turned_away(self) -> HTTPException | WebSocketException:
        return self._exception(self.sign_in.site.not_signed_in(self.request), "Not signed in")

    def problem(self, error: ProcoreSignInError) -> Response:
        raw = self.sign_in.site.raw_response(
            self.request, self.sign_in.site.problem(self.request, error)
        )
        response = Response(raw.body, raw.status)
        response.raw_headers = list(raw.headers)
        return response

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
        return HTTPException(response.status, detail, headers=dict(response.headers))

    def _is_foreign_socket(self) -> bool:
        """Return whether a page of another origin opened this WebSocket: CORS allows it."""
        if self.scope["type"] != "websocket":
            return False
        return self.request.header(b"origin") not in {None, self.sign_in.site.router.origin}


class _Visits:
    """The outermost middleware: gives each request its visit, and marks personal responses."""

    def __init__(self, inside: ASGIApp, sign_in: SignIn) -> None:
        self._inside = inside
        self._sign_in = sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._inside(scope, receive, send)
            return
        visit = _Visit(self._sign_in, scope)
        scope[VISIT] = visit

        async def mark(message: Message) -> None:
            if visit.personal and message["type"] == "http.response.start":
                _mark_personal(message)
            await send(message)

        await self._inside(scope, receive, mark)


def _mark_personal(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    headers["vary"] = vary(headers.get("vary"))
    # An application that says how long its responses may be kept knows why.
    headers.setdefault("cache-control", NO_STORE)


def _visit(connection: HTTPConnection) -> _Visit:
    visit = connection.scope.get(VISIT)
    if not isinstance(visit, _Visit):
        raise RuntimeError(_NOT_STARTED)  # noqa: TRY004  # the application is wrong, not a value
    return visit


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


def _outside_path(scope: Scope) -> str:
    """Return the path as the browser sent it, even if a proxy in front removed a prefix."""
    outside: str = scope.get("app_root_path", scope.get("root_path", ""))
    path: str = scope["path"]
    return path if path == outside or path.startswith(f"{outside}/") else outside + path


def _name(below: str) -> str:
    return _ROUTE_NAME.format(below.replace("/", "_"))


def _answer_problems(app: Starlette, stack: ASGIApp) -> None:
    """Register `answer_problem` for our errors, inside the middleware stack already built."""
    layer: ASGIApp | None = stack
    while layer is not None and not isinstance(layer, ExceptionMiddleware):
        layer = getattr(layer, "app", None)  # where a middleware keeps the inner application
    if layer is not None and ProcoreSignInError not in app.exception_handlers:
        layer.add_exception_handler(ProcoreSignInError, answer_problem)


def _callback_in(app: Starlette) -> str | None:
    """Return the path at which `app` has the callback page, or None."""
    mounts = [route.name for route in app.routes if isinstance(route, Mount) and route.name]
    for place in ("", *(f"{name}:" for name in mounts)):
        try:
            path = app.url_path_for(f"{place}{_name('/callback')}")
        except NoMatchFound:
            continue
        return str(path)
    return None


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
