"""The limits of all transports, and their error messages."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from procore_signin._protocol.http_message import HttpRequest
from procore_signin.errors import ProcoreUnavailable, UnexpectedResponse

USER_AGENT: Final = "procore-signin"

LONGEST_DEADLINE: Final = 10.0
"""Seconds. A refresh holds its lease for longer than two requests can take (row R2), so no request
may take longer than this."""

KEEP_IDLE: Final = timedelta(seconds=15)
"""How long an unused connection is kept. Well below the keep-alive time of servers, because a
request on a connection that the server is closing fails, and it is unknown whether it was carried
out."""

MAX_BODY: Final = 65_536

NOT_PROCORE: Final = (
    "Something between this program and Procore may respond in its place, or change its responses."
)
_PERHAPS: Final = (
    "Procore may have carried out the request, and spent the code or refresh token in it."
)


def check_deadline(seconds: float) -> None:
    """Refuse a deadline that could outlast a lease.

    Raises:
        ValueError: It is not more than 0, or too long.
    """
    if not 0 < seconds <= LONGEST_DEADLINE:
        raise ValueError(f"A deadline must be more than 0 and at most {LONGEST_DEADLINE} seconds")


def not_sent(request: HttpRequest, reason: str) -> ProcoreUnavailable:
    """Return the error for a request that was not sent."""
    return ProcoreUnavailable(
        f"Procore was not reached, and {request!r} was not sent: {reason}",
        ambiguous=False,
        hint="Check this machine's network, firewall, name resolution, certificate authorities"
        " and clock. Proxies named in environment variables are not used.",
    )


def not_in_time(request: HttpRequest, reason: str) -> ProcoreUnavailable:
    """Return the error for a request whose response was incomplete at the deadline."""
    return ProcoreUnavailable(
        f"Procore did not respond to {request!r} in time: {reason}", ambiguous=True, hint=_PERHAPS
    )


def cut_off(request: HttpRequest, reason: str) -> ProcoreUnavailable:
    """Return the error for a request whose connection ended too early."""
    return ProcoreUnavailable(
        f"The connection ended before the response to {request!r} was complete: {reason}",
        ambiguous=True,
        hint=_PERHAPS,
    )


def not_http(request: HttpRequest, reason: str) -> UnexpectedResponse:
    """Return the error for a response that is not HTTP."""
    return UnexpectedResponse(
        f"The response to {request!r} is not HTTP: {reason}", hint=NOT_PROCORE
    )
