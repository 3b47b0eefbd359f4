"""Test clients of each framework: whose application it is, and how it keeps a cookie.

No framework is imported here before the application has done so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from procore_signin._store.records import User
from procore_signin._testing.stand_in import Door, Portal
from procore_signin._web.site import Site

_UNKNOWN: Final = (
    "has no sign-in that can be found: it is not the test client of an application with "
    "sign_in_routes or SignIn. If another program is in front of the application, name it: "
    "procore_signed_in(client, …, app=app)."
)


_ON_A_LOOP: Final = (
    "DJANGO_USER, or Django's session, needs Django's database, which an async test cannot ask "
    "itself. Sign in before it, in setUp or in a fixture that is not async; or in the test with "
    "`await sync_to_async(procore_signed_in)(client, …)` where that is the fixture of pytest."
)

_HTTPX: Final = ("Client", "AsyncClient")


class AppClient(Protocol):
    """A test client.

    Attributes:
        door: The front door of its application.
        site: The sign-in's pages there.
        portal: The event loop on which its application runs, if there is one beside the test.
    """

    door: Door
    site: Site
    portal: Portal | None

    def around(self) -> AbstractContextManager[Any]:
        """Return what has to be so while the person is signed in."""

    def request(self) -> AbstractContextManager[Any]:
        """Return what an application may expect around its hooks."""

    def keep(self, name: str, value: str) -> None:
        """Send a cookie from now on."""

    def drop(self, name: str) -> None:
        """Send it no more."""

    def greet(self, user: User) -> None:
        """Do what else the callback page does."""


def client_of(client: object, app: object | None) -> AppClient:
    """Return what is known of `client`.

    Args:
        client: A test client of Starlette, FastAPI, Flask or Django, or an `AsyncClient` of httpx2
            or httpx with an `ASGITransport`.
        app: Its application, if it cannot be found from there.

    Raises:
        TypeError: It is none of these, or its application has no sign-in.
    """
    if _is(client, "django.test.client", "ClientMixin"):
        return _Django(client)
    if _is(client, "werkzeug.test", "Client"):
        return _Flask(client, app)
    # Starlette's client is one of httpx2's, before version 1 one of httpx's.
    if any(_is(client, of, kind) for of in ("httpx2", "httpx") for kind in _HTTPX):
        return _Asgi(client, app)
    raise TypeError(
        f"{type(client).__name__} is no test client of FastAPI, Flask or Django. Give it "
        "TestClient(app), app.test_client(), or Django's Client()."
    )


def _is(client: object, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(client, kind)


class _Asgi:
    """A client of Starlette's or FastAPI's, or an `AsyncClient` with an `ASGITransport`."""

    def __init__(self, client: Any, app: Any) -> None:
        transport = getattr(client, "_transport", None)  # httpx has no public name for it
        app = app or getattr(client, "app", None) or getattr(transport, "app", None)
        mapping = sys.modules.get("procore_signin.web.starlette")
        outermost = mapping and mapping.outermost_in(app)
        sign_in = mapping and mapping.sign_in_in(app)
        if mapping is None or outermost is None or sign_in is None:
            raise TypeError(f"The application of {type(client).__name__} {_UNKNOWN}")
        self._around = partial(mapping.visits, outermost, sign_in)
        self._client = client
        self.door: Door = sign_in.procore
        self.site: Site = sign_in.site
        self.portal: Portal | None = getattr(client, "portal", None)
        own = urlsplit(self.door.context.client.redirect_uri).hostname or ""
        hosts = (str(client.base_url.host), own)
        # As `http.cookiejar` calls a host without a dot.
        self._domains = {host if "." in host else f"{host}.local" for host in hosts if host}

    def around(self) -> AbstractContextManager[Any]:
        """Return the look-up of users, which otherwise the lifespan would begin."""
        around: AbstractContextManager[Any] = self._around()
        return around

    def request(self) -> AbstractContextManager[Any]:
        """Return nothing: there is no request that a hook could find."""
        return nullcontext()

    def keep(self, name: str, value: str) -> None:
        """Keep it for the client's host, and for that of the redirect URI."""
        for domain in self._domains:
            self._client.cookies.set(name, value, domain=domain)

    def drop(self, name: str) -> None:
        """Drop it, unless the application has done so."""
        for domain in self._domains:
            for cookie in tuple(self._client.cookies.jar):
                if (cookie.domain, cookie.name) == (domain, name):
                    self._client.cookies.delete(name, domain=domain)

    def greet(self, user: User) -> None:
        """Do nothing else."""


class _Flask:
    """A client of Flask's or Werkzeug's."""

    portal: Portal | None = None

    def __init__(self, client: Any, app: Any) -> None:
        self._app = app or client.application
        installed = getattr(self._app, "extensions", {}).get("procore_signin")
        if installed is None:
            raise TypeError(f"The application of {type(client).__name__} {_UNKNOWN}")
        self._client = client
        self.door: Door = installed.procore
        self.site: Site = installed.site
        own = urlsplit(self.door.context.client.redirect_uri).hostname or ""
        named = urlsplit(f"//{self._app.config['SERVER_NAME'] or ''}").hostname or ""
        self._domains = {"localhost", own, named} - {""}

    def around(self) -> AbstractContextManager[Any]:
        """Return nothing."""
        return nullcontext()

    def request(self) -> AbstractContextManager[Any]:
        """Return a request to the callback page, as hooks find it in Flask's context."""
        path = f"{self.site.prefix}/callback"
        place: AbstractContextManager[Any] = self._app.test_request_context(path)
        return place

    def keep(self, name: str, value: str) -> None:
        """Keep it for every host that a test is likely to ask."""
        for domain in self._domains:
            self._client.set_cookie(name, value, domain=domain)

    def drop(self, name: str) -> None:
        """Drop it."""
        for domain in self._domains:
            self._client.delete_cookie(name, domain=domain)

    def greet(self, user: User) -> None:
        """Do nothing else."""


class _Django:
    """Django's `Client` or `AsyncClient`."""

    portal: Portal | None = None

    def __init__(self, client: Any) -> None:
        from procore_signin.web.django.installed import installed  # noqa: PLC0415  # see the module

        self._here = installed()
        self._client = client
        self._logged_in: str | None = None
        self.door: Door = self._here.procore
        self.site = self._here.site

    def around(self) -> AbstractContextManager[Any]:
        """Return the end of Django's own log-in, without asking its database."""
        return self._logging_out()

    @contextmanager
    def _logging_out(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self._logged_in is not None:
                self._client.cookies.pop(self._logged_in, None)

    def request(self) -> AbstractContextManager[Any]:
        """Return nothing: there is no request that a hook could find."""
        return nullcontext()

    def keep(self, name: str, value: str) -> None:
        """Keep it; Django's clients send every cookie everywhere."""
        self._client.cookies[name] = value

    def drop(self, name: str) -> None:
        """Drop it."""
        self._client.cookies.pop(name, None)

    def greet(self, user: User) -> None:
        """Log the Django user in, if the project maps to one."""
        from django.core.exceptions import (  # noqa: PLC0415  # see the module
            SynchronousOnlyOperation,
        )

        from procore_signin.web.django.login import log_in_client  # noqa: PLC0415  # as above

        try:
            self._logged_in = log_in_client(self._here, self._client, user)
        except SynchronousOnlyOperation as error:
            raise SynchronousOnlyOperation(_ON_A_LOOP) from error
