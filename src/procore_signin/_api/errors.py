"""The errors of calls to Procore's API: one class for each decision of the caller.

```
ApiError                    any of those below
├── NotSent                 not sent: another origin, a redirect, a bad header           → a bug
├── Unauthorized            401, also with a fresh token         → is the app installed there?
├── NotConnected            the app is not connected to this company → have it installed
├── Forbidden               the user may not do this              → tell them
├── NotFound                it is not there, or hidden from them  → tell them
├── Invalid                 Procore does not accept the request   → correct it; see `fields`
├── Conflict                it changed meanwhile, or exists       → read it again
├── RateLimited             ProcoreUnavailable: too many requests → after `retry_after` seconds
├── ApiUnavailable          ProcoreUnavailable: 408 or 5xx        → try again later
│   └── ApiUnreachable      … and no response, or not all of it     → see `ambiguous`
└── UnexpectedAnswer        UnexpectedResponse: not a valid API response → report it
```

All of them are `ProcoreSignInError`s. `except ProcoreUnavailable` catches "try again later",
whether from the API or from a token refresh. No message or attribute contains a token, a query or a
body; Procore's own words are shortened and cleaned, without any word as long as a token.
"""

from __future__ import annotations

from typing import Any

import httpx2

from procore_signin._public import public_in
from procore_signin.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotConnected,
    NotFound,
    NotSent,
    ProcoreUnavailable,
    Unauthorized,
    UnexpectedResponse,
)

__all__ = [
    "ApiError",
    "ApiUnavailable",
    "ApiUnreachable",
    "Conflict",
    "Forbidden",
    "Invalid",
    "NotConnected",
    "NotFound",
    "NotSent",
    "RateLimited",
    "Unauthorized",
    "UnexpectedAnswer",
]


@public_in("procore_signin.api")
class RateLimited(ApiError, ProcoreUnavailable):
    """The limit of requests is used up; nothing was done. Try again after `retry_after` seconds."""

    code = "api_rate_limited"

    def __init__(self, message: str, *, ambiguous: bool = False, **more: Any) -> None:
        super().__init__(message, ambiguous=ambiguous, **more)


@public_in("procore_signin.api")
class ApiUnavailable(ApiError, ProcoreUnavailable):
    """Procore's API could not respond (408, 5xx). Try again later.

    `ambiguous` is true if Procore may have carried out the request.
    """

    code = "api_unavailable"


@public_in("procore_signin.api")
class ApiUnreachable(ApiUnavailable, httpx2.TransportError):
    """No response came, or only part of it, before the deadline.

    Try again later; if `ambiguous` is true, first check whether the request was carried out. Also
    an `httpx2.TransportError`, for code that knows only httpx2.
    """

    code = "api_unreachable"


@public_in("procore_signin.api")
class UnexpectedAnswer(ApiError, UnexpectedResponse):
    """Not a valid API response: too large, cut off, not JSON, or it leads elsewhere.

    Report it.
    """

    code = "api_unexpected_answer"
