"""What every transport of ours keeps to, and the words for what went wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from procore_signin._protocol.wire import HttpRequest
from procore_signin.errors import ProcoreUnavailable, UnexpectedResponse

USER_AGENT: Final = "procore-signin"

LONGEST_DEADLINE: Final = 10.0
"""Seconds. A refresh holds its lease for longer than two requests can take (row R2), so no request
may take longer than this."""

KEEP_IDLE: Final = timedelta(seconds=15)
"""How long an unused connection is kept. Well below what servers keep theirs, because a request on
a connection that the server is just closing fails, and no one knows whether it was carried out."""

MAX_BODY: Final = 65_536

NOT_PROCORE: Final = (
    "Something between this program and Procore may answer instead of it, or change its responses."
)
_PERHAPS: Final = (
    "Procore may have carried out the request, and spent the code or refresh token in it."
)


def check_deadline(seconds: float) -> None:
    """Refuse a deadline that a lease would not outlast.

    Raises:
        ValueError: It is none that a request may have.
    """
    if not 0 < seconds <= LONGEST_DEADLINE:
        raise ValueError(f"A deadline is more than 0 and at most {LONGEST_DEADLINE} seconds")


def not_sent(request: HttpRequest, reason: str) -> ProcoreUnavailable:
    """Return the error of a request of which not a byte left."""
    return ProcoreUnavailable(
        f"Procore was not reached, and {request!r} was not sent: {reason}",
        ambiguous=False,
        hint="Check this machine's network, firewall, name resolution, certificate authorities"
        " and clock. Proxies named in environment variables are not used.",
    )


def not_in_time(request: HttpRequest, reason: str) -> ProcoreUnavailable:
    """Return the error of a request whose response was not whole at the deadline."""
    return ProcoreUnavailable(
        f"Procore did not answer {request!r} in time: {reason}", ambiguous=True, hint=_PERHAPS
    )


def cut_off(request: HttpRequest, reason: str) -> ProcoreUnavailable:
    """Return the error of a request whose connection ended too early."""
    return ProcoreUnavailable(
        f"The connection ended before the response to {request!r} was whole: {reason}",
        ambiguous=True,
        hint=_PERHAPS,
    )


def not_http(request: HttpRequest, reason: str) -> UnexpectedResponse:
    """Return the error of a response that is not HTTP."""
    return UnexpectedResponse(
        f"The response to {request!r} is not HTTP: {reason}", hint=NOT_PROCORE
    )
