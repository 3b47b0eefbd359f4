"""Conversion between Django's requests and responses and ours."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.request import RawPostDataException
from django.utils.asyncio import async_unsafe

from procore_signin._store.records import Session, User
from procore_signin._web.http.asgi_wsgi import connection_of, of_environ, of_scope
from procore_signin._web.http.messages import BrowserRequest
from procore_signin._web.site import RawResponse
from procore_signin.errors import ProcoreSignInError
from procore_signin.web.django.installed import installed

SESSION: Final = "_procore_signin_session"


@async_unsafe("In an async view, write `await request.aprocore_user()`.")
def user_of(request: HttpRequest) -> User | None:
    """Return the user of this request, or None. The database is queried once per request.

    Raises:
        StoreUnavailable: Unknown. If unhandled, the response is 503 (row S7).
    """
    if not hasattr(request, SESSION):
        here = installed()
        here.janitor.start()
        setattr(request, SESSION, here.procore.run(here.site.session(browser_request(request))))
    session: Session | None = getattr(request, SESSION)
    return None if session is None else session.user


async def auser_of(request: HttpRequest) -> User | None:
    """The async `user_of`: it runs on the request's own thread, as Django's ORM does."""
    user: User | None = await sync_to_async(user_of, thread_sensitive=True)(request)
    return user


def browser_request(request: HttpRequest, path: str | None = None) -> BrowserRequest:
    """Return the request as received; `path` is that of a page of ours."""
    read_body = partial(_form, request)
    place, trusted = path or request.path, installed().site.trusted
    scope: dict[str, Any] | None = getattr(request, "scope", None)
    if scope is not None:
        return of_scope(scope, path=place, read_body=read_body, trusted=trusted)
    return of_environ(request.META, path=place, read_body=read_body, trusted=trusted)


def problem(request: HttpRequest, error: ProcoreSignInError) -> HttpResponse:
    """Return the response to an error of ours in a request of the project."""
    site, asked = installed().site, browser_request(request)
    return response_to(site.raw_response(asked, site.problem(asked, error)))


def _form(request: HttpRequest, asked: BrowserRequest) -> bytes:
    """Return the form in the body of `request`."""
    try:
        return installed().site.bodies.read(
            lambda: bytes(request.body), asked, connection_of(request.META)
        )
    except RawPostDataException:  # a middleware has read the form before us
        return bytes(request.POST.urlencode().encode())


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
