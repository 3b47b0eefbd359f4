"""Exchanges for the inspector's tests, recorded as the emulator records them."""

from __future__ import annotations

from typing import Any

from procore_signin._emulator.journal import Exchange, Journal

STATE = "5f3c" * 16
APP = "http://localhost:4567"
REQUEST = f"/oauth/authorize?client_id=me&response_type=code&state={STATE}"
CONSENT = b'<form><button name="decision" value="allow">Allow</button></form>'


def record(journal: Journal, method: str, target: str, **changes: Any) -> Exchange:
    fields: dict[str, Any] = {
        "started_at": 1_700_000_000.5,
        "took": 0.0042,
        "caller": "user",
        "lane": "auth",
        "method": method,
        "target": target,
        "request_headers": (("host", "127.0.0.1:4568"),),
        "request_body": b"",
        "status": 200,
        "response_headers": (("content-type", "text/html"),),
        "response_body": CONSENT,
    }
    return journal.record(**(fields | changes))


def record_denial(journal: Journal, state: str = STATE) -> None:
    record(journal, "GET", REQUEST.replace(STATE, state))
    record(
        journal,
        "POST",
        "/oauth/authorize",
        request_body=f"decision=deny&continue_to={REQUEST.replace(STATE, state)}".replace(
            "&response_type=code&", "%26response_type=code%26"
        ).encode(),
        status=302,
        response_headers=(("location", f"{APP}/callback?error=access_denied"),),
        response_body=b"",
    )
