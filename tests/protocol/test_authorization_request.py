from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procore_signin._protocol.authorization import AuthorizationRequest, new_state
from procore_signin._protocol.pkce import code_challenge, code_verifier

STATE = "0123456789abcdef" * 4
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def request(challenge: str | None = CHALLENGE) -> AuthorizationRequest:
    return AuthorizationRequest(
        login_origin="https://login.procore.com",
        client_id="fake-client-id",
        redirect_uri="http://localhost:4567/callback",
        state=STATE,
        code_challenge=challenge,
    )


def test_A12_the_address_has_these_parameters_in_this_order_and_no_others() -> None:
    assert (
        "https://login.procore.com/oauth/authorize"
        "?client_id=fake-client-id"
        "&response_type=code"
        "&redirect_uri=http%3A%2F%2Flocalhost%3A4567%2Fcallback"
        f"&state={STATE}"
        f"&code_challenge={CHALLENGE}"
        "&code_challenge_method=S256"
    ) == request().url()


def test_A12_without_a_proof_the_address_ends_with_the_state() -> None:
    assert request(challenge=None).url().endswith(f"&state={STATE}")


def test_A1_the_response_type_is_code() -> None:
    assert ("response_type", "code") in parse_qsl(urlsplit(request().url()).query)


def test_A4_the_verifier_is_not_in_the_address_but_its_digest_is() -> None:
    verifier = code_verifier(os.urandom(32))
    url = request(code_challenge(verifier)).url()
    assert verifier.reveal() not in url
    assert f"code_challenge={code_challenge(verifier)}&code_challenge_method=S256" in url


def test_O1_a_request_prints_without_its_state() -> None:
    assert STATE not in repr(request())


@settings(deadline=None)
@given(*[st.text(st.characters(exclude_categories=["Cs"]), min_size=1)] * 4)
def test_A9_A12_any_value_comes_back_as_it_was_and_no_other_parameter(
    client_id: str, redirect_uri: str, state: str, challenge: str
) -> None:
    url = AuthorizationRequest(
        "https://login.procore.com", client_id, redirect_uri, state, challenge
    ).url()
    assert re.fullmatch(r"https://login\.procore\.com/oauth/authorize\?[A-Za-z0-9%&=._~-]+", url)
    assert [
        ("client_id", client_id),
        ("response_type", "code"),
        ("redirect_uri", redirect_uri),
        ("state", state),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
    ] == parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)


def test_A3_ten_thousand_states_are_unique_and_alphanumeric() -> None:
    states = {new_state(os.urandom(32)) for _ in range(10_000)}
    assert len(states) == 10_000
    assert all(re.fullmatch(r"[0-9a-f]{64}", state) for state in states)


def test_A3_a_state_spells_all_of_its_random_bytes() -> None:
    assert new_state(bytes(range(32))) == "".join(f"{each:02x}" for each in range(32))


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_A3_a_state_of_another_number_of_bytes_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        new_state(bytes(size))
