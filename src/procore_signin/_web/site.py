"""The sign-in as a part of an application, for the mappings of all frameworks.

A site is made once from a front door. It holds no data of a request or a user.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from http import HTTPStatus
from math import ceil
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from procore_signin._flow.context import Context
from procore_signin._flow.steps import Flow
from procore_signin._settings import NOT_SET
from procore_signin._settings.trusted_proxies import TrustedProxies
from procore_signin._store.records import Session
from procore_signin._web import api_problems, pages, problems
from procore_signin._web.company import CompanyEndpoints
from procore_signin._web.embedded.buttons import Buttons
from procore_signin._web.embedded.start import StartEndpoint
from procore_signin._web.endpoints import SignInEndpoints
from procore_signin._web.forward_auth import ForwardAuthEndpoint
from procore_signin._web.http.bodies import Bodies
from procore_signin._web.http.limits import RateLimit
from procore_signin._web.http.messages import (
    BrowserRequest,
    BrowserResponse,
    Page,
    RawHeaders,
    RawResponse,
    in_bytes,
    raw_headers,
    see_other,
)
from procore_signin._web.look.jinja import OwnTemplates
from procore_signin._web.look.languages import Language, Languages, speaking
from procore_signin._web.look.values import TEXTS
from procore_signin._web.options import Options
from procore_signin._web.paths import Paths
from procore_signin._web.return_to import safe_return_to
from procore_signin._web.router import APP_NAME, RETRY_SECONDS, Router, note_failure
from procore_signin.errors import (
    Problem,
    ProcoreSignInError,
    ProcoreUnavailable,
    SettingsInvalid,
)

LOGGER: Final = logging.getLogger("procore_signin")
CALLBACK: Final = "/callback"
STARTS_PER_MINUTE: Final = 120
_REAL: Final = frozenset({"production", "federal"})
NO_STORE: Final = "no-store"
"""`Cache-Control` of responses that depend on the signed-in user; see also `vary` (row K7)."""

_FAILED: Final = (
    "Request %s: the application's template of the page %s failed, so ours was sent instead. "
    "It failed in %s. Correct it there; docs/reference/pages.md has the values of each page."
)
# Pages name static files with a hash of their content, so a response never has to change.
_FOREVER: Final = ("cache-control", "public, max-age=31536000, immutable")


@dataclass(frozen=True, slots=True)
class SitePage:
    """A page of a site.

    Attributes:
        below: Its path below the site's prefix, which a framework routes.
        path: Its whole path.
        name: Its name, the same in every framework's `url_for` or `reverse`.
    """

    below: str
    path: str
    name: str


class Site:
    """The sign-in's pages under one prefix of an application, and the look-up of sessions.

    Args:
        context: The front door's context. Its redirect URI sets the path of the pages.
        options: The application's options.
        own_pages: Whether the application has the pages `landing` and `home` of the router's paths,
            instead of its own first page.
        templates: The application's own templates, or None.

    Attributes:
        prefix: The prefix of the pages' paths: empty, or such as `/procore`.
        root_path: The part of it that a proxy or server removes from every path: empty, or `/app`.
        router: Finds the endpoint for a request.
        sign_in: Finds the session of a request.
        trusted: Our own proxies.
        bodies: Reads the bodies of requests.
        languages: The languages of the pages.
        buttons: Makes the buttons for pages of the application, in the default language.
        login: The application's own login, or None.

    Raises:
        SettingsInvalid: The redirect URI does not end in `/callback`, users in production would
            read no name of this application, or there is no such language.
    """

    def __init__(
        self,
        context: Context,
        options: Options,
        *,
        own_pages: bool = False,
        templates: OwnTemplates | None = None,
    ) -> None:
        self.prefix: Final = prefix_of(context.client.redirect_uri)
        self.trusted: Final = options.trusted_proxies or TrustedProxies()
        self.bodies: Final = Bodies()
        paths = Paths.under(self.prefix)
        look = options.look
        self._first_page: Final = None if own_pages else options.first_page
        self.root_path = ""
        self.router: Final = Router(
            context, paths, app_name=_app_name(context, options), csp=look.csp
        )
        self.stand_below(options.root_path)
        starts = options.starts_per_minute
        per_minute = STARTS_PER_MINUTE if starts is None else starts
        self.sign_in: Final = SignInEndpoints(
            self.router,
            starts=RateLimit(per_minute, time.monotonic),
            callbacks=RateLimit(per_minute, time.monotonic),
            choose_company=bool(options.choose_company),
            login=options.login,
            sign_up_page=paths.landing if own_pages else None,
        )
        StartEndpoint(self.router, self.sign_in, options.login)
        self.languages: Final = _languages(options)
        self._buttons: Final[dict[str, Buttons]] = {}
        self.buttons: Final = self.buttons_in(self.languages.default)
        self.login: Final = options.login
        CompanyEndpoints(self.router, self.sign_in)
        ForwardAuthEndpoint(self.router, self.sign_in)
        for name in pages.STATIC_NAMES:
            self.router.add("GET", f"{paths.static}/{name}", self._static_file, ahead=True)
        self._render: Final = options.render
        self._templates: Final = templates
        self._look: Final = {
            "logo": look.logo,
            "stylesheet": look.stylesheet,
            "request": None,  # of no framework, unless an application's own template asks
        }

    def stand_below(self, root_path: str) -> None:
        """Note the prefix that a proxy or server removes, once the application says it.

        The application's first page is below it, for a browser.
        """
        self.root_path = root = root_path.rstrip("/")
        if self._first_page is not None:
            first = self._first_page
            outside = first if first == root or first.startswith(f"{root}/") else f"{root}{first}"
            self.router.paths.landing = self.router.paths.home = outside

    @property
    def pages(self) -> tuple[SitePage, ...]:
        """Every page, as a framework routes it."""
        names = {path: name for name, path in asdict(self.router.paths).items()}
        return tuple(
            SitePage(path.removeprefix(self.prefix), path, names.get(path) or _own_name(path))
            for path in self.router.known_paths
        )

    def session(self, request: BrowserRequest) -> Flow[Session | None]:
        """Return the live session of the browser that sent `request`, or None.

        Raises:
            StoreUnavailable: Unknown. Neither admit nor sign out (row S7).
        """
        return self.sign_in.session(request)

    def sign_out(self, request: BrowserRequest) -> Flow[str]:
        """End the session of the browser that sent `request`, as the application logs out.

        Returns:
            The `Set-Cookie` value that makes the browser forget it.

        Raises:
            StoreUnavailable: The session may not have ended. The browser may forget it.
        """
        return self.sign_in.end_here(request)

    @property
    def forget_session(self) -> str:
        """The `Set-Cookie` value that makes a browser forget its session."""
        return self.sign_in.forget_session

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
        problem = api_problems.of_view(error)
        failed = problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if failed:
            note_failure(request, error)
        if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            LOGGER.error("Request %s failed", request.request_id, exc_info=error)
        shown = request if asks_for_page(request) else _by_program(request)
        return_to = _address(request) if request.is_read else None
        response = self.router.problem(
            shown, problem, return_to=return_to, error=error, is_logged=failed
        )
        if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
            named = error.retry_after if isinstance(error, ProcoreUnavailable) else None
            seconds = RETRY_SECONDS if named is None else ceil(named)
            response = response.with_headers(("retry-after", str(max(seconds, 1))))
        return response.with_headers(("cache-control", NO_STORE), ("vary", "Cookie"))

    def language_of(self, request: BrowserRequest) -> Language:
        """Return the language of the page that answers `request`."""
        return self.languages.of(request.header(b"accept-language"), request.native)

    def buttons_in(self, language: Language) -> Buttons:
        """Return the buttons with our labels in `language`."""
        if language.tag not in self._buttons:
            self._buttons[language.tag] = Buttons(
                self.router.context,
                self.router.paths,
                language,
                names_language=len(self.languages.tags) > 1,
            )
        return self._buttons[language.tag]

    def raw_response(self, request: BrowserRequest, response: BrowserResponse) -> RawResponse:
        """Return `response` as bytes."""
        if response.page is None:
            return self._raw(request, response)
        language = self.language_of(request)
        page = self._in_language(response.page, language)
        return self._raw_page(request, response, self._html(request, page, language), language)

    def failure(self, request: BrowserRequest) -> RawResponse:
        """Return the response to a request that raised an unexpected error (row O3).

        It is in the default language: a function of the application's may have been what failed.
        """
        response = self.router.failure(request)
        if response.page is None:
            return self._raw(request, response)
        language = self.languages.default
        page = self._in_language(response.page, language)
        return self._raw_page(request, response, self._html(request, page, language), language)

    def _raw(self, request: BrowserRequest, response: BrowserResponse) -> RawResponse:
        headers = raw_headers(response.headers, self._headers_at(request.path))
        return in_bytes(request, response, response.body, response.content_type, headers)

    def _raw_page(
        self, request: BrowserRequest, response: BrowserResponse, html: str, language: Language
    ) -> RawResponse:
        headers = _page_headers(
            response.headers,
            self._headers_at(request.path),
            language.tag if self._render is None else None,
            negotiated=self.languages.is_negotiated,
        )
        return in_bytes(request, response, html.encode(), "text/html; charset=utf-8", headers)

    def _headers_at(self, path: str) -> RawHeaders:
        return self.router.headers_at.get(path, self.router.headers)

    def _in_language(self, page: Page, language: Language) -> Page:
        """Return `page` with its texts, and what its template needs, in `language`."""
        values = {**page.values, **self._look, "language": language}
        for name in TEXTS.intersection(values):
            text = values[name]
            if isinstance(text, str):
                values[name] = language.plain(text)
        return Page(page.name, values)

    def _html(self, request: BrowserRequest, page: Page, language: Language) -> str:
        if self._render is not None:
            return self._render(page)
        if self._templates is not None:
            native = request.native()
            values = {**pages.complete(page.name, page.values), "request": native}
            try:
                with speaking(language):
                    own = self._templates.render(page.name, values, native)
            except Exception as error:  # whatever a template of the application does
                place = self._templates.place(error)
                # The page as shipped has the same status, headers and cookies: what the request has
                # done stays done.
                LOGGER.exception(_FAILED, request.request_id, page.name, place)
            else:
                if own is not None:
                    return own
        return pages.render(page.name, page.values)

    def _static_file(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        yield from ()
        found = pages.static_file(request.path.removeprefix(f"{self.router.paths.static}/"))
        if found is None:
            return self.router.problem(request, problems.NOT_FOUND)
        content, media_type = found
        return BrowserResponse(
            status=200, body=content, content_type=media_type, headers=(_FOREVER,)
        )


@lru_cache(maxsize=64)  # pages have few headers of their own, and none that is secret
def _page_headers(
    own: tuple[tuple[str, str], ...], common: RawHeaders, language: str | None, *, negotiated: bool
) -> RawHeaders:
    told = () if language is None else (("content-language", language),)
    headers = raw_headers((*own, *told), common)
    if not negotiated:
        return headers
    return tuple(
        (name, value + b", Accept-Language" if name == b"vary" else value)
        for name, value in headers
    )


def _languages(options: Options) -> Languages:
    folder = options.look.translations
    try:
        return Languages(
            options.languages,
            folder=None if folder is None else Path(folder),
            named_by=options.look.language,
        )
    except ValueError as error:
        cure = "Correct it, or leave it out."
        setting = "PROCORE_LANGUAGES" if folder is None else "Look(translations=…)"
        raise SettingsInvalid((Problem(setting, f"cannot be used: {error}", cure),)) from error


def _app_name(context: Context, options: Options) -> str:
    """Return the application's name on the pages. Users in production sign in to no sample."""
    name = options.app_name or APP_NAME
    if name == APP_NAME and context.environment.name in _REAL:
        cure = "Set it to the name that your users know, or write Options(app_name=…)."
        raise SettingsInvalid((Problem("PROCORE_APP_NAME", NOT_SET, cure),))
    return name


def prefix_of(redirect_uri: str) -> str:
    """Return the prefix of the sign-in's pages: empty, or such as `/procore`.

    Raises:
        SettingsInvalid: The redirect URI does not end in `/callback`.
    """
    path = urlsplit(redirect_uri).path
    if not path.endswith(CALLBACK):
        raise wrong_redirect_uri(
            f"has the path {path or '/'}, and the sign-in's callback page is called {CALLBACK}",
            f"Register one that ends in {CALLBACK}, such as https://app.example.com{CALLBACK}.",
        )
    return path.removesuffix(CALLBACK)


ONLY_ONE: Final = (
    "This application has two front doors, and can have one: the sessions of both are in the same "
    "cookie. Add the sign-in once. For a second environment of Procore, run the application a "
    "second time, with other settings and at a host of its own."
)


def check_place(
    redirect_uri: str, callback: str | None, *, outside: str, root_path: str = ""
) -> None:
    """Check that browsers that come back from Procore reach the callback page.

    Args:
        redirect_uri: Where Procore sends them.
        callback: The path of the callback page in the framework, or None if it has none.
        outside: The name of the framework's option for the prefix that a proxy removes.
        root_path: What that option is set to, which `callback` begins with.

    Raises:
        SettingsInvalid: The paths differ. The message names both.
    """
    path = urlsplit(redirect_uri).path
    if callback != path:
        found = "are mounted nowhere" if callback is None else f"have their callback at {callback}"
        cures = [_where_to_mount(prefix_of(redirect_uri), root_path)]
        if callback is not None:
            address = redirect_uri.removesuffix(path) + callback
            cures.append(f"set it to {address}, and register that at Procore")
        elif root_path:
            cures.append(f"let it lead below {root_path}")
        cure = ", or ".join(each for each in cures if each)
        removed = "a proxy in front removes the beginning of every path"
        proxy = (
            f"{outside} puts {root_path} before every path: take it away, unless {removed}."
            if root_path
            else f"If {removed}, set that in {outside}."
        )
        raise wrong_redirect_uri(
            f"leads to {path}, but the sign-in's routes {found}",
            f"{cure[0].upper()}{cure[1:]}. {proxy}",
        )


def _where_to_mount(prefix: str, root_path: str) -> str | None:
    """Return the cure, or None where no place of the framework is at `prefix`."""
    if root_path and not f"{prefix}/".startswith(f"{root_path}/"):
        return None
    inside = prefix.removeprefix(root_path)
    return f"mount them at {inside}" if inside else "mount them without a prefix"


def _own_name(path: str) -> str:
    """Return the name of a page that no other page links to: a static file."""
    return "static_" + path.rpartition("/")[2].replace(".", "_").replace("-", "_")


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
    return safe_return_to(request.address, default="") or None


def wrong_redirect_uri(what: str, cure: str) -> SettingsInvalid:
    """Return the error for a redirect URI that does not fit the application's routes."""
    return SettingsInvalid((Problem("PROCORE_REDIRECT_URI", what, cure),))
