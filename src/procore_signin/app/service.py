"""What serves the pages and the operator: static files, `/healthz` and `/readyz`."""

from __future__ import annotations

import json
from typing import Final

from procore_signin.errors import StoreUnavailable
from procore_signin.flow.steps import Flow, read
from procore_signin.web import problems
from procore_signin.web.http import Answer, BrowserRequest
from procore_signin.web.pages import STATIC_NAMES, static_file
from procore_signin.web.router import Router

# Pages name static files with a hash of their content, so an answer never has to change.
FOREVER: Final = ("cache-control", "public, max-age=31536000, immutable")


class ServiceEndpoints:
    """Static files, and the two probes of an orchestrator.

    Args:
        router: Where the endpoints are added.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        for name in STATIC_NAMES:
            router.add("GET", f"{router.paths.static}/{name}", self.static)
        router.add("GET", "/healthz", self.healthy, any_host=True)
        router.add("GET", "/readyz", self.ready, any_host=True)

    def static(self, request: BrowserRequest) -> Flow[Answer]:
        """Serve a stylesheet, a script or the icon."""
        yield from ()
        found = static_file(request.path.removeprefix(f"{self._router.paths.static}/"))
        if found is None:
            return self._router.problem(request, problems.NOT_FOUND)
        content, media_type = found
        return Answer(status=200, body=content, content_type=media_type, headers=(FOREVER,))

    def healthy(self, _request: BrowserRequest) -> Flow[Answer]:
        """Say that this process answers; nothing else is asked."""
        yield from ()
        return _status(200, "ok")

    def ready(self, _request: BrowserRequest) -> Flow[Answer]:
        """Say whether the database is reachable and migrated; nothing about why not (row O5)."""
        try:
            yield from read(lambda store: store.probe())
        except StoreUnavailable:
            return _status(503, "unavailable")
        return _status(200, "ready")


def _status(status: int, word: str) -> Answer:
    body = json.dumps({"status": word}).encode()
    return Answer(status=status, body=body, content_type="application/json")
