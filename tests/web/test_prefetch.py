"""What a browser fetches ahead of the person's wish sets, counts and spends nothing (row C8)."""

from __future__ import annotations

from itertools import product

import pytest
from neutral import Browser, header, page_of, router_of, title
from scripted import NOW, Clock, ScriptedProcore

from procore_signin._client import ProcoreSignIn
from procore_signin._store.sessions import CountSessions
from procore_signin._web import problems

AHEAD = [
    {"sec-purpose": "prefetch"},
    {"sec-purpose": "prefetch;prerender"},
    {"sec-purpose": "prefetch;anonymous-client-ip"},
    {"sec-purpose": "Prefetch"},
    {"sec-purpose": "prefetch, prefetch"},
    {"sec-purpose": "", "purpose": "prefetch"},
    {"sec-purpose": "something-new", "purpose": "prefetch"},
    {"purpose": "prefetch"},
    {"purpose": "preview"},
    {"x-purpose": "preview"},
    {"x-purpose": "prefetch"},
    {"x-moz": "prefetch"},
]
PAGES = ["/", "/signin", "/signin?return_to=/projects", "/callback", "/home", "/sessions"]
ahead = pytest.mark.parametrize("headers", AHEAD, ids=repr)


@ahead
def test_C8_a_page_that_is_fetched_ahead_begins_nothing(
    browser: Browser, headers: dict[str, str]
) -> None:
    found = {}
    for page, site in product(PAGES, ["none", "same-origin", "same-site", "cross-site"]):
        answer = browser.get(page, headers={**headers, "sec-fetch-site": site})
        found[page, site] = (
            *(answer.status, answer.cookies, header(answer, "cache-control")),
            *(header(answer, "location"), title(answer), page_of(answer).values["action_url"]),
        )
    refused = (403, (), "no-store", None, problems.NOT_A_NAVIGATION.title, "http://localhost:4567/")
    assert found == dict.fromkeys(found, refused)


@ahead
def test_C8_a_callback_that_is_fetched_ahead_spends_nothing(
    browser: Browser, procore: ScriptedProcore, door: ProcoreSignIn, headers: dict[str, str]
) -> None:
    state = browser.begin()
    before = dict(browser.cookies)
    for query in (f"code=fake-code&state={state}", f"error=access_denied&state={state}", "x=y"):
        assert browser.get(f"/callback?{query}", headers=headers).status == 403
    assert browser.cookies == before
    assert procore.requests == []
    answer = browser.get(f"/callback?code=fake-code&state={state}")
    assert (answer.status, header(answer, "location")) == (303, "/home")
    assert door.store.ask(CountSessions(now=NOW)) == 1


@ahead
def test_C8_it_pushes_out_none_of_the_persons_own_attempts(
    browser: Browser, headers: dict[str, str]
) -> None:
    state = browser.begin()
    for _ in range(10):
        browser.get("/signin", headers=headers)
    assert browser.get(f"/callback?code=fake-code&state={state}").status == 303


def test_C8_it_uses_up_no_limit(door: ProcoreSignIn, clock: Clock) -> None:
    browser = Browser(door, router_of(door, clock, per_minute=1))
    for path in ("/signin", "/callback?code=c"):
        for headers in AHEAD:
            assert browser.get(path, headers=headers).status == 403
    state = browser.begin("/signin")
    assert browser.get(f"/callback?code=fake-code&state={state}").status == 303


@ahead
def test_C8_what_is_drawn_unseen_shows_nobodys_home(
    browser: Browser, headers: dict[str, str]
) -> None:
    browser.sign_in()
    held = dict(browser.cookies)
    answer = browser.get("/home", headers=headers)
    assert (answer.status, answer.cookies) == (403, ())
    assert browser.cookies == held
    assert browser.get("/home").status == 200


@ahead
def test_C8_a_page_that_does_not_exist_sets_nothing_either(
    browser: Browser, headers: dict[str, str]
) -> None:
    answer = browser.get("/nowhere", headers=headers)
    assert (answer.status, answer.cookies) == (404, ())


@pytest.mark.parametrize(
    "headers",
    [{}, {"purpose": ""}, {"sec-purpose": ""}, {"x-moz": "none"}, {"sec-purpose": "navigate"}],
)
def test_C8_somebody_who_goes_there_is_served(browser: Browser, headers: dict[str, str]) -> None:
    answer = browser.get("/signin", headers=headers)
    assert (answer.status, len(answer.cookies)) == (200, 1)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_C8_a_program_is_told_in_json(browser: Browser, method: str) -> None:
    headers = {"sec-purpose": "prefetch", "accept": "application/json"}
    answer = browser.ask(method, "/home", headers=headers)
    assert (answer.status, answer.content_type) == (403, "application/problem+json")
