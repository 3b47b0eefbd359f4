"""Answers that cannot be asked for again: what is kept of them, and what is told."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procore_signin._protocol.http_message import LARGEST_KEPT, HttpResponse
from procore_signin._protocol.salvage import _GZIP_OR_ZLIB, _inflated, salvage
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_endpoint import MAX_LIFETIME
from procore_signin._protocol.token_response import Granted, read_granted, tokens_within
from procore_signin._protocol.token_set import TokenSet
from procore_signin.errors import GrantLost, ProcoreUnavailable, UnexpectedResponse

NOW = 1_700_000_000.75
JSON = {"content-type": "application/json; charset=utf-8"}
ACCESS, REFRESH = "fake-access-token", "fake-refresh-token"
WHOLE: dict[str, object] = {
    "access_token": ACCESS,
    "token_type": "Bearer",
    "expires_in": 5400,
    "refresh_token": REFRESH,
    "created_at": 1_699_999_999,
}
ABSENT = type("Absent", (), {"__repr__": lambda _: "absent"})()
PREVIOUS = TokenSet(
    Secret("fake-old-access", "access token"), Secret("fake-old-refresh", "refresh token"), 7
)
EITHER = pytest.mark.parametrize("previous", [None, PREVIOUS], ids=["exchange", "refresh"])


def granting(refresh: str | None = REFRESH, lifetime: int = 5400) -> TokenSet:
    return TokenSet(
        Secret(ACCESS, "access token"),
        None if refresh is None else Secret(refresh, "refresh token"),
        int(NOW) + lifetime,
    )


def spelled(**changes: object) -> bytes:
    members = {name: value for name, value in (WHOLE | changes).items() if value is not ABSENT}
    return json.dumps(members).encode()


def with_more(more: bytes) -> bytes:
    return spelled()[:-1] + b"," + more + b"}"


def read(response: HttpResponse, previous: TokenSet | None = None) -> Granted:
    return read_granted(response, received_at=NOW, previous=previous)


def answer(body: bytes, status: int = 200, *, whole: bool = True, **headers: str) -> HttpResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, JSON | named, body, whole)


@EITHER
def test_T9_a_good_answer_is_told_of_nothing(previous: TokenSet | None) -> None:
    assert read(answer(spelled()), previous) == Granted(granting(), ())


LIFETIMES: dict[str, tuple[object, int]] = {
    "text": ("5400", 5400),
    "text with blanks": (" 5400 ", 5400),
    "a fraction": (5400.0, 5400),
    "an odd fraction": (5400.9, 5400),
    "null": (None, 900),
    "nothing": (0, 900),
    "less than nothing": (-1, 900),
    "true": (True, 900),
    "words": ("an hour", 900),
    "empty": ("", 900),
    "text less than nothing": ("-5400", 900),
    "text of many digits": ("9" * 30, 900),
    "other digits": ("\u0665\u0664\u0660\u0660", 900),
    "more than a token lives": (2**31 - 1, 900),
    "a hundred years": (3_155_760_000, 900),
    "a hundred digits": (10**100, 900),
    "beyond all": (float("inf"), 900),
    "not a number": (float("nan"), 900),
    "a list": ([5400], 900),
    "an object": ({"seconds": 5400}, 900),
}


@EITHER
@pytest.mark.parametrize("case", LIFETIMES)
def test_T5_T9_a_lifetime_is_read_or_replaced_by_a_short_one(
    case: str, previous: TokenSet | None
) -> None:
    value, seconds = LIFETIMES[case]
    granted = read(answer(spelled(expires_in=value)), previous)
    assert granted.tokens == granting(lifetime=seconds)
    assert "expires_in" in granted.odd


def respelled(respell: Callable[[str], str]) -> bytes:
    return json.dumps({respell(name): value for name, value in WHOLE.items()}).encode()


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))


FORM = urlencode(WHOLE).encode()
ODD: dict[str, tuple[HttpResponse, str]] = {
    "names in camel case": (answer(respelled(camel)), "body"),
    "names in capitals": (answer(respelled(str.upper)), "body"),
    "names with hyphens": (answer(respelled(lambda name: name.replace("_", "-"))), "body"),
    "names in camel case, and an object around": (
        answer(b'{"data":' + respelled(camel) + b"}"),
        "body",
    ),
    "names in camel case beside their own": (
        answer(with_more(b'"accessToken":"another","RefreshToken":"another"')),
        "",
    ),
    "a form": (
        answer(FORM, content_type="application/x-www-form-urlencoded"),
        "content_type body expires_in",
    ),
    "a form that ends with its refresh token": (
        answer(f"access_token={ACCESS}&expires_in=5400&refresh_token={REFRESH}".encode()),
        "body token_type expires_in",
    ),
    "a form called JSON": (answer(FORM), "body expires_in"),
    "a form that breaks off after its tokens": (
        answer(FORM, whole=False),
        "length body expires_in",
    ),
    "no token type": (answer(spelled(token_type=ABSENT)), "token_type"),
    "token type null": (answer(spelled(token_type=None)), "token_type"),
    "token type mac": (answer(spelled(token_type="mac")), "token_type"),
    "token type a list": (answer(spelled(token_type=["bearer"])), "token_type"),
    "error null": (answer(spelled(error=None)), "error"),
    "error empty": (answer(spelled(error="")), "error"),
    "error false": (answer(spelled(error=False)), "error"),
    "error a code": (answer(spelled(error="invalid_grant")), "error"),
    "error another code": (answer(spelled(error="server_error")), "error"),
    "error an object": (answer(spelled(error={"code": 0})), "error"),
    **{
        f"status {status}": (answer(spelled(), status), "status") for status in (201, 202, 206, 299)
    },
    **{
        f"called {kind!r}": (answer(spelled(), content_type=kind), "content_type")
        for kind in (
            "text/json",
            "text/html; charset=utf-8",
            "application/vnd.api+json",
            "application/problem+json",
            "application/octet-stream",
            "",
            ";",
        )
    },
    "a byte order mark": (answer(b"\xef\xbb\xbf" + spelled()), "body"),
    "25 digits elsewhere": (answer(spelled(x=10**24)), "body"),
    "5000 digits elsewhere": (answer(with_more(b'"x":' + b"7" * 5000)), "body"),
    "NaN elsewhere": (answer(spelled(x=float("nan"))), "body"),
    "beyond all elsewhere": (answer(with_more(b'"x":1e999')), "body"),
    "a NUL elsewhere": (answer(spelled(x="\0")), "body"),
    "a raw NUL elsewhere": (answer(with_more(b'"x":"\0"')), "body"),
    "a raw line feed elsewhere": (answer(with_more(b'"x":"a\nb"')), "body"),
    "half a surrogate pair elsewhere": (answer(with_more(rb'"x":"\ud800"')), "body"),
    "a name twice elsewhere": (answer(with_more(b'"x":1,"x":2')), "body"),
    "the lifetime twice": (answer(with_more(b'"expires_in":5400')), "body"),
    "the access token twice": (answer(with_more(b'"access_token":"%b"' % ACCESS.encode())), "body"),
    "the refresh token twice": (answer(b'{"refresh_token":"first",' + spelled()[1:]), "body"),
    "the two tokens and the lifetime alone": (
        answer(spelled(token_type=ABSENT, created_at=ABSENT)),
        "token_type",
    ),
    "40 objects elsewhere": (answer(with_more(b'"x":' + b'{"x":' * 40 + b"1" + b"}" * 40)), "body"),
    "100000 lists elsewhere": (
        answer(with_more(b'"x":' + b"[" * 100_000 + b"]" * 100_000)),
        "body",
    ),
    "100000 lists unclosed": (answer(with_more(b'"x":' + b"[" * 100_000)), "body"),
    "an unclosed string elsewhere": (answer(with_more(b'"x":"')), "body"),
    "a lost quote before the tokens": (answer(b'{"x":"y,' + spelled()[1:]), "body"),
    "a lost brace": (answer(spelled()[1:]), "body"),
    "a comma too many": (answer(spelled()[:-1] + b",}"), "body"),
    "a brace too many between the tokens": (
        answer(spelled().replace(b', "refresh_token"', b'}, "refresh_token"')),
        "body",
    ),
    "a string of JSON after blanks and a byte order mark": (
        answer(b"\xef\xbb\xbf \n" + json.dumps(spelled().decode()).encode()),
        "body",
    ),
    "a string of JSON": (answer(json.dumps(spelled().decode()).encode()), "body"),
    "cut before its last brace": (answer(spelled()[:-1]), "body"),
    "cut and said to be": (answer(spelled()[:-1], whole=False), "length body"),
    "whole and said to be cut": (answer(spelled(), whole=False), "length"),
    "something after it": (answer(spelled() + b"\0\0<!-- cached -->"), "body"),
    "a second response after it": (answer(spelled() + b'{"access_token":"b"}'), "body"),
    "something before it": (answer(b")]}',\n" + spelled()), "body"),
    "a page around it": (answer(b"<html><pre>" + spelled() + b"</pre></html>"), "body"),
    "a list around it": (answer(b"[" + spelled() + b"]"), "body"),
    "an object around it": (answer(b'{"data":' + spelled() + b"}"), "body"),
    "Latin-1": (answer(with_more('"name":"Zoë"'.encode("latin-1"))), "body"),
    "UTF-16": (answer(spelled().decode().encode("utf-16")), "body"),
    "UTF-16, big end first": (answer(spelled().decode().encode("utf-16-be")), "body"),
    "UTF-32": (answer(spelled().decode().encode("utf-32-le")), "body"),
    "gzip": (answer(gzip.compress(spelled()), content_encoding="gzip"), "body"),
    "gzip that says nothing of it": (answer(gzip.compress(spelled())), "body"),
    "gzip with a wrong sum": (answer(gzip.compress(spelled())[:-8] + b"sum-size"), "body"),
    "gzip that is cut off": (
        answer(gzip.compress(spelled() + b" " * 50)[:-9], whole=False),
        "length body",
    ),
    "deflate": (answer(zlib.compress(spelled()), content_encoding="deflate"), "body"),
    "raw deflate": (
        answer(zlib.compress(spelled(), wbits=-15), content_encoding="deflate"),
        "body",
    ),
    "200 kB": (answer(spelled() + b" " * 200_000), ""),
    "200 kB, cut": (answer(with_more(b'"x":"' + b"x" * 200_000), whole=False), "length body"),
}


@EITHER
@pytest.mark.parametrize("case", ODD)
def test_T9_a_pair_that_can_be_read_is_kept_and_what_was_odd_is_told(
    case: str, previous: TokenSet | None
) -> None:
    response, words = ODD[case]
    granted = read(response, previous)
    assert granted.tokens == granting()
    assert list(granted.odd) == words.split()


def test_T9_what_is_told_is_a_fixed_word_and_no_value() -> None:
    changes = {
        "c4n4ry": "c4n4ry",
        "error": "c4n4ry",
        "token_type": "c4n4ry",
        "expires_in": "c4n4ry",
    }
    granted = read(answer(spelled(**changes), 201, content_type="c4n4ry"), PREVIOUS)
    assert granted.odd == ("status", "content_type", "token_type", "expires_in", "error")


@EITHER
def test_T9_members_that_nobody_needs_may_be_anything(previous: TokenSet | None) -> None:
    more = {"scope": None, "created_at": "yesterday", "id_token": [1], "company": {"id": 2**60}}
    assert read(answer(spelled(**more)), previous) == Granted(granting(), ())


UNREADABLE = [None, "", 7, ["r"], {"r": "r"}, "r\n", "r" * 8193, "\u00e9", "\0"]


@pytest.mark.parametrize("value", [ABSENT, *UNREADABLE], ids=repr)
def test_T5_T9_the_refresh_token_stays_where_no_new_one_can_be_read(value: object) -> None:
    granted = read(answer(spelled(refresh_token=value)), PREVIOUS)
    assert granted.tokens == granting("fake-old-refresh")
    assert granted.odd[-1:] == (() if value is ABSENT else ("refresh_token",))
    assert read(answer(spelled(refresh_token=value))).tokens == granting(None)


def test_T5_a_missing_refresh_token_without_a_previous_one_is_none() -> None:
    body, without = spelled(refresh_token=ABSENT), replace(PREVIOUS, refresh_token=None)
    assert read(answer(body), without) == Granted(granting(None), ())


@pytest.mark.parametrize("value", [ABSENT, *UNREADABLE], ids=repr)
def test_T9_a_new_refresh_token_is_kept_although_the_access_token_cannot_be_read(
    value: object,
) -> None:
    granted = read(answer(spelled(access_token=value)), PREVIOUS)
    assert granted.tokens.refresh_token == granting().refresh_token
    assert granted.tokens.expires_at == int(NOW)
    assert "access_token" in granted.odd
    with pytest.raises(UnexpectedResponse):
        read(answer(spelled(access_token=value)))


NO_GRANT = {
    "nothing": answer(b""),
    "no content": answer(b"", 204),
    "an empty object": answer(b"{}"),
    "a page": answer(b"<html>Your access_token is gone: see refresh_token</html>"),
    "an echo of what was sent": answer(b'{"refresh_token":"fake-old-refresh"}'),
    "words in a string": answer(json.dumps({"hint": '"access_token":"x"'}).encode()),
    "a bomb": answer(gzip.compress(bytes(50_000_000)), content_encoding="gzip"),
    "more than is kept, and no token": answer(b'{"a":"' + b"a" * LARGEST_KEPT, whole=False),
    "half an access token": answer(b'{"access_token":"fake-acc'),
    # The server may have granted a refresh token that is not among what came.
    "cut before the refresh token": answer(spelled()[:60]),
    "cut within the refresh token": answer(spelled()[:-40]),
    "an echo of what was sent, as a form": answer(b"refresh_token=fake-old-refresh"),
    "a page with a link to a form": answer(b'<a href="/?access_token=a&refresh_token=b">here</a>'),
}


@EITHER
@pytest.mark.parametrize("case", NO_GRANT)
def test_T9_where_no_grant_can_be_read_nothing_is_made_up(
    case: str, previous: TokenSet | None
) -> None:
    with pytest.raises(UnexpectedResponse):
        read(NO_GRANT[case], previous)


@EITHER
def test_T9_an_answer_that_broke_off_before_the_tokens_were_whole_is_ambiguous(
    previous: TokenSet | None,
) -> None:
    body = spelled(created_at=ABSENT)
    form = urlencode({name: WHOLE[name] for name in WHOLE if name != "created_at"}).encode()
    pieces = [body[:length] for length in range(len(body) - 2)]
    pieces += [form[:length] for length in range(len(form) + 1)]
    for piece in pieces:
        with pytest.raises(ProcoreUnavailable) as refusal:
            read(answer(piece, whole=False), previous)
        assert refusal.value.ambiguous is True, piece


def test_T9_a_token_that_may_go_on_is_not_what_can_be_revoked() -> None:
    form = f"access_token={ACCESS}&refresh_token=fake-refr".encode()
    found = tokens_within(answer(form, whole=False), received_at=NOW)
    assert found == replace(granting(None), expires_at=int(NOW))


def test_T9_what_is_as_long_as_all_that_is_kept_did_not_break_off() -> None:
    for length, refused in ((LARGEST_KEPT, UnexpectedResponse), (9, ProcoreUnavailable)):
        with pytest.raises(refused):
            read(answer(b" " * length, whole=False))


def test_T5_T9_a_lifetime_of_a_second_and_of_years_is_taken_though_something_else_is_odd() -> None:
    for seconds in (1, MAX_LIFETIME):
        granted = read(answer(spelled(token_type="mac", expires_in=seconds)))
        assert granted == Granted(granting(lifetime=seconds), ("token_type",))


def test_T9_tokens_are_kept_where_little_or_nothing_stands_beside_them() -> None:
    form = f"access_token={ACCESS}&token_type=bearer".encode()
    assert read(answer(form)) == Granted(granting(None, 900), ("body",))
    both = {"access_token": ACCESS, "refresh_token": REFRESH}
    granted = read(answer(json.dumps(both).encode()))
    assert granted == Granted(granting(lifetime=900), ("token_type",))
    alone = {"access_token": ACCESS, "token_type": "mac"}
    granted = read(answer(json.dumps(alone).encode()))
    assert granted == Granted(granting(None, 900), ("token_type",))


def test_T9_a_name_with_two_wrong_letters_is_another_name() -> None:
    granted = read(answer(spelled(refresh_token=ABSENT, refresh_tikin="another")))
    assert granted.tokens == granting(None)


def test_T9_a_value_of_a_form_may_end_with_signs_of_equality() -> None:
    form = f"access_token={ACCESS}&refresh_token={REFRESH}==&x=1".encode()
    assert read(answer(form)).tokens == granting(f"{REFRESH}==", 900)


def test_T9_a_refresh_token_beside_an_error_replaces_none() -> None:
    with pytest.raises(GrantLost):
        read(answer(b'{"refresh_token":"fake-new","error":"invalid_grant"}'), PREVIOUS)


def test_T9_where_only_the_new_refresh_token_can_be_read_the_old_access_token_is_over() -> None:
    granted = read(answer(spelled(access_token=None)), PREVIOUS)
    assert granted.tokens == replace(
        PREVIOUS, refresh_token=Secret(REFRESH, ""), expires_at=int(NOW)
    )


def test_V6_tokens_that_were_salvaged_print_as_their_names() -> None:
    tokens = read(answer(spelled(token_type="mac"))).tokens
    assert (repr(tokens.access_token), repr(tokens.refresh_token)) == (
        "<access token>",
        "<refresh token>",
    )


@EITHER
def test_T9_an_error_without_tokens_is_an_error_also_under_a_success(
    previous: TokenSet | None,
) -> None:
    for status in (200, 201):
        with pytest.raises(GrantLost):
            read(answer(b'{"error":"invalid_grant"}', status), previous)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (spelled(), (ACCESS, REFRESH)),
        (spelled()[:60], (ACCESS, None)),
        (spelled(access_token="a\n"), (REFRESH, REFRESH)),
        (b'{"error":"invalid_grant"}', None),
        (b"<html>", None),
        (f"access_token={ACCESS}&refresh_token={REFRESH}".encode(), (ACCESS, REFRESH)),
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_T9_what_can_be_revoked_is_found_in_any_answer(
    body: bytes, expected: tuple[str, str | None] | None, status: int
) -> None:
    found = tokens_within(answer(body, status), received_at=NOW)
    pair = found and (found.access_token.reveal(), found.refresh_token)
    secret = expected and (expected[0], expected[1] and Secret(expected[1], ""))
    assert pair == secret
    assert found is None or found.expires_at == int(NOW)


def test_O1_V6_what_was_salvaged_prints_no_token() -> None:
    assert ACCESS not in repr(salvage(spelled()))
    assert ACCESS not in repr(read(answer(spelled(error=None))))


def test_T9_a_name_that_also_stands_there_as_it_should_is_not_respelled_and_ends_no_token() -> None:
    lost_quote = b'{"accessToken":"fake-access,"expiresIn":60}'
    body = lost_quote + b',{"expires_in":5400,"refreshToken":"' + REFRESH.encode() + b'"}'
    assert salvage(body).members == {"expires_in": 5400, "refresh_token": REFRESH}


# One quarter of a response, eight times as large, may take eight times as long, and a little more.
HOSTILE = {
    "brackets": b"[",
    "objects": b'{"x":',
    "quotes": b'"',
    "escapes": b'\\"',
    "names": b'"access_token"',
    "names with blanks": b'"access_token"        ',
    "members": b'"access_token":"',
    "members within": b'"access_token":"\\"error\\":\\"',
    "NULs": b"\0",
    "digits": b"7",
    "other spellings": b'"accessToken":',
    "form": b"access_token=a&",
}


def seconds_for(size: int, piece: bytes) -> float:
    start = b"" if piece.endswith(b"&") else b'{"x":'
    body = (start + piece * (size // len(piece)))[:size]
    best = 9.0
    for _ in range(3):
        began = time.process_time()
        salvage(body)
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize("case", HOSTILE)
def test_T9_reading_what_is_left_takes_no_more_than_linear_time(case: str) -> None:
    small, large = (seconds_for(size, HOSTILE[case]) for size in (30_000, 240_000))
    assert large < 24 * small + 0.05


def test_T9_a_bomb_becomes_no_more_than_the_cap() -> None:
    began = time.process_time()
    body = gzip.compress(spelled()[:-1] + b" " * 50_000_000)
    assert salvage(body).members["refresh_token"] == REFRESH
    assert time.process_time() - began < 5


def test_T9_what_a_bomb_becomes_is_cut_at_the_cap_to_the_byte() -> None:
    bomb = gzip.compress(b"a" * (LARGEST_KEPT + 5_000))
    assert len(_inflated(bomb, _GZIP_OR_ZLIB)) == LARGEST_KEPT


# What must stay as it is for the pair to be readable: both members. All else may change.
PAIR = (b'"access_token": "fake-access-token"', b'"refresh_token": "fake-refresh-token"')
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=6,
)
other_members = st.dictionaries(
    st.sampled_from(["token_type", "expires_in", "error", "scope", "created_at"])
    | st.text(max_size=9).filter(lambda name: name not in {"access_token", "refresh_token"}),
    anything,
    max_size=6,
)
headers = st.dictionaries(
    st.sampled_from(["content-type", "content-encoding", "content-length", "x-request-id"]),
    st.text(max_size=12) | st.sampled_from(["gzip", "text/html", "application/json"]),
)
previous_sets = st.sampled_from([None, PREVIOUS])
successes = st.sampled_from([200, 200, *range(200, 300)])


@settings(deadline=None, max_examples=300)
@given(other_members, headers, successes, previous_sets, st.booleans(), st.permutations(range(2)))
def test_T9_no_other_member_header_or_success_loses_the_pair(
    members: dict[str, object],
    headers: dict[str, str],
    status: int,
    previous: TokenSet | None,
    whole: bool,  # noqa: FBT001  # drawn by Hypothesis
    order: list[int],
) -> None:
    pair = [("access_token", ACCESS), ("refresh_token", REFRESH)]
    body = json.dumps(dict([pair[order[0]], *members.items(), pair[order[1]]])).encode()
    kept = read(HttpResponse(status, headers, body, whole), previous).tokens
    assert (kept.access_token, kept.refresh_token) == (
        granting().access_token,
        granting().refresh_token,
    )
    assert 1 <= kept.expires_at - int(NOW) <= 100_000_000


@settings(deadline=None, max_examples=500)
@given(st.data(), successes, previous_sets)
def test_T9_no_damage_beside_the_two_tokens_loses_the_pair(
    data: st.DataObject, status: int, previous: TokenSet | None
) -> None:
    body = json.dumps({"x": [1, {"y": "z"}], **WHOLE, "name": "Zo\u00eb"}, ensure_ascii=False)
    before, rest = body.encode().split(PAIR[0])
    between, after = rest.split(PAIR[1])
    parts = []
    for part in (before, between, after):
        damaged = bytearray(part)
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(damaged)))
            until = data.draw(st.integers(at, min(at + 3, len(damaged))))
            damaged[at:until] = data.draw(st.binary(max_size=3))
        parts.append(bytes(damaged))
    body_now = parts[0] + PAIR[0] + parts[1] + PAIR[1] + parts[2]
    kept = read(HttpResponse(status, JSON, body_now), previous).tokens
    assert (kept.access_token, kept.refresh_token) == (
        granting().access_token,
        granting().refresh_token,
    )


OTHERS = [bytes([byte]) for byte in b'Xx_0 "\\,:{}&=%\n\xc3']
"""What is put in the place of one byte."""

BODIES = {
    "JSON": spelled(),
    "JSON without blanks": json.dumps(WHOLE, separators=(",", ":")).encode(),
    "a form": FORM,
}


def damaged(body: bytes, places: range) -> Iterator[bytes]:
    """Yield `body` with one byte at one of `places` damaged."""
    for place in places:
        for other in OTHERS:
            if other != body[place : place + 1]:
                yield body[:place] + other + body[place + 1 :]


@pytest.mark.parametrize("case", ["JSON", "JSON without blanks"])
def test_T9_no_damaged_byte_beside_a_token_lengthens_it(case: str) -> None:
    body = BODIES[case]
    for token, name in ((ACCESS, "access_token"), (REFRESH, "refresh_token")):
        end = body.index(token.encode()) + len(token)
        for wrong in damaged(body, range(end, end + 4)):
            assert salvage(wrong).members.get(name) in (token, None), wrong


@pytest.mark.parametrize("case", ["JSON", "JSON without blanks"])
def test_T9_no_damaged_colon_loses_a_token(case: str) -> None:
    body = BODIES[case]
    for name in (b'"access_token"', b'"refresh_token"'):
        colon = body.index(b":", body.index(name))
        for other in (b"", *OTHERS):
            if other not in {b'"', b",", b"}"}:  # what makes the name a value, or a quote its text
                wrong = body[:colon] + other + body[colon + 1 :]
                assert read(answer(wrong)).tokens == granting(), wrong


@pytest.mark.parametrize("case", BODIES)
def test_T9_no_damaged_byte_within_the_name_of_a_token_loses_it(case: str) -> None:
    body = BODIES[case]
    for name in (b"access_token", b"refresh_token"):
        begin = body.index(name)
        for wrong in damaged(body, range(begin, begin + len(name))):
            if not set(wrong[begin : begin + len(name)]) & set(b' "\\\n{}&='):  # no name any more
                assert read(answer(wrong)).tokens == granting(), wrong


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + FORM,
        FORM.replace(b"access_", b"Access_").replace(b"refresh_", b"REFRESH_"),
    ],
    ids=["a BOM", "capitals"],
)
def test_T9_a_form_in_another_spelling_is_read(body: bytes) -> None:
    assert read(answer(body)).tokens == granting()
