from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from procore_signin._protocol.error_response import oauth_error
from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.token_endpoint import parse_token_response
from procore_signin._protocol.token_response import read_granted
from procore_signin._protocol.token_set import TokenSet
from procore_signin.errors import (
    ClientMisconfigured,
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    UnexpectedResponse,
)

JSON = {"content-type": "application/json; charset=utf-8"}
TOKENS = b'{"access_token":"fake-access-token","token_type":"bearer","expires_in":5400}'


def parse(response: HttpResponse) -> TokenSet:
    return parse_token_response(response, received_at=1_700_000_000.75)


U, M, G, X = ProcoreUnavailable, ClientMisconfigured, GrantLost, UnexpectedResponse


def said(code: str) -> bytes:
    return json.dumps({"error": code, "error_description": "Words."}).encode()


MATRIX: dict[str, tuple[int, bytes, type[ProcoreSignInError], str | None]] = {
    **{
        f"{status} {code}": (status, said(code), kind, code)
        for status in (200, 201, 400, 401, 403, 404, 422)
        for code, kind in {
            "invalid_grant": G,
            "invalid_client": M,
            "unauthorized_client": M,
            "unsupported_grant_type": M,
            "invalid_scope": M,
            "invalid_request": M,
            "temporarily_unavailable": U,
            "server_error": U,
        }.items()
    },
    **{
        f"{status} {name}": (status, body, U, None)
        for status in (408, 429, 500, 502, 503, 504, 599)
        for name, body in {
            "nothing": b"",
            "HTML": b"<html>",
            "an object": b'{"errors":"Unauthorized"}',
            "a nested error": b'{"error":{"error":"Too many requests"}}',
            "tokens": TOKENS,
        }.items()
    },
    **{
        f"{status} {name}": (status, body, X, None)
        for status in (201, 204, 206, 301, 302, 307, 400, 401, 403, 404, 600, 999)
        for name, body in {
            "nothing": b"",
            "HTML": b"<html>",
            "an object": b'{"errors":"Unauthorized"}',
            "a nested error": b'{"error":{"code":"400"}}',
            "tokens": TOKENS,
        }.items()
    },
    # A server that responds with these has not judged the grant, whatever stands in the page.
    **{
        f"{status} {code}": (status, said(code), U, code)
        for status in (408, 429, 500, 502, 503, 504, 599)
        for code in ("invalid_grant", "invalid_client", "invalid_request", "server_error")
    },
    **{
        f"{status} {code}": (status, said(code), X, code)
        for status in (302, 307, 600, 999)
        for code in ("invalid_grant", "invalid_client", "server_error")
    },
    "429 of an unknown code": (429, said("slow_down"), U, "slow_down"),
    "500 of an unknown code": (500, said("oops"), U, "oops"),
    "400 of an unknown code": (400, said("invalid_token"), X, "invalid_token"),
    "200 of an unknown code": (200, said("oops"), X, "oops"),
    "200 with an error beside tokens": (
        200,
        TOKENS[:-1] + b',"error":"invalid_grant"}',
        G,
        "invalid_grant",
    ),
    "200 with a null error beside tokens": (200, TOKENS[:-1] + b',"error":null}', X, None),
    "400 with an error in capitals": (400, said("INVALID_GRANT"), X, "INVALID_GRANT"),
    "400 with a code that no server sends": (400, said('invalid_grant"'), X, None),
    "400 with a code of 129": (400, said("x" * 129), X, None),
    "400 with an empty code": (400, said(""), X, None),
    "400 with the code twice": (400, b'{"error":"invalid_grant","error":"invalid_grant"}', X, None),
}


Said = tuple[type[ProcoreSignInError], str | None, bool | None]


def refusal(response: HttpResponse, read: Callable[[HttpResponse], object]) -> Said | None:
    """Return the error, its code and whether it is ambiguous; None where no error is raised."""
    try:
        read(response)
    except ProcoreSignInError as error:
        ambiguous = error.ambiguous if isinstance(error, ProcoreUnavailable) else None
        return type(error), error.error, ambiguous
    return None


def keep(response: HttpResponse) -> object:
    return read_granted(response, received_at=1_700_000_000.75)


# Only 429 says that the grant was not spent.
EXPECTED = {
    case: (kind, code, status != 429 if kind is U else None)
    for case, (status, _, kind, code) in MATRIX.items()
}


@pytest.mark.parametrize("media_type", ["application/json", "text/html; charset=utf-8", None])
def test_T7_T10_a_status_that_says_not_now_decides_and_then_the_error_member(
    media_type: str | None,
) -> None:
    headers = {} if media_type is None else {"content-type": media_type}
    found = {
        case: refusal(HttpResponse(status, headers, body), parse)
        for case, (status, body, *_) in MATRIX.items()
    }
    assert found == EXPECTED


def test_T10_the_reader_that_keeps_says_the_same_of_what_is_no_grant() -> None:
    no_grants = {c: MATRIX[c] for c in MATRIX if c[0] != "2" or b"access_token" not in MATRIX[c][1]}
    found = {
        case: refusal(HttpResponse(status, JSON, body), keep)
        for case, (status, body, *_) in no_grants.items()
    }
    assert found == {case: EXPECTED[case] for case in no_grants}


@pytest.mark.parametrize("status", [400, 401])
def test_T7_a_refusal_carries_what_the_caller_needs(status: int) -> None:
    headers = {**JSON, "x-request-id": "7f3b-1"}
    with pytest.raises(ClientMisconfigured) as refusal:
        parse(HttpResponse(status, headers, said("invalid_client")))
    error = refusal.value
    assert (
        error.error,
        error.error_description,
        error.request_id,
    ) == ("invalid_client", "Words.", "7f3b-1")
    assert error.hint is not None
    assert "client secret" in error.hint


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_scope", "unauthorized_client"])
def test_each_refusal_names_a_cure(code: str) -> None:
    with pytest.raises(ProcoreSignInError) as refusal:
        parse(HttpResponse(400, JSON, said(code)))
    assert refusal.value.hint is not None


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, "a\nb", "é"])
def test_O2_a_request_id_that_could_forge_a_log_line_is_dropped(request_id: str) -> None:
    with pytest.raises(UnexpectedResponse) as refusal:
        parse(HttpResponse(200, {"x-request-id": request_id}, b""))
    assert refusal.value.request_id is None


def test_an_unexpected_answer_has_its_request_id() -> None:
    for body in (b"", b"{}"):
        with pytest.raises(UnexpectedResponse) as refusal:
            parse(HttpResponse(200, {"x-request-id": "7f3b-1"}, body))
        assert refusal.value.request_id == "7f3b-1"


@pytest.mark.parametrize("reader", [parse, keep])
@pytest.mark.parametrize("status", [400, 404, 408, 429, 503])
def test_every_error_of_procore_has_its_request_id_or_none_where_it_has_none(
    reader: Callable[[HttpResponse], object], status: int
) -> None:
    for sent in ("7f3b-1", None):
        headers = JSON if sent is None else {**JSON, "x-request-id": sent}
        with pytest.raises(ProcoreSignInError) as refusal:
            reader(HttpResponse(status, headers, b"{}"))
        assert refusal.value.request_id == sent


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("Words.\r\nAnd \x1b[31mmore\0", None), ("Words.\r\nAnd more", "Words.And more"), (7, None)],
)
def test_A9_a_description_is_printable_or_absent(sent: object, kept: str | None) -> None:
    body = json.dumps({"error": "invalid_client", "error_description": sent}).encode()
    with pytest.raises(ProcoreSignInError) as refusal:
        parse(HttpResponse(400, JSON, body))
    assert kept == refusal.value.error_description


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("The token 9f86d081884c7d659a2feaa0c55ad015 is over.", "The token [...] is over."),
        ("eyJhbGciOiJFUzUxMiJ9.eyJhb2lkIjoxMTExMX0.AJxkZVtq-s_u7Yd0", "[...].[...].[...]"),
        ("client_secret=dGhpcyBpcyBhIHNlY3JldA==", "[...]"),
        (
            "unsupported_grant_type, or a RESOURCE_OWNER_CREDENTIALS Misunderstanding",
            "unsupported_grant_type, or a RESOURCE_OWNER_CREDENTIALS Misunderstanding",
        ),
    ],
)
def test_O1_a_server_that_quotes_a_secret_puts_it_into_no_error(said: str, shown: str) -> None:
    body = json.dumps({"error": "invalid_client", "error_description": said}).encode()
    error = oauth_error(HttpResponse(401, {}, body), what="token response", received_at=0)

    assert error is not None
    assert error.error_description == shown


@pytest.mark.parametrize("code", ["server_error", "temporarily_unavailable"])
def test_P5_a_code_that_says_not_now_says_how_long_to_wait(code: str) -> None:
    headers = {"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}
    response = HttpResponse(400, headers, b'{"error":"%b"}' % code.encode())
    with pytest.raises(ProcoreUnavailable) as refusal:
        parse_token_response(response, received_at=1_700_000_000.0)
    assert (refusal.value.retry_after, refusal.value.ambiguous) == (10, True)
