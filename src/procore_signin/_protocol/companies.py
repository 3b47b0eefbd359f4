"""The companies of a user: `GET /rest/v1.0/companies`.

Source: Procore's OpenAPI document, "List Companies". It needs no `Procore-Company-Id` header.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from procore_signin._protocol.error_response import told, unavailable
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.me import MAX_ID, MAX_TEXT
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.strict_json import JsonValue, parse
from procore_signin._public import public_in
from procore_signin.errors import ProcoreSignInError, UnexpectedResponse

PER_PAGE: Final = 300
"""The number of companies asked for. No user is known to belong to more."""

_WHAT: Final = "companies response"


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class Company:
    """A company that a user belongs to at Procore.

    Attributes:
        id: Procore's number, 1 to 2^63-1.
        name: As Procore shows it. Untrusted text: escape it before showing it.
        is_active: Whether the company is in use.
    """

    id: int
    name: str
    is_active: bool


def companies_request(api_origin: str, access_token: Secret) -> HttpRequest:
    """Return the request for the companies of the user of `access_token`."""
    return HttpRequest(
        "GET",
        f"{api_origin}/rest/v1.0/companies?per_page={PER_PAGE}",
        (("accept", "application/json"), ("authorization", f"Bearer {access_token.reveal()}")),
    )


def parse_companies_response(response: HttpResponse, received_at: float) -> tuple[Company, ...]:
    """Return the companies that Procore listed.

    Args:
        response: As the transport received it.
        received_at: When it came: UTC, seconds since 1970, by our own clock.

    Raises:
        ProcoreUnavailable: Try again later (408, 429, 5xx).
        UnexpectedResponse: The response breaks the protocol.
    """
    try:
        if response.status != HTTPStatus.OK:
            raise unavailable(response, what=_WHAT, received_at=received_at) or UnexpectedResponse(
                f"The {_WHAT} has status {response.status}"
            )
        listed = parse(response.body, what=_WHAT)
        if not isinstance(listed, list):
            raise UnexpectedResponse(f"The {_WHAT} is not a list")
        return tuple(_company(each) for each in listed)
    except ProcoreSignInError as error:
        raise told(error, response) from None


def _company(value: JsonValue) -> Company:
    members = value if isinstance(value, dict) else {}
    company_id, name = members.get("id"), members.get("name")
    # Not isinstance: true is an int to Python.
    if type(company_id) is not int or not 1 <= company_id <= MAX_ID:
        raise UnexpectedResponse(f"The {_WHAT} has a company without an id")
    if not isinstance(name, str):
        raise UnexpectedResponse(f"The {_WHAT} has a company without a name")
    shown = "".join(c for c in name if c.isprintable())[:MAX_TEXT]
    return Company(company_id, shown, members.get("is_active") is not False)
