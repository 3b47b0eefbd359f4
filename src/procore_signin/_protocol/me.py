"""The user who signed in: Procore's `GET /rest/v1.0/me`.

Source: Procore's reference, "Me". `id` identifies a user in all companies of an environment;
`login` is an e-mail address and can change, so it does not identify a user (rows I1 to I3).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from procore_signin._protocol.error_response import told, unavailable
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.strict_json import JsonValue, parse_object
from procore_signin._public import public_in
from procore_signin.errors import ProcoreSignInError, SignInRefused, UnexpectedResponse

MAX_ID: Final = 2**63 - 1
MAX_TEXT: Final = 255
"""The most characters of `login` and `name`, as in the tutorial's users table."""

MAX_JSON: Final = 65_536
"""The most bytes of `Me.json`."""

_WHAT: Final = "/rest/v1.0/me response"
_CONTROLS: Final = re.compile(r"[\x00-\x1F\x7F-\x9F]")
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class Me:
    """The user of an access token.

    Attributes:
        procore_id: Procore's id of the user, 1 to 2^63 - 1. May exceed 32 bits and the integers of
            JavaScript.
        login: Their e-mail address at Procore today.
        name: Their name, at most 255 characters, or None if Procore has none. Untrusted text:
            escape it before showing it.
        json: The whole response as compact JSON, in its original order.
    """

    procore_id: int
    login: str
    name: str | None
    json: str = field(repr=False)


def me_request(api_origin: str, access_token: Secret) -> HttpRequest:
    """Return the request for the user of `access_token` (RFC 6750 §2.1: header only)."""
    return HttpRequest(
        "GET",
        f"{api_origin}/rest/v1.0/me",
        (("accept", "application/json"), ("authorization", f"Bearer {access_token.reveal()}")),
    )


def parse_me_response(response: HttpResponse, received_at: float) -> Me:
    """Return the user that Procore named (rows I3 and I6).

    Args:
        response: As the transport received it.
        received_at: When it came: UTC, seconds since 1970, by our own clock.

    Raises:
        SignInRefused: Procore does not let this user use the API (403).
        ProcoreUnavailable: Try again later (408, 429, 5xx).
        UnexpectedResponse: The response breaks the protocol, or Procore refuses the access token
            that it has just issued (401). Report it.
    """
    try:
        _check_status(response, received_at)
        return _me(parse_object(response.body, what=_WHAT))
    except ProcoreSignInError as error:
        raise told(error, response) from None


def _check_status(response: HttpResponse, received_at: float) -> None:
    error: ProcoreSignInError | None
    match response.status:
        case HTTPStatus.OK:
            return
        case HTTPStatus.UNAUTHORIZED:
            error = UnexpectedResponse(
                "Procore's API does not accept the access token that Procore has just issued (401)",
                hint="The login address and the API address may be of two environments.",
            )
        case HTTPStatus.FORBIDDEN:
            error = SignInRefused(
                "Procore does not let this user use the API (403)",
                reason="Procore does not let your account use this application's connection. Ask "
                "the Procore administrator of your company.",
                hint="Check that the app is connected to the user's company, that its version is"
                " published, and that the account is active.",
            )
        case status:
            error = unavailable(response, what=_WHAT, received_at=received_at)
            error = error or UnexpectedResponse(f"The {_WHAT} has status {status}")
    raise error


def _me(members: dict[str, JsonValue]) -> Me:
    procore_id, login, name = (members.get(key) for key in ("id", "login", "name"))
    # Not isinstance: true is an int to Python.
    if type(procore_id) is not int or not 1 <= procore_id <= MAX_ID:
        raise UnexpectedResponse(f"The {_WHAT} has no id that is an integer from 1 to 2^63 - 1")
    if not isinstance(login, str) or not 1 <= len(login) <= MAX_TEXT or _CONTROLS.search(login):
        raise UnexpectedResponse(
            f"The {_WHAT} has no login of 1 to {MAX_TEXT} characters without control characters"
        )
    if name is not None and not isinstance(name, str):
        raise UnexpectedResponse(f"The {_WHAT} has a name that is not text")
    text = _ENCODE(members)
    if len(text.encode()) > MAX_JSON:
        raise UnexpectedResponse(f"The {_WHAT} is larger than {MAX_JSON} bytes")
    return Me(procore_id, login, _CONTROLS.sub("", name or "")[:MAX_TEXT] or None, text)
