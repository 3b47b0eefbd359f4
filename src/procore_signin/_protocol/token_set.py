"""The tokens of one user, as one value that is replaced as a whole."""

from __future__ import annotations

from procore_signin._protocol.secret import Secret
from procore_signin._protocol.value import value


@value(frozen=True, slots=True)
class TokenSet:
    """The tokens that the token endpoint granted (RFC 6749 §5.1).

    Attributes:
        access_token: For the API, in an `Authorization: Bearer` header only.
        refresh_token: Single-use; None if the grant has none, as with client credentials.
        expires_at: When the access token expires: UTC, seconds since 1970, by the clock of the host
            that received it; in a row of a database server, by that server's clock.
    """

    access_token: Secret
    refresh_token: Secret | None
    expires_at: int
