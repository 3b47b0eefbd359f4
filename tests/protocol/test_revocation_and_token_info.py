from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.token_endpoint import (
    TokenInfo,
    check_revocation_response,
    is_token_info,
    parse_token_info_response,
)
from procore_signin.errors import (
    ClientMisconfigured,
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    UnexpectedResponse,
)

NOW = 1_700_000_000.0


@pytest.mark.parametrize("body", [b"{}", b"", b"null", b"<html>", b'{"revoked":true}', b"\xff"])
def test_a_revocation_is_a_success_by_its_status(body: bytes) -> None:
    check_revocation_response(HttpResponse(200, {}, body), NOW)


def test_I7_a_page_of_html_is_not_a_revocation() -> None:
    page = HttpResponse(200, {"content-type": "text/html; charset=utf-8"}, b"<html>")
    with pytest.raises(UnexpectedResponse):
        check_revocation_response(page, NOW)


@pytest.mark.parametrize(
    ("body", "about_a_token"),
    [
        (b'{"resource_owner_id":"11"}', True),
        (b'{"application":7,"scopes":[]}', True),
        (b"<html>", False),
        (b"{}", True),
        (b"[]", False),
    ],
)
def test_I7_only_token_info_tells_that_a_token_is_accepted(
    body: bytes, *, about_a_token: bool
) -> None:
    assert is_token_info(HttpResponse(200, {}, body)) == about_a_token
    assert not is_token_info(HttpResponse(500, {}, body))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, b'{"error":"unauthorized_client"}', ClientMisconfigured),
        (401, b'{"error":"invalid_client"}', ClientMisconfigured),
        (200, b'{"error":"invalid_client"}', ClientMisconfigured),
        (400, b'{"error":"unsupported_token_type"}', UnexpectedResponse),
        (200, b'{"error":null}', UnexpectedResponse),
        (204, b"", UnexpectedResponse),
        (302, b"", UnexpectedResponse),
        (404, b"<html>", UnexpectedResponse),
        (429, b"", ProcoreUnavailable),
        (503, b"<html>", ProcoreUnavailable),
    ],
)
def test_a_revocation_that_may_have_failed_is_not_a_success(
    status: int, body: bytes, kind: type[ProcoreSignInError]
) -> None:
    with pytest.raises(ProcoreSignInError) as refusal:
        check_revocation_response(HttpResponse(status, {"x-request-id": "7f3b-1"}, body), NOW)
    assert kind is type(refusal.value)
    assert refusal.value.request_id == "7f3b-1"


@settings(deadline=None)
@given(st.integers(100, 999), st.binary())
def test_any_answer_to_a_revocation_is_a_success_or_a_documented_error(
    status: int, body: bytes
) -> None:
    try:
        check_revocation_response(HttpResponse(status, {}, body), NOW)
    except (GrantLost, ClientMisconfigured, ProcoreUnavailable, UnexpectedResponse):
        return
    assert status == 200


def info(**members: object) -> HttpResponse:
    application = {"uid": "fake-client-id"}
    return HttpResponse(200, {}, json.dumps({"application": application, **members}).encode())


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            {"resource_owner_id": 7, "scopes": [], "expires_in_seconds": 60, "created_at": 1},
            TokenInfo(7, "fake-client-id", 60),
        ),
        (
            {"resource_owner_id": 7, "scope": [], "expires_in": 60, "created_at": 1},
            TokenInfo(7, "fake-client-id", 60),
        ),
        (
            {"resource_owner_id": 2**63 - 1, "expires_in": 0},
            TokenInfo(2**63 - 1, "fake-client-id", 0),
        ),
        (
            {"resource_owner_id": None, "expires_in_seconds": None},
            TokenInfo(None, "fake-client-id", None),
        ),
        (
            {"resource_owner_id": 1, "expires_in": 100_000_000},
            TokenInfo(1, "fake-client-id", 100_000_000),
        ),
        ({}, TokenInfo(None, "fake-client-id", None)),
    ],
)
def test_token_info_is_read_in_both_spellings(
    members: dict[str, object], expected: TokenInfo
) -> None:
    assert expected == parse_token_info_response(info(**members), NOW)


@pytest.mark.parametrize(
    "members",
    [
        {"resource_owner_id": "7"},
        {"resource_owner_id": True},
        {"resource_owner_id": 7.0},
        {"resource_owner_id": 0},
        {"resource_owner_id": 2**63},
        {"expires_in": "60"},
        {"expires_in": -1},
        {"expires_in": 100_000_001},
        {"expires_in_seconds": 60.5},
        {"application": None},
        {"application": "fake-client-id"},
        {"application": {}},
        {"application": {"uid": 7}},
        {"application": {"uid": ""}},
    ],
)
def test_I3_token_info_that_breaks_a_rule_is_unexpected(members: dict[str, object]) -> None:
    with pytest.raises(UnexpectedResponse, match=r"\AThe token info response "):
        parse_token_info_response(info(**members), NOW)


@pytest.mark.parametrize(
    "body", [b'{"error":"invalid_token"}', b'{"error":"invalid_request"}', b"", b"<html>"]
)
def test_a_token_that_procore_does_not_know_is_lost(body: bytes) -> None:
    with pytest.raises(GrantLost) as refusal:
        parse_token_info_response(HttpResponse(401, {"x-request-id": "7f3b-1"}, body), NOW)
    assert refusal.value.request_id == "7f3b-1"


@settings(deadline=None)
@given(
    st.sampled_from([200, 200, 401, 404, 500]),
    st.binary()
    | st.dictionaries(
        st.sampled_from(["resource_owner_id", "application", "expires_in", "error"]),
        st.none() | st.integers() | st.text() | st.just({"uid": "fake-client-id"}),
    ).map(lambda members: json.dumps(members).encode()),
)
def test_any_token_info_is_read_or_a_documented_error(status: int, body: bytes) -> None:
    try:
        read = parse_token_info_response(HttpResponse(status, {}, body), NOW)
    except (GrantLost, ClientMisconfigured, ProcoreUnavailable, UnexpectedResponse):
        return
    assert read.client_id == "fake-client-id"


@pytest.mark.parametrize("read", [check_revocation_response, parse_token_info_response])
def test_P5_a_limit_says_how_long_to_wait(
    read: Callable[[HttpResponse, float], object],
) -> None:
    limited = HttpResponse(429, {"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, b"")
    with pytest.raises(ProcoreUnavailable) as refusal:
        read(limited, NOW)
    assert refusal.value.retry_after == 10


@pytest.mark.parametrize(
    ("read", "what"),
    [(check_revocation_response, "revocation"), (parse_token_info_response, "token info")],
)
@pytest.mark.parametrize("status", [302, 500])
def test_a_refusal_says_which_response_it_was(
    read: Callable[[HttpResponse, float], object], what: str, status: int
) -> None:
    with pytest.raises(ProcoreSignInError, match=f"he {what} response has status {status}"):
        read(HttpResponse(status, {}, b""), NOW)
