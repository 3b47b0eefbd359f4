"""Published OAuth clients, as their own documentation uses them, complete a sign-in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import httpx
import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from httpx_oauth.oauth2 import BaseOAuth2, GetAccessTokenError
from oauthlib.oauth2 import (  # type: ignore[import-untyped]
    InvalidGrantError,
    WebApplicationClient,
)
from requests_oauthlib import OAuth2Session

from procore_signin.emulator import Emulator

CALLBACK = "http://localhost:4567/callback"


@pytest.fixture(autouse=True)
def _plain_http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("NO_PROXY", "*")


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


def test_requests_oauthlib_signs_in_refreshes_revokes_and_calls_the_api(emulator: Emulator) -> None:
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
        revoked = session.post(
            f"{emulator.url}/oauth/revoke", data={**client, "token": session.access_token}
        )
        assert (200, {}) == (revoked.status_code, revoked.json())
    assert 1 == len(kept)
    assert kept[0]["refresh_token"] != token["refresh_token"]
    assert [] == emulator.live_grants()


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


@pytest.mark.parametrize("pkce", ["ignore", "enforce"])
def test_bare_oauthlib_signs_in_refreshes_revokes_and_calls_the_api(
    emulated: Callable[..., Emulator], pkce: str
) -> None:
    """oauthlib makes and reads the messages; the standard library carries them."""
    emulator = emulated(pkce=pkce)
    client = WebApplicationClient("emulator-client-id")
    secret = {"client_secret": "emulator-client-secret"}

    def post(path: str, body: str) -> str:
        request = Request(f"{emulator.url}{path}", body.encode())  # noqa: S310 - as below
        with urlopen(request) as response:  # noqa: S310 - http to the emulator
            answer: str = response.read().decode()
            return answer

    verifier = client.create_code_verifier(64)
    challenge = client.create_code_challenge(verifier, "S256")
    url = client.prepare_request_uri(
        f"{emulator.url}/oauth/authorize",
        redirect_uri=CALLBACK,
        state="0123456789abcdef",
        code_challenge=challenge,
        code_challenge_method="S256",
    )
    client.parse_request_uri_response(emulator.approve(url), state="0123456789abcdef")
    body = client.prepare_request_body(redirect_uri=CALLBACK, code_verifier=verifier, **secret)
    token = client.parse_request_body_response(post("/oauth/token", body))
    assert 11111 == me_through(client, emulator)["id"]
    body = client.prepare_refresh_body(client_id="emulator-client-id", **secret)
    renewed = client.parse_request_body_response(post("/oauth/token", body))
    assert token["refresh_token"] != renewed["refresh_token"]
    assert 11111 == me_through(client, emulator)["id"]
    address, _, body = client.prepare_token_revocation_request(
        f"{emulator.url}/oauth/revoke",
        renewed["access_token"],
        client_id="emulator-client-id",
        **secret,
    )
    assert "{}" == post(urlsplit(address).path, body)
    assert [] == emulator.live_grants()


def me_through(client: Any, emulator: Emulator) -> dict[str, Any]:
    address, headers, _ = client.add_token(f"{emulator.url}/rest/v1.0/me")
    with urlopen(Request(address, headers=headers)) as response:  # noqa: S310 - as above
        me: dict[str, Any] = json.load(response)
        return me


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_httpx_oauth_signs_in_refreshes_revokes_and_calls_the_api(
    emulator: Emulator, method: Literal["client_secret_post", "client_secret_basic"]
) -> None:
    oauth: BaseOAuth2[Any] = BaseOAuth2(
        "emulator-client-id",
        "emulator-client-secret",
        f"{emulator.url}/oauth/authorize",
        f"{emulator.url}/oauth/token",
        refresh_token_endpoint=f"{emulator.url}/oauth/token",
        revoke_token_endpoint=f"{emulator.url}/oauth/revoke",
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
    )

    async def run() -> None:
        url = await oauth.get_authorization_url(CALLBACK, state="0123456789abcdef")
        code = parse_qs(urlsplit(emulator.approve(url)).query)["code"][0]
        token = await oauth.get_access_token(code, CALLBACK)
        assert not token.is_expired()
        with pytest.raises(GetAccessTokenError):
            await oauth.get_access_token(code, CALLBACK)
        renewed = await oauth.refresh_token(token["refresh_token"])
        assert token["refresh_token"] != renewed["refresh_token"]
        bearer = {"authorization": f"Bearer {renewed['access_token']}"}
        async with httpx.AsyncClient(trust_env=False) as http:
            answered = await http.get(f"{emulator.url}/rest/v1.0/me", headers=bearer)
        assert 11111 == answered.json()["id"]
        await oauth.revoke_token(renewed["access_token"], "access_token")

    asyncio.run(run())
    assert [] == emulator.live_grants()
