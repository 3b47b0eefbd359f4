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
│   └── ApiUnreachable      … and no answer, or not all of it     → see `ambiguous`
└── UnexpectedAnswer        UnexpectedResponse: not what an API answers → report it
```

They are `ProcoreSignInError`s. `except ProcoreUnavailable` catches "not now", whether it was the
API or the refresh of a token. No message or attribute carries a token, a query or a body; Procore's
own words are cut, cleaned and without anything that is as long as a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import httpx2

from procore_signin.errors import ProcoreSignInError, ProcoreUnavailable, UnexpectedResponse


class ApiError(ProcoreSignInError):
    """Base of every error of a call to Procore's API.

    Attributes:
        status: The HTTP status, or None when there is no answer.
        method: Such as `GET`.
        path: The path without the query, which may hold personal data.
        error_description: Procore's words, cleaned and bounded, or None. Escape before showing.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        method: str = "",
        path: str = "",
        **more: Any,
    ) -> None:
        super().__init__(message, **more)
        self.status = status
        self.method = method
        self.path = path


class NotSent(ApiError):
    """The request was refused here, before anything was sent. Report it: a bug, or an attack."""


class Unauthorized(ApiError):
    """Procore refuses even a fresh token (401).

    Procore's documentation names this status also for an app that is not installed in the company.
    Do not try in a loop.
    """


class NotConnected(ApiError):
    """The app is not connected to this company. An administrator of the company must install it."""


class Forbidden(ApiError):
    """The person, or the service account, has no permission for this in Procore (403)."""


class NotFound(ApiError):
    """There is no such thing, or the person may not know of it (404, 410)."""


class Invalid(ApiError):
    """Procore does not accept the request as it is (400, 422 and other 4xx). Correct it.

    Attributes:
        fields: What Procore said of each field, where it did so.
    """

    def __init__(
        self, message: str, *, fields: Mapping[str, tuple[str, ...]] | None = None, **more: Any
    ) -> None:
        super().__init__(message, **more)
        self.fields = MappingProxyType(dict(fields or {}))


class Conflict(ApiError):
    """It changed meanwhile, or there is one already (409). Read it again, then decide."""


class RateLimited(ApiError, ProcoreUnavailable):
    """The limit of requests is used up; nothing was done. Come back after `retry_after` seconds."""


class ApiUnavailable(ApiError, ProcoreUnavailable):
    """Procore's API could not answer (408, 5xx). Try again later.

    `ambiguous` is true where Procore may have carried the request out all the same.
    """


class ApiUnreachable(ApiUnavailable, httpx2.TransportError):
    """No answer came, or not all of it, before the deadline.

    Also an `httpx2.TransportError`, for code that knows httpx2 only.
    """


class UnexpectedAnswer(ApiError, UnexpectedResponse):
    """The answer is none that the API gives: too large, cut, not JSON, or it leads elsewhere."""
