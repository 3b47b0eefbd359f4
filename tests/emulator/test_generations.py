"""What differs between the two generations of server software; see also the other files."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from procore_signin.emulator import Emulator

CodeForm = Callable[..., dict[str, str]]


@pytest.fixture
def http(
    emulated: Callable[..., Emulator], http_of: Callable[[Emulator], httpx2.Client]
) -> httpx2.Client:
    """Generation 5; generation 4 is what the other files test."""
    return http_of(emulated(doorkeeper=5))


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"code": "0" * 64}, 400, "invalid_grant"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials", "scope": "all"}, 400, "invalid_scope"),
    ],
)
def test_generation_5_keeps_401_for_a_client_that_is_not_accepted(
    http: httpx2.Client,
    code_form: CodeForm,
    changes: dict[str, str],
    status: int,
    error: str,
) -> None:
    answered = http.post("/oauth/token", data=code_form("x", **changes))
    assert status == answered.status_code
    assert error == answered.json()["error"]
    assert "no-store, no-cache" == answered.headers["cache-control"]


@pytest.mark.parametrize("parameter", ["grant_type", "redirect_uri"])
def test_generation_5_names_the_parameter_that_is_missing(
    http: httpx2.Client, code_form: CodeForm, parameter: str
) -> None:
    answered = http.post("/oauth/token", data=code_form("x", **{parameter: None}))
    assert 400 == answered.status_code
    assert {
        "error": "invalid_request",
        "error_description": f"Missing required parameter: {parameter}.",
    } == answered.json()


def test_generation_5_names_a_missing_refresh_token(
    http: httpx2.Client, refresh_form: CodeForm
) -> None:
    answered = http.post("/oauth/token", data=refresh_form("x", refresh_token=None))
    assert "Missing required parameter: refresh_token." == answered.json()["error_description"]
