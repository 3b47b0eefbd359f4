"""The same bytes get the same verdict from every framework, on the server it is used with.

Each request goes over a raw socket to Starlette on uvicorn, FastAPI on Granian, Flask on gunicorn's
threads and on gevent, Django on gunicorn and on uvicorn. None of them may spend a code: what the
emulator's token endpoint has seen is counted afterwards.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest
from hosts import Host
from person import Person

from procore_signin.emulator import Emulator

NEVER = "f" * 64
CALLBACK = "/procore/callback"


@pytest.fixture(scope="session")
def emulator(emulator_of_hosts: Emulator) -> Emulator:
    return emulator_of_hosts


@dataclass(frozen=True)
class Browser:
    """Someone's browser at one host, in the middle of a sign-in: what a raw request is made of."""

    host: Host
    state: str
    cookie: bytes
    code: str

    def fill(self, text: bytes) -> bytes:
        """Return `text` with this browser's state, cookie, code and host in it."""
        for name, value in (
            (b"{state}", self.state.encode()),
            (b"{cookie}", self.cookie),
            (b"{code}", self.code.encode()),
            (b"{host}", urlsplit(self.host.url).netloc.encode()),
        ):
            text = text.replace(name, value)
        return text

    def status(self, request: bytes) -> int:
        """Send a request and return the status of the response."""
        answer = self.host.raw(self.fill(request))
        found = re.match(rb"HTTP/1\.[01] ([0-9]{3}) ", answer)
        assert found, answer[:200]
        return int(found[1])


@pytest.fixture(scope="module")
def browsers(everywhere: dict[str, Host], emulator: Emulator) -> Iterator[dict[str, Browser]]:
    """One browser at each host that has been at Procore and not yet come back."""
    with ExitStack() as stack:
        found = {}
        for name, host in everywhere.items():
            person = stack.enter_context(Person(host.url, emulator))
            query = parse_qs(urlsplit(person.callback_address("/procore/signin")).query)
            cookie = "; ".join(f"{key}={value}" for key, value in person.http.cookies.items())
            found[name] = Browser(host, query["state"][0], cookie.encode(), query["code"][0])
        yield found


def get(target: bytes, *more: bytes, host: bytes = b"{host}", cookie: bytes = b"{cookie}") -> bytes:
    return request(b"GET", target, *more, host=host, cookie=cookie)


def request(
    method: bytes,
    target: bytes,
    *more: bytes,
    host: bytes = b"{host}",
    cookie: bytes = b"{cookie}",
    body: bytes = b"",
) -> bytes:
    lines = [
        method + b" " + target + b" HTTP/1.1",
        b"Host: " + host,
        b"Connection: close",
        b"Accept: text/html",
        *([b"Cookie: " + cookie] if cookie else []),
        *([b"Content-Length: %d" % len(body)] if method == b"POST" else []),
        *more,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def back(query: bytes, *more: bytes, **changes: bytes) -> bytes:
    return get(CALLBACK.encode() + b"?" + query, *more, **changes)


GOOD = b"code={code}&state={state}"

# What is sent, by what is wrong with it, and the status that all of them answer with.
TABLE: dict[str, tuple[bytes, int]] = {
    "C1 no state": (back(b"code={code}"), 400),
    "C1 an empty state": (back(b"code={code}&state="), 400),
    "C1 a state of no one": (back(b"code={code}&state=" + NEVER.encode()), 400),
    "C1 an array": (back(b"code={code}&state[]={state}"), 400),
    "C1 the state in capitals": (back(b"code={code}&STATE={state}"), 400),
    "C2 the state twice": (back(b"code={code}&state={state}&state={state}"), 400),
    "C2 two states, the good one last": (back(b"code={code}&state=x&state={state}"), 400),
    "C2 two states, the good one first": (back(b"code={code}&state={state}&state=x"), 400),
    "C2 the second state in disguise": (back(b"code={code}&state={state}&st%61te={state}"), 400),
    "C2 two codes": (back(b"code={code}&code=x&state={state}"), 400),
    "C2 a semicolon for an ampersand": (back(b"code={code};state={state}"), 400),
    "C2 NUL, escaped": (back(b"code={code}%00&state={state}"), 400),
    "C2 a line break, escaped": (back(b"code={code}%0d%0aX:y&state={state}"), 400),
    "C2 no UTF-8, escaped": (back(b"code={code}%FF&state={state}"), 400),
    "C2 over-long UTF-8, escaped": (back(b"code={code}%C0%80&state={state}"), 400),
    "C2 a surrogate, escaped": (back(b"code={code}%ED%A0%80&state={state}"), 400),
    "C2 half an escape": (back(b"code={code}%4&state={state}"), 400),
    "C2 an escape of no digits": (back(b"code={code}%zz&state={state}"), 400),
    "C2 raw bytes above ASCII": (back(b"code={code}\xc3\xa9&state={state}"), 400),
    "C2 raw bytes that are no UTF-8": (back(b"code={code}\xff&state={state}"), 400),
    "C2 a raw NUL": (back(b"code={code}\x00&state={state}"), 400),
    "C2 a raw tab": (back(b"code={code}\t&state={state}"), 400),
    "C2 a raw DEL": (back(b"code={code}\x7f&state={state}"), 400),
    "C2 a fullwidth state": (back(b"code={code}&state=" + b"%EF%BC%91" * 64), 400),
    "C2 a code of 2,049 bytes": (back(b"code=" + b"x" * 2049 + b"&state={state}"), 400),
    "C2 a query of 10,000 bytes": (back(GOOD + b"&more=" + b"x" * 10_000), 400),
    "C5 a code beside an error": (back(GOOD + b"&error=temporarily_unavailable" * 2), 400),
    "C8 for an image": (back(GOOD, b"Sec-Fetch-Dest: image"), 403),
    "C8 fetched ahead": (back(GOOD, b"Sec-Purpose: prefetch"), 403),
    "C8 fetched ahead, drawn unseen": (back(GOOD, b"Sec-Purpose: prefetch;prerender"), 403),
    "C8 fetched ahead, as Safari says": (back(GOOD, b"X-Purpose: preview"), 403),
    "C8 fetched ahead, as Firefox said": (back(GOOD, b"X-Moz: prefetch"), 403),
    "C8 fetched ahead, said twice": (back(GOOD, *[b"Sec-Purpose: prefetch"] * 2), 403),
    "C8 the sign-in page fetched ahead": (
        get(b"/procore/signin", b"Sec-Purpose: prefetch", b"Sec-Fetch-Site: none"),
        403,
    ),
    "C8 the sessions fetched ahead": (get(b"/procore/sessions", b"Purpose: prefetch"), 403),
    "C8 the destination twice": (back(GOOD, *[b"Sec-Fetch-Dest: image"] * 2), 403),
    "C9 HEAD": (request(b"HEAD", CALLBACK.encode() + b"?" + GOOD), 405),
    "C9 POST": (request(b"POST", CALLBACK.encode() + b"?" + GOOD), 405),
    "C9 OPTIONS": (request(b"OPTIONS", CALLBACK.encode() + b"?" + GOOD), 405),
    "C9 PUT": (request(b"PUT", CALLBACK.encode() + b"?" + GOOD), 405),
    "C9 a method of someone else": (request(b"PROPFIND", CALLBACK.encode() + b"?" + GOOD), 405),
    "C9 a form with a code": (
        request(b"POST", CALLBACK.encode(), body=b"code={code}&state={state}"),
        405,
    ),
    "K3 the attempt twice": (back(GOOD, cookie=b"{cookie}; {cookie}"), 400),
    "K3 the attempt on two lines": (back(GOOD, b"Cookie: {cookie}"), 400),
    "K3 the attempt in quotes": (back(GOOD, cookie=b'{cookie}"'), 400),
    "K3 the attempt and a byte more": (back(GOOD, cookie=b"{cookie}\xe9"), 400),
    "K3 the attempt behind a comma": (back(GOOD, cookie=b"a=b,{cookie}"), 400),
    "K3 the attempt with spaces in it": (back(GOOD, cookie=b"{cookie} {cookie}"), 400),
    "K3 no attempt": (back(GOOD, cookie=b""), 400),
    "A10 another host": (back(GOOD, host=b"evil.example"), 400),
    "A10 another port": (back(GOOD, host=b"localhost:1"), 303),
    "A10 a host with a path": (back(GOOD, host=b"localhost/?x="), 400),
    "A10 two hosts in one": (back(GOOD, host=b"{host},evil.example"), 400),
    "A10 a user before the host": (back(GOOD, host=b"evil@{host}"), 400),
    "A10 an empty host": (back(GOOD, host=b""), 400),
    "K8 signing out from another site": (
        request(b"POST", b"/procore/sign-out", b"Sec-Fetch-Site: cross-site"),
        403,
    ),
    "K8 signing out from a sibling": (
        request(b"POST", b"/procore/sign-out", b"Sec-Fetch-Site: same-site"),
        403,
    ),
    "K8 signing out by an address": (
        request(b"POST", b"/procore/sign-out", b"Sec-Fetch-Site: none"),
        403,
    ),
    "K8 another origin": (
        request(b"POST", b"/procore/sign-out", b"Origin: https://evil.example"),
        403,
    ),
    "K8 no origin": (request(b"POST", b"/procore/sign-out"), 403),
    "K8 two responses of one browser": (
        request(
            b"POST",
            b"/procore/sign-out",
            b"Sec-Fetch-Site: cross-site",
            b"Sec-Fetch-Site: same-origin",
            b"Origin: http://{host}",
        ),
        403,
    ),
    "S3 signing out by GET": (get(b"/procore/sign-out"), 405),
    "no such page": (get(b"/procore/nowhere"), 404),
    "a page in disguise": (get(b"/procore/%63allback?code={code}"), 400),
    "dots in a path": (get(b"/procore/x/../callback?" + GOOD), 404),
    "dots in a file's name": (get(b"/procore/static/..%2fpages.py"), 404),
}


@pytest.mark.parametrize(("sent", "expected"), TABLE.values(), ids=TABLE.keys())
def test_C1_C2_K3_A10_the_same_bytes_get_the_same_verdict(
    browsers: dict[str, Browser], emulator: Emulator, sent: bytes, expected: int
) -> None:
    before = len(emulator.token_requests)
    assert {name: browser.status(sent) for name, browser in browsers.items()} == dict.fromkeys(
        browsers, expected
    )
    assert emulator.token_requests[before:] == []


@pytest.mark.parametrize("said", [b"Sec-Purpose: prefetch", b"Purpose: prefetch"])
@pytest.mark.parametrize("target", [b"/procore/signin", CALLBACK.encode(), b"/procore/nowhere"])
def test_C8_what_is_fetched_ahead_sets_no_cookie_in_any_framework(
    browsers: dict[str, Browser], target: bytes, said: bytes
) -> None:
    for name, browser in browsers.items():
        answer = browser.host.raw(browser.fill(get(target, said)))
        assert b"set-cookie" not in answer.lower(), name


@pytest.mark.parametrize("target", [b"/procore/static/procore.css", b"/procore/auth/verify"])
def test_C8_what_sets_nothing_is_served_ahead_as_well(
    browsers: dict[str, Browser], target: bytes
) -> None:
    ahead, usual = get(target, b"Sec-Purpose: prefetch;prerender"), get(target)
    for name, browser in browsers.items():
        assert browser.status(ahead) == browser.status(usual) != 403, name


def test_C1_C2_none_of_that_used_the_attempts_up(
    browsers: dict[str, Browser], emulator: Emulator
) -> None:
    """Without this, a table that refuses for some other reason would look just as good."""
    before = len(emulator.token_requests)
    assert {browser.status(back(GOOD)) for browser in browsers.values()} == {303}
    assert len(emulator.token_requests) == before + len(browsers)


@pytest.fixture(scope="module")
def joes(everywhere: dict[str, Host], emulator: Emulator) -> Iterator[dict[str, Person]]:
    """Someone who is signed in at each host."""
    with ExitStack() as stack:
        found = {}
        for name, host in everywhere.items():
            found[name] = stack.enter_context(Person(host.url, emulator))
            assert found[name].sign_in("/procore/signin?return_to=/me").headers["location"] == "/me"
        yield found


SESSION = b"procore_signin_session={session}"


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        ([SESSION], 200),
        ([b"a=b; " + SESSION + b"; c=d"], 200),
        ([b"a=1,2; " + SESSION], 200),
        ([SESSION + b"; " + SESSION], 401),
        ([SESSION, SESSION], 401),
        ([SESSION + b"; procore_signin_session=x"], 401),
        ([b"procore_signin_session=x; " + SESSION], 401),
        ([b'procore_signin_session="{session}"'], 401),
        ([SESSION + b"%20"], 401),
        ([SESSION + b"\xff"], 401),
        ([SESSION.upper()], 401),
        ([b"a=b," + SESSION], 401),
        ([b"procore_signin_session={session},procore_signin_session=x"], 401),
        ([b"__Host-" + SESSION], 401),
        ([], 401),
    ],
    ids=repr,
)
def test_K3_a_session_cookie_that_came_twice_or_odd_is_none(
    everywhere: dict[str, Host], joes: dict[str, Person], cookies: list[bytes], expected: int
) -> None:
    assert _statuses(everywhere, joes, cookies) == dict.fromkeys(everywhere, expected)


def test_K3_where_a_wsgi_server_joins_two_cookie_lines_nobody_is_signed_in(
    everywhere: dict[str, Host], joes: dict[str, Person]
) -> None:
    """Browsers send one line (RFC 6265 §5.4). After the join, a forged cookie looks the same."""
    found = _statuses(everywhere, joes, [SESSION, b"a=b"])
    assert found == {
        **dict.fromkeys(("starlette", "fastapi", "django-asgi"), 200),
        **dict.fromkeys(("flask", "flask-gevent", "django"), 401),
    }


def _statuses(
    everywhere: Mapping[str, Host], joes: Mapping[str, Person], cookies: list[bytes]
) -> dict[str, int]:
    found = {}
    for name, host in everywhere.items():
        token = joes[name].http.cookies["procore_signin_session"].encode()
        lines = [b"Cookie: " + cookie.replace(b"{session}", token) for cookie in cookies]
        browser = Browser(host, "", b"", "")
        asked = get(b"/me", *lines, cookie=b"").replace(b"text/html", b"application/json")
        found[name] = browser.status(asked)
    return found


def test_K7_what_two_people_see_is_kept_in_no_cache(
    everywhere: dict[str, Host], joes: dict[str, Person], emulator: Emulator
) -> None:
    emulator.person(22222, login="ann@procore.com", name="Ann")
    for name, host in everywhere.items():
        with Person(host.url, emulator, login="ann@procore.com") as ann:
            ann.sign_in("/procore/signin")
            pages = [
                each.http.get(path)
                for each in (joes[name], ann)
                for path in ("/me", "/who", "/companies", "/procore/sessions")
            ]
            pages.append(ann.http.get("/nowhere"))
            emails = [each.http.get("/me").json() for each in (joes[name], ann, joes[name])]
        assert emails == ["joecontractor@procore.com", "ann@procore.com", emails[0]], name
        for page in pages[:-1]:
            assert page.status_code == 200
            assert page.headers["cache-control"] == "no-store", (name, page.url)
            assert "cookie" in page.headers["vary"].lower().split(", "), (name, page.url)
        # A page that asks no one who is there may be kept.
        assert "no-store" not in pages[-1].headers.get("cache-control", ""), name


@pytest.mark.parametrize("path", ["/me", "/who"])
def test_K7_what_nobody_sees_is_kept_in_no_cache_either(
    everywhere: dict[str, Host], emulator: Emulator, path: str
) -> None:
    for name, host in everywhere.items():
        with Person(host.url, emulator) as nobody:
            for accept in ("text/html", "*/*"):
                page = nobody.http.get(path, headers={"accept": accept})
                assert page.headers["cache-control"] == "no-store", name
                assert "cookie" in page.headers["vary"].lower(), name


def test_a_browser_is_sent_to_sign_in_and_a_program_is_told(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    found = {}
    for name, host in everywhere.items():
        with Person(host.url, emulator) as nobody:
            browser = nobody.http.get("/me?tab=2&x=%2f")
            posted = nobody.post("/me")
            programs = [
                nobody.http.get("/me", headers={"accept": accept}).status_code
                for accept in ("*/*", "application/json", "")
            ]
        found[name] = (
            (browser.status_code, browser.headers["location"]),
            (posted.status_code, posted.headers["location"]),
            programs,
        )
    expected = (
        (303, "/procore/signin?return_to=/me%3Ftab%3D2%26x%3D%252f"),
        (303, "/procore/signin"),
        [401, 401, 401],
    )
    assert found == dict.fromkeys(everywhere, expected)


def test_A10_no_header_changes_where_procore_is_told_to_come_back_to(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    liar = {
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "https",
        "x-forwarded-prefix": "/evil",
        "forwarded": "host=evil.example;proto=https",
        "x-script-name": "/evil",
    }
    for host in everywhere.values():
        with Person(host.url, emulator) as person:
            person.http.headers.update(liar)
            query = parse_qs(urlsplit(person.button("/procore/signin")).query)
            assert query["redirect_uri"] == [f"{host.url}{CALLBACK}"]
            assert person.http.get("/me").headers["location"] == "/procore/signin?return_to=/me"


def test_K1_K6_the_headers_and_cookies_of_the_pages_are_the_same(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    ours = (
        "content-security-policy",
        "x-content-type-options",
        "referrer-policy",
        "cross-origin-opener-policy",
        "cross-origin-resource-policy",
        "cache-control",
        "content-type",
    )
    found = set()
    for host in everywhere.values():
        with Person(host.url, emulator) as person:
            page = person.http.get("/procore/signin")
        attributes = sorted(page.headers["set-cookie"].split("; ")[1:])
        found.add((*(page.headers[name] for name in ours), *attributes))
    assert len(found) == 1
    assert found.pop()[len(ours) :] == ("HttpOnly", "Max-Age=1800", "Path=/", "SameSite=Lax")


def test_S3_signing_out_ends_the_session_at_once_and_tells_the_browser(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    for name, host in everywhere.items():
        with Person(host.url, emulator) as joe:
            joe.sign_in("/procore/signin")
            copied = dict(joe.http.cookies)
            assert joe.http.get("/procore/sign-out").status_code == 405
            assert joe.http.get("/me").status_code == 200
            out = joe.post("/procore/sign-out")
            assert out.status_code == 200, name
            assert out.headers["clear-site-data"] == '"cache"', name
            assert out.headers["cache-control"] == "no-store", name
            assert "procore_signin_session" not in joe.http.cookies, name
            joe.http.cookies.update(copied)
            assert joe.http.get("/me").status_code == 303, name


def test_S3_a_session_can_be_ended_from_another_browser(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    emulator.person(44444, login="two@procore.com", name="Two Browsers")
    for name, host in everywhere.items():
        with (
            Person(host.url, emulator, login="two@procore.com") as here,
            Person(host.url, emulator, login="two@procore.com") as there,
        ):
            here.sign_in("/procore/signin")
            there.sign_in("/procore/signin")
            page = here.http.get("/procore/sessions").text
            for session_id in re.findall(r'name="session_id" value="([0-9]+)"', page):
                answer = here.post("/procore/sessions/end", session_id=session_id)
                assert answer.status_code == 303, name
            assert here.http.get("/me").status_code == 200, name
            assert there.http.get("/me").status_code == 303, name
            assert "End all others" not in here.http.get("/procore/sessions").text, name
            there.sign_in("/procore/signin")
            assert "End all others" in here.http.get("/procore/sessions").text, name
            foreign = here.http.post(
                "/procore/sessions/end",
                data={"others": "yes"},
                headers={"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
            )
            assert foreign.status_code == 403, name
            assert there.http.get("/me").status_code == 200, name
            assert here.post("/procore/sessions/end", others="yes").status_code == 303, name
            assert here.http.get("/me").status_code == 200, name
            assert there.http.get("/me").status_code == 303, name


def test_O8_a_form_that_is_too_large_is_refused(
    everywhere: dict[str, Host], joes: dict[str, Person]
) -> None:
    for name in everywhere:
        answer = joes[name].post("/procore/sessions/end", session_id="1", more="x" * 20_000)
        assert answer.status_code == 413, name


def test_S7_a_database_that_does_not_answer_lets_nobody_in_and_signs_nobody_out(
    everywhere: dict[str, Host], joes: dict[str, Person]
) -> None:
    for name, host in everywhere.items():
        with closing(sqlite3.connect(host.folder / "test.db")) as database:
            database.execute("ALTER TABLE sessions RENAME TO hidden")
            try:
                statuses = [
                    joes[name].http.get(path, headers={"accept": accept}).status_code
                    for path in ("/me", "/who", "/procore/sessions")
                    for accept in ("text/html", "application/json")
                ]
            finally:
                database.execute("ALTER TABLE hidden RENAME TO sessions")
        assert statuses == [503] * 6, name
        assert joes[name].http.get("/me").status_code == 200, name


def test_a_grant_that_was_lost_is_said_so_and_a_new_sign_in_offered(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    emulator.person(33333, login="lost@procore.com", name="Lost")
    for name, host in everywhere.items():
        with Person(host.url, emulator, login="lost@procore.com") as lost:
            lost.sign_in("/procore/signin")
            emulator.revoke(login="lost@procore.com")
            page = lost.http.get("/companies")
            assert page.status_code == 401, name
            assert "Procore no longer lets this application act for you" in page.text, name
            assert lost.sign_in("/companies").headers["location"] == "/companies", name
            assert lost.http.get("/companies").status_code == 200, name
