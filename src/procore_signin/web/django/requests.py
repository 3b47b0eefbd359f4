"""Conversion between Django's requests and responses and ours."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import RawPostDataException
from django.utils.asyncio import async_unsafe
from django.utils.functional import SimpleLazyObject

from procore_signin._store.records import Session, User
from procore_signin._web.http.asgi_wsgi import connection_of, of_environ, of_scope
from procore_signin._web.http.bodies import BodyRefused
from procore_signin._web.http.messages import BrowserRequest, Framework, RawResponse
from procore_signin._web.problems import BODY_TYPE_WRONG
from procore_signin.errors import ProcoreSignInError
from procore_signin.web.django.installed import DJANGO_LOGIN, installed

SESSION: Final = "_procore_signin_session"
FORGETS: Final = "_procore_signin_forgets"


@async_unsafe("In an async view, write `await request.aprocore_user()`.")
def user_of(request: HttpRequest) -> User | None:
    """Return the user of this request, or None. The database is queried once per request.

    Raises:
        StoreUnavailable: Unknown. If unhandled, the response is 503 (row S7).
    """
    request = djangos_own(request)
    if not hasattr(request, SESSION):
        here = installed()
        here.janitor.start()
        setattr(request, SESSION, here.procore.run(here.site.session(browser_request(request))))
    session: Session | None = getattr(request, SESSION)
    return None if session is None else session.user


def djangos_own(request: Any) -> Any:
    """Return Django's own request, which the middleware sees: Django REST framework wraps it."""
    return getattr(request, "_request", request)


def look_again(request: HttpRequest) -> None:
    """Forget who the user of this request is: another user of the project has logged in."""
    if hasattr(request, SESSION):
        delattr(request, SESSION)
    attach(request)


def attach(request: HttpRequest) -> None:
    """Give the request its user, looked up on first use."""
    request.procore_user = SimpleLazyObject(partial(user_of, request))
    request.aprocore_user = partial(auser_of, request)


def sign_out(request: HttpRequest) -> None:
    """End the sign-in of this browser, as the project logs out.

    Raises:
        StoreUnavailable: The session may not have ended; the browser forgets it all the same.
    """
    here = installed()
    setattr(request, SESSION, None)
    setattr(request, FORGETS, True)
    attach(request)
    here.procore.run(here.site.sign_out(browser_request(request)))


async def auser_of(request: HttpRequest) -> User | None:
    """The async `user_of`: it runs on the request's own thread, as Django's ORM does."""
    user: User | None = await sync_to_async(user_of, thread_sensitive=True)(request)
    return user


def browser_request(request: HttpRequest, path: str | None = None) -> BrowserRequest:
    """Return the request as received; `path` is that of a page of ours."""
    read_body = partial(_form, request)
    place, trusted = path or request.path, installed().site.trusted
    own: dict[str, Any] = {
        "path": place,
        "read_body": read_body,
        "trusted": trusted,
        "framework": partial(_framework, request),
        "native": lambda: request,
    }
    scope: dict[str, Any] | None = getattr(request, "scope", None)
    return of_environ(request.META, **own) if scope is None else of_scope(scope, **own)


def _framework(request: HttpRequest) -> Framework:
    """Return the request as Django sees it, for functions of the project."""
    return Framework(
        request,
        HttpResponse,
        lambda response: [cookie.OutputString() for cookie in response.cookies.values()],
        lambda: getattr(request, "session", None),
        # Django's own login is in a request from AuthenticationMiddleware on.
        knows_login=hasattr(request, "user") or installed().site.login is not DJANGO_LOGIN,
        is_strict=str(settings.SESSION_COOKIE_SAMESITE).lower() == "strict",
    )


def problem(request: HttpRequest, error: ProcoreSignInError) -> HttpResponse:
    """Return the response to an error of ours in a request of the project."""
    site, asked = installed().site, browser_request(request)
    return response_to(site.raw_response(asked, site.problem(asked, error)))


def _form(request: HttpRequest, asked: BrowserRequest) -> bytes:
    """Return the body of `request`, or none for a form of many parts that has no part.

    So Django's test client sends what has no data.

    Raises:
        BodyRefused: As in `Bodies.read`; or a middleware has read it before us, and Django keeps it
            only where it is one of the types that we read.
    """
    try:
        body = installed().site.bodies.read(
            lambda: bytes(request.body), asked, connection_of(request.META)
        )
    except RawPostDataException:
        if request.POST or request.FILES:
            raise BodyRefused(BODY_TYPE_WRONG) from None
        return b""
    boundary = (request.content_params or {}).get("boundary")
    return b"" if boundary and body.strip() == f"--{boundary}--".encode() else body


def response_to(raw: RawResponse) -> HttpResponse:
    """Return `raw` as a response of Django."""
    response = HttpResponse(raw.body, status=raw.status)
    for name, value in raw.text_headers:
        if name == "set-cookie":
            # Django's own jar would write other attributes, or none at all for a name like ours.
            response.cookies.load(value)
        else:
            response[name] = value
    return response
