"""Errors with all that they can have in them, raised in jobs of other processes."""

from __future__ import annotations

from typing import Any

import httpx2

from procore_signin.errors import GrantLost, Problem, ProcoreSignInError, SettingsInvalid

ABOUT = {"error_description": "some words", "hint": "Wait.", "request_id": "r-1"}
CALL = {"status": 503, "method": "GET", "path": "/rest/v1.0/me"}
# What an error needs beside a message, and what else it can be made with.
MORE: dict[str, dict[str, Any]] = {
    "AttemptInvalid": {"reason": "expired", "hint": "Begin again."},
    "SignInRefused": {"reason": "Not here.", "error": "access_denied"} | ABOUT,
    "ProcoreUnavailable": {"retry_after": 7.5, "ambiguous": False} | ABOUT,
    "RateLimited": {"retry_after": 7.5, "ambiguous": False} | CALL | ABOUT,
    "ApiUnavailable": {"retry_after": 7.5, "ambiguous": True} | CALL | ABOUT,
    "ApiUnreachable": {"retry_after": 7.5, "ambiguous": False} | CALL | ABOUT,
    "Invalid": {"fields": {"name": ("is missing", "is short")}} | CALL | ABOUT,
}


def made(kind: type[ProcoreSignInError]) -> ProcoreSignInError:
    """Return one with every attribute that it can have, a note and a cause."""
    if kind is SettingsInvalid:
        error: ProcoreSignInError = SettingsInvalid((Problem("PROCORE_KEYS", "is odd", "Mend it"),))
    else:
        error = kind("what happened", **MORE.get(kind.__name__, ABOUT))
    if isinstance(error, httpx2.RequestError):
        error.request = httpx2.Request("GET", "https://api.example/rest/v1.0/me")
    error.add_note("in the job at night")
    error.__cause__ = GrantLost("the cause", hint="Sign in again.")
    return error


def job(kind: type[ProcoreSignInError]) -> None:
    raise made(kind)
