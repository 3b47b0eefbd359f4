"""The inspector's words: the tutorial's sixteen steps, OAuth's names, and what errors mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Actor = Literal["user", "app", "auth", "api"]

ACTORS: Final[Mapping[Actor, str]] = {
    "user": "User",
    "app": "Your App",
    "auth": "Procore Auth Server",
    "api": "Procore API",
}
"""The tutorial's four participants, in the order of their lanes."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of Procore's tutorial.

    Attributes:
        number: 1 to 16, as in the tutorial.
        source: Whose step it is.
        target: Who receives it; the same as `source` for a step within one participant.
        words: What happens.
        oauth: What OAuth 2.0 calls it and where, or None when OAuth has no name for it.
        line: What passes, for a step that the emulator cannot see.
    """

    number: int
    source: Actor
    target: Actor
    words: str
    oauth: str | None = None
    line: str = ""


STEPS: Final[tuple[Step, ...]] = (
    Step(1, "user", "app", "The user opens your app's page in a browser", line="opens the page"),
    Step(
        2,
        "app",
        "user",
        "Your app shows a page with a button that starts the sign-in",
        line="page with button",
    ),
    Step(
        3,
        "user",
        "auth",
        "The user clicks it: the browser asks Procore for authorization",
        "authorization request, RFC 6749 §4.1.1",
    ),
    Step(4, "auth", "user", "Procore presents its login panel"),
    Step(
        5,
        "user",
        "auth",
        "The user enters e-mail and password and logs in",
        "resource owner authenticates",
    ),
    Step(6, "auth", "user", "Procore displays the consent dialog"),
    Step(
        7,
        "user",
        "auth",
        "The user allows or denies your app access",
        "resource owner authorizes",
    ),
    Step(
        8,
        "auth",
        "user",
        "Procore redirects the browser back to your app with the authorization code",
        "authorization response, RFC 6749 §4.1.2",
    ),
    Step(9, "app", "app", "Your app extracts the authorization code", line="reads the code"),
    Step(
        10,
        "app",
        "auth",
        "Your app asks for an access token in exchange for the code",
        "access token request, RFC 6749 §4.1.3",
    ),
    Step(
        11,
        "auth",
        "app",
        "Procore returns JSON that includes the access token",
        "access token response, RFC 6749 §4.1.4",
    ),
    Step(12, "app", "app", "Your app extracts the access token", line="reads the token"),
    Step(
        13,
        "app",
        "api",
        "Your app calls the Procore API",
        "protected resource request, RFC 6750 §2.1",
    ),
    Step(14, "api", "app", "The API responds with JSON", "protected resource response"),
    Step(15, "app", "user", "Your app displays what the JSON says", line="page with the data"),
    Step(16, "user", "user", "The user views the result in the browser", line="sees it"),
)


def step(number: int) -> Step:
    """Return the tutorial's step with that number, 1 to 16."""
    return STEPS[number - 1]


PARAMETERS: Final[Mapping[str, str]] = {
    "access_token": "the key to the API for this user: your app sends it as the bearer token",
    "application": "the app that the token was issued to",
    "client_id": "says which app is asking",
    "client_secret": "proves to Procore that your app is asking, and no one else",
    "code": "the authorization code: used once, within minutes, to get tokens",
    "code_challenge": "PKCE: the SHA-256 of a value that only your app knows (RFC 7636)",
    "code_challenge_method": "PKCE: how the challenge was made; S256 is SHA-256",
    "code_verifier": "PKCE: the value behind the challenge; proves the same app began this sign-in",
    "continue_to": "the authorization request to go on with afterwards",
    "created_at": "when the token was made, in seconds since 1970 UTC",
    "decision": "the button the user pressed",
    "error": "what went wrong, in a word that programs decide by",
    "error_description": "what went wrong, in words for a developer",
    "expires_in": "how many seconds the access token is good for",
    "expires_in_seconds": "how many more seconds the access token is good for",
    "grant_type": "what is given in exchange for the tokens",
    "id": "the user's Procore id: never changes, so your app finds its user by it",
    "iss": "which authorization server responded",
    "login": "the user's e-mail address at Procore; it can change",
    "name": "the user's name",
    "password": "goes from the browser to Procore only: your app never sees it",
    "redirect_uri": "where Procore sends the browser back to; must be one registered for the app",
    "refresh_token": "gets the next pair of tokens without the user; good for one use",
    "resource_owner_id": "the Procore id of the user whom the token acts for",
    "response_type": "what your app wants back; `code` is an authorization code",
    "state": "made by your app and returned as it was: ties the response to this very browser",
    "token": "the token to revoke",
    "token_type": "how to use the token; bearer: any holder may use it",
}
"""What the fields of OAuth's messages are for."""

ERRORS: Final[Mapping[str, str]] = {
    "access_denied": "The user pressed Deny. Your app gets no code: offer to try again.",
    "invalid_client": "Client id or secret is wrong, or from another environment. "
    "Compare both with the app's page on the Developer Portal.",
    "invalid_grant": "The code or refresh token is no longer good: used before, expired, revoked, "
    "or made for another redirect URI or app. The user must sign in again.",
    "invalid_request": "A parameter is missing, given twice or malformed.",
    "invalid_scope": "Procore has no scopes: leave the parameter out.",
    "invalid_token": "The access token is unknown, expired or revoked: refresh it.",
    "server_error": "The authorization server failed. Try again in a moment.",
    "temporarily_unavailable": "The authorization server is overloaded. Try again in a moment.",
    "unauthorized_client": "This app may not use this kind of request.",
    "unsupported_grant_type": "Procore knows authorization_code, refresh_token and "
    "client_credentials.",
    "unsupported_response_type": "Ask for `code`: Procore offers nothing else.",
}
"""What an OAuth error code means and what to do about it."""

STATUSES: Final[Mapping[int, str]] = {
    401: "The bearer token was not accepted: missing, expired, revoked or from another "
    "environment. Refresh it once; if that fails, the user must sign in again.",
    403: "Procore knows the user but does not let this app or this user in here.",
    404: "There is nothing at this path, or this user may not know that there is.",
    429: "Too many requests: wait until the time in X-Rate-Limit-Reset.",
    501: "The emulator does not imitate this call; Procore may well serve it. Say what it answers "
    "in your test: add a fault of the kind `status` for this route.",
}
"""What a refusal by status alone means; see also `meaning_of_status`."""


def meaning_of_status(status: int) -> str | None:
    """Return what an unsuccessful status means in words, or None for a successful one."""
    if status in STATUSES:
        return STATUSES[status]
    if status >= 500:  # noqa: PLR2004 - the class of server errors
        return "The server failed. What it did before it failed is not known."
    return "The request was refused." if status >= 400 else None  # noqa: PLR2004 - as above
