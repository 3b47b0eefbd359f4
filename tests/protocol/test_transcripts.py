"""What we send and read, pinned to the documented exchanges that the emulator is pinned to as well.

The emulator shares no code with the protocol, so that a mistake of one cannot agree with itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl

import pytest

from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.me import Me, me_request, parse_me_response
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_endpoint import (
    AuthorizationCodeGrant,
    Client,
    ClientCredentialsGrant,
    Grant,
    RefreshTokenGrant,
    TokenInfo,
    check_revocation_response,
    parse_token_info_response,
    parse_token_response,
    revocation_request,
    token_info_request,
    token_request,
)
from procore_signin._protocol.token_set import TokenSet
from procore_signin.errors import ClientMisconfigured, GrantLost, ProcoreSignInError

FOLDER = Path(__file__).parents[1] / "transcripts"
ORIGIN = "https://procore.example"
REDIRECT_URI = "http://localhost:4567/callback"
NOW = 1_700_000_000.75
ACCESS_TOKEN = Secret("eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzUxMiJ9.fake-access-token", "access token")


class Exchange(NamedTuple):
    """One transcript: what to send, and what came."""

    path: str
    method: str
    headers: dict[str, str]
    body: str
    response: HttpResponse


def exchange(path: Path) -> Exchange:
    transcript = cast("dict[str, Any]", json.loads(path.read_bytes()))
    request, response = transcript["request"], transcript["response"]
    return Exchange(
        request["path"],
        request["method"],
        request["headers"],
        request["body"],
        HttpResponse(response["status"], response["headers"], response["body"].encode()),
    )


ASKED_FOR = {"/oauth/token", "/oauth/revoke", "/oauth/token/info", "/rest/v1.0/me"}
"""What signing in asks for. The emulator knows more."""

EVERY = {path.stem: exchange(path) for path in sorted(FOLDER.glob("*.json"))}
OURS = [name for name, each in EVERY.items() if each.path in ASKED_FOR]
TOKEN = [name for name, each in EVERY.items() if each.path == "/oauth/token"]


def grant(form: dict[str, str]) -> Grant:
    match form["grant_type"]:
        case "authorization_code":
            verifier = form.get("code_verifier")
            return AuthorizationCodeGrant(
                Secret(form["code"], "code"),
                form["redirect_uri"],
                None if verifier is None else Secret(verifier, "code verifier"),
            )
        case "refresh_token":
            return RefreshTokenGrant(Secret(form["refresh_token"], "refresh token"))
    return ClientCredentialsGrant()


def client(form: dict[str, str]) -> Client:
    secret = Secret(form["client_secret"], "client secret")
    return Client(form["client_id"], secret, form.get("redirect_uri", REDIRECT_URI))


def our_request(name: str) -> HttpRequest:
    path, form = EVERY[name].path, dict(parse_qsl(EVERY[name].body))
    match path:
        case "/oauth/token":
            return token_request(ORIGIN, client(form), grant(form))
        case "/oauth/revoke":
            return revocation_request(ORIGIN, client(form), Secret(form["token"], "access token"))
        case "/oauth/token/info":
            return token_info_request(ORIGIN, ACCESS_TOKEN)
        case "/rest/v1.0/me":
            return me_request(ORIGIN, ACCESS_TOKEN)
    raise AssertionError(f"nothing here asks for {path}")


def test_there_is_a_transcript_of_everything_that_we_ask_for() -> None:
    assert {EVERY[name].path for name in OURS} == ASKED_FOR


@pytest.mark.parametrize("name", OURS)
def test_we_send_what_the_transcript_shows(name: str) -> None:
    expected, request = EVERY[name], our_request(name)
    assert (expected.method, ORIGIN + expected.path) == (request.method, request.url)
    assert expected.body.encode() == request.body
    assert set(expected.headers.items()) <= set(request.headers)


@pytest.mark.parametrize("name", TOKEN)
def test_we_read_tokens_or_an_error_from_what_the_transcript_shows(name: str) -> None:
    response = EVERY[name].response
    answer = json.loads(response.body)
    if response.status == 200:
        refresh_token = answer.get("refresh_token")
        assert TokenSet(
            Secret(answer["access_token"], "access token"),
            None if refresh_token is None else Secret(refresh_token, "refresh token"),
            int(NOW) + answer["expires_in"],
        ) == parse_token_response(response, received_at=NOW)
    else:
        with pytest.raises(ProcoreSignInError) as refusal:
            parse_token_response(response, received_at=NOW)
        assert (answer["error"], answer["error_description"]) == (
            refusal.value.error,
            refusal.value.error_description,
        )


def test_the_documented_refusals_ask_for_the_right_decision() -> None:
    with pytest.raises(GrantLost):
        parse_token_response(EVERY["invalid-grant"].response, received_at=NOW)
    with pytest.raises(ClientMisconfigured):
        parse_token_response(EVERY["invalid-client"].response, received_at=NOW)


def test_the_documented_revocation_is_a_success() -> None:
    check_revocation_response(EVERY["revoke"].response, NOW)


def test_the_documented_token_info_is_read() -> None:
    assert TokenInfo(5960067, "fake-client-id", 5193) == parse_token_info_response(
        EVERY["token-info"].response, NOW
    )


def test_the_documented_me_is_read() -> None:
    response = EVERY["me"].response
    assert Me(
        160586, "carl.contractor@example.com", "Carl Contractor", response.body.decode()
    ) == parse_me_response(response, NOW)
