from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.secret import Secret
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

NOW = 1_700_000_000.75
JSON = {"content-type": "application/json; charset=utf-8"}
WHOLE: dict[str, object] = {
    "access_token": "fake-access-token",
    "token_type": "bearer",
    "expires_in": 5400,
    "refresh_token": "fake-refresh-token",
    "created_at": 1_699_999_999,
}
ABSENT = object()


def ok(**changes: object) -> HttpResponse:
    """Return a success with `changes` made to it; ABSENT takes a member away."""
    members = {name: value for name, value in (WHOLE | changes).items() if value is not ABSENT}
    return HttpResponse(200, JSON, json.dumps(members).encode())


def raw(expires_in: bytes = b"5400", more: bytes = b"") -> bytes:
    """Return a success spelled by hand, for what `json.dumps` does not write."""
    return b'{"access_token":"a","token_type":"bearer","expires_in":%b%b}' % (expires_in, more)


def parse(response: HttpResponse) -> TokenSet:
    return parse_token_response(response, received_at=NOW)


def keep(response: HttpResponse) -> TokenSet:
    return read_granted(response, received_at=NOW).tokens


def token_set(expires_in: int = 5400) -> TokenSet:
    """Return what `WHOLE` grants."""
    return TokenSet(
        Secret("fake-access-token", "access token"),
        Secret("fake-refresh-token", "refresh token"),
        int(NOW) + expires_in,
    )


def test_a_whole_answer_is_a_token_set() -> None:
    assert token_set() == parse(ok())


def test_V6_a_token_set_of_an_answer_prints_no_token() -> None:
    secrets = "access_token=<access token>, refresh_token=<refresh token>"
    assert f"TokenSet({secrets}, expires_at=1700005400)" == repr(parse(ok()))


WRONG_MEMBERS: dict[str, dict[str, object]] = {
    "no access token": {"access_token": ABSENT},
    "access token null": {"access_token": None},
    "access token empty": {"access_token": ""},
    "access token a number": {"access_token": 1},
    "access token true": {"access_token": True},
    "access token a list": {"access_token": ["a"]},
    "access token an object": {"access_token": {"a": "b"}},
    "access token of 8193": {"access_token": "a" * 8193},
    "access token with a line feed": {"access_token": "a\r\nX-Injected: 1"},
    "access token ending in a line feed": {"access_token": "a\n"},
    "access token with DEL": {"access_token": "a\x7f"},
    "access token that is not ASCII": {"access_token": "é"},
    "no token type": {"token_type": ABSENT},
    "token type null": {"token_type": None},
    "token type a number": {"token_type": 1},
    "token type a list": {"token_type": ["bearer"]},
    "token type mac": {"token_type": "mac"},
    "token type with a space": {"token_type": "bearer "},
    "token type empty": {"token_type": ""},
    "lifetime null": {"expires_in": None},
    "lifetime true": {"expires_in": True},
    "lifetime false": {"expires_in": False},
    "lifetime a string": {"expires_in": "5400"},
    "lifetime a list": {"expires_in": [5400]},
    "lifetime 0": {"expires_in": 0},
    "lifetime -1": {"expires_in": -1},
    "lifetime of more than 10^8": {"expires_in": 100_000_001},
    "lifetime of 2^64": {"expires_in": 2**64},
    "refresh token null": {"refresh_token": None},
    "refresh token empty": {"refresh_token": ""},
    "refresh token a number": {"refresh_token": 7},
    "refresh token of 8193": {"refresh_token": "r" * 8193},
    "refresh token with a line feed": {"refresh_token": "r\n"},
}

MALFORMED = {
    "nothing": b"",
    "white space": b"\r\n",
    "null": b"null",
    "true": b"true",
    "a number": b"1",
    "a string": b'"fake-access-token"',
    "a list": b"[" + raw() + b"]",
    "an empty object": b"{}",
    "HTML": b"<html><body>Sign in to the hotel's network</body></html>",
    "a form": b"access_token=a&token_type=bearer&expires_in=5400",
    "JSON and more": raw() + b"x",
    "two responses": raw() + raw(),
    "half a response": raw()[:-1],
    "a byte order mark": b"\xef\xbb\xbf" + raw(),
    "UTF-16": raw().decode().encode("utf-16"),
    "Latin-1": raw(more=b',"name":"\xe9"'),
    "NaN elsewhere": raw(more=b',"x":NaN'),
    "Infinity elsewhere": raw(more=b',"x":[-Infinity]'),
    "a number beyond all elsewhere": raw(more=b',"x":1e999'),
    "5000 digits elsewhere": raw(more=b',"x":' + b"7" * 5000),
    "an access token twice": raw(more=b',"access_token":"b"'),
    "an access token twice, escaped": raw(more=rb',"\u0061ccess_token":"b"'),
    "a name twice elsewhere": raw(more=b',"x":{"y":1,"y":1}'),
    "a NUL elsewhere": raw(more=rb',"x":"\u0000"'),
    "half a surrogate pair elsewhere": raw(more=rb',"x":"\ud800"'),
    "200000 lists elsewhere": raw(more=b',"x":' + b"[" * 200_000),
    "33 objects elsewhere": raw(more=b',"x":' + b'{"x":' * 32 + b"1" + b"}" * 32),
    "a lifetime of NaN": raw(b"NaN"),
    "a lifetime of 5000 digits": raw(b"5" * 5000),
    "a lifetime with an exponent": raw(b"1e3"),
    "a lifetime with a fraction": raw(b"5400.0"),
    "a lifetime of -0": raw(b"-0"),
    **{case: ok(**change).body for case, change in WRONG_MEMBERS.items()},
}


@pytest.mark.parametrize("case", MALFORMED)
def test_T4_an_answer_that_breaks_a_rule_is_unexpected(case: str) -> None:
    with pytest.raises(UnexpectedResponse, match=r"\AThe token response ") as refusal:
        parse(HttpResponse(200, JSON, MALFORMED[case]))
    assert refusal.value.hint is not None
    assert refusal.value.error is None


@pytest.mark.parametrize("token", ["a", "a" * 8192, " !\"#$%&'()*+,-./~", "0:;<=>?@[\\]^_`{|}"])
def test_T4_tokens_of_1_to_8192_printable_characters_are_read(token: str) -> None:
    tokens = parse(ok(access_token=token, refresh_token=token))
    assert tokens.refresh_token is not None
    assert [token, token] == [tokens.access_token.reveal(), tokens.refresh_token.reveal()]


@pytest.mark.parametrize("token_type", ["bearer", "Bearer", "BEARER", "bEaReR"])
def test_T4_the_token_type_is_bearer_in_any_case(token_type: str) -> None:
    assert token_set() == parse(ok(token_type=token_type))


@pytest.mark.parametrize(
    "more",
    [
        {"scope": "", "id_token": "x", "company": {"id": 2**60}},
        {"created_at": "yesterday"},
        {"ACCESS_TOKEN": "b"},
        {"deep": json.loads("[" * 31 + "]" * 31)},
    ],
)
def test_T4_members_of_others_change_nothing(more: dict[str, object]) -> None:
    assert token_set() == parse(ok(**more))


def test_T5_a_missing_refresh_token_is_none() -> None:
    assert replace(token_set(), refresh_token=None) == parse(ok(refresh_token=ABSENT))


def test_T5_a_missing_lifetime_is_a_quarter_of_an_hour() -> None:
    assert token_set(expires_in=900) == parse(ok(expires_in=ABSENT))


@pytest.mark.parametrize("created_at", [ABSENT, 0, 1_699_999_400, 1_700_000_600, 4_102_444_800])
@pytest.mark.parametrize("expires_in", [1, 900, 5400, 7200, 100_000_000])
def test_T6_the_lifetime_counts_from_our_receipt_whatever_the_servers_clock_says(
    created_at: object, expires_in: int
) -> None:
    tokens = parse(ok(created_at=created_at, expires_in=expires_in))
    assert 1_700_000_000 + expires_in == tokens.expires_at


@pytest.mark.parametrize("media_type", ["text/html", "application/jwt", "", "application/json5"])
def test_T4_T7_tokens_under_another_media_type_are_unexpected(media_type: str) -> None:
    with pytest.raises(UnexpectedResponse, match="does not call itself application/json"):
        parse(HttpResponse(200, {"content-type": media_type}, ok().body))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        {"content-type": "Application/JSON ; charset=UTF-8"},
    ],
)
def test_T7_tokens_under_JSONs_own_media_type_or_none_are_read(headers: dict[str, str]) -> None:
    assert token_set() == parse(HttpResponse(200, headers, ok().body))


LEAKS = {
    "no token type": HttpResponse(200, JSON, b'{"access_token":"c4n4ry","expires_in":1}'),
    "bad lifetime": ok(access_token="c4n4ry", refresh_token="c4n4ry", expires_in="c4n4ry"),
    "bad refresh token": ok(access_token="c4n4ry", refresh_token="c4n4ry\n"),
    "bad access token": ok(access_token="c4n4ry\n", refresh_token="c4n4ry"),
    "no JSON": HttpResponse(200, JSON, b'{"access_token":"c4n4ry"'),
    "a list": HttpResponse(200, JSON, b'["c4n4ry"]'),
    "another media type": HttpResponse(200, {"content-type": "text/plain"}, b'"c4n4ry"'),
    "an error beside tokens": ok(access_token="c4n4ry", error="invalid_grant"),
    "an outage with tokens": HttpResponse(503, JSON, b'{"access_token":"c4n4ry"}'),
    "an outage without JSON": HttpResponse(503, JSON, b"c4n4ry"),
    "a redirect": HttpResponse(302, {"location": "https://x/?t=c4n4ry"}, b"c4n4ry"),
}


@pytest.mark.parametrize("case", LEAKS)
def test_O1_V6_no_error_shows_anything_of_the_answer(
    case: str, everything_shown: Callable[[BaseException], str]
) -> None:
    with pytest.raises(ProcoreSignInError) as refusal:
        parse(LEAKS[case])
    shown = everything_shown(refusal.value)
    assert type(refusal.value).__name__ in shown
    assert "c4n4ry" not in shown


KEEPER_LEAKS = {
    "bad access token": LEAKS["bad access token"],
    "no JSON": LEAKS["no JSON"],
    "cut off": HttpResponse(200, JSON, b'{"access_token":"c4n4ry","refre', whole=False),
    "a list": LEAKS["a list"],
    "another media type": LEAKS["another media type"],
    "an outage with tokens": LEAKS["an outage with tokens"],
    "a redirect": LEAKS["a redirect"],
}


@pytest.mark.parametrize("case", KEEPER_LEAKS)
def test_O1_V6_no_error_of_the_reader_that_keeps_shows_anything_either(
    case: str, everything_shown: Callable[[BaseException], str]
) -> None:
    with pytest.raises(ProcoreSignInError) as refusal:
        keep(KEEPER_LEAKS[case])
    shown = everything_shown(refusal.value)
    assert type(refusal.value).__name__ in shown
    assert "c4n4ry" not in shown


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=6,
)
near_misses = st.fixed_dictionaries(
    {},
    optional={
        "access_token": any_json | st.just("fake-access-token"),
        "token_type": any_json | st.just("bearer"),
        "expires_in": any_json | st.integers(-1, 10**9),
        "refresh_token": any_json | st.just("fake-refresh-token"),
        "error": any_json | st.sampled_from(["invalid_grant", "invalid_client", "server_error"]),
        "error_description": any_json,
        "created_at": any_json,
    },
)
statuses = st.sampled_from([200, 200, 200, 204, 302, 400, 401, 408, 429, 500, 503, 999])
header_sets = st.dictionaries(
    st.sampled_from(["content-type", "x-request-id", "retry-after", "x-rate-limit-reset"]),
    st.text(max_size=12) | st.sampled_from(["application/json", "1700000060", "60"]),
)


@settings(deadline=None, max_examples=400)
@given(
    statuses,
    header_sets,
    st.binary(max_size=200) | near_misses.map(lambda members: json.dumps(members).encode()),
)
def test_T4_T7_any_answer_is_a_token_set_or_a_documented_error(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    for read in (parse, keep):
        try:
            tokens = read(HttpResponse(status, headers, body))
        except (GrantLost, ClientMisconfigured, ProcoreUnavailable, UnexpectedResponse):
            continue
        assert status == 200 or (read is keep and status == 204)
        assert 1 <= tokens.expires_at - int(NOW) <= 100_000_000
        assert tokens.access_token.reveal().isascii()


vschars = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=50)


@settings(deadline=None)
@given(vschars, vschars, st.integers(1, 100_000_000))
def test_every_success_is_read_as_it_was_written(
    access_token: str, refresh_token: str, expires_in: int
) -> None:
    assert TokenSet(
        Secret(access_token, "access token"),
        Secret(refresh_token, "refresh token"),
        int(NOW) + expires_in,
    ) == parse(ok(access_token=access_token, refresh_token=refresh_token, expires_in=expires_in))
