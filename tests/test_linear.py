"""No parser takes more than linear time for what comes from outside (row O10).

Each is given something nasty of one size and of eight times that. Linear work takes eight times as
long; quadratic work takes sixty-four. The processor time of the thread is measured, and the best of
several runs counts, so that what else the machine does matters little.
"""

from __future__ import annotations

import contextlib
import gc
import json
import time
from collections.abc import Callable
from typing import Any, Final

import httpx2
import pytest

from procore_signin import events
from procore_signin._api.error_messages import clean, words_of
from procore_signin._api.http.origin import refuse_ambiguous
from procore_signin._api.pagination import Pages
from procore_signin._api.rate_limit import server_time, wait_before_retry
from procore_signin._cli.setup.checks_server import _visible_text
from procore_signin._protocol.authorization import parse_authorization_response
from procore_signin._protocol.companies import parse_companies_response
from procore_signin._protocol.error_response import error_code, error_description, request_id
from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.me import parse_me_response
from procore_signin._protocol.retry_after import retry_after
from procore_signin._protocol.strict_json import parse
from procore_signin._protocol.token_endpoint import (
    check_revocation_response,
    parse_token_info_response,
    parse_token_response,
)
from procore_signin._settings.trusted_proxies import TrustedProxies
from procore_signin._web.http.asgi_wsgi import folded, of_environ
from procore_signin._web.http.bodies import BodyRefused
from procore_signin._web.http.cookies import read_cookies
from procore_signin._web.http.limits import network_of
from procore_signin._web.http.messages import BrowserRequest
from procore_signin._web.http.origin import is_from_our_pages, is_navigation, may_set_cookies
from procore_signin._web.json.fields import _members, in_form, whole_number
from procore_signin._web.look.languages import Languages
from procore_signin._web.return_to import safe_return_to
from procore_signin._web.router import _LOOPBACK
from procore_signin._web.site import vary
from procore_signin.errors import ProcoreSignInError

Parser = Callable[[Any], object]

SMALL: Final = 8_000  # bytes, about; eight times as much is what servers let a head have
MOST_TIMES: Final = 24
"""Eight is linear. What is left is for caches, and for the noise of a busy machine."""

LEAST_SECONDS: Final = 0.002
PROXIES: Final = TrustedProxies.parse("10.0.0.0/8")


def repeated(text: str) -> Callable[[int], str]:
    return lambda size: text * (size // len(text))


def ended(text: str, end: str) -> Callable[[int], str]:
    return lambda size: text * (size // len(text)) + end


def numbered(text: str) -> Callable[[int], str]:
    """Return what makes texts of parts that all differ."""
    return lambda size: "".join(text.format(number) for number in range(size // (len(text) + 3)))


def _nested(size: int) -> list[list[str]]:
    return [[f"t{here}-{there}" for there in range(10)] for here in range(size // 120)]


TEXTS: Final[dict[str, Callable[[int], str]]] = {
    "one letter": repeated("a"),
    "blanks": ended(" ", "x"),
    "tabs and blanks": ended("\t ", "x"),
    "commas": repeated(","),
    "commas and blanks": repeated(",   "),
    "semicolons": repeated("; "),
    "equals": repeated("="),
    "ampersands": repeated("&"),
    "percents": repeated("%"),
    "escapes": repeated("%25"),
    "colons": repeated(":"),
    "dots": repeated("."),
    "hyphens": repeated("a-"),
    "zeros": repeated("0"),
    "nines": repeated("9"),
    "slashes": repeated("/"),
    "backslashes": repeated("\\"),
    "quotes": repeated('"'),
    "escaped quotes": repeated('\\"'),
    "brackets": repeated("["),
    "brackets and back": lambda size: "[" * (size // 2) + "]" * (size // 2),
    "angles": repeated("<"),
    "links": numbered('<https://a/{}>; rel="next", '),
    "addresses": repeated("10.0.0.1, "),
    "cookies": numbered("procore_signin_a_{}=b; "),
    "one cookie": repeated("procore_signin_session=b; "),
    "parameters": numbered("a{}=b&"),
    "one parameter": repeated("state=b&"),
    "lists": numbered("state[{}]=b&"),
    "members": lambda size: json.dumps({f"n{number}": number for number in range(size // 20)}),
    "nested lists": lambda size: json.dumps(_nested(size)),
    "errors": lambda size: json.dumps({"errors": {"a": _nested(size)}}),
    "a long number": lambda size: "[" + "1" * size + "]",
    "a long fraction": lambda size: "[0." + "1" * size + "]",
    "a long exponent": lambda size: "[1e" + "1" * size + "]",
    "a long string": lambda size: '["' + "\\u0041" * (size // 6) + '"]',
    "half a string": lambda size: "[" * 40 + '"' + "\\\\" * (size // 2),
    "half a string of escaped quotes": lambda size: "[" * 40 + '"' + '\\"' * (size // 2),
    "words below the length of a token": repeated("a" * 39 + " "),
    "not connected": repeated("not "),
    "a date": ended("Mon, ", " GMT"),
    "beyond ASCII": repeated("\u00e9\u00ad"),
}


def raw(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def answer(text: str, status: int = 200, **headers: str) -> HttpResponse:
    return HttpResponse(status, {"content-type": "application/json", **headers}, text.encode())


def in_answer(parser: Callable[[HttpResponse, float], object], status: int = 200) -> Parser:
    return lambda text: parser(answer(text, status), 0)


def browser_request(text: str) -> BrowserRequest:
    headers = (
        *(b"host", b"origin", b"user-agent", b"accept", b"purpose", b"sec-purpose"),
        *(b"sec-fetch-site", b"sec-fetch-dest", b"content-length", b"x-forwarded-for"),
    )
    return BrowserRequest(
        method="POST",
        path="/",
        query=b"",
        headers=dict.fromkeys(headers, raw(text)),
        cookies=(),
        client_address="",
        request_id="",
    )


def token_answer(response: HttpResponse, at: float) -> object:
    return parse_token_response(response, received_at=at)


def judge(text: str) -> object:
    asked = browser_request(text)
    return (
        asked.user_agent,
        asked.wants_json,
        asked.has_body,
        asked.has_too_long_body,
        is_navigation(asked),
        is_from_our_pages(asked, "https://app.example.com"),
        may_set_cookies(asked),
        _LOOPBACK.fullmatch(text),
    )


def listed(text: str, headers: dict[str, str]) -> httpx2.Response:
    asked = httpx2.Request("GET", "https://api.procore.com/rest/v1.0/projects")
    return httpx2.Response(200, content=text.encode(), headers=headers, request=asked)


def link(text: str) -> object:
    response = listed("[]", {"link": text.encode("ascii", "replace").decode()})
    return Pages("/rest/v1.0/projects", None, None, 10).take(response)


def environ(text: str) -> object:
    return of_environ(
        {"REQUEST_METHOD": "GET", "RAW_URI": text, "HTTP_COOKIE": text, "CONTENT_LENGTH": text},
        path="/",
    ).query


PARSERS: Final[dict[str, Parser]] = {
    "the query of a callback": lambda text: parse_authorization_response(raw(text)),
    "a form": lambda text: whole_number(in_form(raw(text)), "session_id"),
    "a form as JSON": lambda text: _members(raw(text)),
    # Made anew each time: they remember what they have read.
    "the languages of a browser": lambda text: Languages(["en", "es"]).of(text, lambda: None),
    "a page that the doctor reads": lambda text: _visible_text(raw(text)),
    "cookies": lambda text: read_cookies([raw(text)], secure=False),
    "many cookies": lambda text: read_cookies(raw(text).split(b" "), secure=False),
    "many headers": lambda text: folded((b"a", b"") for _ in text),
    "many cookie headers": lambda text: folded((b"cookie", b"") for _ in text),
    "headers": judge,
    "a WSGI environment": environ,
    "forwarded addresses": lambda text: PROXIES.client_address("10.0.0.1", [raw(text)]),
    "many forwarded addresses": lambda text: PROXIES.client_address(
        "10.0.0.1", [b"10.1"] * len(text)
    ),
    "an address": network_of,
    "where to return": lambda text: safe_return_to(f"/{text}", default="/"),
    "what varies": vary,
    "a line of the log": events._one_line,
    "a token response": in_answer(token_answer),
    "a refused token": in_answer(token_answer, 400),
    "a revocation": in_answer(check_revocation_response, 400),
    "token info": in_answer(parse_token_info_response),
    "me": in_answer(parse_me_response),
    "a person's name": lambda text: parse_me_response(
        answer(json.dumps({"id": 1, "login": text, "name": text})), 0
    ),
    "companies": in_answer(parse_companies_response),
    "JSON": lambda text: parse(text.encode(), what="answer"),
    "an error": lambda text: (error_code(text), error_description(text)),
    "a request id": lambda text: request_id(answer("", **{"x-request-id": text})),
    "when to try again": lambda text: retry_after(answer("", 429, **{"retry-after": text}), 0),
    "when the API may be asked again": lambda text: wait_before_retry(
        429, {"retry-after": text, "date": text}, clock=0, tries=1
    ),
    "a date": lambda text: server_time({"date": text}, 0),
    "a link": link,
    "a page of a list": lambda text: Pages("/rest/v1.0/a", None, None, 10).take(listed(text, {})),
    "a refusal of the API": lambda text: words_of(text.encode(), "application/json"),
    "the words of a refusal": clean,
    "an address of the API": lambda text: refuse_ambiguous("GET", text),
}

COUNTED: Final = {"many headers", "many cookie headers", "many forwarded addresses"}
"""They look at the length of a text alone."""


def seconds(parser: Parser, content: str, times: int) -> float:
    """Return the processor time, without the collector: it looks at the whole process's objects."""
    gc.disable()
    try:
        began = time.thread_time()
        for _ in range(times):
            # It may be refused, soon.
            with contextlib.suppress(ProcoreSignInError, BodyRefused, ValueError):
                parser(content)
        return time.thread_time() - began
    finally:
        gc.enable()


def best(parser: Parser, content: str) -> float:
    """Return what one call takes: the least of several, each long enough to be measured."""
    times = 1
    while seconds(parser, content, times) < LEAST_SECONDS and times < 10_000:
        times *= 2
    return min(seconds(parser, content, times) for _ in range(3)) / times


def ratio(parser: Parser, make: Callable[[int], str]) -> float:
    """Return how many times as long eight times as much takes; the best of three attempts."""
    small, large = make(SMALL), make(SMALL * 8)
    found = float(MOST_TIMES)
    for _ in range(3):
        found = min(found, best(parser, large) / best(parser, small))
        if found < MOST_TIMES / 2:
            break
    return found


@pytest.mark.parametrize("name", PARSERS)
def test_O10_eight_times_as_much_takes_about_eight_times_as_long(name: str) -> None:
    texts = {"one letter": TEXTS["one letter"]} if name in COUNTED else TEXTS
    slow = {
        kind: ratio(PARSERS[name], make)
        for kind, make in texts.items()
        # What takes next to no time for eight times as much needs no closer look.
        if seconds(PARSERS[name], make(SMALL * 8), 1) > LEAST_SECONDS
    }
    assert {kind: found for kind, found in slow.items() if found >= MOST_TIMES} == {}


def test_O10_work_that_is_quadratic_would_be_noticed() -> None:
    def quadratic(text: str) -> int:
        return sum(text.count("x", place) for place in range(0, len(text), 8))

    assert ratio(quadratic, repeated("a")) >= MOST_TIMES
