"""What serves the operator: `/healthz` and `/readyz`."""

from __future__ import annotations

import json

from procore_signin._flow.steps import Flow, ask
from procore_signin._store.probe import Probe
from procore_signin._web.http.messages import BrowserRequest, BrowserResponse
from procore_signin._web.router import Router
from procore_signin.errors import StoreUnavailable


class Probes:
    """The two probes of an orchestrator.

    Args:
        router: Where the endpoints are added.
    """

    def __init__(self, router: Router) -> None:
        router.add("GET", "/healthz", self.healthy, any_host=True)
        router.add("GET", "/readyz", self.ready, any_host=True)

    def healthy(self, _request: BrowserRequest) -> Flow[BrowserResponse]:
        """Say that this process answers; nothing else is asked."""
        yield from ()
        return _status(200, "ok")

    def ready(self, _request: BrowserRequest) -> Flow[BrowserResponse]:
        """Say whether the database is reachable and migrated; nothing about why not (row O5)."""
        try:
            yield from ask(Probe())
        except StoreUnavailable:
            return _status(503, "unavailable")
        return _status(200, "ready")


def _status(status: int, word: str) -> BrowserResponse:
    body = json.dumps({"status": word}).encode()
    return BrowserResponse(status=status, body=body, content_type="application/json")
