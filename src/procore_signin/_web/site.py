"""The sign-in as a part of an application, for the mappings of all frameworks.

A site is made once from a front door. It holds no data of a request or a user.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from math import ceil
from typing import Final
from urllib.parse import urlsplit

from procore_signin._flow.context import Context
from procore_signin._flow.return_to import safe_return_to
from procore_signin._flow.steps import Flow
from procore_signin._settings.trusted_proxies import TrustedProxies
from procore_signin._store.records import Session
from procore_signin._web import pages, problems, view_problems
from procore_signin._web.company import CompanyEndpoints
from procore_signin._web.endpoints import SignInEndpoints
from procore_signin._web.forward_auth import ForwardAuthEndpoint
from procore_signin._web.http.bodies import Bodies
from procore_signin._web.http.limits import RateLimit
from procore_signin._web.http.messages import (
    BrowserRequest,
    BrowserResponse,
    Page,
    RawHeaders,
    rendered,
    see_other,
)
from procore_signin._web.options import Options
from procore_signin._web.router import APP_NAME, RETRY_SECONDS, Paths, Router, note_failure
from procore_signin.errors import (
    Problem,
    ProcoreSignInError,
    ProcoreUnavailable,
    SettingsInvalid,
)

LOGGER: Final = logging.getLogger("procore_signin")
CALLBACK: Final = "/callback"
STARTS_PER_MINUTE: Final = 120
NO_STORE: Final = "no-store"
"""`Cache-Control` of responses that depend on the signed-in user; see also `vary` (row K7)."""

# Pages name static files with a hash of their content, so a response never has to change.
_FOREVER: Final = ("cache-control", "public, max-age=31536000, immutable")


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A response as bytes, for any server.

    Attributes:
        status: The HTTP status code.
        headers: Raw names, in lower case, and values.
        body: Empty for HEAD, whatever `content-length` says.
    """

    status: int
    headers: RawHeaders
    body: bytes

    @property
    def text_headers(self) -> list[tuple[str, str]]:
        """The headers as text, for frameworks that want them so."""
        return [(name.decode(), value.decode("latin-1")) for name, value in self.headers]


class Site:
    """The sign-in's pages under one prefix of an application, and the look-up of sessions.

    Args:
        context: The front door's context. Its redirect URI sets the path of the pages.
        options: The application's options.
        own_pages: Whether the application has the pages `landing` and `home` of the router's paths,
            instead of its own first page.

    Attributes:
        prefix: The prefix of the pages' paths: empty, or such as `/procore`.
        router: Finds the endpoint for a request.
        sign_in: Finds the session of a request.
        trusted: Our own proxies.
        bodies: Reads the bodies of requests.

    Raises:
        SettingsInvalid: The redirect URI does not end in `/callback`.
    """

    def __init__(self, context: Context, options: Options, *, own_pages: bool = False) -> None:
        self.prefix: Final = prefix_of(context.client.redirect_uri)
        self.trusted: Final = options.trusted_proxies or TrustedProxies()
        self.bodies: Final = Bodies()
        paths = Paths.under(self.prefix)
        if not own_pages:
            paths = replace(paths, landing=options.first_page, home=options.first_page)
        self.router: Final = Router(context, paths, app_name=options.app_name or APP_NAME)
        starts = options.starts_per_minute
        per_minute = STARTS_PER_MINUTE if starts is None else starts
        self.sign_in: Final = SignInEndpoints(
            self.router,
            starts=RateLimit(per_minute, time.monotonic),
            callbacks=RateLimit(per_minute, time.monotonic),
            choose_company=bool(options.choose_company),
        )
        if options.choose_company:
            CompanyEndpoints(self.router, self.sign_in)
        ForwardAuthEndpoint(self.router, self.sign_in)
        for name in pages.STATIC_NAMES:
            self.router.add("GET", f"{paths.static}/{name}", self._static_file, ahead=True)
        self._render: Final = options.render or _shipped

    @property
    def pages(self) -> dict[str, str]:
        """The path of every page, by the path below `prefix` that a framework routes."""
        return {path.removeprefix(self.prefix): path for path in self.router.known_paths}

    def session(self, request: BrowserRequest) -> Flow[Session | None]:
        """Return the live session of the browser that sent `request`, or None.

        Raises:
            StoreUnavailable: Unknown. Neither admit nor sign out (row S7).
        """
        return self.sign_in.session(request)

    def not_signed_in(self, request: BrowserRequest) -> BrowserResponse:
        """Redirect a browser to the sign-in page and then back; respond to a program with 401."""
        if not asks_for_page(request):
            response = self.router.problem(_by_program(request), problems.NOT_SIGNED_IN)
        elif request.is_read:
            response = self.sign_in.to_sign_in(request)
        else:  # what was posted is gone, and its address may have no page
            response = see_other(self.router.paths.signin)
        return response.with_headers(("cache-control", NO_STORE), ("vary", "Cookie"))

    def problem(self, request: BrowserRequest, error: ProcoreSignInError) -> BrowserResponse:
        """Return the response to an error in a request of the application's own.

        If only a new sign-in helps, the page offers one that leads back here, and a program gets
        401. If waiting helps, `Retry-After` says how long.
        """
        problem = view_problems.of_view(error)
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            note_failure(request, error)
        if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            LOGGER.error("Request %s failed", request.request_id, exc_info=error)
        shown = request if asks_for_page(request) else _by_program(request)
        return_to = _address(request) if request.is_read else None
        response = self.router.problem(shown, problem, return_to=return_to, error=error)
        if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
            named = error.retry_after if isinstance(error, ProcoreUnavailable) else None
            seconds = RETRY_SECONDS if named is None else ceil(named)
            response = response.with_headers(("retry-after", str(max(seconds, 1))))
        return response.with_headers(("cache-control", NO_STORE), ("vary", "Cookie"))

    def raw_response(self, request: BrowserRequest, response: BrowserResponse) -> RawResponse:
        """Return `response` as bytes."""
        content, content_type = rendered(response, self._render)
        headers = (
            (b"content-type", content_type.encode()),
            (b"content-length", b"%d" % len(content)),
            *self.router.headers(response),
            *[(b"set-cookie", cookie.encode("latin-1")) for cookie in response.cookies],
        )
        return RawResponse(response.status, headers, b"" if request.method == "HEAD" else content)

    def failure(self, request: BrowserRequest) -> RawResponse:
        """Return the response to a request that raised an unexpected error (row O3)."""
        return self.raw_response(request, self.router.failure(request))

    def _static_file(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        yield from ()
        found = pages.static_file(request.path.removeprefix(f"{self.router.paths.static}/"))
        if found is None:
            return self.router.problem(request, problems.NOT_FOUND)
        content, media_type = found
        return BrowserResponse(
            status=200, body=content, content_type=media_type, headers=(_FOREVER,)
        )


def prefix_of(redirect_uri: str) -> str:
    """Return the prefix of the sign-in's pages: empty, or such as `/procore`.

    Raises:
        SettingsInvalid: The redirect URI does not end in `/callback`.
    """
    path = urlsplit(redirect_uri).path
    if not path.endswith(CALLBACK):
        raise _wrong_redirect_uri(
            f"has the path {path or '/'}, and the sign-in's callback page is called {CALLBACK}",
            f"Register one that ends in {CALLBACK}, such as https://app.example.com{CALLBACK}.",
        )
    return path.removesuffix(CALLBACK)


def check_place(redirect_uri: str, callback: str | None, *, outside: str) -> None:
    """Check that browsers that come back from Procore reach the callback page.

    Args:
        redirect_uri: Where Procore sends them.
        callback: The path of the callback page in the framework, or None if it has none.
        outside: The name of the framework's option for the prefix that a proxy removes.

    Raises:
        SettingsInvalid: The paths differ. The message names both.
    """
    prefix, path = prefix_of(redirect_uri), urlsplit(redirect_uri).path
    if callback != path:
        found = "are mounted nowhere" if callback is None else f"have their callback at {callback}"
        right = f"Mount them at {prefix}" if prefix else "Mount them without a prefix"
        raise _wrong_redirect_uri(
            f"leads to {path}, but the sign-in's routes {found}",
            f"{right}, or register the other address at Procore. If a proxy in front removes the "
            f"beginning of every path, set that in {outside}.",
        )


def asks_for_page(request: BrowserRequest) -> bool:
    """Return whether a browser wants a page: a window or a frame asks for HTML."""
    return "text/html" in (request.header(b"accept") or "")


def vary(before: str | None) -> str:
    """Return a `Vary` header with the previous names and `Cookie` (row K7)."""
    names = [name.strip() for name in (before or "").split(",") if name.strip()]
    known = {name.lower() for name in names}
    return ", ".join(names if known & {"cookie", "*"} else [*names, "Cookie"])


def _by_program(request: BrowserRequest) -> BrowserRequest:
    return replace(request, headers={b"accept": b"application/json"})


def _address(request: BrowserRequest) -> str | None:
    query = f"?{request.query.decode('latin-1')}" if request.query else ""
    return safe_return_to(request.path + query, default="") or None


def _wrong_redirect_uri(what: str, cure: str) -> SettingsInvalid:
    return SettingsInvalid((Problem("PROCORE_REDIRECT_URI", what, cure),))


def _shipped(page: Page) -> str:
    return pages.render(page.name, page.values)
