"""Requests that Procore serves, or may serve, and the emulator does not: it says so.

A 404 there would pass for Procore's response about a thing that does not exist, and a test that
expects "not found" would pass without having tested anything.
"""

from __future__ import annotations

import json
from typing import Final

from procore_signin._emulator.journal import UNSERVED
from procore_signin._emulator.wire.messages import Reply, Request, json_reply

_LONGEST_SHOWN: Final = 200
"""Characters of a path that are repeated."""


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
"""The methods of Procore's API; no endpoint has others."""


def may_be_procores(request: Request) -> bool:
    """Say whether Procore may serve such a request, which is known not to be served here."""
    if request.method not in _METHODS:
        return False
    return is_api(request.path) or request.path.startswith("/oauth/")


def is_api(path: str) -> bool:
    """Say whether a path is of Procore's API: `/rest/v1.0/…`, and `/vapid/…` from before it."""
    return path.startswith(("/rest/", "/vapid/")) or path in {"/rest", "/vapid"}


def not_served(request: Request) -> Reply:
    """Return the 501: that it is the emulator's, and how a test gets a response there."""
    route = f"{request.method} {request.path[:_LONGEST_SHOWN]}"
    stub = {
        "route": route,
        "kind": "status",
        "status": 200,
        "content_type": "application/json",
        "body": "[]",
        "times": None,
    }
    body = {
        "code": "NOT_IMPLEMENTED",
        "message": f"The procore-signin emulator does not serve {route}. This is not a response of "
        "Procore's, which may well serve it.",
        "fields": None,
        "reason": "Say what it answers in your test: send a fault that does to "
        f"{request.base}/_emulator/faults, such as {json.dumps(stub)}. What is served: "
        f"{request.base}/_emulator/openapi-procore.json",
        "error": "Not Implemented",
    }
    note = f'{UNSERVED} {route}; a fault of the kind "status" answers there'
    return json_reply(501, body, note=note)
