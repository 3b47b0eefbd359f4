"""The errors of procore-signin: one class for each decision that a caller can take.

```
ProcoreSignInError
├── SignInRefused         the user, Procore or the app said no → show why, offer to try again
├── AttemptInvalid        unknown, expired, used, not ours   → start again; log it
├── GrantLost             the code or refresh token is dead    → ask for a new sign-in
├── ClientMisconfigured   Procore does not accept this client  → tell the operator
├── ProcoreUnavailable    no response, 5xx, 429                  → try again later
├── UnexpectedResponse    the response breaks the protocol       → report it
├── StoreUnavailable      the database did not respond         → try again later
├── ApiError              a call to Procore's API did not succeed → see `procore_signin.api`
├── VaultSealed           a sealed value cannot be opened      → operator: wrong or retired key
└── SettingsInvalid       settings are missing or wrong        → correct them all, start again
```

No message, attribute or repr of these errors carries a secret or a response body.

Each of them, and each subclass of yours, can be pickled and copied: it comes out of a process pool,
or out of a result back-end that pickles, unchanged. A back-end that keeps only the class and the
message, such as Celery's with JSON, returns those, with the attributes at their defaults.
"""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, Self

__all__ = [
    "AlreadyLinked",
    "ApiError",
    "AttemptInvalid",
    "ClientMisconfigured",
    "Conflict",
    "Forbidden",
    "GrantLost",
    "Invalid",
    "InvalidAttemptReason",
    "NotConnected",
    "NotFound",
    "NotSent",
    "Problem",
    "ProcoreSignInError",
    "ProcoreUnavailable",
    "SettingsInvalid",
    "SignInRefused",
    "StoreUnavailable",
    "Unauthorized",
    "UnexpectedResponse",
    "VaultSealed",
]


class ProcoreSignInError(Exception):
    """Base of every error that procore-signin raises on purpose.

    Args:
        message: What happened. Every class can be made from the message alone: some job queues keep
            nothing else of an error.

    Attributes:
        code: A short name for the class, the same in every version, for programs, logs and metrics
            that do not know the classes. A subclass of yours inherits it unless it sets its own.
        error: The OAuth error code from the wire (RFC 6749 §4.1.2.1, §5.2), or None.
        error_description: The server's words, or None. Untrusted: escape before showing.
        hint: The cure, for a developer or an operator, or None.
        request_id: Procore's `x-request-id` for the failed request, or None. Quote it to Procore's
            support.
    """

    code: ClassVar[str] = "procore_signin_error"

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Give pickle the state of this error, instead of constructor arguments.

        `BaseException` would call the class with `args`, which has no keyword arguments: the
        receiver could not unpickle the error, and that breaks a process pool for good.

        A value that cannot be pickled is replaced by its `repr` (a secret by its label), and a
        cause by its message. Tracebacks and `__context__` are dropped, as for every exception.
        """
        state = {name: _portable(value) for name, value in _attributes(self).items()}
        state["args"] = tuple(map(_portable, self.args))
        state["__cause__"] = _portable_cause(self.__cause__)
        state["__suppress_context__"] = self.__suppress_context__
        return copyreg.__newobj__, (type(self),), state  # type: ignore[attr-defined]  # as pickle's own

    def __copy__(self) -> Self:
        """Return the same error, with the same attributes and no traceback."""
        copy = type(self).__new__(type(self))
        copy.__setstate__(_attributes(self))
        copy.args = self.args
        copy.__cause__ = self.__cause__
        copy.__suppress_context__ = self.__suppress_context__
        if hasattr(self, "__notes__"):
            copy.__notes__ = list(self.__notes__)
        return copy


def _attributes(error: ProcoreSignInError) -> dict[str, Any]:
    """Return the attributes of `error`, including those in slots of a subclass."""
    state: Any = (
        error.__getstate__()
    )  # `object` gives a dictionary, or a pair of dictionary and slots
    parts = state if isinstance(state, tuple) else (state,)
    return {name: value for part in parts if part for name, value in part.items()}


class _ReadOnly:
    """Replaces a read-only mapping, which pickle cannot pickle, while it is pickled."""

    def __init__(self, mapping: Mapping[Any, Any]) -> None:
        self._entries: Final = dict(mapping)

    def __reduce__(self) -> tuple[Any, ...]:
        return _read_only, (self._entries,)


def _read_only(entries: Mapping[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(entries)  # pickle cannot find the class itself by name


def _portable(value: object) -> object:
    """Return `value` if another process can read it, otherwise its replacement."""
    try:
        kept = _ReadOnly(value) if isinstance(value, MappingProxyType) else value
        pickle.loads(pickle.dumps(kept))  # noqa: S301  # written in the line itself
    except Exception:  # noqa: BLE001  # other people's classes raise anything here
        return repr(value)
    return kept


def _portable_cause(cause: BaseException | None) -> BaseException | None:
    if cause is None or type(cause).__reduce__ is ProcoreSignInError.__reduce__:
        return cause
    kept = _portable(cause)
    if isinstance(kept, BaseException):
        return kept
    kind = type(cause)
    return RuntimeError(f"{kind.__module__}.{kind.__qualname__}: {cause}")


class SignInRefused(ProcoreSignInError):
    """The user, Procore or this application said no. Show why and offer to try again.

    Attributes:
        reason: Why, in this application's own words, to be shown to the user, or None.
    """

    code = "sign_in_refused"

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


class AlreadyLinked(SignInRefused):
    """A user is connected to another user of the application. Disconnect them there first."""

    code = "already_linked"


InvalidAttemptReason = Literal["missing", "malformed", "mismatch", "expired", "used", "other_login"]


class AttemptInvalid(ProcoreSignInError):
    """The authorization response belongs to no attempt of this browser. Start a new sign-in.

    Attributes:
        reason: `missing` (no such attempt in this browser), `malformed` (parameters that no
            server sends), `mismatch` (made for another environment or client), `expired`, `used`,
            `other_login` (another user of the application is logged in now, or none).
    """

    code = "attempt_invalid"

    def __init__(
        self,
        message: str,
        *,
        reason: InvalidAttemptReason = "missing",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class GrantLost(ProcoreSignInError):
    """Procore no longer accepts the code or the refresh token. Ask the user to sign in again."""

    code = "grant_lost"


class ClientMisconfigured(ProcoreSignInError):
    """Procore does not accept this client. Tell the operator; retrying cannot help."""

    code = "client_misconfigured"


class ProcoreUnavailable(ProcoreSignInError):
    """Procore did not respond, or responded with 429 or 5xx. Try again later.

    Attributes:
        retry_after: Seconds to wait, as the server asked, or None.
        ambiguous: True when Procore may have carried out the request although no response came, or
            when that is unknown.
    """

    code = "procore_unavailable"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        ambiguous: bool = True,
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
    """The response breaks the protocol. Report it. The message names the rule, never the body."""

    code = "unexpected_response"


class StoreUnavailable(ProcoreSignInError):
    """The database did not respond or refused the work. Nothing was half done. Try again later.

    Attributes:
        reason: A word for the cause, such as `silent`, `read_only`, `full`, `refused` or `locked`,
            or None where it has no name.
    """

    code = "store_unavailable"

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


class VaultSealed(ProcoreSignInError):
    """A sealed value cannot be opened: wrong or retired key, or a moved or damaged row.

    Tell the operator to put the key back into `PROCORE_KEYS`; retrying cannot help.
    """

    code = "vault_sealed"


class ApiError(ProcoreSignInError):
    """Base of every error of a call to Procore's API.

    Attributes:
        status: The HTTP status, or None when no response came.
        method: The request's method, such as `GET`.
        path: The request's path, without the query, which may hold personal data.
        error_description: Procore's words, cleaned and bounded, or None. Escape before showing.
    """

    code = "api_error"

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

    code = "api_not_sent"


class Unauthorized(ApiError):
    """Procore refuses even a fresh token (401).

    Do not try in a loop. Procore's documentation names this status also for an app that is not
    installed in the company: check that.
    """

    code = "api_unauthorized"


class NotConnected(ApiError):
    """The app is not connected to this company. An administrator of the company must install it."""

    code = "api_not_connected"


class Forbidden(ApiError):
    """The user, or the service account, has no permission for this in Procore (403).

    Tell the user to ask an administrator of the company for it.
    """

    code = "api_forbidden"


class NotFound(ApiError):
    """It does not exist, or Procore hides it from the user (404, 410). Tell the user."""

    code = "api_not_found"


class Invalid(ApiError):
    """Procore does not accept the request as it is (400, 422 and other 4xx). Correct it.

    Attributes:
        fields: What Procore said about each field, by field name; empty if it named none.
    """

    code = "api_invalid"

    def __init__(
        self, message: str, *, fields: Mapping[str, tuple[str, ...]] | None = None, **more: Any
    ) -> None:
        super().__init__(message, **more)
        self.fields = MappingProxyType(dict(fields or {}))


class Conflict(ApiError):
    """It has changed meanwhile, or it already exists (409). Read it again, then decide."""

    code = "api_conflict"


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
    """Settings are missing or wrong. Correct them: `problems` names each, with its cure.

    Args:
        problems: All of them, or the message of such an error when nothing else of it was kept.
        hint: Where `.env` was looked for, or None if no file was.
    """

    code = "settings_invalid"

    def __init__(self, problems: tuple[Problem, ...] | str, *, hint: str | None = None) -> None:
        if isinstance(problems, str):
            super().__init__(problems, hint=hint)
            self.problems: tuple[Problem, ...] = ()
            return
        lines = [f"  {p.setting}: {p.what}. {p.cure}" for p in problems]
        told = [] if hint is None else [f"  {hint}"]
        message = [f"{len(problems)} setting(s) need attention:", *lines, *told]
        super().__init__("\n".join(message), hint=hint)
        self.problems = problems


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
