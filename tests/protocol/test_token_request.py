from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_endpoint import (
    AuthorizationCodeGrant,
    Client,
    ClientCredentialsGrant,
    Grant,
    RefreshTokenGrant,
    revocation_request,
    token_info_request,
    token_request,
)

LOGIN = "https://login.procore.com"
REDIRECT_URI = "http://localhost:4567/callback"
CLIENT = Client("fake-client-id", Secret("fake-client-secret", "client secret"), REDIRECT_URI)
CODE_GRANT = AuthorizationCodeGrant(
    Secret("fake-code", "code"), REDIRECT_URI, Secret("fake-verifier", "code verifier")
)
REFRESH_GRANT = RefreshTokenGrant(Secret("fake-refresh-token", "refresh token"))
ENCODED_REDIRECT_URI = b"http%3A%2F%2Flocalhost%3A4567%2Fcallback"


CLIENT_FIELDS = b"client_id=fake-client-id&client_secret=fake-client-secret"


@pytest.mark.parametrize(
    ("grant", "body"),
    [
        (
            CODE_GRANT,
            b"grant_type=authorization_code&%b&code=fake-code&redirect_uri=%b"
            b"&code_verifier=fake-verifier" % (CLIENT_FIELDS, ENCODED_REDIRECT_URI),
        ),
        (
            AuthorizationCodeGrant(Secret("fake-code", "code"), REDIRECT_URI, None),
            b"grant_type=authorization_code&%b&code=fake-code&redirect_uri=%b"
            % (CLIENT_FIELDS, ENCODED_REDIRECT_URI),
        ),
        (
            REFRESH_GRANT,
            b"grant_type=refresh_token&%b&refresh_token=fake-refresh-token&redirect_uri=%b"
            % (CLIENT_FIELDS, ENCODED_REDIRECT_URI),
        ),
        (ClientCredentialsGrant(), b"grant_type=client_credentials&%b" % CLIENT_FIELDS),
    ],
)
def test_a_grant_is_a_form_in_the_order_of_the_tutorial(grant: Grant, body: bytes) -> None:
    request = token_request(LOGIN, CLIENT, grant)
    assert (request.method, request.url) == ("POST", "https://login.procore.com/oauth/token")
    assert body == request.body


@pytest.mark.parametrize("grant", [CODE_GRANT, REFRESH_GRANT, ClientCredentialsGrant()])
def test_T1_the_client_authenticates_in_the_body_and_nowhere_else(grant: Grant) -> None:
    request = token_request(LOGIN, CLIENT, grant)
    assert request.headers == (
        ("accept", "application/json"),
        ("content-type", "application/x-www-form-urlencoded"),
    )
    assert "fake-client-secret" not in request.url
    assert request.body.count(b"fake-client-secret") == 1


@pytest.mark.parametrize("grant", [CODE_GRANT, REFRESH_GRANT])
def test_O1_neither_request_nor_grant_nor_client_prints_a_secret(grant: Grant) -> None:
    printed = f"{token_request(LOGIN, CLIENT, grant)} {grant} {CLIENT}"
    for secret in ("fake-client-secret", "fake-code", "fake-verifier", "fake-refresh-token"):
        assert secret not in printed


def test_a_revocation_is_a_form_with_the_token_first() -> None:
    request = revocation_request(LOGIN, CLIENT, Secret("fake-token", "access token"))
    assert (request.method, request.url) == ("POST", "https://login.procore.com/oauth/revoke")
    assert (
        request.body
        == b"token=fake-token&client_id=fake-client-id&client_secret=fake-client-secret"
    )
    assert "authorization" not in dict(request.headers)


def test_P1_token_info_has_the_token_in_its_header_only() -> None:
    request = token_info_request(LOGIN, Secret("fake-token", "access token"))
    assert (
        request.method,
        request.url,
        request.body,
    ) == ("GET", "https://login.procore.com/oauth/token/info", b"")
    assert dict(request.headers)["authorization"] == "Bearer fake-token"


vschars = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1)


@settings(deadline=None)
@given(vschars, vschars, vschars)
def test_any_printable_secret_reaches_the_server_as_it_is(
    client_id: str, client_secret: str, code: str
) -> None:
    client = Client(client_id, Secret(client_secret, "client secret"), REDIRECT_URI)
    grant = AuthorizationCodeGrant(Secret(code, "code"), REDIRECT_URI, None)
    assert [
        ("grant_type", "authorization_code"),
        ("client_id", client_id),
        ("client_secret", client_secret),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
    ] == parse_qsl(
        token_request(LOGIN, client, grant).body.decode("ascii"),
        keep_blank_values=True,
        strict_parsing=True,
    )


@pytest.mark.parametrize("wrong", ["", "c4n4ry\n", "c4n4ry\0", "c4n4ryé", "c4n4ry\udc80"])
def test_a_client_with_what_cannot_be_sent_is_refused_without_showing_it(wrong: str) -> None:
    right = CLIENT.client_secret
    for values in (
        (wrong, right, REDIRECT_URI),
        ("fake-client-id", Secret(wrong, "client secret"), REDIRECT_URI),
        ("fake-client-id", right, wrong),
    ):
        with pytest.raises(ValueError, match="must be printable ASCII") as refusal:
            Client(*values)
        assert "c4n4ry" not in str(refusal.value)


def test_a_redirect_uri_with_a_space_is_refused() -> None:
    with pytest.raises(ValueError, match="without spaces"):
        Client("fake-client-id", CLIENT.client_secret, REDIRECT_URI + " ")


def test_T9_what_spends_something_is_not_repeatable_and_all_else_is() -> None:
    grants = (CODE_GRANT, REFRESH_GRANT, ClientCredentialsGrant())
    token = Secret("fake-token", "token")
    requests = [token_request(LOGIN, CLIENT, grant) for grant in grants]
    requests += [revocation_request(LOGIN, CLIENT, token), token_info_request(LOGIN, token)]
    assert [each.repeatable for each in requests] == [False, False, True, True, True]


def test_token_info_asks_for_json() -> None:
    request = token_info_request(LOGIN, Secret("fake-token", "token"))
    assert request.headers[0] == ("accept", "application/json")
