from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procore_signin._protocol.authorization import (
    AuthorizationDenied,
    CodeGranted,
    new_state,
    parse_authorization_response,
)
from procore_signin._protocol.secret import Secret
from procore_signin.errors import AttemptInvalid

STATE = b"0123456789abcdef" * 4
TEXT = STATE.decode()


def test_a_code_and_a_state_are_a_grant() -> None:
    assert CodeGranted(Secret("abc", "code"), TEXT, None) == parse_authorization_response(
        b"code=abc&state=" + STATE
    )


def test_O1_a_grant_prints_neither_code_nor_state() -> None:
    granted = parse_authorization_response(b"code=c4n4ry&state=" + STATE)
    assert repr(granted) == "CodeGranted(code=<code>, iss=None)"


def test_O1_a_refusal_prints_without_its_state() -> None:
    denied = parse_authorization_response(b"error=access_denied&state=" + STATE)
    assert TEXT not in repr(denied)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (b"code=a%2Bb+c%20d&state=%s", "a+b c d"),
        (b"code=a;b/c?d=e&state=%s", "a;b/c?d=e"),
        (b"c%6Fde=abc&st%61te=%s", "abc"),
        (b"&&code=abc&&state=%s&", "abc"),
        (b"code=%s&state=%%s" % (b"x" * 2048), "x" * 2048),
        (b"code=%s&state=%%s" % (b"%7E" * 2048), "~" * 2048),
    ],
)
def test_parameters_are_decoded_once(query: bytes, code: str) -> None:
    granted = parse_authorization_response(query.replace(b"%s", STATE))
    assert isinstance(granted, CodeGranted)
    assert (code, TEXT) == (granted.code.reveal(), granted.state)


@pytest.mark.parametrize("state", [b"a" * 32, b"Z9" * 64])
def test_A3_states_of_32_to_128_letters_and_digits_are_read(state: bytes) -> None:
    granted = parse_authorization_response(b"code=abc&state=" + state)
    assert isinstance(granted, CodeGranted)
    assert state.decode() == granted.state


def test_C5_a_refusal_has_its_code_and_description() -> None:
    assert AuthorizationDenied(
        "access_denied",
        "The resource owner or authorization server denied the request.",
        TEXT,
        None,
    ) == parse_authorization_response(
        b"error=access_denied&error_description=The+resource+owner+or+authorization+server"
        b"+denied+the+request.&state=" + STATE
    )


def test_C5_an_error_beside_a_code_is_a_refusal() -> None:
    answer = parse_authorization_response(b"code=abc&error=server_error&state=" + STATE)
    assert AuthorizationDenied("server_error", None, TEXT, None) == answer


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("", None),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("a\r\nSet-Cookie: b\0\x1b[2J\x7f\x85", "aSet-Cookie: b[2J"),
        ("\u202egnp.exe\u2066\u200b\ufeff\u2028", "gnp.exe"),
        ("Überschrift 見出し 😀", "Überschrift 見出し 😀"),
        ("x" * 600, "x" * 512),
        ("\n" * 600 + "x", "x"),
    ],
)
def test_C5_A9_a_description_loses_what_cannot_be_printed(sent: str, kept: str | None) -> None:
    answer = parse_authorization_response(
        b"error=access_denied&error_description=%b&state=%b" % (quote(sent).encode(), STATE)
    )
    assert isinstance(answer, AuthorizationDenied)
    assert kept == answer.error_description


def test_C5_the_address_of_an_error_page_is_not_kept() -> None:
    answer = parse_authorization_response(
        b"error=access_denied&error_uri=https%3A%2F%2Fevil.example&state=" + STATE
    )
    assert "evil" not in repr(answer)


@pytest.mark.parametrize("kind", [b"code=abc", b"error=access_denied"])
def test_C6_an_issuer_is_handed_on(kind: bytes) -> None:
    answer = parse_authorization_response(
        b"%b&iss=https%%3A%%2F%%2Flogin.procore.com&state=%b" % (kind, STATE)
    )
    assert answer is not None
    assert answer.iss == "https://login.procore.com"


@pytest.mark.parametrize(
    "other",
    [
        b"utm_source=mail",
        b"session_state=1&session_state=2",
        b"x=%FF%00%zz",
        b"x[]=1",
        b"Code=b",
        b"STATE=b",
        b"code_=b",
        b"states=b",
        b"%73cope=read",
        b"=code",
        b"x",
    ],
)
def test_C6_parameters_of_others_change_nothing(other: bytes) -> None:
    expected = CodeGranted(Secret("abc", "code"), TEXT, None)
    assert expected == parse_authorization_response(b"%b&code=abc&state=%b" % (other, STATE))
    assert expected == parse_authorization_response(b"code=abc&state=%b&%b" % (STATE, other))


TOKENS_IN_FRONT = (
    b"access_token=c4n4ry&token_type=bearer&expires_in=5400&id_token=c4n4ry&refresh_token=c4n4ry"
)


def test_T8_tokens_in_the_query_are_left_alone() -> None:
    assert parse_authorization_response(TOKENS_IN_FRONT) is None
    granted = parse_authorization_response(TOKENS_IN_FRONT + b"&code=abc&state=" + STATE)
    assert CodeGranted(Secret("abc", "code"), TEXT, None) == granted


@pytest.mark.parametrize("query", [b"", b"&", b"x=1", b"=", b"a&b&c", b"scope=read"])
def test_a_query_without_our_parameters_is_no_response(query: bytes) -> None:
    assert parse_authorization_response(query) is None


@pytest.mark.parametrize(
    "query",
    [
        b"code=abc",
        b"error=access_denied",
        b"error_description=hello",
        b"error_uri=https://evil.example",
        b"iss=https://login.procore.com",
        b"code=abc&State=" + STATE,
        b"code=abc&access_token=b",
    ],
)
def test_C1_a_response_without_a_state_is_nobodys(query: bytes) -> None:
    with pytest.raises(AttemptInvalid, match="has no state") as refusal:
        parse_authorization_response(query)
    assert refusal.value.reason == "missing"


MALFORMED = {
    "state empty": b"code=abc&state=",
    "state without a value": b"code=abc&state",
    "state twice": b"code=abc&state=%s&state=%s",
    "state twice, one empty": b"code=abc&state=%s&state=",
    "state twice, once escaped": b"code=abc&state=%s&st%61te=%s",
    "state twice, once all escaped": b"%73%74%61%74%65=%s&code=abc&state=%s",
    "state as a list": b"code=abc&state[]=%s",
    "state as a list beside a state": b"code=abc&state=%s&state[]=%s",
    "state as a list of lists": b"code=abc&state=%s&state[a][b]=x",
    "state as a list, escaped": b"code=abc&state=%s&state%5B%5D=x",
    "state as a dictionary": b"code=abc&state=%s&state[a]=x",
    "state too short": b"code=abc&state=" + b"a" * 31,
    "state too long": b"code=abc&state=" + b"a" * 129,
    "state with a dash": b"code=abc&state=" + b"a" * 31 + b"-",
    "state with a space": b"code=abc&state=+" + b"a" * 32,
    "state with a line feed": b"code=abc&state=" + b"a" * 32 + b"%0A",
    "state with a NUL": b"code=abc&state=" + b"a" * 32 + b"%00",
    "state with a letter that is not ASCII": b"code=abc&state=" + b"a" * 32 + b"%C3%A9",
    "state with a full-width digit": b"code=abc&state=" + b"a" * 32 + b"%EF%BC%91",
    "code twice": b"code=abc&code=abc&state=%s",
    "code twice, once escaped": b"code=abc&%63ode=abd&state=%s",
    "code as a list": b"code[]=abc&state=%s",
    "code empty": b"code=&state=%s",
    "code without a value": b"code&state=%s",
    "code of 2049": b"code=" + b"x" * 2049 + b"&state=%s",
    "code with a NUL": b"code=abc%00&state=%s",
    "code with a line feed": b"code=abc%0d%0aX-Injected:1&state=%s",
    "code with DEL": b"code=abc%7F&state=%s",
    "code that is not UTF-8": b"code=%FF&state=%s",
    "code that is overlong UTF-8": b"code=%C0%AF&state=%s",
    "code that is not ASCII": b"code=%C3%A9&state=%s",
    "code with half an escape": b"code=ab%4&state=%s",
    "code with a broken escape": b"code=ab%zz&state=%s",
    "code with a percent sign alone": b"code=100%&state=%s",
    "neither code nor error": b"state=%s",
    "an issuer and neither": b"iss=https://login.procore.com&state=%s",
    "error twice": b"error=access_denied&error=server_error&state=%s",
    "error as a list": b"error[]=access_denied&state=%s",
    "error empty": b"error=&state=%s",
    "error with a quote": b"error=access%22denied&state=%s",
    "error with a backslash": b"error=access%5Cdenied&state=%s",
    "error with a line feed": b"error=access%0Adenied&state=%s",
    "error that is not ASCII": b"error=%C3%A9&state=%s",
    "error of 129": b"error=" + b"x" * 129 + b"&state=%s",
    "description twice": b"error=a&error_description=b&error_description=c&state=%s",
    "description that is not UTF-8": b"error=a&error_description=%FF&state=%s",
    "error page twice": b"error=a&error_uri=b&error_uri=c&state=%s",
    "issuer twice": b"code=abc&iss=a&iss=a&state=%s",
    "issuer empty": b"code=abc&iss=&state=%s",
    "issuer with a line feed": b"code=abc&iss=a%0A&state=%s",
    "issuer of 2049": b"code=abc&iss=" + b"a" * 2049 + b"&state=%s",
    "a name with a broken escape": b"code=abc&co%zz=1&state=%s",
    "a name that is not UTF-8": b"code=abc&%FF=1&state=%s",
    "a raw space": b"code=a bc&state=%s",
    "a raw line feed": b"code=abc&state=%s\r\n",
    "a raw NUL": b"code=abc&state=%s&x=\x00",
    "raw UTF-8": b"code=abc&state=%s&x=\xc3\xa9",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_C1_C2_what_no_server_sends_is_refused(case: str) -> None:
    query = MALFORMED[case].replace(b"%s", STATE)
    with pytest.raises(AttemptInvalid, match=r"\AThe authorization response ") as refusal:
        parse_authorization_response(query)
    assert refusal.value.reason == "malformed"
    assert refusal.value.hint is not None


def query_of(size: int) -> bytes:
    query = b"code=abc&state=%b&x=" % STATE
    return query + b"y" * (size - len(query))


def test_C2_a_query_of_8192_bytes_is_read_and_one_byte_more_is_refused() -> None:
    assert isinstance(parse_authorization_response(query_of(8192)), CodeGranted)
    with pytest.raises(AttemptInvalid, match="longer than 8192 bytes"):
        parse_authorization_response(query_of(8193))


LEAKS = {
    "twice": b"code=c4n4ry&code=c4n4ry&state=" + STATE,
    "not UTF-8": b"code=c4n4ry%FF&state=" + STATE,
    "no state": b"code=c4n4ry",
    "broken escape": b"code=c4n4ry%zz&state=" + STATE,
    "not printable": b"code=c4n4ry%00&state=" + STATE,
    "bad state": b"code=c4n4ry&state=c4n4ry",
    "bad error": b"error=%00c4n4ry&state=" + STATE,
    "raw": b"code=c4n4ry\n",
}


@pytest.mark.parametrize("case", LEAKS)
def test_O1_a_refusal_shows_nothing_of_the_query(
    case: str, everything_shown: Callable[[BaseException], str]
) -> None:
    with pytest.raises(AttemptInvalid) as refusal:
        parse_authorization_response(LEAKS[case])
    shown = everything_shown(refusal.value)
    assert "The authorization response " in shown
    assert "c4n4ry" not in shown


vschars = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1)


@settings(deadline=None)
@given(vschars, st.binary(min_size=32, max_size=32), st.sampled_from([quote, quote_plus]))
def test_what_a_server_encodes_is_read_as_it_was(
    code: str, random: bytes, encode: Callable[..., str]
) -> None:
    state = new_state(random)
    query = urlencode([("code", code), ("state", state)], quote_via=encode).encode()
    assert CodeGranted(Secret(code, "code"), state, None) == parse_authorization_response(query)


words = st.sampled_from([b"code", b"state", b"error", b"iss", b"error_description", STATE, b"abc"])
signs = st.sampled_from([b"=", b"&", b"%", b"%00", b"%FF", b"%63", b"+", b"[]", b"\0", b"\xff"])


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=300) | st.lists(words | signs, max_size=20).map(b"".join))
def test_C2_any_bytes_are_read_or_refused(query: bytes) -> None:
    try:
        answer = parse_authorization_response(query)
    except AttemptInvalid as refusal:
        assert refusal.reason in {"missing", "malformed"}  # noqa: PT017 (both outcomes are right)
        return
    if answer is not None:
        assert answer.state.isascii()
        assert answer.state.isalnum()


def test_A3_a_new_state_is_one_that_is_read_back() -> None:
    state = new_state(os.urandom(32))
    granted = parse_authorization_response(b"code=abc&state=" + state.encode())
    assert isinstance(granted, CodeGranted)
    assert state == granted.state
