from __future__ import annotations

from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet

TOKENS = TokenSet(Secret("a", "access token"), Secret("r", "refresh token"), expires_at=10_000)


def test_V6_a_token_set_prints_no_token() -> None:
    assert (
        repr(TOKENS)
        == "TokenSet(access_token=<access token>, refresh_token=<refresh token>, expires_at=10000)"
    )
