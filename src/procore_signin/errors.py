"""The errors of procore-signin: one class for each decision that a caller can take.

```
ProcoreSignInError
├── SignInRefused         the person, Procore or we said no    → show why, offer to try again
├── AttemptInvalid        unknown, expired, used, not ours   → start again; log it
├── GrantLost             the code or refresh token is dead    → ask for a new sign-in
├── ClientMisconfigured   Procore does not accept this client  → tell the operator
├── ProcoreUnavailable    no answer, 5xx, 429                  → try again later
├── UnexpectedResponse    the answer breaks the protocol       → report it
├── StoreUnavailable      the database did not answer          → try again later
├── ApiError              a call to Procore's API did not succeed → see `api.errors` for each
├── VaultSealed           a sealed value cannot be opened      → operator: wrong or retired key
└── SettingsInvalid       settings are missing or wrong        → correct them all, start again
```

No message, attribute or repr of these errors carries a secret or a response body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal


class ProcoreSignInError(Exception):
    """Base of every error that procore-signin raises on purpose.

    Attributes:
        error: The OAuth error code from the wire (RFC 6749 §4.1.2.1, §5.2), or None.
        error_description: The server's words, or None. Untrusted: escape before showing.
        hint: The cure, for a developer or an operator, or None.
        request_id: Procore's `x-request-id` for the failing call, or None; tell it to support.
    """

    def __init__(
        self,
        message: str,
        *,
        error: str | None = None,
        error_description: str | None = None,
        hint: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.error = error
        self.error_description = error_description
        self.hint = hint
        self.request_id = request_id


class SignInRefused(ProcoreSignInError):
    """The person, Procore or this application said no. Show why and offer to try again.

    Attributes:
        reason: Why, in words of this application's for the person to read, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        error: str | None = None,
        error_description: str | None = None,
        hint: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(
            message,
            error=error,
            error_description=error_description,
            hint=hint,
            request_id=request_id,
        )
        self.reason = reason


InvalidAttemptReason = Literal["missing", "malformed", "mismatch", "expired", "used"]


class AttemptInvalid(ProcoreSignInError):
    """The authorization response belongs to no attempt of this browser. Start a new sign-in.

    Attributes:
        reason: `missing` (no such attempt in this browser), `malformed` (parameters that no
            server sends), `mismatch` (made for another environment or client), `expired`, `used`.
    """

    def __init__(
        self, message: str, *, reason: InvalidAttemptReason, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class GrantLost(ProcoreSignInError):
    """Procore no longer honours the code or the refresh token. Ask the person to sign in again."""


class ClientMisconfigured(ProcoreSignInError):
    """Procore does not accept this client. Tell the operator; retrying cannot help."""


class ProcoreUnavailable(ProcoreSignInError):
    """Procore did not answer, or answered 429 or 5xx. Try again later.

    Attributes:
        retry_after: Seconds to wait, as the server asked, or None.
        ambiguous: True when the request may have been carried out although no answer came.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        ambiguous: bool,
        error: str | None = None,
        error_description: str | None = None,
        hint: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(
            message,
            error=error,
            error_description=error_description,
            hint=hint,
            request_id=request_id,
        )
        self.retry_after = retry_after
        self.ambiguous = ambiguous


class UnexpectedResponse(ProcoreSignInError):
    """The answer breaks the protocol: report it. The message names the rule, never the body."""


class StoreUnavailable(ProcoreSignInError):
    """The database did not answer or refused the work. Nothing was half done; try again later."""


class VaultSealed(ProcoreSignInError):
    """A sealed value cannot be opened: wrong or retired key, or a moved or damaged row."""


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


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that is missing or wrong.

    Attributes:
        setting: Its name as the operator writes it, such as `PROCORE_CLIENT_ID`.
        what: What is wrong with it, without its value when it is secret.
        cure: What to do about it.
    """

    setting: str
    what: str
    cure: str


class SettingsInvalid(ProcoreSignInError):
    """Settings are missing or wrong. `problems` names every one of them, with its cure."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        lines = "\n".join(f"  {p.setting}: {p.what}. {p.cure}" for p in problems)
        super().__init__(f"{len(problems)} setting(s) need attention:\n{lines}")
        self.problems = problems
