"""What serves the operator: `/healthz` and `/readyz`."""

from __future__ import annotations

import json

from procore_signin._flow.steps import Flow, probe
from procore_signin._web.http.messages import BrowserRequest, BrowserResponse
from procore_signin._web.router import Router


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
        """Say whether sign-ins can be stored now; nothing about why not (row O5).

        The log says why, once. It takes a second at most, and probes that meet share one outcome.
        """
        if (yield from probe()) is not None:
            return _status(503, "unavailable")
        return _status(200, "ready")


def _status(status: int, word: str) -> BrowserResponse:
    body = json.dumps({"status": word}).encode()
    return BrowserResponse(status=status, body=body, content_type="application/json")
