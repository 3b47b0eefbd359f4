"""PKCE with the example of RFC 7636, Appendix B."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from procore_signin.emulator import Emulator, EmulatorRefused

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
S256 = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}

Exchange = Callable[..., httpx2.Response]


@pytest.fixture
def exchange(
    emulated: Callable[..., Emulator],
    http_of: Callable[[Emulator], httpx2.Client],
    authorize: Callable[..., str],
    code_in: Callable[[str], str],
    code_form: Callable[..., dict[str, str]],
) -> Exchange:
    """Approve a request with a challenge, exchange its code with a verifier."""

    def perform(
        mode: str, challenge: dict[str, str], verifier: str | None, generation: int = 4
    ) -> httpx2.Response:
        emulator = emulated(pkce=mode, doorkeeper=generation)
        code = code_in(emulator.approve(authorize(**challenge)))
        form = code_form(code, code_verifier=verifier)
        return http_of(emulator).post("/oauth/token", data=form)

    return perform


@pytest.mark.parametrize("verifier", [VERIFIER, "wrong", None])
def test_ignore_lets_everything_pass(exchange: Exchange, verifier: str | None) -> None:
    assert 200 == exchange("ignore", S256, verifier).status_code


def test_enforce_accepts_the_verifier_of_the_challenge(exchange: Exchange) -> None:
    assert 200 == exchange("enforce", S256, VERIFIER).status_code
    plain = {"code_challenge": VERIFIER, "code_challenge_method": "plain"}
    assert 200 == exchange("enforce", plain, VERIFIER).status_code


@pytest.mark.parametrize("verifier", ["wrong", CHALLENGE, VERIFIER + "x", "ü"])
def test_E2_enforce_refuses_another_verifier(exchange: Exchange, verifier: str) -> None:
    assert "invalid_grant" == exchange("enforce", S256, verifier).json()["error"]


@pytest.mark.parametrize(
    ("generation", "description"),
    [
        (4, "The request is missing a required parameter, "),
        (5, "Missing required parameter: code_verifier."),
    ],
)
def test_enforce_refuses_a_code_with_a_challenge_without_its_verifier(
    exchange: Exchange, generation: int, description: str
) -> None:
    refused = exchange("enforce", S256, None, generation).json()
    assert "invalid_request" == refused["error"]
    assert refused["error_description"].startswith(description)


def test_enforce_refuses_a_verifier_that_comes_without_a_challenge(exchange: Exchange) -> None:
    assert "invalid_grant" == exchange("enforce", {}, VERIFIER).json()["error"]


def test_enforce_asks_nothing_of_a_client_without_pkce(exchange: Exchange) -> None:
    assert 200 == exchange("enforce", {}, None).status_code


@pytest.mark.parametrize(
    ("challenge", "early", "late"),
    [
        (
            {"code_challenge": CHALLENGE, "code_challenge_method": "S512"},
            "invalid_request",
            "invalid_code_challenge_method",
        ),
        ({"code_challenge": CHALLENGE}, "invalid_request", "invalid_code_challenge_method"),
        ({"code_challenge_method": "S256"}, "invalid_request", "invalid_request"),
    ],
)
def test_enforce_refuses_a_challenge_it_cannot_check(
    emulated: Callable[..., Emulator],
    authorize: Callable[..., str],
    challenge: dict[str, str],
    early: str,
    late: str,
) -> None:
    for generation, error in ((4, early), (5, late)):
        with pytest.raises(EmulatorRefused) as refused:
            emulated(pkce="enforce", doorkeeper=generation).approve(authorize(**challenge))
        assert error == refused.value.error


@pytest.mark.parametrize(
    "challenge", [S256, {"code_challenge": "x"}, {"code_challenge_method": "S256"}]
)
def test_reject_refuses_the_request(
    emulated: Callable[..., Emulator], authorize: Callable[..., str], challenge: dict[str, str]
) -> None:
    with pytest.raises(EmulatorRefused, match="rejects PKCE") as refused:
        emulated(pkce="reject").approve(authorize(**challenge))
    assert "invalid_request" == refused.value.error


def test_reject_refuses_a_verifier_too_and_nothing_else(exchange: Exchange) -> None:
    assert "invalid_request" == exchange("reject", {}, VERIFIER).json()["error"]
    assert 200 == exchange("reject", {}, None).status_code
