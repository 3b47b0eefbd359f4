from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.me import Me, me_request, parse_me_response
from procore_signin._protocol.secret import Secret
from procore_signin.errors import (
    ProcoreSignInError,
    ProcoreUnavailable,
    SignInRefused,
    UnexpectedResponse,
)

NOW = 1_700_000_000.0
CARL: dict[str, object] = {"id": 160586, "login": "carl@example.com", "name": "Carl Contractor"}


def answer(body: bytes | None = None, status: int = 200, **changes: object) -> HttpResponse:
    whole = json.dumps(CARL | changes).encode() if body is None else body
    return HttpResponse(status, {"x-request-id": "7f3b-1"}, whole)


def test_P1_the_token_is_in_the_header_and_nowhere_else() -> None:
    request = me_request("https://api.procore.com", Secret("fake-access-token", "access token"))
    assert (
        request.method,
        request.url,
        request.body,
    ) == ("GET", "https://api.procore.com/rest/v1.0/me", b"")
    assert request.headers == (
        ("accept", "application/json"),
        ("authorization", "Bearer fake-access-token"),
    )


def test_an_answer_is_a_person() -> None:
    me = parse_me_response(answer(), NOW)
    assert (me.procore_id, me.login, me.name) == (160586, "carl@example.com", "Carl Contractor")


@pytest.mark.parametrize("number", [1, 2**31, 2**53 + 1, 598134325694431, 2**63 - 1])
def test_I3_ids_up_to_64_bits_are_exact(number: int) -> None:
    me = parse_me_response(answer(id=number), NOW)
    assert number == me.procore_id
    assert number == json.loads(me.json)["id"]


@pytest.mark.parametrize(
    "spelled",
    [
        *("0", "-1", "-0", "9223372036854775808", "18446744073709551617", "1.0", "1e3", "NaN"),
        *("true", "false", "null", '"160586"', '"\\uff11"', "[1]", "{}", "1" * 5000),
    ],
)
def test_I3_an_id_that_is_not_a_positive_64_bit_integer_is_refused(spelled: str) -> None:
    body = f'{{"id":{spelled},"login":"carl@example.com"}}'.encode()
    with pytest.raises(UnexpectedResponse):
        parse_me_response(answer(body), NOW)


def test_I3_an_answer_without_an_id_is_refused() -> None:
    with pytest.raises(UnexpectedResponse, match="has no id"):
        parse_me_response(answer(b'{"login":"carl@example.com"}'), NOW)


@pytest.mark.parametrize(
    "login",
    [None, 7, True, ["a"], "", "a" * 256, "a\0b", "a\nb", "a\x7f", "a\x85", "\ud800"],
)
def test_I6_a_login_that_is_not_1_to_255_characters_without_controls_is_refused(
    login: object,
) -> None:
    with pytest.raises(UnexpectedResponse):
        parse_me_response(answer(login=login), NOW)


@pytest.mark.parametrize(
    "login",
    ["a", "a" * 255, "𝒜" * 255, "\u202ecarl@example.com", "carl＠ｅxample.com", "O'Brien <b>&amp;"],
)
def test_I6_a_login_is_data_and_kept_as_it_is(login: str) -> None:
    assert login == parse_me_response(answer(login=login), NOW).login


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, None),
        ("", None),
        ("\n", None),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("Carl\r\n\x1b[2J\x9b Contractor", "Carl[2J Contractor"),
        ("\u202eالعربية", "\u202eالعربية"),
        ("x" * 255, "x" * 255),
        ("x" * 256, "x" * 255),
        ("\n" * 256 + "x", "x"),
    ],
)
def test_I6_a_name_is_kept_without_controls_and_cut(sent: str | None, kept: str | None) -> None:
    assert kept == parse_me_response(answer(name=sent), NOW).name


def test_a_person_without_a_name_has_none() -> None:
    me = parse_me_response(answer(b'{"id":1,"login":"carl@example.com"}'), NOW)
    assert Me(1, "carl@example.com", None, '{"id":1,"login":"carl@example.com"}') == me


@pytest.mark.parametrize("name", [7, True, ["Carl"], {"first": "Carl"}])
def test_I6_a_name_that_is_no_text_is_refused(name: object) -> None:
    with pytest.raises(UnexpectedResponse, match="name that is not text"):
        parse_me_response(answer(name=name), NOW)


@pytest.mark.parametrize("escape", [r"\u0000", r"\ud800"])
def test_I6_what_no_database_stores_is_refused_wherever_it_is(escape: str) -> None:
    body = f'{{"id":1,"login":"a","x":[{{"y":"{escape}"}}]}}'.encode()
    with pytest.raises(UnexpectedResponse):
        parse_me_response(answer(body), NOW)


def test_the_json_is_the_whole_answer_in_its_order_without_spaces() -> None:
    body = '{ "name" : "Ünï",\n"id":1, "login":"a", "extra": {"b": [1, 2.5, null, true]} }'
    assert (
        parse_me_response(answer(body.encode()), NOW).json
        == '{"name":"Ünï","id":1,"login":"a","extra":{"b":[1,2.5,null,true]}}'
    )


@pytest.mark.parametrize(("size", "fits"), [(65_536, True), (65_537, False)])
def test_I6_the_json_is_at_most_64_KiB_of_UTF8(size: int, *, fits: bool) -> None:
    frame = len('{"id":1,"login":"a","x":""}')
    body = '{"id":1,"login":"a","x":"%s"}' % (
        "é" * ((size - frame) // 2) + "x" * ((size - frame) % 2)
    )
    if fits:
        assert size == len(parse_me_response(answer(body.encode()), NOW).json.encode())
    else:
        with pytest.raises(UnexpectedResponse, match="larger than 65536 bytes"):
            parse_me_response(answer(body.encode()), NOW)


def test_I6_a_person_prints_without_the_whole_answer() -> None:
    assert "c4n4ry" not in repr(parse_me_response(answer(phone="c4n4ry"), NOW))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, UnexpectedResponse),
        (403, SignInRefused),
        (408, ProcoreUnavailable),
        (429, ProcoreUnavailable),
        (500, ProcoreUnavailable),
        (503, ProcoreUnavailable),
        (204, UnexpectedResponse),
        (302, UnexpectedResponse),
        (404, UnexpectedResponse),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"errors":"Unauthorized"}', json.dumps(CARL).encode()]
)
def test_T7_the_status_decides_whatever_the_body(
    status: int, kind: type[ProcoreSignInError], body: bytes
) -> None:
    with pytest.raises(ProcoreSignInError) as refusal:
        parse_me_response(answer(body, status), NOW)
    assert (kind, "7f3b-1") == (type(refusal.value), refusal.value.request_id)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_names_a_cure(status: int) -> None:
    with pytest.raises(ProcoreSignInError) as refusal:
        parse_me_response(answer(b"", status), NOW)
    assert refusal.value.hint is not None


def test_P5_a_rate_limit_says_how_long_to_wait() -> None:
    response = HttpResponse(429, {"x-rate-limit-reset": "1700000010"}, b"")
    with pytest.raises(ProcoreUnavailable) as refusal:
        parse_me_response(response, NOW)
    assert (refusal.value.retry_after, refusal.value.ambiguous) == (10, False)


LEAKS = {
    "id": answer(id="c4n4ry"),
    "login": answer(login=["c4n4ry"]),
    "name": answer(name={"c4n4ry": 1}),
    "no JSON": answer(b"c4n4ry"),
    "refused": answer(b"c4n4ry", 403),
}


@pytest.mark.parametrize("case", LEAKS)
def test_O1_a_refusal_shows_nothing_of_the_answer(
    case: str, everything_shown: Callable[[BaseException], str]
) -> None:
    with pytest.raises(ProcoreSignInError) as refusal:
        parse_me_response(LEAKS[case], NOW)
    shown = everything_shown(refusal.value)
    assert type(refusal.value).__name__ in shown
    assert "c4n4ry" not in shown


texts = st.text(st.characters(exclude_categories=["Cs"]))
members = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers() | st.floats() | st.booleans() | st.text(),
        "login": st.text() | st.none() | st.just("carl@example.com"),
        "name": st.text() | st.none() | st.integers(),
        "extra": st.dictionaries(texts, st.floats() | texts),
    },
)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([200, 200, 200, 401, 403, 404, 429, 500]),
    st.binary() | members.map(lambda each: json.dumps(each).encode()),
)
def test_I3_I6_any_answer_is_a_person_or_a_documented_error(status: int, body: bytes) -> None:
    try:
        me = parse_me_response(answer(body, status), NOW)
    except (SignInRefused, ProcoreUnavailable, UnexpectedResponse):
        return
    assert 1 <= me.procore_id < 2**63
    assert 1 <= len(me.login) <= 255
    assert me.name is None or 1 <= len(me.name) <= 255
    assert json.loads(body) == json.loads(me.json)


def test_a_user_who_may_not_use_the_api_is_told_to_ask_an_administrator() -> None:
    with pytest.raises(SignInRefused) as refusal:
        parse_me_response(answer(b"", 403), NOW)
    assert str(refusal.value) == "Procore does not let this user use the API (403)"
    assert refusal.value.reason is not None
    assert refusal.value.reason.endswith("Ask the Procore administrator of your company.")


def test_a_token_of_another_environment_is_told_as_such() -> None:
    with pytest.raises(UnexpectedResponse) as refusal:
        parse_me_response(answer(b"", 401), NOW)
    assert str(refusal.value).endswith("(401)")
    assert "two environments" in str(refusal.value.hint)
