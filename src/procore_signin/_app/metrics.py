"""`/metrics` for Prometheus: counts of events, and the response times of Procore."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from functools import cache
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from procore_signin._app.metrics_folder import METRICS_FOLDER
from procore_signin._flow.context import Context
from procore_signin._flow.steps import Flow, ask
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._store.sessions import CountSessions
from procore_signin._web import problems
from procore_signin._web.http.messages import BrowserRequest, BrowserResponse
from procore_signin._web.router import Router
from procore_signin.errors import ProcoreSignInError, StoreUnavailable
from procore_signin.events import Event, Field

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_SIGN_INS: Final = {
    Event.SIGN_IN_SUCCEEDED: "succeeded",
    Event.SIGN_IN_JOINED: "joined",
    Event.SIGN_IN_DENIED: "denied",
    Event.SIGN_IN_FAILED: "failed",
    Event.ATTEMPT_INVALID: "invalid_attempt",
}
_REFRESHES: Final = {
    Event.REFRESHED: "refreshed",
    Event.REFRESH_FAILED: "failed",
    Event.GRANT_LOST: "lost",
}
_ENDPOINTS: Final = {
    "oauth/token": "token",
    "oauth/revoke": "revoke",
    "oauth/token/info": "token_info",
    "rest/v1.0/me": "me",
}


class Metrics:
    """The metrics of one application. Labels are fixed words, never a user's data."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        sign_ins = Counter(
            "procore_signin_sign_ins",
            "Sign-ins, by how they ended.",
            ["outcome"],
            registry=self._registry,
        )
        refreshes = Counter(
            "procore_signin_refreshes",
            "Refreshes of a token set, by how they ended.",
            ["outcome"],
            registry=self._registry,
        )
        self._lease_waits = Histogram(
            "procore_signin_lease_wait_seconds",
            "How long a caller waited for the refresh of another process.",
            buckets=SECONDS,
            registry=self._registry,
        )
        upstream = Histogram(
            "procore_signin_upstream_seconds",
            "How long Procore took to respond.",
            ["endpoint", "outcome"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._upstream = cache(upstream.labels)  # the labels are a few fixed words
        self._sessions = Gauge(
            "procore_signin_sessions",
            "Sessions that are open.",
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._counters = {
            event: counter.labels(outcome)
            for counter, outcomes in ((sign_ins, _SIGN_INS), (refreshes, _REFRESHES))
            for event, outcome in outcomes.items()
        }

    def count(self, event: Event, fields: Mapping[str, Field]) -> None:
        """Count an event; a listener for `events.listen`."""
        counter = self._counters.get(event)
        if counter is not None:
            counter.inc()
        elif event is Event.REFRESH_WAITED:
            self._lease_waits.observe(float(fields["milliseconds"] or 0) / 1000)

    def observe(
        self, request: HttpRequest, came: HttpResponse | ProcoreSignInError | None, seconds: float
    ) -> None:
        """Note what came of a request to Procore, and when."""
        if isinstance(came, HttpResponse):
            outcome = f"{came.status // 100}xx"
        else:
            outcome = "unavailable" if came is None or hasattr(came, "ambiguous") else "refused"
        path = request.url.split("/", 3)[-1].partition("?")[0]  # behind the origin
        self._upstream(_ENDPOINTS.get(path, "other"), outcome).observe(seconds)

    def text(self, sessions: int) -> bytes:
        """Return all metrics in Prometheus' text format."""
        self._sessions.set(sessions)
        if METRICS_FOLDER not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # so in the library
        return generate_latest(together)


class MetricsEndpoint:
    """`/metrics`, for scrapers with the token, or for everyone if none is set.

    Args:
        router: Where the endpoint is added.
        context: Provides the clock.
        metrics: The metrics.
        token: The bearer token that a scraper must send, or None.
    """

    def __init__(
        self, router: Router, context: Context, metrics: Metrics, token: Secret | None
    ) -> None:
        self._router = router
        self._context = context
        self._metrics = metrics
        self._token = token
        router.add("GET", "/metrics", self.metrics, any_host=True)

    def metrics(self, request: BrowserRequest) -> Flow[BrowserResponse]:
        """Respond to a scrape."""
        if not self._may_read(request):
            return self._router.problem(request, problems.NOT_FOUND)
        now = self._context.now()
        try:
            sessions = yield from ask(CountSessions(now=now))
        except StoreUnavailable:
            sessions = -1
        return BrowserResponse(
            status=200, body=self._metrics.text(sessions), content_type=CONTENT_TYPE
        )

    def _may_read(self, request: BrowserRequest) -> bool:
        if self._token is None:
            return True
        given = (request.header(b"authorization") or "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode("latin-1"), self._token.reveal().encode())
