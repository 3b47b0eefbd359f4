from __future__ import annotations

import json
import math
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procore_signin._protocol.strict_json import JsonValue, parse, parse_object
from procore_signin.errors import UnexpectedResponse

REFUSED = {
    "nothing": (b"", "is not JSON at character 0"),
    "white space only": (b" \n", "is not JSON"),
    "a byte order mark": (b'\xef\xbb\xbf{"a":1}', "begins with a byte order mark"),
    "UTF-16": ('{"a":1}'.encode("utf-16-le"), "is not JSON"),
    "UTF-16 with its mark": ('{"a":1}'.encode("utf-16"), "is not UTF-8"),
    "Latin-1": (b'{"a":"\xe9"}', "is not UTF-8"),
    "a surrogate in UTF-8": (b'"\xed\xa0\x80"', "is not UTF-8"),
    "an overlong slash": (b'"\xc0\xaf"', "is not UTF-8"),
    "HTML": (b"<!doctype html><title>502</title>", "is not JSON at character 0"),
    "two values": (b"{}{}", "is not JSON at character 2"),
    "a comma too many": (b'{"a":1,}', "is not JSON"),
    "a comment": (b"{} // fine", "is not JSON"),
    "single quotes": (b"{'a':1}", "is not JSON"),
    "a name without quotes": (b"{a:1}", "is not JSON"),
    "half an object": (b'{"a":', "is not JSON"),
    "half a string": (b'{"a":"b', "is not JSON"),
    "a raw line feed in a string": (b'"a\nb"', "is not JSON"),
    "a raw NUL in a string": (b'"a\x00b"', "is not JSON"),
    "a raw NUL after the value": (b"{}\x00", "is not JSON"),
    "an escape that JSON does not have": (rb'"\x41"', "is not JSON"),
    "NaN": (b'{"a":NaN}', "has a number that JSON does not have"),
    "Infinity": (b"[Infinity]", "has a number that JSON does not have"),
    "-Infinity": (b"-Infinity", "has a number that JSON does not have"),
    "a number beyond all": (b"1e999", "has a number that is too large"),
    "a number beyond all, negative": (b"[-1E+999]", "has a number that is too large"),
    "a number with a leading zero": (b"01", "is not JSON"),
    "a hexadecimal number": (b"0x1", "is not JSON"),
    "full-width digits": ("\uff11".encode(), "is not JSON"),
    "an underscore in a number": (b"1_0", "is not JSON"),
    "21 digits": (b"1" * 21, "has an integer of more than 20 digits"),
    "21 digits, negative": (b"-" + b"1" * 21, "has an integer of more than 20 digits"),
    "5000 digits": (b'{"a":' + b"9" * 5000 + b"}", "has an integer of more than 20 digits"),
    "a repeated name": (b'{"a":1,"a":1}', "repeats a name"),
    "a repeated name, escaped": (rb'{"a":1,"\u0061":2}', "repeats a name"),
    "a repeated name, deep inside": (b'[{"a":[{"b":1,"b":2}]}]', "repeats a name"),
    "an escaped NUL": (rb'{"a":"x\u0000"}', "has a NUL character"),
    "an escaped NUL in a name": (rb'{"\u0000":1}', "has a NUL character"),
    "an escaped NUL in a list": (rb'[["\u0000"]]', "has a NUL character"),
    "a high surrogate alone": (rb'"\ud800"', "has half a surrogate pair"),
    "a low surrogate alone": (rb'{"a":["\udfff"]}', "has half a surrogate pair"),
    "a high surrogate alone in a name": (rb'{"\ud83d":1}', "has half a surrogate pair"),
    "a pair the wrong way round": (rb'"\ude00\ud83d"', "has half a surrogate pair"),
    "33 lists": (b"[" * 33 + b"]" * 33, "is nested deeper than 32 levels"),
    "33 objects": (b'{"a":' * 33 + b"1" + b"}" * 33, "is nested deeper than 32 levels"),
    "200000 lists": (b"[" * 200_000, "is nested deeper than 32 levels"),
    "200000 objects": (b'{"a":' * 200_000, "is nested deeper than 32 levels"),
    "33 lists, each after one that has ended": (b"[[[]]," * 33, "is nested deeper than 32 levels"),
    "33 lists after many flat ones": (
        b"[" + b"[]," * 40 + b"[" * 32 + b"]" * 33,
        "is nested deeper than 32 levels",
    ),
}


@pytest.mark.parametrize(("body", "rule"), REFUSED.values(), ids=REFUSED)
def test_T4_what_two_readers_could_understand_differently_is_refused(
    body: bytes, rule: str
) -> None:
    with pytest.raises(UnexpectedResponse) as refusal:
        parse(body, what="token response")
    assert str(refusal.value).startswith(f"The token response {rule}")


ACCEPTED = {
    "an object": (
        b'{"a":{"b":[1,2.5,true,false,null,"c"]}}',
        {"a": {"b": [1, 2.5, True, False, None, "c"]}},
    ),
    "white space around": (b' \r\n\t{"a" : 1}\n', {"a": 1}),
    "20 digits": (b"-" + b"9" * 20, -(10**20 - 1)),
    "an exponent": (b"[1e3,-0.0]", [1000.0, -0.0]),
    "a pair of surrogates": (rb'"\ud83d\ude00"', "\U0001f600"),
    "the same in UTF-8": ('"\U0001f600"'.encode(), "\U0001f600"),
    "a backslash before u": (rb'"\\u0000 \\ud800"', r"\u0000 \ud800"),
    "a quote and a backslash": (rb'"\"\\"', '"\\'),
    "32 lists": (b"[" * 32 + b"]" * 32, json.loads("[" * 32 + "]" * 32)),
    "a hundred brackets in a string": (
        b'{"a":"' + b"[{" * 50 + b'\\"' + b"[{" * 50 + b'"}',
        {"a": "[{" * 50 + '"' + "[{" * 50},
    ),
    "32 lists after many flat ones": (
        b"[" + b"[]," * 40 + b"[" * 31 + b"]" * 32,
        [*([[]] * 40), json.loads("[" * 31 + "]" * 31)],
    ),
    "a hundred flat lists": (b"[" + b",".join([b"[]"] * 100) + b"]", [[]] * 100),
    "the same name in two objects": (b'[{"a":1},{"a":2}]', [{"a": 1}, {"a": 2}]),
    "names that differ by case": (b'{"a":1,"A":2}', {"a": 1, "A": 2}),
}


@pytest.mark.parametrize(("body", "value"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_JSON_to_every_reader_is_read(body: bytes, value: JsonValue) -> None:
    assert value == parse(body, what="body")


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"true", b"null"])
def test_T4_an_object_is_refused_where_it_is_another_value(body: bytes) -> None:
    with pytest.raises(UnexpectedResponse, match="The body is not a JSON object"):
        parse_object(body, what="body")


@pytest.mark.parametrize(
    "body",
    [
        b'"' + rb"\"" * 500_000,  # each quote could begin a string that never ends
        b'["' * 100_000,
        b'"' + b"[" * 1_000_000,
        b"[" * 40 + b'"' + b"\\" * 1_000_001,
    ],
)
def test_T4_a_hostile_body_is_refused_in_time_that_grows_with_its_size_only(body: bytes) -> None:
    started = time.process_time()
    with pytest.raises(UnexpectedResponse):
        parse(b"[" * 33 + body, what="body")
    assert time.process_time() - started < 2


BODY_WITH_SECRET = {
    "no JSON": b'{"access_token":"c4n4ry",}',
    "no UTF-8": b'{"access_token":"c4n4ry","a":"\xff"}',
    "repeated": b'{"access_token":"c4n4ry","access_token":"c4n4ry"}',
    "NUL": rb'{"access_token":"c4n4ry\u0000"}',
    "deep": b'{"access_token":"c4n4ry","a":' + b"[" * 99,
    "digits": b'{"access_token":"c4n4ry","a":' + b"9" * 99,
    "no object": b'["c4n4ry"]',
}


@pytest.mark.parametrize("read", [parse, parse_object])
@pytest.mark.parametrize("case", [case for case in BODY_WITH_SECRET if case != "no object"])
def test_O1_a_refusal_shows_nothing_of_the_body(
    case: str,
    read: Callable[..., JsonValue],
    everything_shown: Callable[[BaseException], str],
) -> None:
    with pytest.raises(UnexpectedResponse) as refusal:
        read(BODY_WITH_SECRET[case], what="body")
    shown = everything_shown(refusal.value)
    assert "The body " in shown
    assert "c4n4ry" not in shown


def test_O1_the_refusal_of_another_value_shows_nothing_of_it(
    everything_shown: Callable[[BaseException], str],
) -> None:
    with pytest.raises(UnexpectedResponse) as refusal:
        parse_object(BODY_WITH_SECRET["no object"], what="body")
    shown = everything_shown(refusal.value)
    assert "The body " in shown
    assert "c4n4ry" not in shown


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**20) + 1, max_value=10**20 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4),
            children,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(value=values, ascii_only=st.booleans())
def test_every_value_is_read_as_it_was_written(*, value: JsonValue, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    read = parse(body, what="body")
    assert (value, json.dumps(value)) == (read, json.dumps(read))


@settings(deadline=None, max_examples=500)
@given(
    st.binary()
    | st.text().map(str.encode)
    | st.text(st.sampled_from('{}[]",:\\u0d8e1.-+tfnN \n'), max_size=60).map(str.encode)
)
def test_T4_any_bytes_are_read_as_the_standard_library_reads_them_or_refused(body: bytes) -> None:
    try:
        value = parse(body, what="body")
    except UnexpectedResponse:
        return
    assert json.dumps(json.loads(body)) == json.dumps(value)
    assert not (isinstance(value, float) and not math.isfinite(value))
