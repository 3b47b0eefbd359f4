"""What the verify endpoint tells a proxy, and what it tells no one."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from doing import meet
from neutral import Browser, header
from scripted import Clock, ScriptedProcore, front_door, reply

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.sessions import hash_session_token
from procore_signin._store import Store
from procore_signin._store.access import DisableUser, EnableUser
from procore_signin._store.records import Session
from procore_signin._store.sessions import SessionOf, SessionsOf
from procore_signin._store.users import UserOf
from procore_signin._web.endpoints import SignInEndpoints
from procore_signin._web.forward_auth import ForwardAuthEndpoint
from procore_signin._web.http.limits import RateLimit
from procore_signin._web.http.messages import BrowserResponse
from procore_signin._web.paths import Paths
from procore_signin._web.router import Router
from procore_signin.errors import StoreUnavailable

VERIFY = "/auth/verify"
IDENTITY = {
    "x-procore-user-id",
    "x-procore-id",
    "x-procore-email",
    "x-procore-name",
    "x-procore-environment",
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def procore() -> ScriptedProcore:
    return ScriptedProcore()


@pytest.fixture
def door(tmp_path: Path, procore: ScriptedProcore, clock: Clock) -> ProcoreSignIn:
    return front_door(tmp_path, procore, clock)


@pytest.fixture
def browser(door: ProcoreSignIn, clock: Clock) -> Browser:
    router = Router(door.context, Paths.under(""))
    limits = RateLimit(0, clock), RateLimit(0, clock)
    sign_in = SignInEndpoints(router, starts=limits[0], callbacks=limits[1])
    ForwardAuthEndpoint(router, sign_in)
    return Browser(door, router)


def identity(response: BrowserResponse) -> dict[str, str]:
    return {name: value for name, value in response.headers if name.startswith("x-procore-")}


def test_a_live_session_is_answered_with_who_it_is(browser: Browser) -> None:
    browser.sign_in("/signin")

    response = browser.get(VERIFY)

    assert (response.status, response.body, response.page) == (200, b"", None)
    assert identity(response) == {
        "x-procore-user-id": "1",
        "x-procore-id": "11111",
        "x-procore-email": "joecontractor@procore.com",
        "x-procore-name": "Joe%20Contractor",
        "x-procore-environment": "emulator",
    }


@pytest.mark.parametrize(
    ("login", "name"),
    [
        ("joe+site@example.com", None),
        ("o'brien@example.com", "Zoë\r\nX-Procore-Id: 1"),
        ("jos\xe9@ex\u00e4mple.com", "日本 100% ; , \u202e"),
        ('"a b"@example.com', "\U0001f477"),
    ],
)
def test_A9_I6_names_and_addresses_are_data_in_a_header(
    browser: Browser, procore: ScriptedProcore, login: str, name: str | None
) -> None:
    procore.next("/rest/v1.0/me", reply(200, {"id": 7, "login": login, "name": name}))
    browser.sign_in("/signin")

    headers = identity(browser.get(VERIFY))

    assert set(headers) == IDENTITY
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    assert unquote(headers["x-procore-email"]) == login
    stored = browser.door.store.ask(UserOf(1))
    assert stored is not None
    assert unquote(headers["x-procore-name"]) == (stored.name or "")


def test_nobody_signed_in_is_401_with_the_way_to_sign_in_and_back(browser: Browser) -> None:
    response = browser.ask(
        "GET", VERIFY, headers={"x-forwarded-uri": "/reports?a=1&b=2", "x-forwarded-method": "GET"}
    )

    assert (response.status, identity(response)) == (
        401,
        {"x-procore-sign-in": "http://localhost:4567/signin?return_to=/reports%3Fa%3D1%26b%3D2"},
    )


def test_a_proxy_that_shows_the_answer_as_it_is_gets_a_redirect(browser: Browser) -> None:
    response = browser.ask(
        "GET", f"{VERIFY}?signed-out=redirect", headers={"x-forwarded-uri": "/reports"}
    )

    assert response.status == 303
    assert header(response, "location") == "http://localhost:4567/signin?return_to=/reports"


def test_the_way_back_is_one(browser: Browser) -> None:
    """The hint, followed: the page it names leads to where the request came from."""
    asked = browser.ask("GET", VERIFY, headers={"x-forwarded-uri": "/reports?a=1"})
    page = str(header(asked, "x-procore-sign-in")).removeprefix("http://localhost:4567")

    assert header(browser.sign_in(page), "location") == "/reports?a=1"


@pytest.mark.parametrize("query", ["", "?signed-out=redirect"])
def test_a_program_gets_401_and_no_way(browser: Browser, query: str) -> None:
    headers = {"accept": "application/json", "x-forwarded-uri": "/reports"}

    response = browser.ask("GET", VERIFY + query, headers=headers)

    assert (response.status, identity(response), header(response, "location")) == (401, {}, None)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_what_was_posted_is_not_come_back_to(browser: Browser, method: str) -> None:
    headers = {"x-forwarded-uri": "/reports", "x-forwarded-method": method}

    response = browser.ask("GET", VERIFY, headers=headers)

    assert header(response, "x-procore-sign-in") == "http://localhost:4567/signin"


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "/a\r\nX-Procore-Id: 1", "x"],
)
def test_A8_A9_A10_the_way_back_never_leads_elsewhere(browser: Browser, wanted: str) -> None:
    headers = {
        "x-forwarded-uri": wanted,
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "ftp",
        "forwarded": "host=evil.example",
        "host": "evil.example",
    }

    response = browser.ask("GET", VERIFY, headers=headers)

    assert header(response, "x-procore-sign-in") == "http://localhost:4567/signin"
    assert "evil" not in repr(response.headers)


@pytest.mark.parametrize("state", ["signed in", "signed out", "unknown", "twice"])
def test_K7_no_cookie_is_set_nothing_is_stored_and_no_origin_may_read(
    browser: Browser, state: str
) -> None:
    if state != "signed out":
        browser.sign_in("/signin")
    pair = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    cookie = {
        "signed in": pair,
        "signed out": "",
        "unknown": "procore_signin_session=" + "A" * 43,
        "twice": f"{pair}; {pair}",
    }[state]

    response = browser.ask("GET", VERIFY, cookie=cookie)

    assert response.status == (200 if state == "signed in" else 401)
    assert response.cookies == ()
    assert header(response, "cache-control") == "no-store"
    assert "Cookie" in str(header(response, "vary"))
    assert header(response, "cross-origin-resource-policy") == "same-origin"
    assert header(response, "access-control-allow-origin") is None


def test_K3_a_session_that_came_twice_is_none(browser: Browser) -> None:
    browser.sign_in("/signin")
    pair = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())

    assert browser.ask("GET", VERIFY, cookie=f"{pair}; {pair}").status == 401


def test_K8_it_answers_reads_alone_and_changes_nothing(browser: Browser) -> None:
    browser.sign_in("/signin")
    before = sessions_of(browser)

    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        assert browser.ask(method, VERIFY).status == 405
    assert browser.ask("HEAD", VERIFY).status == 200
    assert browser.ask("GET", VERIFY, headers={"sec-fetch-site": "cross-site"}).status == 200
    assert sessions_of(browser) == before


def sessions_of(browser: Browser) -> list[Session]:
    return browser.door.store.ask(SessionsOf(1, now=browser.door.context.now()))


def test_S3_S5_I5_the_end_of_a_session_counts_at_once(browser: Browser, clock: Clock) -> None:
    store = browser.door.store
    browser.sign_in("/signin")
    cookie = dict(browser.cookies)

    store.do(DisableUser(1, now=int(clock.now)))
    assert browser.get(VERIFY).status == 401
    store.do(EnableUser(1))
    browser.cookies.clear()
    browser.sign_in("/signin")
    clock.advance(13 * 3600)
    assert browser.get(VERIFY).status == 401
    browser.cookies.clear()
    browser.sign_in("/signin")
    assert browser.get(VERIFY).status == 200
    browser.post("/sign-out")
    browser.cookies.update(cookie)
    assert browser.get(VERIFY).status == 401


def test_asking_keeps_a_session_alive(browser: Browser, clock: Clock) -> None:
    browser.sign_in("/signin")

    for _ in range(4):
        clock.advance(11 * 3600)
        assert browser.get(VERIFY).status == 200
        browser.door._runner.settle()  # no one waits for the use to be written down


def test_S7_when_the_store_fails_nobody_is_let_in_and_nobody_sent_away(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.sign_in("/signin")

    def fail(*_: object) -> None:
        raise StoreUnavailable("The database is down")

    meet(monkeypatch, Store, SessionOf, fail)
    response = browser.get(VERIFY)

    assert (response.status, identity(response), response.cookies) == (503, {}, ())


def test_what_is_no_session_is_never_looked_for_by_its_own_name(browser: Browser) -> None:
    """The endpoint is no oracle: who knows the hash of a session in the database has nothing."""
    browser.sign_in("/signin")
    token = browser.cookies["procore_signin_session"]

    asked = browser.ask("GET", VERIFY, cookie=f"procore_signin_session={hash_session_token(token)}")
    named = browser.ask("GET", f"{VERIFY}?session={token}", cookie="")
    bearer = browser.ask("GET", VERIFY, headers={"authorization": f"Bearer {token}"}, cookie="")

    assert [asked.status, named.status, bearer.status] == [401, 401, 401]


def test_it_lives_below_the_prefix_of_the_other_pages() -> None:
    assert Paths.under("/procore").verify == "/procore/auth/verify"
