"""The token, revocation and token info endpoints: their requests and responses.

Sources: RFC 6749 §4.1.3, §4.4.2, §5 and §6; RFC 7009 (revocation); Procore's documentation,
"OAuth 2.0 Endpoints" and "Authorization Code Grant Flow".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Final, TypeAlias
from urllib.parse import quote_plus

from procore_signin._protocol.error_response import oauth_error, request_id, success, told
from procore_signin._protocol.http_message import UNRESERVED, HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.strict_json import JsonValue, parse_object
from procore_signin._protocol.token_set import TokenSet
from procore_signin._protocol.value import value
from procore_signin.errors import GrantLost, ProcoreSignInError, UnexpectedResponse

DEFAULT_LIFETIME: Final = 900
"""Seconds, used if `expires_in` is missing: the shortest lifetime that Procore has announced (row
T5)."""

MAX_LIFETIME: Final = 100_000_000

_VSCHARS: Final = re.compile(r"[\x20-\x7E]+")  # RFC 6749 §A
TOKEN: Final = re.compile(r"[\x20-\x7E]{1,8192}")
"""The syntax of a token (RFC 6749 §A.12, §A.17), limited to the size of a header."""


@dataclass(frozen=True, slots=True)
class Client:
    """This application as registered with Procore.

    Attributes:
        client_id: Public, from the app's page in Procore's developer portal.
        client_secret: From the same page. Sent in the body only (row T1).
        redirect_uri: Exactly as registered.

    Raises:
        ValueError: One of them is empty or has a character that RFC 6749 §A.1, §A.2 or RFC 3986
            does not allow. The message does not show the value.
    """

    client_id: str
    client_secret: Secret
    redirect_uri: str

    def __post_init__(self) -> None:
        if not _VSCHARS.fullmatch(self.client_id):
            raise ValueError("The client id must be printable ASCII")
        if not _VSCHARS.fullmatch(self.client_secret.reveal()):
            raise ValueError("The client secret must be printable ASCII")
        if not _VSCHARS.fullmatch(self.redirect_uri) or " " in self.redirect_uri:
            raise ValueError("The redirect URI must be printable ASCII without spaces")


@value(frozen=True, slots=True)
class AuthorizationCodeGrant:
    """Exchange a code for tokens (RFC 6749 §4.1.3, RFC 7636 §4.5). Send it only once.

    Attributes:
        code: From the authorization response.
        redirect_uri: The same as in the authorization request.
        code_verifier: The verifier of the challenge in the authorization request, or None if none
            was sent.
    """

    code: Secret
    redirect_uri: str
    code_verifier: Secret | None


@value(frozen=True, slots=True)
class RefreshTokenGrant:
    """Exchange a refresh token for tokens (RFC 6749 §6). Procore's are single-use."""

    refresh_token: Secret


@value(frozen=True, slots=True)
class ClientCredentialsGrant:
    """Tokens for the client itself (RFC 6749 §4.4): Procore's service accounts."""


Grant: TypeAlias = AuthorizationCodeGrant | RefreshTokenGrant | ClientCredentialsGrant


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """Procore's information about an access token.

    Attributes:
        resource_owner_id: Procore's id of the user, or None for a service account.
        client_id: The client that the token was issued to.
        expires_in: Seconds left, or None if Procore does not say.
    """

    resource_owner_id: int | None
    client_id: str
    expires_in: int | None


def token_request(login_origin: str, client: Client, grant: Grant) -> HttpRequest:
    """Return the request that exchanges `grant` for tokens.

    The client authenticates only in the body: servers of this kind refuse a request that
    authenticates twice (row T1). The request spends a code or a refresh token, but not the client's
    own credentials.
    """
    secret = client.client_secret.reveal()
    match grant:
        case AuthorizationCodeGrant():
            grant_type = "authorization_code"
            fields = [("code", grant.code.reveal()), ("redirect_uri", grant.redirect_uri)]
            if grant.code_verifier is not None:
                fields.append(("code_verifier", grant.code_verifier.reveal()))
        case RefreshTokenGrant():
            grant_type = "refresh_token"
            fields = [
                ("refresh_token", grant.refresh_token.reveal()),
                ("redirect_uri", client.redirect_uri),
            ]
        case ClientCredentialsGrant():
            grant_type = "client_credentials"
            fields = []
    return _post(
        f"{login_origin}/oauth/token",
        [("grant_type", grant_type), *_authentication(client, secret), *fields],
        repeatable=isinstance(grant, ClientCredentialsGrant),
    )


def parse_token_response(response: HttpResponse, *, received_at: float) -> TokenSet:
    """Return the tokens that Procore granted, read strictly (RFC 6749 §5.1; rows T4 to T7).

    For responses that can be requested again. If the request spent a code or a refresh token, an
    error here would lose the grant: use `token_response.read_granted`.

    The lifetime starts at `received_at`: `created_at` is the server's clock and cannot extend it.

    Args:
        response: As the transport received it.
        received_at: When it came: UTC, seconds since 1970, by our own clock.

    Raises:
        GrantLost: The code or refresh token is invalid. Ask the user to sign in again.
        ClientMisconfigured: Procore does not accept this client. Tell the operator.
        ProcoreUnavailable: Try again later; `ambiguous` tells whether the grant may be spent.
        UnexpectedResponse: The response breaks the protocol. Report it; the grant may be spent.
    """
    try:
        return _token_set(
            success(response, what="token response", received_at=received_at), int(received_at)
        )
    except ProcoreSignInError as error:
        raise told(error, response) from None


def revocation_request(login_origin: str, client: Client, token: Secret) -> HttpRequest:
    """Return the request that revokes a token (RFC 7009 §2.1).

    Procore revokes both tokens of the pair, whichever is sent.
    """
    return _post(
        f"{login_origin}/oauth/revoke",
        [("token", token.reveal()), *_authentication(client, client.client_secret.reveal())],
    )


def check_revocation_response(response: HttpResponse, received_at: float) -> None:
    """Return if Procore confirms that the token is revoked, as it also does for an unknown token.

    Under status 200 the body is not part of the protocol (RFC 7009 §2.2). An OAuth error counts all
    the same, because the token may then still be valid, and so does a page of HTML: it is the
    response of a gateway, and not of an authorization server.

    Args:
        response: As the transport received it.
        received_at: When it came: UTC, seconds since 1970, by our own clock.

    Raises:
        ClientMisconfigured: Procore does not let this client end this token.
        ProcoreUnavailable: Try again later.
        UnexpectedResponse: Anything else; the token may
            still be valid.
    """
    error = oauth_error(response, what="revocation response", received_at=received_at)
    if error is not None:
        raise error
    if "html" in response.headers.get("content-type", "").lower():
        raise told(UnexpectedResponse("The revocation response is a page of HTML"), response)


def token_info_request(login_origin: str, access_token: Secret) -> HttpRequest:
    """Return the request that asks Procore about `access_token`."""
    return HttpRequest(
        "GET",
        f"{login_origin}/oauth/token/info",
        (("accept", "application/json"), ("authorization", f"Bearer {access_token.reveal()}")),
    )


def parse_token_info_response(response: HttpResponse, received_at: float) -> TokenInfo:
    """Return Procore's information about an access token, from either of its two formats.

    Raises:
        GrantLost: The access token is expired, revoked or of another environment.

        ProcoreUnavailable: Try again later.
        UnexpectedResponse: The response breaks the protocol. Report it.
    """
    what = "token info response"
    # RFC 6750 §3.1. Older servers of this kind say `invalid_request` with the same status.
    if response.status == HTTPStatus.UNAUTHORIZED:
        raise GrantLost(
            "Procore does not accept this access token (401)",
            hint="It is expired, revoked or of another environment. Refresh it or sign in again.",
            request_id=request_id(response),
        )
    try:
        return _token_info(success(response, what=what, received_at=received_at), what)
    except ProcoreSignInError as error:
        raise told(error, response) from None


def is_token_info(response: HttpResponse) -> bool:
    """Whether `response` is about a token that the server accepts, even if it cannot be parsed."""
    if response.status != HTTPStatus.OK:
        return False
    try:
        parse_object(response.body, what="token info response")
    except UnexpectedResponse:  # such as the page of a gateway
        return False
    return True


def _token_set(members: dict[str, JsonValue], received_at: int) -> TokenSet:
    what = "token response"
    token_type = members.get("token_type")
    if not isinstance(token_type, str) or token_type.lower() != "bearer":
        raise UnexpectedResponse(f"The {what} does not have the token_type bearer")
    access = _text(members.get("access_token"), what, "access_token")
    refresh = None
    if "refresh_token" in members:
        refresh = _text(members["refresh_token"], what, "refresh_token")
    lifetime = _integer(
        members.get("expires_in", DEFAULT_LIFETIME), what, "expires_in", range(1, MAX_LIFETIME + 1)
    )
    return TokenSet(
        Secret(access, "access token"),
        None if refresh is None else Secret(refresh, "refresh token"),
        received_at + lifetime,
    )


def _token_info(members: dict[str, JsonValue], what: str) -> TokenInfo:
    application = members.get("application")
    if not isinstance(application, dict):
        raise UnexpectedResponse(f"The {what} names no application")
    owner = members.get("resource_owner_id")
    lifetime = members.get("expires_in_seconds", members.get("expires_in"))
    return TokenInfo(
        None if owner is None else _integer(owner, what, "resource_owner_id", range(1, 2**63)),
        _text(application.get("uid"), what, "application.uid"),
        None
        if lifetime is None
        else _integer(lifetime, what, "expires_in", range(MAX_LIFETIME + 1)),
    )


def _text(value: JsonValue, what: str, name: str) -> str:
    if isinstance(value, str) and TOKEN.fullmatch(value):
        return value
    raise UnexpectedResponse(f"The {what} has no {name} of 1 to 8192 printable ASCII characters")


def _integer(value: JsonValue, what: str, name: str, allowed: range) -> int:
    # Not isinstance: true is an int to Python (row T4).
    if type(value) is int and value in allowed:
        return value
    raise UnexpectedResponse(
        f"The {what} has no {name} that is an integer from {allowed.start} to {allowed.stop - 1}"
    )


def _authentication(client: Client, secret: str) -> list[tuple[str, str]]:
    return [("client_id", client.client_id), ("client_secret", secret)]


def _post(url: str, fields: list[tuple[str, str]], *, repeatable: bool = True) -> HttpRequest:
    return HttpRequest(
        "POST",
        url,
        (("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")),
        # The names are ours, and letters: only the values need escapes.
        "&".join([f"{name}={_in_form(name, value)}" for name, value in fields]).encode("ascii"),
        repeatable=repeatable,
    )


def _in_form(name: str, value: str) -> str:
    if UNRESERVED.fullmatch(value):
        return value
    return _address_in_form(value) if name == "redirect_uri" else quote_plus(value)


# The one value that always has something to escape is the same each time, and no secret.
_address_in_form: Final = lru_cache(maxsize=16)(quote_plus)
