"""What a page asks by `fetch`: JSON, without tokens, for the application's own origin alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from neutral import FETCH, Browser, header
from scripted import NOW, Clock, ScriptedProcore, front_door, reply

from procore_signin import Login, Options
from procore_signin._client import ProcoreSignIn
from procore_signin._web.http.bodies import BodyRefused
from procore_signin._web.http.messages import BrowserResponse, Framework
from procore_signin._web.json.fields import fields_of
from procore_signin._web.site import Site
from procore_signin.errors import ProcoreUnavailable, StoreUnavailable

OURS = {"id": 42, "name": "Ours", "is_active": True}
THEIRS = {"id": 7, "name": "<b>Theirs</b>", "is_active": True}
CLOSED = {"id": 8, "name": "Closed", "is_active": False}
FOREIGN = FETCH | {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
READS = ("/session", "/sessions", "/company")
ENDS = ("/sign-out", "/sign-out-everywhere", "/disconnect")
CHANGES = ("/start", "/company", "/sessions/end", *ENDS)


@pytest.fixture
def browser(door: ProcoreSignIn) -> Browser:
    site = Site(door.context, Options(starts_per_minute=0), own_pages=True)
    return Browser(door, site.router)


def asked(browser: Browser, path: str) -> Any:
    return told(browser.get(path, headers=FETCH))


def sent(browser: Browser, path: str, **members: object) -> Any:
    return told(browser.post(path, json=members))


def told(response: BrowserResponse) -> Any:
    assert response.content_type == "application/json", response
    assert response.status == 200, response
    return json.loads(response.body)


def refused(response: BrowserResponse) -> tuple[int, str, str | None]:
    """Return status, code and where to sign in."""
    assert response.content_type == "application/problem+json", response
    found = json.loads(response.body)
    assert list(found) == [
        *("title", "status", "detail", "code", "reference", "error", "sign_in_url")
    ]
    assert found["status"] == response.status
    return response.status, found["code"], found["sign_in_url"]


def signed_in(browser: Browser) -> None:
    assert browser.sign_in("/signin").status == 303


def list_companies(procore: ScriptedProcore, *companies: object) -> None:
    procore.next("/rest/v1.0/companies", *[reply(200, list(companies)) for _ in range(5)])


def test_no_one_is_a_response_like_any_other(browser: Browser) -> None:
    assert asked(browser, "/session") == {
        "user": None,
        "expires_at": None,
        "environment": "emulator",
        "sign_in_url": "/start",
    }


def test_a_page_learns_who_is_signed_in_and_until_when(browser: Browser) -> None:
    signed_in(browser)
    assert asked(browser, "/session") == {
        "user": {
            "id": 1,
            "procore_id": 11111,
            "email": "joecontractor@procore.com",
            "name": "Joe Contractor",
            "company_id": None,
        },
        "expires_at": "2027-01-15T20:00:00Z",
        "environment": "emulator",
        "sign_in_url": "/start",
    }


def test_whoever_opens_the_session_in_a_window_sees_the_same(browser: Browser) -> None:
    assert told(browser.get("/session"))["user"] is None


def test_a_page_lists_the_sessions_and_ends_one(
    browser: Browser, door: ProcoreSignIn, clock: Clock
) -> None:
    phone = Browser(door, browser.router)
    signed_in(phone)
    clock.advance(100)
    signed_in(browser)
    found = asked(browser, "/sessions")["sessions"]
    assert found == [
        {
            "id": 2,
            "current": True,
            "browser": "Firefox",
            "created_at": "2027-01-15T08:01:40Z",
            "last_seen_at": "2027-01-15T08:01:40Z",
            "expires_at": "2027-01-15T20:01:40Z",
        },
        {
            "id": 1,
            "current": False,
            "browser": "Firefox",
            "created_at": "2027-01-15T08:00:00Z",
            "last_seen_at": "2027-01-15T08:00:00Z",
            "expires_at": "2027-01-15T20:00:00Z",
        },
    ]
    left = sent(browser, "/sessions/end", session_id=1)["sessions"]
    assert left == found[:1]
    assert asked(phone, "/session")["user"] is None
    again = browser.post("/sessions/end", json={"session_id": 1})
    assert refused(again) == (404, "no_such_session", None)


def test_S6_a_page_ends_all_other_sessions_of_the_user_and_nobody_elses(
    browser: Browser, door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    phone, office, ann = (Browser(door, browser.router) for _ in range(3))
    for each in (phone, office, browser):
        signed_in(each)
    procore.next("/rest/v1.0/me", reply(200, {"id": 22222, "login": "ann@procore.com"}))
    signed_in(ann)
    left = sent(browser, "/sessions/end", others=True)["sessions"]
    assert [each["current"] for each in left] == [True]
    assert asked(phone, "/session")["user"] is asked(office, "/session")["user"] is None
    assert asked(ann, "/session")["user"]["email"] == "ann@procore.com"


@pytest.mark.parametrize(
    ("path", "members", "expected"),
    [
        ("/sign-out", {}, {"go_to": "/"}),
        ("/sign-out", {"return_to": "/bye?x=1"}, {"go_to": "/bye?x=1"}),
        ("/sign-out", {"return_to": None}, {"go_to": "/"}),
        ("/sign-out-everywhere", {}, {"go_to": "/"}),
        ("/disconnect", {}, {"go_to": "/", "revoked": True}),
    ],
)
def test_whoever_signs_out_by_a_script_is_told_where_to_go(
    browser: Browser, path: str, members: dict[str, object], expected: object
) -> None:
    signed_in(browser)
    answer = browser.post(path, json=members)
    assert told(answer) == expected
    assert header(answer, "clear-site-data") == '"cache"'
    assert not [name for name in browser.cookies if name.endswith("session")]
    assert asked(browser, "/session")["user"] is None


def test_signing_out_twice_is_no_error(browser: Browser) -> None:
    assert sent(browser, "/sign-out") == {"go_to": "/"}


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example"]
)
def test_A8_K11_no_json_leads_to_another_site(browser: Browser, elsewhere: str) -> None:
    signed_in(browser)
    assert sent(browser, "/sign-out", return_to=elsewhere) == {"go_to": "/"}
    begun = sent(browser, "/start", return_to=elsewhere)["go_to"]
    back = browser.get(f"/callback?code=fake-code&state={state_in(begun)}")
    assert header(back, "location") == "/home"


def state_in(address: str) -> str:
    return parse_qs(urlsplit(address).query)["state"][0]


def test_a_sign_in_that_a_script_begins_is_finished_by_the_window(browser: Browser) -> None:
    begun = sent(browser, "/start", return_to="/projects?page=2")["go_to"]
    assert begun.startswith("http://127.0.0.1:4568/oauth/authorize?")
    back = browser.get(f"/callback?code=fake-code&state={state_in(begun)}")
    assert header(back, "location") == "/projects?page=2"


def test_a_script_that_follows_the_link_is_told_to_leave_it_to_the_window(browser: Browser) -> None:
    assert refused(browser.get("/start", headers=FETCH)) == (403, "not_a_navigation", None)


class OwnUser(Browser):
    """A browser whose user is logged in to the application itself, or is not."""

    user: str | None = "ann"

    def framework(self) -> Framework:
        session = {"procore_signin": "the name of ann's session"}
        return Framework(self, lambda: None, lambda _: (), lambda: session)


@pytest.mark.parametrize("wrong", ["true", "on", 1])
@pytest.mark.parametrize(("path", "name"), [("/start", "connect"), ("/sessions/end", "others")])
def test_what_is_neither_true_nor_false_is_refused_and_not_taken_for_false(
    browser: Browser, path: str, name: str, wrong: object
) -> None:
    signed_in(browser)
    answer = browser.post(path, json={name: wrong})
    assert refused(answer) == (400, "body_malformed", None)


def test_a_script_connects_the_account_of_whoever_is_logged_in(
    door: ProcoreSignIn,
) -> None:
    site = Site(door.context, Options(login=Login(user=lambda browser: browser.user)))
    person = OwnUser(door, site.router)
    person.user = None
    answer = person.post("/start", json={"connect": True})
    assert refused(answer) == (403, "not_logged_in", None)
    person.user = "ann"
    begun = sent(person, "/start", connect=True)["go_to"]
    assert person.get(f"/callback?code=fake-code&state={state_in(begun)}").status == 303
    found = door.user_of("ann")
    assert found is not None
    assert found.procore_id == 11111
    assert refused(person.post("/start", json={"value": "forged"})) == (400, "value_invalid", None)


def test_a_page_lists_the_companies_and_chooses_one(
    browser: Browser, procore: ScriptedProcore
) -> None:
    list_companies(procore, THEIRS, OURS, CLOSED)
    signed_in(browser)
    both = [{"id": 7, "name": "<b>Theirs</b>"}, {"id": 42, "name": "Ours"}]
    assert asked(browser, "/company") == {"companies": both, "company_id": None}
    assert sent(browser, "/company", company_id=42) == {"id": 42, "name": "Ours"}
    assert asked(browser, "/company") == {"companies": both, "company_id": 42}
    assert asked(browser, "/session")["user"]["company_id"] == 42


def test_one_company_is_chosen_without_a_question(
    browser: Browser, procore: ScriptedProcore
) -> None:
    list_companies(procore, OURS)
    signed_in(browser)
    only = {"companies": [{"id": 42, "name": "Ours"}], "company_id": 42}
    assert asked(browser, "/company") == only


@pytest.mark.parametrize("company_id", [7, "7", True, None, -1, "42x", 10**30])
def test_P4_a_script_chooses_no_company_that_is_not_the_users(
    browser: Browser, procore: ScriptedProcore, company_id: object
) -> None:
    list_companies(procore, OURS)
    signed_in(browser)
    answer = browser.post("/company", json={"company_id": company_id})
    assert refused(answer) == (403, "not_your_company", None)


def test_what_fails_has_a_code_and_says_whether_signing_in_helps(
    browser: Browser, procore: ScriptedProcore, clock: Clock
) -> None:
    for path in ("/sessions", "/company"):
        assert refused(browser.get(path, headers=FETCH)) == (401, "not_signed_in", "/start")
    for path in ("/sessions/end", "/company", "/disconnect"):
        assert refused(browser.post(path, json={})) == (401, "not_signed_in", "/start")
    signed_in(browser)
    procore.next("/rest/v1.0/companies", ProcoreUnavailable("down", ambiguous=False))
    answer = browser.get("/company", headers=FETCH)
    assert refused(answer) == (503, "companies_unavailable", None)
    clock.advance(5400)
    procore.next("/oauth/token", reply(400, {"error": "invalid_grant"}))
    assert refused(browser.get("/company", headers=FETCH)) == (401, "grant_lost", "/start")


def test_S7_when_the_store_is_away_a_script_is_told_to_come_back(
    browser: Browser, door: ProcoreSignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in(browser)

    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(type(door.store), "ask", away)
    answer = browser.get("/session", headers=FETCH)
    assert refused(answer) == (503, "store_unavailable", None)
    assert header(answer, "retry-after") == "10"


@pytest.mark.parametrize("path", CHANGES)
def test_K8_K11_a_script_of_another_site_changes_nothing(browser: Browser, path: str) -> None:
    signed_in(browser)
    before = dict(browser.cookies)
    members = {"session_id": 1, "others": True, "company_id": 42}
    for where in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
        answer = browser.post(path, json=members, headers=FOREIGN | where)
        assert refused(answer) == (403, "foreign_form", None)
    # An older browser says where it comes from in `Origin` alone, which may be ours.
    older = {"sec-fetch-site": "", "sec-fetch-mode": "", "sec-fetch-dest": ""}
    for origin in ("", "null", "https://evil.example"):
        answer = browser.post(path, json=members, headers=older | {"origin": origin})
        assert refused(answer) == (403, "foreign_form", None)
    assert browser.cookies == before
    assert asked(browser, "/session")["user"] is not None


def test_K8_an_older_browser_signs_out_by_a_script_of_ours(browser: Browser) -> None:
    signed_in(browser)
    older = {"sec-fetch-site": "", "sec-fetch-mode": "", "sec-fetch-dest": ""}
    answer = browser.post("/sign-out", json={}, headers=older | {"origin": "http://localhost:4567"})
    assert told(answer) == {"go_to": "/"}


def test_K7_K11_json_is_for_this_origin_alone_has_no_token_and_is_never_kept(
    browser: Browser, procore: ScriptedProcore
) -> None:
    """A cookie comes with what ends a session or begins a sign-in, and never with what is read."""
    list_companies(procore, OURS)
    signed_in(browser)
    session = next(value for name, value in browser.cookies.items() if name.endswith("session"))
    answers = [browser.get(path, headers=FETCH) for path in READS]
    assert [answer.cookies for answer in answers] == [(), (), ()]
    answers += [
        browser.post(path, json={"company_id": 42, "others": True, "return_to": "/"})
        for path in ("/company", "/sessions/end", "/start", "/disconnect", "/sign-out")
    ]
    answers.append(browser.get("/sessions", headers=FETCH))
    secrets = {session, "fake-access-1", "fake-refresh-1", "fake-client-secret"}
    for answer in answers:
        assert not [secret for secret in secrets if secret.encode() in answer.body]
        assert header(answer, "cache-control") == "no-store"
        assert header(answer, "vary") == "Cookie, Accept"
        assert header(answer, "cross-origin-resource-policy") == "same-origin"
        assert header(answer, "x-content-type-options") == "nosniff"
        assert not [name for name, _ in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"others"',
        b'{"session_id": 1.5}',
        b'{"session_id": [1]}',
        b'{"session_id": {"id": 1}}',
        b'{"return_to": "\\ud800"}',
        b"\xff\xfe{\x00}\x00",
        b'{"session_id": NaN}',
        b"[" * 16_000,
        b'{"session_id": ' + b"9" * 5000 + b"}",
    ],
)
@pytest.mark.parametrize("path", ["/sessions/end", "/start"])
def test_K11_what_is_not_a_flat_object_is_refused(browser: Browser, path: str, body: bytes) -> None:
    signed_in(browser)
    assert refused(browser.post(path, json=body)) == (400, "body_malformed", None)


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", ""])
@pytest.mark.parametrize("path", ["/sessions/end", "/start", "/sign-out"])
def test_a_body_of_another_type_is_not_taken_for_none(
    browser: Browser, path: str, content_type: str
) -> None:
    signed_in(browser)
    headers = {"content-type": content_type}
    answer = browser.post(path, json={"others": True}, headers=headers)
    assert refused(answer) == (415, "body_type_wrong", None)
    assert "application/json" in json.loads(answer.body)["detail"]
    assert told(browser.post("/start", json=b"", headers=headers))["go_to"]


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()))
def test_members_of_json_are_read_as_fields_of_a_form_are(members: dict[str, object]) -> None:
    browser = Browser.__new__(Browser)
    browser.cookies, browser.address = {}, "127.0.0.1"
    words = {True: "yes", False: "no"}
    expected = {
        name: words[value] if isinstance(value, bool) else str(value)
        for name, value in members.items()
        if value is not None
    }
    asked = browser.request("POST", "/start", json=json.dumps(members).encode())
    assert result_of(fields_of(asked), asked) == expected
    as_form = replace(asked, headers={b"content-type": b"application/x-www-form-urlencoded"})
    assert result_of(fields_of(as_form), as_form) is not None


def result_of(flow: Any, request: Any) -> Any:
    """Run a flow whose one step is to read the body."""
    next(flow)
    try:
        flow.send(request.read_body(request))
    except StopIteration as stop:
        return stop.value
    except BodyRefused:
        return None
    raise AssertionError("a second step")


def test_an_application_without_the_option_has_the_companies_too(tmp_path: Path) -> None:
    procore, clock = ScriptedProcore(), Clock(NOW)
    with front_door(tmp_path, procore, clock) as door:
        browser = Browser(door, Site(door.context, Options()).router)
        list_companies(procore, OURS, THEIRS)
        signed_in(browser)
        assert asked(browser, "/company")["company_id"] is None
