from __future__ import annotations

import pytest

from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet

TOKENS = TokenSet(Secret("a", "access token"), Secret("r", "refresh token"), expires_at=10_000)


@pytest.mark.parametrize(
    ("now", "leeway", "fresh"),
    [
        (9_939.9, 60, True),
        (9_940, 60, False),
        (10_000, 60, False),
        (9_999.9, 0, True),
        (10_000, 0, False),
        (9_400, 600, False),
        (9_399, 600, True),
    ],
)
def test_T6_a_token_set_is_fresh_until_the_leeway_before_its_end(
    now: float, leeway: float, *, fresh: bool
) -> None:
    assert fresh is TOKENS.is_fresh(now, leeway)


def test_T6_the_leeway_is_a_minute_unless_told_otherwise() -> None:
    assert TOKENS.is_fresh(9_939)
    assert not TOKENS.is_fresh(9_940)


def test_V6_a_token_set_prints_no_token() -> None:
    assert (
        repr(TOKENS)
        == "TokenSet(access_token=<access token>, refresh_token=<refresh token>, expires_at=10000)"
    )
