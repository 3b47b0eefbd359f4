from __future__ import annotations

import string
from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from procore_signin._protocol.secret import Secret
from procore_signin._store.keys.keyring import KeyRing
from procore_signin._store.keys.seal import Seal
from procore_signin.errors import VaultSealed

ONE = "fake1:" + "A" * 42 + "E"
TWO = "fake2:" + "B" * 42 + "E"
CONTEXT = ("token_sets", "access_token", "7", "emulator", "1")
CONTEXTS = st.lists(st.text(max_size=5), max_size=4).map(tuple)


def seal_with(keys: str, purpose: str = "store") -> Seal:
    return Seal(KeyRing.parse(Secret(keys, "keys")), purpose=purpose)


SEAL = seal_with(ONE)


@given(plain=st.binary(max_size=2000), context=CONTEXTS)
def test_what_was_sealed_opens_for_the_same_context(plain: bytes, context: tuple[str, ...]) -> None:
    assert plain == SEAL.open(SEAL.seal(plain, context=context), context=context)


@given(first=CONTEXTS, second=CONTEXTS)
def test_V2_it_opens_for_no_other_context(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    sealed = SEAL.seal("token", context=first)
    if first == second:
        assert b"token" == SEAL.open(sealed, context=second)
    else:
        with pytest.raises(VaultSealed):
            SEAL.open(sealed, context=second)


@pytest.mark.parametrize(
    "other",
    [
        ("token_setsa", "ccess_token", "7", "emulator", "1"),
        ("token_sets", "access_token", "7", "emulator1"),
        ("token_sets", "access_token", "7", "emulator", "1", ""),
        ("", *CONTEXT),
    ],
)
def test_V2_two_contexts_never_run_into_each_other(other: tuple[str, ...]) -> None:
    sealed = SEAL.seal("token", context=CONTEXT)
    with pytest.raises(VaultSealed):
        SEAL.open(sealed, context=other)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_a_text_comes_back_as_a_secret_with_its_label(text: str) -> None:
    opened = SEAL.open_secret(
        SEAL.seal(text, context=CONTEXT), context=CONTEXT, label="access token"
    )
    assert (text, "<access token>") == (opened.reveal(), repr(opened))


def test_bytes_that_are_no_text_do_not_open_as_one() -> None:
    sealed = SEAL.seal(b"\xff", context=CONTEXT)
    with pytest.raises(VaultSealed, match="was changed"):
        SEAL.open_secret(sealed, context=CONTEXT, label="access token")


def test_V1_no_two_seals_of_one_value_are_alike() -> None:
    assert 100 == len({SEAL.seal("token", context=CONTEXT) for _ in range(100)})


def test_V1_a_sealed_value_is_AES_256_GCM_under_the_key_of_its_purpose() -> None:
    def decoded(text: str) -> bytes:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))

    derive = HKDF(SHA256(), 32, salt=None, info=b"procore-signin store").derive
    cipher = AESGCM(derive(decoded(ONE.partition(":")[2])))
    version, key_id, body = SEAL.seal("a token", context=CONTEXT).split(".")
    parts = [part.encode() for part in ("v1", *CONTEXT)]
    bound = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    sealed = decoded(body)
    assert (version, key_id) == ("v1", "fake1")
    assert cipher.decrypt(sealed[:12], sealed[12:], bound) == b"a token"
    assert b"token" not in sealed


def test_V1_the_nonce_is_twelve_bytes_from_the_source_given() -> None:
    asked: list[int] = []

    def zeros(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    seal = Seal(KeyRing.parse(Secret(ONE, "keys")), purpose="store", random_bytes=zeros)
    assert seal.seal("token", context=()).startswith("v1.fake1.AAAAAAAAAAAAAAAA")
    assert [12] == asked


def test_every_changed_character_is_noticed() -> None:
    sealed = SEAL.seal("a token of some length", context=CONTEXT)
    for place, character in enumerate(sealed):
        for other in {"A", "B", ".", "=", "é", " "} - {character}:
            with pytest.raises(VaultSealed):
                SEAL.open(sealed[:place] + other + sealed[place + 1 :], context=CONTEXT)


def test_every_spelling_of_the_last_character_but_the_right_one_is_noticed() -> None:
    # Two bytes leave two bits of the last character unused: a lax decoder would ignore them.
    sealed = SEAL.seal("12", context=CONTEXT)
    for other in set(string.ascii_letters + string.digits + "-_") - {sealed[-1]}:
        with pytest.raises(VaultSealed):
            SEAL.open(sealed[:-1] + other, context=CONTEXT)


def test_a_truncated_value_is_noticed() -> None:
    sealed = SEAL.seal("token", context=CONTEXT)
    for length in range(len(sealed)):
        with pytest.raises(VaultSealed):
            SEAL.open(sealed[:length], context=CONTEXT)


@given(st.text(max_size=80))
def test_K5_any_text_at_all_is_refused_and_nothing_else_goes_wrong(text: str) -> None:
    with pytest.raises(VaultSealed):
        SEAL.open(text, context=CONTEXT)


@given(st.binary(max_size=80))
def test_K5_any_bytes_in_the_right_form_are_refused(raw: bytes) -> None:
    sealed = SEAL.seal("", context=()).rsplit(".", 1)[0]
    with pytest.raises(VaultSealed):
        SEAL.open(f"{sealed}.{raw.hex()}", context=CONTEXT)


def test_an_unknown_version_names_itself_as_the_cause() -> None:
    sealed = SEAL.seal("token", context=CONTEXT).replace("v1", "v2", 1)
    with pytest.raises(VaultSealed, match="a form that this version does not know"):
        SEAL.open(sealed, context=CONTEXT)


def test_V3_an_older_key_still_opens_and_the_active_one_seals() -> None:
    old = SEAL.seal("token", context=CONTEXT)
    rotated = seal_with(f"{TWO},{ONE}")
    assert b"token" == rotated.open(old, context=CONTEXT)
    assert rotated.seal("token", context=CONTEXT).startswith("v1.fake2.")


def test_V3_a_retired_key_names_the_cure() -> None:
    old = SEAL.seal("token", context=CONTEXT)
    with pytest.raises(VaultSealed, match="not in PROCORE_KEYS") as refusal:
        seal_with(TWO).open(old, context=CONTEXT)
    assert "Put the older key back, behind the active one." == refusal.value.hint


def test_another_key_under_the_same_id_does_not_open() -> None:
    old = SEAL.seal("token", context=CONTEXT)
    with pytest.raises(VaultSealed, match="was changed"):
        seal_with(TWO.replace("fake2", "fake1")).open(old, context=CONTEXT)


def test_a_value_sealed_for_one_purpose_does_not_open_for_another() -> None:
    cookie = seal_with(ONE, "attempt cookie").seal("token", context=CONTEXT)
    with pytest.raises(VaultSealed, match="was changed"):
        SEAL.open(cookie, context=CONTEXT)


def test_V6_the_refusal_shows_nothing_of_the_value() -> None:
    with pytest.raises(VaultSealed) as refusal:
        SEAL.open("v1.fake1.canary", context=("canary",))
    assert "canary" not in f"{refusal.value!r} {refusal.value.hint}"
