"""The error for a response that is not a success: one class for each decision of the caller.

A status that means "try again later" takes precedence over the body: a server that responds with
429 or 5xx has not judged the grant, whatever the body says (row T10). For other statuses the
`error` member decides (RFC 6749 §5.2), because Procore's authorization server has used different
statuses over the years; the status decides only if there is no `error` (row T7).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final, TypeVar

from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.retry_after import retry_after
from procore_signin._protocol.strict_json import JsonValue, parse_object
from procore_signin.errors import (
    ClientMisconfigured,
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    UnexpectedResponse,
)

E = TypeVar("E", bound=ProcoreSignInError)

_CURES: Final = {
    "invalid_client": "Compare the client id and the client secret with the app's page in Procore's"
    " developer portal. Each environment has its own; a new secret ends the old one.",
    "unauthorized_client": "Procore does not let this client use this grant. Check the app's grant"
    " types and whether the client id belongs to this environment.",
    "unsupported_grant_type": "Procore did not know the grant type. Check that the login address"
    " is that of an authorization server.",
    "invalid_scope": "Procore has no scopes and none is sent. Check what is between this"
    " program and Procore.",
    "invalid_request": "A parameter was missing or refused. Compare the redirect URI with"
    " the one registered for the app, character for character.",
}
_REPORT: Final = (
    "Check the addresses of the environment and whether something between this program and Procore"
    " responded instead. Otherwise report it to Procore with the request id."
)
_TRANSIENT: Final = frozenset({"server_error", "temporarily_unavailable"})

_ERROR_CODE: Final = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]{1,128}")
_LONG_WORD: Final = re.compile(r"[A-Za-z0-9_~+=-]{16,}")
_REQUEST_ID: Final = re.compile(r"[\x21-\x7E]{1,128}")


def success(response: HttpResponse, *, what: str, received_at: float) -> dict[str, JsonValue]:
    """Return the members of a successful response of the authorization server.

    Args:
        response: As the transport received it.
        what: The response's name in error messages, such as `token response`.
        received_at: When it came: UTC, seconds since 1970, by our own clock.

    Raises:
        ProcoreSignInError: What `oauth_error` returns.
        UnexpectedResponse: The body is not a JSON object, or its content type is not JSON.
    """
    named = is_json(response)
    members, unreadable = _members(response, what=what)
    if response.status != HTTPStatus.OK or "error" in members:
        raise _error_in(members, response, what=what, received_at=received_at)
    if not named:
        raise UnexpectedResponse(f"The {what} does not call itself application/json")
    if unreadable is not None:
        raise unreadable
    return members


def is_json(response: HttpResponse) -> bool:
    """Return whether the content type of `response` is JSON or missing."""
    media_type = response.headers.get("content-type", "application/json").partition(";")[0]
    return media_type.strip().lower() == "application/json"


def oauth_error(
    response: HttpResponse, *, what: str, received_at: float
) -> ProcoreSignInError | None:
    """Return the error in a response of the authorization server, or None.

    Returns:
        ProcoreUnavailable: 408, 429, 5xx, whatever the body says; or an error code that means it.
        GrantLost: `invalid_grant`.
        ClientMisconfigured: An error that only the operator can fix; see its `hint`.
        UnexpectedResponse: Any status but 200, or any other error member.
        None: Status 200 without an error member. The body may still be anything.
    """
    members, _ = _members(response, what=what)
    if response.status == HTTPStatus.OK and "error" not in members:
        return None
    return _error_in(members, response, what=what, received_at=received_at)


def _members(
    response: HttpResponse, *, what: str
) -> tuple[dict[str, JsonValue], UnexpectedResponse | None]:
    """Return the members of a JSON object; none, and what is wrong with it, where it is no such."""
    try:
        return parse_object(response.body, what=what), None
    except UnexpectedResponse as error:
        return {}, error.with_traceback(None)


def _error_in(
    members: dict[str, JsonValue], response: HttpResponse, *, what: str, received_at: float
) -> ProcoreSignInError:
    code = error_code(members.get("error"))
    error = (
        unavailable(response, what=what, received_at=received_at)
        or _by_code(code, response, received_at)
        or UnexpectedResponse(
            f"The {what} has status {response.status} and no error code of RFC 6749 §5.2",
            hint=_REPORT,
        )
    )
    error.error = code
    error.error_description = error_description(members.get("error_description"))
    error.request_id = request_id(response)
    return error


def _by_code(
    code: str | None, response: HttpResponse, received_at: float
) -> ProcoreSignInError | None:
    """Return the error for an error code, if the status lets it decide, otherwise None.

    An authorization server sends no redirect here, and no status outside HTTP.
    """
    if response.status // 100 not in {2, 4}:
        return None
    if code == "invalid_grant":
        return GrantLost(
            "Procore no longer accepts the code or refresh token (invalid_grant)",
            hint="Ask the user to sign in again. If every sign-in ends like this, compare the"
            " redirect URI with the one registered for the app, character for character.",
        )
    if code in _CURES:
        return ClientMisconfigured(
            f"Procore does not accept this client ({code})", hint=_CURES[code]
        )
    if code in _TRANSIENT:
        return ProcoreUnavailable(
            f"Procore could not respond ({code})",
            retry_after=retry_after(response, received_at),
            ambiguous=True,
        )
    return None


def unavailable(
    response: HttpResponse, *, what: str, received_at: float
) -> ProcoreUnavailable | None:
    """Return the error for a status that means "try again later", otherwise None.

    Its request id is for the caller to add, as for every other error: see `told`.

    Only 429 means that nothing was done. With 408 or 5xx, Procore may have carried out the request
    and spent a single-use code or refresh token: `ambiguous` is true.
    """
    status = response.status
    busy = status == HTTPStatus.TOO_MANY_REQUESTS
    if not (busy or status == HTTPStatus.REQUEST_TIMEOUT or 500 <= status <= 599):  # noqa: PLR2004 (the class 5xx, RFC 9110 §15.6)
        return None
    return ProcoreUnavailable(
        f"Procore is limiting requests (429 to the {what.removesuffix(' response')} request)"
        if busy
        else f"Procore could not respond (the {what} has status {status})",
        retry_after=retry_after(response, received_at),
        ambiguous=not busy,
    )


def told(error: E, response: HttpResponse) -> E:
    """Return `error` with the request id of `response`, and without the frames that parsed it.

    Those frames hold the plain body: a traceback that prints local variables would show tokens.
    """
    error.request_id = request_id(response)
    if isinstance(error, UnexpectedResponse):
        error.hint = error.hint or _REPORT
    return error.with_traceback(None)


def request_id(response: HttpResponse) -> str | None:
    """Return Procore's id of this request, which their support asks for, or None."""
    value = response.headers.get("x-request-id", "")
    return value if _REQUEST_ID.fullmatch(value) else None


def error_code(value: JsonValue) -> str | None:
    """Return `value` if it can be an `error` parameter (RFC 6749 §5.2, §A.7), otherwise None."""
    return value if isinstance(value, str) and _ERROR_CODE.fullmatch(value) else None


def error_description(value: JsonValue) -> str | None:
    """Return at most 512 printable characters of `value`, or None if it is not text.

    A word that may be a code, a token or a secret is left out: a server may quote what was sent.
    """
    if not isinstance(value, str):
        return None
    text = "".join(filter(str.isprintable, value))[:4096]
    return _LONG_WORD.sub(_without_secret, text)[:512] or None


def _without_secret(word: re.Match[str]) -> str:
    letters = word[0]
    plain = letters.isupper() or letters[1:] == letters[1:].lower()
    return letters if plain and not any(map(str.isdigit, letters)) else "[...]"
