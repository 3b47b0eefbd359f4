"""What was sealed by the first version opens in every later one: these are cells of a database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.keys.keyring import KeyRing
from procore_signin._store.keys.seal import Seal
from procore_signin._store.keys.token_seal import TokenSeal
from procore_signin.errors import VaultSealed

PAIR = TokenSet(Secret("a", "access token"), Secret("r", "refresh token"), 7)
PRINTED = repr(PAIR)
ACCESS = "v1.fake1.AAAAAAAAAAAAAAAALwfS0NbROK2OBE3InLBXdfY"
REFRESH = "v1.fake1.AAAAAAAAAAAAAAAAPBcAwqv4RLeNtJOkNhhpoSw"
ESCROW = (
    "v1.fake1.AAAAAAAAAAAAAAAANQlYa4EhqW4NS_gTCeOnQLmugGKHc1xwViT_HJs5mUV3PecxW7-CoItclsG1afBmSaZ-"
    "gDSZo9_UaTGqRqYgPEeKzsGKwofnzjNX6A"
)
BEFORE = (
    "v1.fake1.AAAAAAAAAAAAAAAANQlYa4EhqW4NS_gTCeOnQLmugGKHc1xwViT_HJs5mUV3PecxW7-CoItclsG1afBmSaZ-"
    "gDSZo9_UaTGqsh_UA8S84j9NHspOhgYtig"
)


@pytest.fixture
def seal() -> TokenSeal:
    ring = KeyRing.parse(f"fake1:{'A' * 42}E")
    return TokenSeal(Seal(ring, purpose="store", random_bytes=bytes))


def test_V2_a_row_of_the_first_version_opens_and_is_sealed_the_same(seal: TokenSeal) -> None:
    opened = seal.open_row(ACCESS, REFRESH, 7, user_id=1, environment="sandbox", generation=2)
    assert (opened, repr(opened)) == (PAIR, PRINTED)
    sealed = seal.seal_row(PAIR, user_id=1, environment="sandbox", generation=2)
    assert sealed == {"access_token": ACCESS, "refresh_token": REFRESH, "expires_at": 7}


def test_V2_an_escrow_of_the_first_version_opens_and_is_sealed_the_same(seal: TokenSeal) -> None:
    opened = seal.open_escrow(ESCROW, state_hash="ab", environment="sandbox")
    assert (opened, repr(opened)) == (PAIR, PRINTED)
    assert seal.seal_escrow(PAIR, state_hash="ab", environment="sandbox") == ESCROW


def test_V2_a_pair_before_of_the_first_version_opens_and_is_sealed_the_same(
    seal: TokenSeal,
) -> None:
    opened = seal.open_predecessor(BEFORE, user_id=1, environment="sandbox")
    assert (opened, repr(opened)) == (PAIR, PRINTED)
    assert seal.seal_predecessor(PAIR, user_id=1, environment="sandbox") == BEFORE


def test_V2_none_of_them_opens_in_the_place_of_another(seal: TokenSeal) -> None:
    with pytest.raises(VaultSealed):
        seal.open_row(REFRESH, ACCESS, 7, user_id=1, environment="sandbox", generation=2)
    with pytest.raises(VaultSealed):
        seal.open_escrow(BEFORE, state_hash="ab", environment="sandbox")
    with pytest.raises(VaultSealed):
        seal.open_predecessor(ESCROW, user_id=1, environment="sandbox")


def test_a_pair_without_a_refresh_token_comes_back_as_it_was(seal: TokenSeal) -> None:
    alone = replace(PAIR, refresh_token=None)
    row = seal.seal_row(alone, user_id=1, environment="sandbox", generation=2)
    assert row == {"access_token": ACCESS, "refresh_token": None, "expires_at": 7}
    opened = seal.open_row(ACCESS, None, 7, user_id=1, environment="sandbox", generation=2)
    assert opened == alone
    sealed = seal.seal_escrow(alone, state_hash="ab", environment="sandbox")
    assert seal.open_escrow(sealed, state_hash="ab", environment="sandbox") == alone
