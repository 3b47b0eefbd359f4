from __future__ import annotations

import base64
import hashlib
import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procore_signin._protocol.pkce import code_challenge, code_verifier
from procore_signin._protocol.secret import Secret


def test_A4_the_example_of_RFC_7636_appendix_B() -> None:
    random = bytes.fromhex("7418dfb49799e0254ffa607dd8adbbba16d4254d69d6bff05b58055853848d79")
    verifier = code_verifier(random)
    assert verifier.reveal() == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=96))
def test_A4_a_verifier_has_43_to_128_unreserved_characters(random: bytes) -> None:
    assert re.fullmatch(r"[A-Za-z0-9\-._~]{43,128}", code_verifier(random).reveal())


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=96))
def test_A4_the_challenge_is_the_unpadded_digest_of_the_verifier(random: bytes) -> None:
    verifier = code_verifier(random)
    digest = base64.urlsafe_b64decode(code_challenge(verifier) + "=")
    assert hashlib.sha256(verifier.reveal().encode()).digest() == digest


def test_A4_verifiers_differ_wherever_their_random_bytes_do() -> None:
    assert len({code_verifier(os.urandom(32)).reveal() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("size", [0, 16, 31, 97, 1000])
def test_A4_a_verifier_of_too_few_or_too_many_bytes_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 to 96 random bytes"):
        code_verifier(bytes(size))


def test_A4_a_verifier_prints_as_its_name() -> None:
    assert repr(code_verifier(bytes(32))) == "<code verifier>"


def test_a_challenge_needs_a_verifier_of_ASCII() -> None:
    with pytest.raises(UnicodeEncodeError):
        code_challenge(Secret("ü" * 43, "code verifier"))


def test_A4_no_letter_at_the_end_of_a_verifier_is_lost() -> None:
    assert code_verifier(bytes.fromhex("5d75d7") * 16).reveal() == "X" * 64
