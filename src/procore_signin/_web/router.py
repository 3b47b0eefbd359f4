"""Route a request to its endpoint, and check host, method and origin for all of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

from procore_signin._flow.context import Context
from procore_signin._flow.running.database_state import is_told_by_state
from procore_signin._flow.steps import Flow
from procore_signin._store.records import Session
from procore_signin._web import problems
from procore_signin._web.attempts import begin_attempt
from procore_signin._web.http.bodies import BodyRefused
from procore_signin._web.http.headers import NO_REFERRER, security_headers
from procore_signin._web.http.messages import (
    BrowserRequest,
    BrowserResponse,
    Page,
    raw_headers,
    see_other,
)
from procore_signin._web.http.origin import hosts_of, is_from_our_pages, is_prefetch, origin_of
from procore_signin._web.json.shapes import ProblemJson, encoded
from procore_signin._web.paths import Paths
from procore_signin._web.problems import Problem
from procore_signin.environments import LOOPBACK_HOSTS
from procore_signin.errors import ProcoreSignInError
from procore_signin.events import Event, emit, lines

_LOOPBACK: Final = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_IN_QUERY: Final = "%/?:@!$&'()*+,;="  # RFC 3986 §3.4, and existing escapes

LOGGER: Final = logging.getLogger("procore_signin")
APP_NAME: Final = "Sample application"
SIGN_IN: Final = "Sign In with Procore"
GO_TO_FIRST_PAGE: Final = "Go to the first page"
RETRY_SECONDS: Final = 10
"""Seconds for `Retry-After` with a 503, by default."""

Endpoint = Callable[[BrowserRequest], Flow[BrowserResponse]]


class Router:
    """Finds the endpoint for a request and turns errors into pages.

    Args:
        context: The surroundings of every flow.
        paths: The paths of the pages.
        app_name: The application's name on the pages.
        csp: What the application adds to the Content-Security-Policy, by directive.

    Attributes:
        headers: Those that every response carries, unless it has its own of that name.
        headers_at: The same for the paths where they are others. The callback's URL, with code
            and state, stays out of every `Referer` (row C7).
    """

    def __init__(
        self,
        context: Context,
        paths: Paths,
        *,
        app_name: str = APP_NAME,
        csp: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.context: Final = context
        self.paths: Final = paths
        self._app_name: Final = app_name
        redirect_uri = context.client.redirect_uri
        self._hosts: Final = hosts_of(redirect_uri)
        self.origin: Final = origin_of(redirect_uri)
        self._on_loopback: Final = urlsplit(redirect_uri).hostname in LOOPBACK_HOSTS
        self._endpoints: dict[str, dict[str, Endpoint]] = {}
        self._any_host: set[str] = set()
        self._ahead: set[str] = set()
        self._any_origin: set[str] = set()
        self.headers: Final = raw_headers(security_headers(context, csp))
        self.headers_at: Final = {paths.callback: raw_headers([NO_REFERRER], self.headers)}

    def add(
        self,
        method: str,
        path: str,
        endpoint: Endpoint,
        *,
        any_host: bool = False,
        ahead: bool = False,
        any_origin: bool = False,
    ) -> None:
        """Add `endpoint` for `method` at `path`.

        Args:
            method: In capitals.
            path: Matched exactly.
            endpoint: A flow from request to response.
            any_host: Accept any Host header, for probes, which use the address.
            ahead: Also respond to prefetches, for endpoints that set and spend nothing.
            any_origin: Accept forms of other sites, for an endpoint that tells them apart itself.
        """
        self._endpoints.setdefault(path, {})[method] = endpoint
        if any_host:
            self._any_host.add(path)
        if any_host or ahead:
            self._ahead.add(path)
        if any_origin:
            self._any_origin.add(path)

    @property
    def known_paths(self) -> tuple[str, ...]:
        """The paths of all endpoints."""
        return tuple(self._endpoints)

    def respond(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Return the response to `request`."""
        try:
            response = yield from self._dispatch(request)
        except ProcoreSignInError as error:
            note_failure(request, error)
            response = self.problem(request, problems.of_any(error), is_logged=True)
            if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
                response = response.with_headers(("retry-after", str(RETRY_SECONDS)))
        except BodyRefused as refused:
            response = self.problem(request, refused.problem)
        return response

    def failure(self, request: BrowserRequest) -> BrowserResponse:
        """Return the response to a request that raised an unexpected error. It cannot fail.

        The caller has logged the traceback, with the reference.
        """
        return self.problem(request, problems.FAILED, is_logged=True)

    def _dispatch(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        host = (request.header(b"host") or "").lower()
        if host not in self._hosts and request.path not in self._any_host:
            return self._wrong_host(request)
        methods = self._endpoints.get(request.path)
        if methods is None:
            return self.problem(request, problems.NOT_FOUND)
        endpoint = methods.get(request.method)
        if endpoint is None and request.method == "HEAD" and request.path != self.paths.callback:
            endpoint = methods.get("GET")
        if endpoint is None:
            allowed = ("allow", ", ".join(sorted(methods)))
            return self.problem(request, problems.METHOD_NOT_ALLOWED).with_headers(allowed)
        if request.is_read:
            if request.path not in self._ahead and is_prefetch(request):
                # Any status but 2xx: the browser discards it, and asks again when the user opens
                # the page.
                return self.problem(request, problems.NOT_A_NAVIGATION)
        elif request.path not in self._any_origin and not self.is_ours(request):
            return self.problem(request, problems.FOREIGN_FORM)
        elif request.has_too_long_body:
            return self.problem(request, problems.BODY_TOO_LONG)
        return (yield from endpoint(request))

    def is_ours(self, request: BrowserRequest) -> bool:
        """Return whether a form was sent from a page of this application (row K8)."""
        return is_from_our_pages(request, self.origin)

    def _wrong_host(self, request: BrowserRequest) -> BrowserResponse:
        """Send 127.0.0.1 to localhost, whose cookies the callback will see; refuse the rest."""
        named = _LOOPBACK.fullmatch(request.header(b"host") or "")
        if self._on_loopback and named and request.is_read and request.path in self._endpoints:
            query = f"?{quote(request.query, safe=_IN_QUERY)}" if request.query else ""
            return see_other(f"{self.origin}{request.path}{query}")
        self._tell_wrong_host(request)
        return self.problem(request, problems.WRONG_HOST, is_logged=True)

    def _tell_wrong_host(self, request: BrowserRequest) -> None:
        """Log both addresses and the setting: the page shows a reader neither."""
        emit(
            Event.REQUEST_REFUSED,
            request=request.request_id,
            path=request.path,
            reason=problems.WRONG_HOST.code,
            host=request.header(b"host"),
            expected=self.origin,
            setting="PROCORE_REDIRECT_URI",
        )

    def page(
        self,
        name: str,
        *,
        status: int = 200,
        session: Session | None = None,
        values: dict[str, object],
    ) -> BrowserResponse:
        """Return the page `name`, for the user of `session` if there is one."""
        common = {
            "app_name": self._app_name,
            "environment": self.context.environment.name,
            "signed_in": None if session is None else session.user,
            "paths": self.paths,
        }
        return BrowserResponse(status=status, page=Page(name, common | values))

    def problem(
        self,
        request: BrowserRequest,
        problem: Problem,
        *,
        return_to: str | None = None,
        error: ProcoreSignInError | None = None,
        is_logged: bool = False,
    ) -> BrowserResponse:
        """Return the page (for a program, the JSON) that explains `problem`.

        Its reference is in the log: what the caller has not logged is logged here.

        Args:
            request: The request.
            problem: The problem to show.
            return_to: Where a new sign-in leads back to, instead of home.
            error: The error that ended a request of the application's own; a program gets its code.
            is_logged: Whether a line with the reference has been logged, which says more.
        """
        if not is_logged:
            failed = problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            emit(
                Event.REQUEST_FAILED if failed else Event.REQUEST_REFUSED,
                request=request.request_id,
                path=request.path,
                reason=problem.code,
            )
        if request.wants_json:
            return self._problem_json(problem, request.request_id, error)
        cookies: tuple[str, ...] = ()
        first_page = (GO_TO_FIRST_PAGE, f"{self.origin}{self.paths.landing}")
        action: tuple[str, str] = first_page
        second: tuple[str, str] | tuple[None, None] = (None, None)
        if problem.sign_in:
            there = return_to or self.paths.home
            # A form of another site begins no attempt. The page after one of ours may (row C11).
            ours = not request.is_read and self.is_ours(request)
            begun = begin_attempt(self.context, request, return_to=there, wanted=ours)
            action, second, cookies = (SIGN_IN, begun.url), first_page, begun.cookies
        response = self.page(
            "problem",
            status=problem.status,
            values={
                "title": problem.title,
                "what": problem.what,
                "why": problem.why,
                "cure": problem.cure,
                "action_label": action[0],
                "action_url": action[1],
                "second_label": second[0],
                "second_url": second[1],
                "reference": request.request_id,
                "status": problem.status,
            },
        )
        return response.with_cookies(*cookies)

    def _problem_json(
        self, problem: Problem, reference: str, error: ProcoreSignInError | None
    ) -> BrowserResponse:
        """Return `problem` as JSON of RFC 9457."""
        shape = ProblemJson(
            title=problem.title,
            status=problem.status,
            detail=f"{problem.what} {problem.cure}",
            code=problem.code,
            reference=reference,
            error=None if error is None else error.code,
            sign_in_url=self.paths.start if problem.sign_in else None,
        )
        return BrowserResponse(
            status=problem.status,
            body=encoded(shape),
            content_type="application/problem+json",
        )


def note_failure(request: BrowserRequest, error: ProcoreSignInError) -> None:
    """Record that `error` ended `request`, with the cure for the operator."""
    number, reason = request.request_id, type(error).__name__
    emit(Event.REQUEST_FAILED, request=number, path=request.path, reason=reason)
    explain(request, error)


def explain(request: BrowserRequest, error: ProcoreSignInError) -> None:
    """Log the message of an error: a log that ignores an event's fields shows only its name.

    A failing database is logged once, when it begins to fail, and not again by every request.
    """
    if is_told_by_state(error):
        return
    if not lines.admits(f"{Event.REQUEST_FAILED} {type(error).__name__} (explained)"):
        return
    words = f"{str(error).rstrip('.')}. {error.hint or ''}".rstrip()
    LOGGER.warning("Request %s: %s", request.request_id, words)
