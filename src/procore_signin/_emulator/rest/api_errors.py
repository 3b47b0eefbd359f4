"""The error bodies of Procore's API. They differ from endpoint to endpoint there, so they do here.

Where a body was recorded or documented it is that; the statuses of the missing company header and
the exact 401 body are not documented and are inferences.
"""

from __future__ import annotations

from typing import Final

from procore_signin._emulator.oauth.doorkeeper import REALM
from procore_signin._emulator.wire.messages import Reply, json_reply, text_reply
from procore_signin._emulator.world.grants import Token

_MISSING_COMPANY: Final = (
    "Missing Procore-Company-Id header!\n\n"
    "Each call your application makes to the Procore API must contain a request header that "
    "includes the Procore-Company-Id field. \n"
    "This request header field specifies the id of the company into which you are making the call."
)
_TOKEN_REASONS: Final = {
    "unknown": ("The access token is invalid", "The access token is invalid"),
    "expired": (
        "The access token expired",
        "Your access token has expired, please use your refresh token to obtain a fresh token.",
    ),
    "revoked": ("The access token was revoked", "The access token was revoked"),
}


def invalid_token(token: Token | None, now: float) -> Reply:
    """Return the 401 for a bearer token that is not good, or for none."""
    if token is None:
        reason = "unknown"
    else:
        reason = "revoked" if token.revoked or not token.expired(now) else "expired"
    description, message = _TOKEN_REASONS[reason]
    challenge = f'Bearer realm="{REALM}", error="invalid_token", error_description="{description}"'
    body = {
        "code": "UNAUTHORIZED",
        "message": message,
        "fields": None,
        "reason": description,
        "error": "Invalid Token",
    }
    return json_reply(401, body, ("www-authenticate", challenge), note=description)


def missing_company() -> Reply:
    """Return the response to a call without `Procore-Company-Id`: the documentation's words."""
    return text_reply(400, _MISSING_COMPANY, note="Procore-Company-Id is missing")


def bad_request(message: str) -> Reply:
    """Return a 400 in the envelope that the OpenAPI gives it."""
    return json_reply(400, {"error": {"code": "400", "message": message}}, note=message)


def not_connected() -> Reply:
    """Return the 403 for a company in which the application is not installed."""
    message = "App is not connected to this company."
    return json_reply(403, {"errors": [message]}, note=message)


def not_found(what: str) -> Reply:
    """Return the 404 of the API, which also hides what the caller may not see."""
    body = {
        "code": "NOT_FOUND",
        "message": f"{what} not found",
        "fields": None,
        "reason": None,
        "error": "Not Found",
    }
    return json_reply(404, body, note=body["message"])


def unprocessable(field: str, problem: str) -> Reply:
    """Return the 422 for a parameter whose value makes no sense."""
    return json_reply(422, {"errors": {field: [problem]}}, note=f"{field} {problem}")


def too_many_requests(reset_at: int, now: float, *, hourly: bool) -> Reply:
    """Return the 429 of the hourly or of the spike limit, with the seconds until it resets."""
    window = "an hour" if hourly else "your rate limit"
    message = (
        f"You have surpassed the max number of requests for {window}. "
        "Please wait until your limit resets."
    )
    wait = ("retry-after", str(max(1, reset_at - int(now))))
    return json_reply(429, {"errors": message}, wait, note=f"rate limit; it resets at {reset_at}")
