"""Which token a request bears: RFC 6750 §2.1."""

from __future__ import annotations

from procore_signin._emulator.wire.messages import Request
from procore_signin._emulator.world.grants import Grants, Token


def bearer_token(grants: Grants, request: Request) -> Token | None:
    """Return the token of the `Authorization` header, in whatever state, or None.

    Presenting an access token counts as its use: under `grace` rotation the pair it replaced dies.
    """
    scheme, _, access_token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = grants.by_access_token(access_token.strip())
    if token is not None:
        grants.used(token)
    return token
