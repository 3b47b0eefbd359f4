"""What is made of the two gateways' requests. Real servers are asked in `test_same_verdict.py`."""

from __future__ import annotations

from typing import Any

import pytest

from procore_signin._web.http.asgi_wsgi import of_environ, of_scope
from procore_signin._web.http.messages import LONGEST_BODY, BrowserRequest


def environ(**more: Any) -> dict[str, Any]:
    return {"REQUEST_METHOD": "GET", "QUERY_STRING": "", "REMOTE_ADDR": "192.0.2.7"} | more


def scope(**more: Any) -> dict[str, Any]:
    return {"method": "GET", "query_string": b"", "headers": [], "client": None} | more


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/callback?code=a\tb", b"code=a\tb"),
        ("/callback?a=?&b=%2F", b"a=?&b=%2F"),
        ("/callback?a=1#code=b", b"a=1"),
        ("/callback#?code=b", b""),
        ("/callback?a=\xff", b"a=\xff"),
        ("/callback", b""),
        ("http://localhost/callback?a=1", b"a=1"),
    ],
)
def test_C2_the_query_is_taken_from_the_target_where_the_server_shows_it(
    target: str, expected: bytes
) -> None:
    cleaned = environ(RAW_URI=target, QUERY_STRING="something=else")
    assert of_environ(cleaned, path="/callback").query == expected


def test_C2_elsewhere_the_query_is_the_servers() -> None:
    asked = environ(QUERY_STRING="a=%FF&a=\xe9")
    assert of_environ(asked, path="/callback").query == b"a=%FF&a=\xe9"


@pytest.mark.parametrize(
    ("sent", "path", "expected"),
    [
        (b"/a%2Fb", "/a/b", "/a%2Fb"),
        (b"/a%2Fb?x=1", "/a/b", "/a%2Fb"),
        (b"/a%2Fb", "/\xf1/a/b", "/%C3%B1/a%2Fb"),  # a prefix that a proxy has taken off
        (b"/other", "/a b", "/a%20b"),  # a middleware has changed the path alone
        (b"http://localhost/a%2Fb", "/a/b", "/a/b"),
        (b"/\xf1", "/\xf1", "/%C3%B1"),
        (b"", "/100%?#", "/100%25%3F%23"),
        (None, "/a;b=c,d@e:~!$&'()*+", "/a;b=c,d@e:~!$&'()*+"),
    ],
)
def test_an_address_that_leads_back_is_encoded_as_it_was_sent(
    sent: bytes | None, path: str, expected: str
) -> None:
    by_asgi = of_scope(scope() if sent is None else scope(raw_path=sent), path=path)
    told = {} if sent is None else {"RAW_URI": sent.decode("latin-1")}
    by_wsgi = of_environ(environ(**told), path=path)

    assert (by_asgi.address, by_wsgi.address.partition("?")[0]) == (expected, expected)
    assert of_scope(scope(query_string=b"x=%2F"), path="/a").address == "/a?x=%2F"


def fixed(_: BrowserRequest) -> bytes:
    return b"x=1"


def test_both_gateways_give_the_same_request() -> None:
    by_wsgi = of_environ(
        environ(
            QUERY_STRING="a=1",
            HTTP_COOKIE="a=\xe9",
            HTTP_SEC_FETCH_SITE="same-origin",
            CONTENT_LENGTH="3",
        ),
        path="/p",
        read_body=fixed,
    )
    by_asgi = of_scope(
        scope(
            query_string=b"a=1",
            headers=[
                (b"cookie", b"a=\xe9"),
                (b"sec-fetch-site", b"same-origin"),
                (b"content-length", b"3"),
            ],
            client=("192.0.2.7", 5),
        ),
        path="/p",
        read_body=fixed,
    )
    alike = ("method", "path", "query", "read_body", "client_address", "has_body")
    for name in alike:
        assert getattr(by_wsgi, name) == getattr(by_asgi, name)
    assert (by_wsgi.headers, by_wsgi.cookies) == (by_asgi.headers, by_asgi.cookies)
    assert by_wsgi.request_id != by_asgi.request_id


def test_a_header_that_came_twice_is_one_with_a_comma_but_cookies_stay_apart() -> None:
    twice = [(b"origin", b"a"), (b"cookie", b"c=1"), (b"origin", b"b"), (b"cookie", b"c=2")]
    found = of_scope(scope(headers=twice), path="/")
    assert found.header(b"origin") == "a,b"
    assert found.cookies == (b"c=1", b"c=2")


@pytest.mark.parametrize(
    ("headers", "has_body", "is_too_long"),
    [
        ([], False, False),
        ([(b"content-length", b"0")], False, False),
        ([(b"content-length", b"%d" % LONGEST_BODY)], True, False),
        ([(b"content-length", b"%d" % (LONGEST_BODY + 1))], True, True),
        ([(b"content-length", b"9" * 10_000)], True, True),
        ([(b"content-length", b"0" * 10_000 + b"5")], True, False),
        ([(b"transfer-encoding", b"chunked")], True, False),
    ],
)
def test_O8_how_long_a_body_is_is_known_before_it_is_read(
    headers: list[tuple[bytes, bytes]], *, has_body: bool, is_too_long: bool
) -> None:
    found = of_scope(scope(headers=headers), path="/")
    assert (found.has_body, found.has_too_long_body) == (has_body, is_too_long)


def test_what_no_server_sends_does_not_break_the_reading() -> None:
    odd = environ(HTTP_COOKIE="a=€", RAW_URI="/?a=€")
    found = of_environ(odd, path="/")
    assert (found.cookies, found.query) == ((b"a=?",), b"a=?")
