"""Two token sets compared where only their tokens matter."""

from __future__ import annotations

from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet


def pair(tokens: TokenSet | None) -> tuple[Secret, Secret | None] | None:
    """Return the tokens without their end, which a database server tells by its own clock."""
    return None if tokens is None else (tokens.access_token, tokens.refresh_token)
