"""The two generations of server software that Procore may run, side by side.

Procore's error texts, where developers recorded them, are Doorkeeper's word for word, so the
emulator speaks as Doorkeeper does. It is unknown which version Procore runs: `Dialect(4)` is 4.2,
whose forms Procore's documentation and OpenAPI show, `Dialect(5)` is 5.8. Whatever differs between
the two is in this file and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from procore_signin._emulator.wire.messages import Headers, Reply, json_reply
from procore_signin._emulator.world.grants import Token
from procore_signin._emulator.world.options import Doorkeeper

REALM: Final = "Doorkeeper"

_DESCRIPTIONS: Final = {
    "invalid_request": (
        "The request is missing a required parameter, includes an unsupported parameter value, "
        "or is otherwise malformed."
    ),
    "invalid_client": (
        "Client authentication failed due to unknown client, no client authentication included, "
        "or unsupported authentication method."
    ),
    "invalid_grant": (
        "The provided authorization grant is invalid, expired, revoked, does not match the "
        "redirection URI used in the authorization request, or was issued to another client."
    ),
    "unsupported_grant_type": (
        "The authorization grant type is not supported by the authorization server."
    ),
    "unsupported_response_type": ("The authorization server does not support this response type."),
    "unauthorized_client": (
        "The client is not authorized to perform this request using this method."
    ),
    "invalid_scope": "The requested scope is invalid, unknown, or malformed.",
    "access_denied": "The resource owner or authorization server denied the request.",
    "invalid_token": "The access token is invalid",
}


@dataclass(frozen=True, slots=True)
class OAuthError:
    """One refusal.

    Attributes:
        error: The code on the wire.
        description: The sentence on the wire.
        note: The reason, which the wire does not tell, for the inspector.
        cure: What a developer can do about it, or None.
    """

    error: str
    description: str
    note: str
    cure: str | None = None


class Dialect:
    """How one generation words, numbers and shapes its responses.

    Attributes:
        early: True for generation 4.
        token_type: As in a token response; RFC 6749 §5.1 makes its case meaningless.
        foreign_revocation_is_refused: Whether revoking without the right client is an error, or
            gets `{}` like a success while nothing is revoked.
        spent_access_token_saves_refresh_token: Whether revoking by refresh token does nothing when
            the access token beside it has expired.
    """

    __slots__ = (
        "early",
        "foreign_revocation_is_refused",
        "spent_access_token_saves_refresh_token",
        "token_type",
    )

    def __init__(self, generation: Doorkeeper) -> None:
        self.early: Final = generation == 4  # noqa: PLR2004 - the generation's number is its name
        self.token_type: Final = "bearer" if self.early else "Bearer"
        self.foreign_revocation_is_refused: Final = not self.early
        self.spent_access_token_saves_refresh_token: Final = self.early

    def error(self, error: str, note: str, *, cure: str | None = None) -> OAuthError:
        """Return the error of that code with its standard description."""
        if error == "invalid_redirect_uri":
            description = (
                "The redirect uri included is not valid."
                if self.early
                else "The requested redirect uri is malformed or doesn't match client redirect URI."
            )
        elif error == "invalid_code_challenge_method":
            # Generation 4 knows no PKCE; it gets the nearest code that it has.
            if self.early:
                return self.error("invalid_request", note, cure=cure)
            description = "The code_challenge_method must be one of plain, S256."
        else:
            description = _DESCRIPTIONS[error]
        return OAuthError(error, description, note, cure)

    def missing(self, parameter: str) -> OAuthError:
        """Return the error for a required parameter that was not sent."""
        note = f"{parameter} is missing"
        if self.early:
            return self.error("invalid_request", note)
        return OAuthError("invalid_request", f"Missing required parameter: {parameter}.", note)

    def status(self, error: str) -> int:
        """Return the HTTP status of an error: 401 for all, or RFC 6749 §5.2's 400 for most."""
        if self.early or error in {"invalid_client", "unauthorized_client", "invalid_token"}:
            return 401
        return 400

    def page_status(self, error: str) -> int:
        """Return the HTTP status of an error that the authorization endpoint shows as a page."""
        return 200 if self.early else self.status(error)

    def cache_headers(self) -> Headers:
        """Return what forbids storing a response of the token endpoint."""
        value = "no-store" if self.early else "no-store, no-cache"
        return (("cache-control", value), ("pragma", "no-cache"))

    def reply(self, refused: OAuthError, *, state: str | None = None) -> Reply:
        """Return an error as the token endpoint does: JSON, with a challenge."""
        body = {"error": refused.error, "error_description": refused.description}
        if state:
            body["state"] = state
        challenge = (
            f'Bearer realm="{REALM}", error="{refused.error}", '
            f'error_description="{refused.description}"'
        )
        return json_reply(
            self.status(refused.error),
            body,
            *self.cache_headers(),
            ("www-authenticate", challenge),
            note=refused.note,
        )

    def token_info(self, token: Token, now: float) -> dict[str, Any]:
        """Return what `/oauth/token/info` says of a token."""
        scope, expiry = ("scopes", "expires_in_seconds") if self.early else ("scope", "expires_in")
        return {
            "resource_owner_id": token.person_id,
            scope: [],
            expiry: token.remaining(now),
            "application": {"uid": token.client_id},
            "created_at": int(token.created_at),
        }

    def unknown_token_info(self) -> OAuthError:
        """Return the error of `/oauth/token/info` for a token that is not good."""
        error = "invalid_request" if self.early else "invalid_token"
        return self.error(error, "the access token is unknown, expired or revoked")

    def out_of_band_location(self, code: str) -> str:
        """Return where a code without a callback is shown."""
        return f"/oauth/authorize/{code}" if self.early else f"/oauth/authorize/native?code={code}"
