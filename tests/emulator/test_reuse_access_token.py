"""Doorkeeper's `reuse_access_token`: who signs in again gets the token that is still good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from procore_signin.emulator import Emulator

SignIn = Callable[..., dict[str, Any]]


@pytest.fixture
def emulator(emulated: Callable[..., Emulator]) -> Emulator:
    return emulated(reuse_access_token=True)


def test_a_second_sign_in_brings_the_same_pair_and_its_remaining_time(
    emulator: Emulator, http: httpx2.Client, sign_in: SignIn
) -> None:
    first = sign_in(emulator, http)
    emulator.advance(1000)
    second = sign_in(emulator, http)
    assert {**first, "expires_in": 4400} == second
    assert 1 == len(emulator.live_grants())


def test_an_expired_or_revoked_token_is_not_given_again(
    emulator: Emulator, http: httpx2.Client, sign_in: SignIn
) -> None:
    first = sign_in(emulator, http)
    emulator.advance(5400)
    second = sign_in(emulator, http)
    emulator.revoke()
    third = sign_in(emulator, http)
    assert 3 == len({one["access_token"] for one in (first, second, third)})


def test_nobody_gets_anothers_token(
    emulator: Emulator, http: httpx2.Client, sign_in: SignIn
) -> None:
    joe = sign_in(emulator, http)
    architect = sign_in(emulator, http, login="sandbox+arch@example.com")
    assert joe["access_token"] != architect["access_token"]


def test_the_clients_own_token_is_given_again_too(http: httpx2.Client) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": "emulator-client-id",
        "client_secret": "emulator-client-secret",
    }
    first, second = (http.post("/oauth/token", data=form).json() for _ in range(2))
    assert first["access_token"] == second["access_token"]


def test_a_refresh_always_brings_a_new_pair(
    emulator: Emulator,
    http: httpx2.Client,
    sign_in: SignIn,
    refresh_form: Callable[..., dict[str, str]],
) -> None:
    tokens = sign_in(emulator, http)
    renewed = http.post("/oauth/token", data=refresh_form(tokens["refresh_token"])).json()
    assert tokens["access_token"] != renewed["access_token"]


def test_without_it_every_sign_in_brings_its_own(
    emulated: Callable[..., Emulator],
    http_of: Callable[[Emulator], httpx2.Client],
    sign_in: SignIn,
) -> None:
    plain = emulated()
    http = http_of(plain)
    first, second = sign_in(plain, http), sign_in(plain, http)
    assert first["access_token"] != second["access_token"]
    assert 2 == len(plain.live_grants())
