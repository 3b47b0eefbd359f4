"""The errors of calls to Procore's API: one class for each decision that a caller can take.

```
ApiError                    any of those below
├── NotSent                 we did not send it: another origin, a redirect, a bad header → a bug
├── Unauthorized            401 that a fresh token does not cure → is the app installed there?
├── NotConnected            the app is not connected to this company → have it installed
├── Forbidden               the person may not do this            → tell them
├── NotFound                it is not there, or hidden from them  → tell them
├── Invalid                 Procore does not accept the request   → correct it; see `fields`
├── Conflict                it changed meanwhile, or exists       → read it again
├── RateLimited             ProcoreUnavailable: too many requests → after `retry_after` seconds
├── ApiUnavailable          ProcoreUnavailable: 408 or 5xx        → try again later
│   └── ApiUnreachable      … and no response, or not all of it     → see `ambiguous`
└── UnexpectedAnswer        UnexpectedResponse: not what an API answers → report it
```

They are `ProcoreSignInError`s. `except ProcoreUnavailable` catches "not now", whether it was the
API or the refresh of a token. No message or attribute carries a token, a query or a body; Procore's
own words are cut, cleaned and without anything that is as long as a token.
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
    """The limit of requests is used up; nothing was done. Come back after `retry_after` seconds."""

    code = "api_rate_limited"

    def __init__(self, message: str, *, ambiguous: bool = False, **more: Any) -> None:
        super().__init__(message, ambiguous=ambiguous, **more)


@public_in("procore_signin.api")
class ApiUnavailable(ApiError, ProcoreUnavailable):
    """Procore's API could not answer (408, 5xx). Try again later.

    `ambiguous` is true where Procore may have carried the request out all the same.
    """

    code = "api_unavailable"


@public_in("procore_signin.api")
class ApiUnreachable(ApiUnavailable, httpx2.TransportError):
    """No response came, or not all of it, before the deadline.

    Try again later; where `ambiguous` is true, look first whether it was carried out. Also an
    `httpx2.TransportError`, for code that knows httpx2 only.
    """

    code = "api_unreachable"


@public_in("procore_signin.api")
class UnexpectedAnswer(ApiError, UnexpectedResponse):
    """The response is none that the API gives: too large, cut, not JSON, or it leads elsewhere.

    Report it.
    """

    code = "api_unexpected_answer"
