"""The endpoints on raw requests: every framework's mapping inherits what is shown here."""

import re
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from doing import meet, purge
from jinja2 import Environment
from neutral import Browser, header, page_of, router_of, title
from scripted import JOE, NOW, Clock, ScriptedProcore, front_door, reply

from procore_signin import environments
from procore_signin._client import ProcoreSignIn
from procore_signin._flow.attempt import LIFETIME, open_attempt
from procore_signin._store.sessions import CountSessions, SessionAndMe, SessionOf
from procore_signin._store.tokens import TokensOf
from procore_signin._store.users import UserOf
from procore_signin._web import attempts, problems
from procore_signin._web.http.messages import BrowserRequest, raw_headers
from procore_signin._web.look.jinja import SHIPPED, file_name
from procore_signin.errors import ProcoreUnavailable, StoreUnavailable
from procore_signin.events import LINES_PER_MINUTE

NEVER = "f" * 64


def signed_in(browser: Browser) -> bool:
    return browser.get("/home").status == 200


def test_signing_up_lands_at_home_with_the_row_and_the_json(browser: Browser) -> None:
    answer = browser.sign_in()
    assert (answer.status, header(answer, "location")) == (303, "/home")
    home = page_of(browser.get("/home"))
    assert home.values["row"] == '[1, 11111, "joecontractor@procore.com"]'
    assert '"id": 11111' in str(home.values["me_json"]) or '"id":11111' in str(
        home.values["me_json"]
    )


def test_home_for_a_program_is_exactly_the_tutorials_array(browser: Browser) -> None:
    browser.sign_in()
    answer = browser.get("/home", headers={"accept": "application/json"})
    assert answer.body == b'[1, 11111, "joecontractor@procore.com"]'
    assert answer.content_type == "application/json"


def test_who_is_not_signed_in_is_sent_to_sign_in_and_back(browser: Browser) -> None:
    answer = browser.get("/home?tab=2")
    assert header(answer, "location") == "/signin?return_to=/home%3Ftab%3D2"
    back = browser.sign_in(header(answer, "location") or "")
    assert header(back, "location") == "/home?tab=2"


def test_a_program_that_is_not_signed_in_is_told_so(browser: Browser) -> None:
    answer = browser.get("/home", headers={"accept": "application/json"})
    assert answer.status == 401
    assert answer.content_type == "application/problem+json"


def test_A2_looking_at_the_pages_sends_nothing_to_procore(
    browser: Browser, procore: ScriptedProcore
) -> None:
    browser.get("/")
    browser.get("/signin")
    assert procore.requests == []


@pytest.mark.parametrize("page", ["/", "/signin"])
def test_A2_a_page_waits_for_a_click(browser: Browser, page: str) -> None:
    answer = browser.get(page)
    assert (answer.status, header(answer, "location")) == (200, None)


@pytest.mark.parametrize(
    "path", ["/sign-out", "/sign-out-everywhere", "/disconnect", "/sessions/end?session_id=1"]
)
def test_A2_what_changes_something_cannot_be_looked_at(
    browser: Browser, procore: ScriptedProcore, path: str
) -> None:
    browser.sign_in()
    asked = len(procore.requests)
    assert browser.get(path).status == 405
    assert signed_in(browser)
    assert len(procore.requests) == asked


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "", "origin": "https://evil.example"},
        {"sec-fetch-site": "", "origin": "null"},
        {"sec-fetch-site": ""},
        {"sec-fetch-site": "cross-site", "origin": "http://localhost:4567"},
        {"sec-fetch-site": "", "origin": "http://localhost:4567.evil.example"},
        {"sec-fetch-site": "", "origin": "http://localhost:45670"},
    ],
)
@pytest.mark.parametrize("path", ["/sign-out", "/sign-out-everywhere", "/disconnect"])
def test_K8_a_form_of_another_site_does_nothing(
    browser: Browser, procore: ScriptedProcore, path: str, headers: dict[str, str]
) -> None:
    browser.sign_in()
    answer = browser.post(path, headers=headers)
    assert answer.status == 403
    assert answer.cookies == ()
    assert signed_in(browser)
    assert procore.revoked == []


def test_K8_an_older_browser_is_known_by_its_origin(browser: Browser) -> None:
    browser.sign_in()
    old = {"sec-fetch-site": "", "origin": "http://localhost:4567"}
    assert browser.post("/sign-out", headers=old).status == 200
    assert not signed_in(browser)


def test_A5_another_browser_cannot_finish_a_sign_in(
    browser: Browser, other_browser: Browser, procore: ScriptedProcore
) -> None:
    state = browser.begin()
    answer = other_browser.get(f"/callback?code=fake-code&state={state}")
    assert answer.status == 400
    assert not signed_in(other_browser)
    assert procore.requests == []


def test_A5_two_states_with_one_name_are_two_attempts(
    monkeypatch: pytest.MonkeyPatch, browser: Browser, procore: ScriptedProcore
) -> None:
    monkeypatch.setattr("procore_signin._flow.attempt._name", lambda _: "a_0123456789ab")
    state = browser.begin()
    answer = browser.get(f"/callback?code=fake-code&state={NEVER}")
    assert title(answer) == problems.ATTEMPT_MISSING.title
    assert procore.requests == []
    state = browser.begin()
    assert browser.get(f"/callback?code=fake-code&state={state}").status == 303


def test_A5_a_copy_of_cookie_and_state_lets_nobody_in_with_another_code(
    browser: Browser, other_browser: Browser, procore: ScriptedProcore
) -> None:
    state = browser.begin()
    other_browser.cookies = dict(browser.cookies)
    browser.get(f"/callback?code=fake-code&state={state}")
    for code in ("made-up", "FAKE-CODE"):
        copied = dict(other_browser.cookies)
        answer = other_browser.get(f"/callback?code={code}&state={state}")
        assert title(answer) == problems.ATTEMPT_USED.title
        assert not signed_in(other_browser)
        other_browser.cookies = copied
    assert signed_in(browser)
    assert len(procore.exchanges) == 1


def test_A6_an_attempt_of_another_environment_is_not_finished_here(
    tmp_path: Path, browser: Browser, clock: Clock, procore: ScriptedProcore
) -> None:
    state = browser.begin()
    monthly = front_door(tmp_path, procore, clock, environment=environments.MONTHLY)
    with monthly as door:
        elsewhere = Browser(door, router_of(door, clock), cookies=dict(browser.cookies))
        answer = elsewhere.get(f"/callback?code=fake-code&state={state}")
    assert answer.status == 400
    assert procore.requests == []


@pytest.mark.parametrize("query", ["env=evil", "login_url=https://evil.example", "client_id=evil"])
def test_A7_no_parameter_of_the_browser_changes_where_it_is_sent(
    browser: Browser, query: str
) -> None:
    url = str(page_of(browser.get(f"/signin?{query}")).values["sign_in_url"])
    assert url.startswith("http://127.0.0.1:4568/oauth/authorize?client_id=fake-client-id&")


@pytest.mark.parametrize("wanted", ["https://evil.example", "//evil.example", "/\\evil.example"])
def test_A8_where_to_land_is_checked_before_the_sign_in_begins(
    browser: Browser, wanted: str
) -> None:
    browser.get(f"/signin?return_to={wanted}")
    ((cookie, sealed),) = browser.cookies.items()
    attempt = open_attempt(browser.door.context, cookie.removeprefix("procore_signin_"), sealed)
    assert attempt is not None
    assert attempt.return_to == "/home"
    assert header(browser.sign_in(f"/signin?return_to={wanted}"), "location") == "/home"


@pytest.mark.parametrize(
    "target",
    [
        "/signin?return_to=/a%0d%0aX:%20y",
        "/callback?error=a%0d%0aX:%20y&state=" + NEVER,
        "/callback?code=x&state=a%0d%0aX:%20y",
        "/home?%0d%0aX:%20y",
        "/nowhere%0d%0aX:%20y",
    ],
)
def test_A9_no_line_break_of_the_browser_reaches_a_header(browser: Browser, target: str) -> None:
    answer = browser.get(target)
    sent = [value for _, value in answer.headers] + list(answer.cookies)
    assert not any(c in value for value in sent for c in "\r\n\0")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost",
        "localhost:4568",
        "localhost:4567.evil.example",
        "a/?x=",
        "",
        "[",
    ],
)
def test_A10_a_request_for_another_host_is_refused(browser: Browser, host: str) -> None:
    answer = browser.get("/", headers={"host": host})
    assert "evil" not in str(answer.headers)
    assert answer.status == (303 if host.startswith("localhost") and "evil" not in host else 400)
    assert not any("_a_" in cookie for cookie in answer.cookies)


def test_A10_forwarded_headers_change_nothing(browser: Browser) -> None:
    forwarded = {"x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}
    url = str(page_of(browser.get("/", headers=forwarded)).values["sign_up_url"])
    assert parse_qs(urlsplit(url).query)["redirect_uri"] == ["http://localhost:4567/callback"]


def test_A10_another_name_of_this_machine_is_sent_to_the_one_that_has_the_cookies(
    browser: Browser,
) -> None:
    answer = browser.get("/signin?return_to=/home", headers={"host": "127.0.0.1:4567"})
    assert header(answer, "location") == "http://localhost:4567/signin?return_to=/home"
    assert answer.cookies == ()


@pytest.mark.parametrize("page", ["/", "/signin", "/signin?return_to=/projects"])
def test_A11_beginning_sign_ins_stores_nothing(
    browser: Browser, door: ProcoreSignIn, page: str
) -> None:
    before = purge(door.store, 2**40, 10_000)
    for _ in range(200):
        browser.get(page)
    after = purge(door.store, 2**40, 10_000)
    assert (before.attempts, after.attempts) == (0, 0)


def test_A11_an_address_that_begins_too_often_is_told_to_wait(
    door: ProcoreSignIn, clock: Clock
) -> None:
    eager = Browser(door, router_of(door, clock, per_minute=3))
    answers = [eager.get("/") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert header(answers[-1], "retry-after") == "60"
    assert answers[-1].cookies == ()
    clock.advance(60)
    assert eager.get("/").status == 200


def test_O4_the_limit_counts_the_peer_and_not_what_a_header_claims(
    door: ProcoreSignIn, clock: Clock
) -> None:
    liar = Browser(door, router_of(door, clock, per_minute=1))
    answers = [liar.get("/", headers={"x-forwarded-for": f"192.0.2.{n}"}) for n in (1, 2)]
    assert [answer.status for answer in answers] == [200, 429]


@pytest.mark.parametrize("page", ["/", "/signin", "/callback", "/callback?code=a&state=b"])
def test_A11_C8_what_other_sites_have_a_browser_fetch_sets_nothing_and_uses_up_no_limit(
    door: ProcoreSignIn, clock: Clock, page: str
) -> None:
    browser = Browser(door, router_of(door, clock, per_minute=1))
    unseen = ("image", "script", "style", "empty", "iframe", "video")
    for destination in unseen * 3:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-dest": destination}
        assert browser.get(page, headers=headers).status != 429
        assert browser.cookies == {}
    assert [browser.get(page).status == 429 for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    "query",
    [
        "code=x",
        "code=x&state=",
        "code=x&state=short",
        "code=x&state={state}&state={state}",
        "code=x&state={state}&state=other",
        "code=x&state[]={state}",
        "code=x&code=y&state={state}",
        "code=%00&state={state}",
        "code=%FF&state={state}",
        "code=&state={state}",
        "state={state}",
        "code=" + "x" * 10_000 + "&state={state}",
        "code=x&st%61te={state}&state={state}",
        "error=&state={state}",
        "code=x&state=" + NEVER,
    ],
)
def test_C1_C2_a_response_that_no_server_sends_is_refused_before_anything_is_sent(
    browser: Browser, procore: ScriptedProcore, query: str
) -> None:
    state = browser.begin()
    answer = browser.get("/callback?" + query.replace("{state}", state))
    assert answer.status == 400
    assert procore.requests == []
    assert not signed_in(browser)
    assert header(browser.get(f"/callback?code=fake-code&state={state}"), "location") == "/home"


def test_C3_a_finished_callback_that_is_opened_again_goes_on_to_home(
    browser: Browser, procore: ScriptedProcore
) -> None:
    state = browser.begin()
    for _ in range(3):
        answer = browser.get(f"/callback?code=fake-code&state={state}")
        assert (answer.status, header(answer, "location")) == (303, "/home")
    assert len(procore.exchanges) == 1


def test_C3_S2_a_callback_that_is_sent_again_and_again_leaves_one_session(
    browser: Browser, door: ProcoreSignIn
) -> None:
    state = browser.begin()
    attempt = dict(browser.cookies)
    for _ in range(8):
        browser.cookies |= attempt
        browser.get(f"/callback?code=fake-code&state={state}")
        assert signed_in(browser)
        assert door.store.ask(CountSessions(now=NOW)) == 1


def test_C3_C11_an_attempt_that_took_too_long_offers_a_new_one(
    browser: Browser, clock: Clock
) -> None:
    state = browser.begin("/signin?return_to=/projects")
    clock.advance(LIFETIME)
    answer = browser.get(f"/callback?code=fake-code&state={state}")
    assert title(answer) == problems.ATTEMPT_EXPIRED.title
    again = str(page_of(answer).values["action_url"])
    state = parse_qs(urlsplit(again).query)["state"][0]
    assert header(browser.get(f"/callback?code=c&state={state}"), "location") == "/home"


def test_C5_denying_ends_on_a_page_in_our_words_with_one_click_to_go_on(browser: Browser) -> None:
    state = browser.begin()
    words = "%3Cscript%3Ealert(1)%3C/script%3E"
    answer = browser.get(
        f"/callback?error=access_denied&error_description={words}"
        f"&error_uri=https://evil.example&state={state}"
    )
    assert title(answer) == problems.DENIED.title
    assert "script" not in str(page_of(answer).values)
    assert "evil" not in str(page_of(answer).values)
    assert str(page_of(answer).values["action_url"]).startswith("http://127.0.0.1:4568/oauth/")
    assert browser.get(f"/callback?code=fake-code&state={state}").status == 400


def test_C5_a_code_beside_an_error_is_not_spent(browser: Browser, procore: ScriptedProcore) -> None:
    state = browser.begin()
    browser.get(f"/callback?code=fake-code&error=server_error&state={state}")
    assert procore.requests == []


def test_C5_a_denial_of_a_stranger_does_not_end_an_attempt(browser: Browser) -> None:
    state = browser.begin()
    answer = browser.get(f"/callback?error=access_denied&state={NEVER}")
    assert title(answer) == problems.ATTEMPT_MISSING.title
    assert browser.get(f"/callback?code=fake-code&state={state}").status == 303


def test_C7_the_callback_answers_with_a_clean_address_and_careful_headers(browser: Browser) -> None:
    answer = browser.sign_in()
    assert answer.status == 303
    assert answer.body == b""
    assert header(answer, "cache-control") == "no-store"
    assert header(answer, "referrer-policy") == "no-referrer"
    assert "code" not in (header(answer, "location") or "")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PUT"])
@pytest.mark.parametrize("host", ["localhost:4567", "127.0.0.1:4567", "evil.example", ""])
@pytest.mark.parametrize("query", ["", "?code=fake-code&state=f", "?error=x&state=f"])
def test_C7_no_answer_at_the_callback_lets_its_address_out(
    browser: Browser, method: str, host: str, query: str
) -> None:
    answer = browser.ask(method, f"/callback{query}", headers={"host": host})
    assert header(answer, "referrer-policy") == "no-referrer"


def test_C7_a_callback_that_breaks_the_program_lets_its_address_out_no_more(
    browser: Browser,
) -> None:
    request = BrowserRequest(
        method="GET",
        path="/callback",
        query=b"code=fake-code&state=f",
        headers={},
        cookies=(),
        client_address="127.0.0.1",
        request_id="f00dfeed0001",
    )
    router = browser.router
    raw = raw_headers(router.failure(request).headers, router.headers_at["/callback"])
    assert dict(raw)[b"referrer-policy"] == b"no-referrer"


@pytest.mark.parametrize("name", ["problem", "fragment"])
def test_K8_the_pages_of_the_callback_have_no_form(name: str) -> None:
    """Their forms would be sent with `Origin: null`, which is no one's."""
    source, *_ = SHIPPED.get_source(Environment(autoescape=True), file_name(name))
    assert "<form" not in source


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-dest": "iframe"},
        {"sec-fetch-dest": "image"},
        {"sec-fetch-dest": "empty"},
        {"sec-fetch-dest": "empty", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-dest": "empty", "sec-fetch-mode": "websocket"},
        {"sec-fetch-dest": "empty", "sec-fetch-mode": "cors", "sec-fetch-site": "same-site"},
        {"sec-fetch-dest": "empty", "sec-fetch-mode": "same-origin", "sec-fetch-site": "none"},
        {"sec-fetch-dest": "empty,empty", "sec-fetch-mode": "navigate"},
        {"sec-fetch-dest": "empty", "sec-fetch-mode": "navigate,navigate"},
        {"sec-fetch-dest": "empty", "sec-fetch-mode": "navigate", "sec-purpose": "prefetch"},
        {"sec-fetch-dest": "iframe", "sec-fetch-mode": "navigate"},
        {"sec-fetch-dest": "object", "sec-fetch-mode": "navigate"},
        {"sec-fetch-dest": "serviceworker", "sec-fetch-mode": "same-origin"},
        {"sec-purpose": "prefetch"},
        {"sec-purpose": "prefetch;prerender"},
        {"purpose": "prefetch"},
    ],
)
def test_C8_only_a_person_going_there_uses_an_attempt(
    browser: Browser, procore: ScriptedProcore, headers: dict[str, str]
) -> None:
    state = browser.begin()
    assert browser.get(f"/callback?code=fake-code&state={state}", headers=headers).status == 403
    assert procore.requests == []
    assert header(browser.get(f"/callback?code=fake-code&state={state}"), "location") == "/home"


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "PUT", "DELETE"])
def test_C9_no_other_method_uses_an_attempt(
    browser: Browser, procore: ScriptedProcore, method: str
) -> None:
    state = browser.begin()
    answer = browser.ask(method, f"/callback?code=fake-code&state={state}")
    assert (answer.status, header(answer, "allow")) == (405, "GET")
    assert procore.requests == []
    assert header(browser.get(f"/callback?code=fake-code&state={state}"), "location") == "/home"


def test_C10_signing_in_as_somebody_else_switches_and_links_nothing(
    browser: Browser, procore: ScriptedProcore
) -> None:
    browser.sign_in()
    first = dict(browser.cookies)
    procore.next("/rest/v1.0/me", reply(200, JOE | {"id": 22222, "login": "ann@procore.com"}))
    browser.sign_in()
    row = browser.get("/home", headers={"accept": "application/json"}).body
    assert row == b'[2, 22222, "ann@procore.com"]'
    browser.cookies = first
    assert not signed_in(browser)


def test_C11_without_cookies_the_person_is_told_what_to_do(browser: Browser) -> None:
    browser.accepts_cookies = False
    answer = browser.sign_in()
    assert title(answer) == problems.ATTEMPT_MISSING.title
    assert "cookies" in str(page_of(answer).values["cure"]).lower()
    assert page_of(answer).values["action_label"] == "Sign In with Procore"


@pytest.mark.parametrize("path", ["/sign-out", "/sign-out-everywhere", "/disconnect"])
def test_C11_the_button_of_the_page_that_ends_a_sign_in_begins_the_next(
    browser: Browser, path: str
) -> None:
    browser.sign_in()
    url = str(page_of(browser.post(path)).values["sign_in_url"])
    state = parse_qs(urlsplit(url).query)["state"][0]
    assert header(browser.get(f"/callback?code=again&state={state}"), "location") == "/home"


def test_C8_C11_the_page_after_a_form_begins_an_attempt_only_if_the_form_is_ours(
    browser: Browser,
) -> None:
    def begun(**headers: str) -> bool:
        request = browser.request("POST", "/company", headers={"sec-fetch-site": "", **headers})
        return browser.router.problem(request, problems.GRANT_LOST).cookies != ()

    assert begun(**{"sec-fetch-site": "same-origin"})
    assert begun(origin="http://localhost:4567")
    assert not begun(**{"sec-fetch-site": "cross-site"})
    assert not begun(**{"sec-fetch-site": "same-site", "origin": "http://localhost:4567"})
    assert not begun(origin="null")


def test_C11_two_tabs_can_both_be_finished(browser: Browser) -> None:
    one, two = browser.begin("/"), browser.begin("/signin?return_to=/sessions")
    assert header(browser.get(f"/callback?code=1&state={two}"), "location") == "/sessions"
    assert header(browser.get(f"/callback?code=2&state={one}"), "location") == "/home"


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (ProcoreUnavailable("out", ambiguous=True), problems.PROCORE_UNAVAILABLE),
        (reply(503, {}), problems.PROCORE_UNAVAILABLE),
        (reply(400, {"error": "invalid_grant"}), problems.CODE_REFUSED),
        (reply(401, {"error": "invalid_client"}), problems.MISCONFIGURED),
        (reply(200, b"<html>"), problems.UNEXPECTED),
        (StoreUnavailable("down"), problems.SIGN_IN_NOT_STORED),
    ],
    ids=lambda value: value.code if isinstance(value, problems.Problem) else "",
)
def test_C11_every_failure_ends_on_a_page_with_one_click_to_go_on(
    browser: Browser, procore: ScriptedProcore, trouble: object, expected: problems.Problem
) -> None:
    procore.next("/oauth/token", trouble)  # type: ignore[arg-type]
    answer = browser.sign_in()
    assert title(answer) == expected.title
    assert answer.status == expected.status
    values = page_of(answer).values
    assert values["action_label"] == "Sign In with Procore"
    assert values["reference"] == "f00dfeed0001"
    state = parse_qs(urlsplit(str(values["action_url"])).query)["state"][0]
    assert header(browser.get(f"/callback?code=fake-code&state={state}"), "location") == "/home"


def test_T8_a_token_in_the_address_is_not_looked_at(
    browser: Browser, procore: ScriptedProcore
) -> None:
    browser.begin()
    assert (
        page_of(browser.get("/callback?access_token=planted&token_type=bearer")).name == "fragment"
    )
    assert procore.requests == []


def test_an_answer_in_the_fragment_is_met_by_the_page_that_reads_it(browser: Browser) -> None:
    assert page_of(browser.get("/callback")).name == "fragment"


def test_S1_the_database_does_not_hold_what_the_browser_holds(
    browser: Browser, tmp_path: Path
) -> None:
    browser.sign_in()
    token = browser.cookies["procore_signin_session"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    # Another process reads: closing a SQLite file that this one has open would drop its locks.
    files = subprocess.run(
        ["/bin/cat", *tmp_path.iterdir()], capture_output=True, check=True
    ).stdout
    assert token.encode() not in files
    assert b"fake-access-1" not in files
    assert b"fake-refresh-1" not in files


def test_S2_a_planted_session_cookie_is_replaced(browser: Browser) -> None:
    browser.cookies["procore_signin_session"] = "planted" * 6
    browser.sign_in()
    assert browser.cookies["procore_signin_session"] != "planted" * 6


def test_S3_signing_out_ends_the_session_for_whoever_has_its_cookie(browser: Browser) -> None:
    browser.sign_in()
    copied = dict(browser.cookies)
    answer = browser.post("/sign-out")
    assert page_of(answer).name == "signed_out"
    assert header(answer, "cache-control") == "no-store"
    assert header(answer, "clear-site-data") == '"cache"'
    assert "procore_signin_session" not in browser.cookies
    browser.cookies = copied
    assert browser.get("/home", headers={"accept": "application/json"}).status == 401


@pytest.mark.parametrize("path", ["/sign-out", "/sign-out-everywhere", "/disconnect"])
def test_S3_following_a_link_signs_nobody_out(browser: Browser, path: str) -> None:
    browser.sign_in()
    assert browser.get(path).status == 405
    assert signed_in(browser)


def test_S3_signing_out_twice_is_signed_out(browser: Browser) -> None:
    browser.sign_in()
    browser.post("/sign-out")
    assert browser.post("/sign-out").status == 200


def test_S4_a_page_never_sets_the_session_cookie_again(browser: Browser, clock: Clock) -> None:
    browser.sign_in()
    clock.advance(3600)
    for path in ("/home", "/", "/sessions"):
        assert not any("_session=" in cookie for cookie in browser.get(path).cookies)


def test_S5_an_unused_session_ends_and_a_used_one_goes_on_until_its_last_day(
    browser: Browser, clock: Clock
) -> None:
    browser.sign_in()
    for _ in range(28):
        clock.advance(12 * 3600 - 1)
        assert signed_in(browser)
        browser.door._runner.settle()  # no one waits for the use to be written down
    clock.advance(12 * 3600 - 1)
    assert not signed_in(browser)
    browser.sign_in()
    clock.advance(12 * 3600)
    assert not signed_in(browser)


def test_S6_signing_out_everywhere_ends_every_session_at_once(
    browser: Browser, other_browser: Browser
) -> None:
    browser.sign_in()
    other_browser.sign_in()
    answer = browser.post("/sign-out-everywhere")
    assert page_of(answer).values["everywhere"] is True
    assert not signed_in(browser)
    assert not signed_in(other_browser)


def test_S6_one_other_session_can_be_ended(browser: Browser, other_browser: Browser) -> None:
    browser.sign_in()
    other_browser.sign_in()
    listed = page_of(browser.get("/sessions")).values["sessions"]
    assert isinstance(listed, list)
    assert [each["current"] for each in listed].count(True) == 1
    other = next(each["id"] for each in listed if not each["current"])
    answer = browser.post("/sessions/end", form={"session_id": str(other)})
    assert header(answer, "location") == "/sessions"
    assert signed_in(browser)
    assert not signed_in(other_browser)


@pytest.mark.parametrize("session_id", ["", "0", "abc", "-1", "１", "9" * 30, "1 OR 1=1"])
def test_S6_a_session_that_is_not_mine_cannot_be_ended(
    browser: Browser, other_browser: Browser, procore: ScriptedProcore, session_id: str
) -> None:
    procore.next("/rest/v1.0/me", reply(200, JOE | {"id": 22222}))
    other_browser.sign_in()
    browser.sign_in()
    assert browser.post("/sessions/end", form={"session_id": session_id}).status == 404
    assert browser.post("/sessions/end", form={"session_id": "1"}).status == 404
    assert signed_in(other_browser)


def test_S6_disconnecting_revokes_at_procore_and_forgets(
    browser: Browser, procore: ScriptedProcore, door: ProcoreSignIn
) -> None:
    browser.sign_in()
    answer = browser.post("/disconnect")
    assert page_of(answer).values["revoked"] is True
    assert set(procore.revoked) == {"fake-access-1", "fake-refresh-1"}
    assert door.store.ask(TokensOf(1, "emulator")) is None
    assert door.store.ask(UserOf(1)) is not None
    assert not signed_in(browser)


def test_S6_disconnecting_while_procore_is_down_says_so_and_forgets_all_the_same(
    browser: Browser, procore: ScriptedProcore, door: ProcoreSignIn
) -> None:
    browser.sign_in()
    procore.next("/oauth/revoke", ProcoreUnavailable("down", ambiguous=False))
    assert page_of(browser.post("/disconnect")).values["revoked"] is False
    assert door.store.ask(TokensOf(1, "emulator")) is None


def test_K4_a_browser_keeps_five_attempts_and_the_newest_work(
    browser: Browser, clock: Clock
) -> None:
    states = []
    for _ in range(50):
        states.append(browser.begin())
        clock.advance(1)
    assert sum("_a_" in name for name in browser.cookies) == 5
    assert all(
        browser.get(f"/callback?code=c&state={state}").status == 303 for state in states[-5:]
    )


def test_K4_K5_an_attempt_that_was_damaged_is_the_first_to_be_forgotten(
    browser: Browser, clock: Clock
) -> None:
    states = []
    for _ in range(4):
        states.append(browser.begin())
        clock.advance(1)
    before = set(browser.cookies)
    browser.begin()
    [newest] = set(browser.cookies) - before
    browser.cookies[newest] = "v1.k1.AAAA"
    states.append(browser.begin())
    assert newest not in browser.cookies
    assert all(browser.get(f"/callback?code=c&state={state}").status == 303 for state in states)


@pytest.mark.parametrize(("more", "left"), [(0, 4), (-1, 3)])
def test_K4_attempts_are_kept_to_the_last_byte_that_there_is_room_for(
    browser: Browser, clock: Clock, monkeypatch: pytest.MonkeyPatch, more: int, left: int
) -> None:
    for _ in range(3):
        browser.begin()
        clock.advance(1)
    kept = [name.removeprefix("procore_signin_") + value for name, value in browser.cookies.items()]
    monkeypatch.setattr(attempts, "MOST_BYTES", len("".join(kept)) + more)
    browser.begin()
    assert len(browser.cookies) == left


def test_K4_an_answer_in_the_fragment_pushes_no_attempt_out(browser: Browser, clock: Clock) -> None:
    states = []
    for _ in range(5):
        states.append(browser.begin())
        clock.advance(1)
    page = page_of(browser.get("/callback"))
    assert (page.name, page.values["sign_in_url"]) == ("fragment", "/signin")
    assert browser.get(f"/callback?code=c&state={states[0]}").status == 303


def test_K4_all_our_cookies_together_stay_below_four_kilobytes(
    browser: Browser, clock: Clock
) -> None:
    browser.sign_in()
    for _ in range(10):
        browser.begin("/signin?return_to=/" + "a" * 511)
        clock.advance(1)
        assert sum(len(name) + len(value) + 3 for name, value in browser.cookies.items()) < 4096


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/signin",
        "/callback",
        "/home",
        "/sessions",
        "/nowhere",
        "/callback?code=x",
        "/sign-out",
    ],
)
def test_K6_K7_every_answer_carries_the_careful_headers(browser: Browser, target: str) -> None:
    for _ in range(2):
        answer = browser.get(target)
        policy = header(answer, "content-security-policy") or ""
        assert policy.startswith("default-src 'none';")
        assert "frame-ancestors 'none'" in policy
        assert "base-uri 'none'" in policy
        assert "form-action 'self' http://127.0.0.1:4568" in policy
        assert "unsafe" not in policy
        assert header(answer, "x-content-type-options") == "nosniff"
        private = target.startswith("/callback")
        assert header(answer, "referrer-policy") == ("no-referrer" if private else "same-origin")
        assert header(answer, "cross-origin-opener-policy") == "same-origin"
        assert header(answer, "cache-control") == "no-store"
        assert "Cookie" in (header(answer, "vary") or "")
        browser.sign_in()


def test_K4_an_attempt_lasts_in_the_browser_for_as_long_as_it_is_good(browser: Browser) -> None:
    (cookie,) = browser.get("/").cookies
    assert f"; Max-Age={LIFETIME};" in cookie


def test_a_page_that_is_not_looked_at_has_its_button_all_the_same(browser: Browser) -> None:
    unseen = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"}
    answer = browser.get("/", headers=unseen)
    assert answer.cookies == ()
    assert "/oauth/authorize?" in str(page_of(answer).values["sign_up_url"])


def test_K4_over_https_a_browser_keeps_five_attempts_as_well(
    tmp_path: Path, clock: Clock, procore: ScriptedProcore
) -> None:
    address = "https://app.example.com/callback"
    with front_door(tmp_path, procore, clock, redirect_uri=address) as door:
        browser = Browser(door, router_of(door, clock))
        for _ in range(7):
            browser.get("/signin", headers={"host": "app.example.com"})
            clock.advance(1)
    assert len(browser.cookies) == 5


def test_K1_a_sign_in_over_https_sets_and_reads_cookies_of_https_alone(
    tmp_path: Path, clock: Clock, procore: ScriptedProcore
) -> None:
    address = "https://app.example.com/callback"
    with front_door(tmp_path, procore, clock, redirect_uri=address) as door:
        browser, here = Browser(door, router_of(door, clock)), {"host": "app.example.com"}
        page = browser.get("/signin", headers=here)
        url = str(page_of(page).values["sign_in_url"])
        state = parse_qs(urlsplit(url).query)["state"][0]
        answer = browser.get(f"/callback?code=fake-code&state={state}", headers=here)
        assert answer.status == 303
        for cookie in (*page.cookies, *answer.cookies):
            assert cookie.startswith("__Host-")
            assert cookie.endswith("; Secure")
        assert list(browser.cookies) == ["__Host-procore_signin_session"]
        assert browser.get("/home", headers=here).status == 200
        browser.cookies = {n.removeprefix("__Host-"): v for n, v in browser.cookies.items()}
        assert browser.get("/home", headers=here).status == 303


def test_K6_over_https_browsers_are_told_to_stay_there(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock
) -> None:
    with front_door(
        tmp_path,
        procore,
        clock,
        environment=environments.SANDBOX,
        redirect_uri="https://app.example/callback",
    ) as door:
        browser = Browser(door, router_of(door, clock))
        answer = browser.get("/", headers={"host": "app.example"})
    assert header(answer, "strict-transport-security") == "max-age=31536000"
    assert all(cookie.startswith("__Host-") and "; Secure" in cookie for cookie in answer.cookies)


def test_S7_when_the_database_fails_nobody_is_let_in_and_nobody_is_signed_out(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.sign_in()

    def down(*_: object) -> None:
        raise StoreUnavailable("The database is down")

    with monkeypatch.context() as patched:
        for query in (SessionOf, SessionAndMe):
            meet(patched, browser.door.store, query, down)
        for path in ("/home", "/sessions"):
            answer = browser.get(path)
            assert answer.status == 503
            assert answer.cookies == ()
    assert signed_in(browser)


@pytest.mark.parametrize(
    ("trouble", "cure"),
    [
        (StoreUnavailable("The database lacks tables. Run: procore-signin db upgrade"), "upgrade"),
        (reply(401, {"error": "invalid_client"}), "(invalid_client). Compare the client id"),
    ],
    ids=["the tables", "the secret"],
)
def test_the_log_tells_an_operator_the_cure_beside_the_reference_of_the_page(
    browser: Browser,
    procore: ScriptedProcore,
    caplog: pytest.LogCaptureFixture,
    trouble: object,
    cure: str,
) -> None:
    procore.next("/oauth/token", trouble)  # type: ignore[arg-type]
    browser.sign_in()
    [line] = [record.getMessage() for record in caplog.records if cure in record.getMessage()]
    assert "f00dfeed0001" in line
    [event] = [line for line in caplog.messages if line.startswith("sign_in.failed ")]
    assert "request=f00dfeed0001" in event


def test_O9_a_hundred_codes_that_are_refused_are_explained_in_sixty_lines(
    browser: Browser, procore: ScriptedProcore, caplog: pytest.LogCaptureFixture
) -> None:
    procore.next("/oauth/token", *[reply(401, {"error": "invalid_client"})] * 100)
    for _ in range(100):
        browser.sign_in()
    assert len(procore.exchanges) == 100
    explained = [line for line in caplog.messages if line.startswith("Request f00dfeed0001: ")]
    assert len(explained) == LINES_PER_MINUTE


def test_O3_an_unknown_page_and_a_wrong_method_are_pages_of_ours(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    assert title(browser.get("/nowhere")) == problems.NOT_FOUND.title
    assert title(browser.post("/home")) == problems.METHOD_NOT_ALLOWED.title
    # Each shows a reference, and each reference is in the log.
    assert caplog.messages == [
        "request.refused request=f00dfeed0001 path=/nowhere reason=not_found",
        "request.refused request=f00dfeed0001 path=/home reason=method_not_allowed",
    ]


def test_a_program_gets_its_problems_as_json(browser: Browser) -> None:
    answer = browser.get("/nowhere", headers={"accept": "application/json"})
    assert (answer.status, answer.content_type) == (404, "application/problem+json")
    assert b'"code": "not_found"' in answer.body
