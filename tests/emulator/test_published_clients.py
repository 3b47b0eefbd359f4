"""Published OAuth clients, as their own documentation uses them, complete a sign-in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import InvalidGrantError  # type: ignore[import-untyped]
from requests_oauthlib import OAuth2Session

from procore_signin.emulator import Emulator

CALLBACK = "http://localhost:4567/callback"


@pytest.fixture(autouse=True)
def _plain_http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
@pytest.mark.parametrize("pkce", ["ignore", "enforce"])
def test_authlib_signs_in_refreshes_revokes_and_calls_the_api(
    emulated: Callable[..., Emulator], method: str, pkce: str
) -> None:
    emulator = emulated(pkce=pkce)
    with AuthlibSession(
        "emulator-client-id",
        "emulator-client-secret",
        redirect_uri=CALLBACK,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        code_challenge_method="S256",
    ) as session:
        verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        url, state = session.create_authorization_url(
            f"{emulator.url}/oauth/authorize", code_verifier=verifier
        )
        token = session.fetch_token(
            f"{emulator.url}/oauth/token",
            authorization_response=emulator.approve(url),
            state=state,
            code_verifier=verifier,
        )
        assert 5400 == token["expires_in"]
        me = session.get(f"{emulator.url}/rest/v1.0/me").json()
        assert {"id": 11111, "login": "joecontractor@procore.com", "name": "Joe Contractor"} == me
        renewed = session.refresh_token(f"{emulator.url}/oauth/token")
        assert renewed["refresh_token"] != token["refresh_token"]
        assert 200 == session.get(f"{emulator.url}/rest/v1.0/me").status_code
        session.revoke_token(f"{emulator.url}/oauth/revoke", token=renewed["access_token"])
        assert [] == emulator.live_grants()
    expected = {"GET /rest/v1.0/me", "POST /oauth/token", "POST /oauth/revoke"}
    assert expected == {f"{one.method} {one.target}" for one in emulator.requests}


def test_requests_oauthlib_signs_in_refreshes_and_calls_the_api(emulator: Emulator) -> None:
    kept: list[dict[str, Any]] = []
    client = {"client_id": "emulator-client-id", "client_secret": "emulator-client-secret"}
    with OAuth2Session(
        "emulator-client-id",
        redirect_uri=CALLBACK,
        auto_refresh_url=f"{emulator.url}/oauth/token",
        auto_refresh_kwargs=client,
        token_updater=kept.append,
    ) as session:
        url, _ = session.authorization_url(f"{emulator.url}/oauth/authorize")
        token = session.fetch_token(
            f"{emulator.url}/oauth/token",
            authorization_response=emulator.approve(url),
            client_secret="emulator-client-secret",
        )
        assert "bearer" == token["token_type"].lower()
        assert 11111 == session.get(f"{emulator.url}/rest/v1.0/me").json()["id"]
        session.token = {**token, "expires_in": -1, "expires_at": 1}
        assert 11111 == session.get(f"{emulator.url}/rest/v1.0/me").json()["id"]
    assert 1 == len(kept)
    assert kept[0]["refresh_token"] != token["refresh_token"]


def test_requests_oauthlib_sees_a_spent_code_as_an_invalid_grant(emulator: Emulator) -> None:
    with OAuth2Session("emulator-client-id", redirect_uri=CALLBACK) as session:
        url, _ = session.authorization_url(f"{emulator.url}/oauth/authorize")
        location = emulator.approve(url)
        fetch = {
            "token_url": f"{emulator.url}/oauth/token",
            "authorization_response": location,
            "client_secret": "emulator-client-secret",
        }
        session.fetch_token(**fetch)
        with pytest.raises(InvalidGrantError):
            session.fetch_token(**fetch)
