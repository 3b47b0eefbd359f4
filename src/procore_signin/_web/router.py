"""Which endpoint answers, and what holds for all of them: host, method, origin, errors."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
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
    Answer,
    BrowserRequest,
    Page,
    RawHeaders,
    raw_headers,
    see_other,
)
from procore_signin._web.http.origin import hosts_of, is_from_our_pages, is_prefetch, origin_of
from procore_signin._web.problems import Problem
from procore_signin.environments import LOOPBACK_HOSTS
from procore_signin.errors import ProcoreSignInError
from procore_signin.events import Event, emit, lines

_LOOPBACK: Final = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_IN_QUERY: Final = "%/?:@!$&'()*+,;="  # RFC 3986 §3.4, and the escapes that are there already

LOGGER: Final = logging.getLogger("procore_signin")
APP_NAME: Final = "Sample application"
RETRY_SECONDS: Final = 10
"""When to come back after a 503, where no one says."""

Endpoint = Callable[[BrowserRequest], Flow[Answer]]


@dataclass(frozen=True, slots=True)
class Paths:
    """Where each page lives, under the prefix at which the routes are mounted."""

    landing: str
    signin: str
    callback: str
    home: str
    sessions: str
    end_session: str
    sign_out: str
    sign_out_everywhere: str
    disconnect: str
    company: str
    verify: str
    static: str

    @classmethod
    def under(cls, prefix: str = "") -> Paths:
        """Return the paths below `prefix`, which is empty or begins with a slash."""
        return cls(
            landing=f"{prefix}/",
            signin=f"{prefix}/signin",
            callback=f"{prefix}/callback",
            home=f"{prefix}/home",
            sessions=f"{prefix}/sessions",
            end_session=f"{prefix}/sessions/end",
            sign_out=f"{prefix}/sign-out",
            sign_out_everywhere=f"{prefix}/sign-out-everywhere",
            disconnect=f"{prefix}/disconnect",
            company=f"{prefix}/company",
            verify=f"{prefix}/auth/verify",
            static=f"{prefix}/static",
        )


class Router:
    """Finds the endpoint for a request and turns everything that goes wrong into a page.

    Args:
        context: The surroundings of every flow.
        paths: Where the pages live.
        app_name: What the application is called on them.
    """

    def __init__(self, context: Context, paths: Paths, *, app_name: str = APP_NAME) -> None:
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
        self._headers: Final = raw_headers(security_headers(context))

    def add(
        self,
        method: str,
        path: str,
        endpoint: Endpoint,
        *,
        any_host: bool = False,
        ahead: bool = False,
    ) -> None:
        """Let `endpoint` answer `method` at `path`.

        Args:
            method: In capitals.
            path: Matched exactly.
            endpoint: A flow from request to answer.
            any_host: Answer whatever the Host header says: for probes, which come by address.
            ahead: Answer a browser that fetches ahead of the person's wish too, as a probe is
                answered: for what sets and spends nothing.
        """
        self._endpoints.setdefault(path, {})[method] = endpoint
        if any_host:
            self._any_host.add(path)
        if any_host or ahead:
            self._ahead.add(path)

    @property
    def known_paths(self) -> tuple[str, ...]:
        """Every path that some endpoint answers at."""
        return tuple(self._endpoints)

    def answer(self, request: BrowserRequest) -> Flow[Answer]:
        """Return the response to `request`."""
        try:
            answer = yield from self._dispatch(request)
        except ProcoreSignInError as error:
            note_failure(request, error)
            answer = self.problem(request, problems.of_any(error))
            if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
                answer = answer.with_headers(("retry-after", str(RETRY_SECONDS)))
        except BodyRefused as refused:
            answer = self._refuse(request, refused.problem)
        return self._discreet(request, answer)

    def failure(self, request: BrowserRequest) -> Answer:
        """Return the response to a request that broke the program. Nothing in it can fail."""
        return self._discreet(request, self.problem(request, problems.FAILED))

    def _discreet(self, request: BrowserRequest, answer: Answer) -> Answer:
        """Keep the callback's address, with code and state, out of every `Referer` (row C7)."""
        return answer.with_headers(NO_REFERRER) if request.path == self.paths.callback else answer

    def headers(self, answer: Answer) -> RawHeaders:
        """Return the headers of `answer`, and those that every response carries."""
        if not answer.headers:
            return self._headers
        own = raw_headers(answer.headers)
        known = {name for name, _ in own}
        return (*own, *(pair for pair in self._headers if pair[0] not in known))

    def _dispatch(self, request: BrowserRequest) -> Flow[Answer]:
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
                # Any status but 2xx: the browser throws it away, and asks again once the person
                # goes.
                return self.problem(request, problems.NOT_A_NAVIGATION)
        elif not is_from_our_pages(request, self.origin):
            return self._refuse(request, problems.FOREIGN_FORM)
        elif request.has_too_long_body:
            return self._refuse(request, problems.BODY_TOO_LONG)
        return (yield from endpoint(request))

    def _refuse(self, request: BrowserRequest, problem: Problem) -> Answer:
        emit(
            Event.REQUEST_REFUSED,
            request=request.request_id,
            path=request.path,
            reason=problem.code,
        )
        return self.problem(request, problem)

    def _wrong_host(self, request: BrowserRequest) -> Answer:
        """Send 127.0.0.1 to localhost, whose cookies the callback will see; refuse the rest."""
        named = _LOOPBACK.fullmatch(request.header(b"host") or "")
        if self._on_loopback and named and request.is_read and request.path in self._endpoints:
            query = f"?{quote(request.query, safe=_IN_QUERY)}" if request.query else ""
            return see_other(f"{self.origin}{request.path}{query}")
        return self.problem(request, problems.WRONG_HOST)

    def page(
        self,
        name: str,
        *,
        status: int = 200,
        session: Session | None = None,
        values: dict[str, object],
    ) -> Answer:
        """Return the page called `name`, for the person of `session` if there is one."""
        common = {
            "app_name": self._app_name,
            "environment": self.context.environment.name,
            "signed_in": None if session is None else session.user,
            "paths": self.paths,
        }
        return Answer(status=status, page=Page(name, common | values))

    def problem(
        self,
        request: BrowserRequest,
        problem: Problem,
        *,
        return_to: str | None = None,
        error: ProcoreSignInError | None = None,
    ) -> Answer:
        """Return the page, or for a program the JSON, that explains `problem`.

        Args:
            request: What the browser or program asked for.
            problem: What to tell.
            return_to: Where a new sign-in leads back to, instead of home.
            error: What ended a request of the application's own; a program is told its code.
        """
        if request.wants_json:
            return _problem_json(problem, request.request_id, error)
        cookies: tuple[str, ...] = ()
        first_page = ("Go to the first page", f"{self.origin}{self.paths.landing}")
        action: tuple[str, str] = first_page
        second: tuple[str, str] | tuple[None, None] = (None, None)
        if problem.sign_in:
            begun = begin_attempt(self.context, request, return_to=return_to or self.paths.home)
            action, second, cookies = ("Sign In with Procore", begun.url), first_page, begun.cookies
        answer = self.page(
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
        return answer.with_cookies(*cookies)


def note_failure(request: BrowserRequest, error: ProcoreSignInError) -> None:
    """Record that `error` ended `request`, in words that tell an operator the cure."""
    number, reason = request.request_id, type(error).__name__
    emit(Event.REQUEST_FAILED, request=number, path=request.path, reason=reason)
    explain(request, error)


def explain(request: BrowserRequest, error: ProcoreSignInError) -> None:
    """Log what an error says. An event shows its name alone where no one looks at its fields.

    What is wrong with the database was told when it began, and would be told by every request.
    """
    if is_told_by_state(error):
        return
    if not lines.admits(f"{Event.REQUEST_FAILED} {type(error).__name__} (explained)"):
        return
    words = f"{str(error).rstrip('.')}. {error.hint or ''}".rstrip()
    LOGGER.warning("Request %s: %s", request.request_id, words)


def _problem_json(problem: Problem, reference: str, error: ProcoreSignInError | None) -> Answer:
    """Return `problem` as RFC 9457 has it."""
    document = {
        "title": problem.title,
        "status": problem.status,
        "detail": f"{problem.what} {problem.cure}",
        "code": problem.code,
        "reference": reference,
    }
    if error is not None:
        document["error"] = error.code
    return Answer(
        status=problem.status,
        body=json.dumps(document).encode(),
        content_type="application/problem+json",
    )
