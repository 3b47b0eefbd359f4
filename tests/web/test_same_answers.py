"""What an application's own pages answer is the same in every framework, on real servers.

Procore says no, a proxy stands in front, the application has a name: one table each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import quote

import httpx2
import pytest
from hosts import EVERYWHERE, Host, hosts
from person import Person

from procore_signin.emulator import Emulator

JSON = {"accept": "application/json"}
COMPANY = 8089
ELSEWHERE = 8090
PAGE = f"/projects?company_id={COMPANY}"


@pytest.fixture(scope="module")
def running_emulator() -> Iterator[Emulator]:
    with Emulator.started() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def everywhere(
    running_emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Host]]:
    more = {
        "PROCORE_TRUSTED_PROXIES": "127.0.0.1",
        "PROCORE_RATE_LIMIT": "3",
        "PROCORE_APP_NAME": "<b>Fun</b> & Co",
    }
    folder = tmp_path_factory.mktemp("hosts")
    with hosts(running_emulator, folder, *EVERYWHERE, **more) as started:
        yield started


@pytest.fixture
def emulator(running_emulator: Emulator) -> Iterator[Emulator]:
    yield running_emulator
    running_emulator.clear_faults()


def client_at(host: Host, emulator: Emulator, address: str) -> Person:
    """Open a browser that a proxy on this machine says to be at `address`."""
    person = Person(host.url, emulator)
    person.http.headers["x-forwarded-for"] = address
    return person


@pytest.fixture(scope="module")
def joes(everywhere: dict[str, Host], running_emulator: Emulator) -> Iterator[dict[str, Person]]:
    """Someone who is signed in at each host."""
    with ExitStack() as stack:
        found = {}
        for name, host in everywhere.items():
            joe = stack.enter_context(client_at(host, running_emulator, "198.51.100.1"))
            assert joe.sign_in("/procore/signin").status_code == 303
            found[name] = joe
        yield found


Seen = tuple[int, str, str | None]


def seen_by_a_browser(joes: dict[str, Person], page: str) -> dict[str, Seen]:
    """Return status, title and `Retry-After` of a page at each host."""
    found = {}
    for name, joe in joes.items():
        answer = joe.http.get(page)
        title = re.search(r"<h1[^>]*>\s*(.*?)\s*</h1>", answer.text, re.DOTALL)
        assert title, (name, answer.text)
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], name
        found[name] = (answer.status_code, title[1], answer.headers.get("retry-after"))
    return found


def told_to_a_program(joes: dict[str, Person], page: str) -> dict[str, tuple[int, str, str]]:
    """Return status, media type and code of a page at each host."""
    found = {}
    for name, joe in joes.items():
        answer = joe.http.get(page, headers=JSON)
        told = (answer.headers["content-type"], answer.json()["code"])
        found[name] = (answer.status_code, *told)
    return found


@pytest.mark.parametrize(
    ("answer", "expected", "code"),
    [
        (
            {"status": 403},
            (403, "Procore does not let you do that", None),
            "forbidden_in_procore",
        ),
        (
            {"status": 404, "body": '{"message": "App is not connected to this company."}'},
            (403, "This application is not connected to that company", None),
            "not_connected",
        ),
        (
            {"status": 404},
            (404, "Procore does not show you that", None),
            "not_found_in_procore",
        ),
        (
            {"status": 409},
            (409, "It has changed meanwhile", None),
            "conflict_in_procore",
        ),
        (
            {"status": 422},
            (500, "Something went wrong on our side", None),
            "failed",
        ),
        (
            {"status": 503},
            (503, "Procore is not answering", "10"),
            "procore_unavailable",
        ),
        (
            {"status": 503, "headers": {"Retry-After": "77"}},
            (503, "Procore is not answering", "77"),
            "procore_unavailable",
        ),
        (
            {"status": 307, "headers": {"Location": "https://elsewhere.invalid/"}},
            (502, "Procore answered in a way we do not understand", None),
            "unexpected_response",
        ),
    ],
)
def test_what_procores_api_refuses_becomes_the_same_page_everywhere(
    joes: dict[str, Person],
    emulator: Emulator,
    answer: dict[str, object],
    expected: Seen,
    code: str,
) -> None:
    emulator.fault("GET /rest/v1.1/projects", "status", times=None, **answer)

    assert seen_by_a_browser(joes, PAGE) == dict.fromkeys(joes, expected)
    assert told_to_a_program(joes, PAGE) == dict.fromkeys(
        joes, (expected[0], "application/problem+json", code)
    )


def test_O3_the_reference_of_every_error_page_stands_in_the_log(
    everywhere: dict[str, Host], joes: dict[str, Person], emulator: Emulator
) -> None:
    emulator.fault("GET /rest/v1.1/projects", "status", times=None, status=403)
    ways: dict[str, tuple[str, str, dict[str, str]]] = {
        "method_not_allowed": ("PUT", "/procore/signin", {}),
        "foreign_form": ("POST", "/procore/sign-out", {"origin": "https://other.example"}),
        "not_a_navigation": ("GET", "/procore/signin", {"sec-purpose": "prefetch"}),
        "attempt_missing": ("GET", "/procore/callback?code=1", {}),
        "forbidden_in_procore": ("GET", PAGE, {}),
    }
    for name, host in everywhere.items():
        for code, (method, path, headers) in ways.items():
            answer = joes[name].http.request(method, path, headers=JSON | headers)
            told = answer.json()
            assert told["code"] == code, (name, told)
            [line] = [line for line in host.said.splitlines() if told["reference"] in line]
            assert "request.refused" in line or "attempt.invalid" in line, name


def test_a_company_without_the_application_is_named_as_such(
    joes: dict[str, Person], emulator: Emulator
) -> None:
    emulator.company(ELSEWHERE, "Not Ours", connected=False, members=[11111])
    found = seen_by_a_browser(joes, f"/projects?company_id={ELSEWHERE}")

    expected = (403, "This application is not connected to that company", None)
    assert found == dict.fromkeys(joes, expected)


def test_a_lost_grant_leads_a_person_back_here_and_tells_a_program_to_sign_in(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    emulator.person(55555, login="lost@procore.com", name="Lost")
    emulator.company(ELSEWHERE + 1, "Lost's", members=[55555])
    page = f"/projects?company_id={ELSEWHERE + 1}"
    for name, host in everywhere.items():
        with client_at(host, emulator, "198.51.100.2") as lost:
            lost.login = "lost@procore.com"
            lost.sign_in("/procore/signin")
            emulator.revoke(login="lost@procore.com")
            told = lost.http.get(page, headers=JSON)
            assert (told.status_code, told.json()["code"]) == (401, "grant_lost"), name
            # the button of the problem page leads through Procore, and back to this page
            assert lost.sign_in(page).headers["location"] == page, name
            assert lost.http.get(page).status_code == 200, name


def test_O4_behind_our_proxy_each_client_has_a_limit_of_its_own(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    for name, host in everywhere.items():
        statuses = {}
        for address in ("203.0.113.1", "203.0.113.2"):
            with client_at(host, emulator, f"1.2.3.4, {address}") as person:
                statuses[address] = [
                    person.http.get("/procore/signin").status_code for _ in range(4)
                ]
        expected = [200, 200, 200, 429]
        assert statuses == {"203.0.113.1": expected, "203.0.113.2": expected}, name


def test_O4_a_header_that_only_looks_like_the_proxys_escapes_no_limit(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    """A WSGI server that took `_` for `-` would let a client write into our proxy's header."""
    for name, host in everywhere.items():
        with client_at(host, emulator, "203.0.113.3") as person:
            statuses = [
                person.http.get("/procore/signin", headers=[("X_Forwarded_For", f"1.2.3.{each}")])
                for each in range(4)
            ]
        assert [each.status_code for each in statuses] == [200, 200, 200, 429], name


def test_a_proxy_can_ask_every_framework_who_sent_a_request(
    everywhere: dict[str, Host], joes: dict[str, Person], emulator: Emulator
) -> None:
    for name, host in everywhere.items():
        allowed = joes[name].http.get("/procore/auth/verify")
        assert (allowed.status_code, allowed.headers["x-procore-id"]) == (200, "11111"), name
        with client_at(host, emulator, "198.51.100.3") as nobody:
            about = {"x-forwarded-uri": "/wiki?page=2", "x-forwarded-method": "GET"}
            refused = nobody.http.get("/procore/auth/verify", headers=about)
        assert refused.status_code == 401, name
        sign_in = f"{host.url}/procore/signin?return_to=/wiki%3Fpage%3D2"
        assert refused.headers["x-procore-sign-in"] == sign_in, name
        assert refused.headers["cache-control"] == "no-store", name


def test_I6_the_pages_bear_the_applications_name_and_it_is_escaped(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    for name, host in everywhere.items():
        with client_at(host, emulator, "198.51.100.4") as person:
            page = person.http.get("/procore/signin").text
        escaped = "&lt;b&gt;Fun&lt;/b&gt; &amp; Co"
        assert page.count(escaped) == 2, name
        assert f"· {escaped}</title>" in page, name
        assert "Sample application" not in page, name


@pytest.mark.parametrize("name", ["flask", "flask-gevent"])
def test_async_hooks_of_a_server_that_waits_run_also_when_several_sign_in_at_once(
    everywhere: dict[str, Host], emulator: Emulator, name: str
) -> None:
    host = everywhere[name]
    before = len(httpx2.get(f"{host.url}/noted").json())
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        people = [
            stack.enter_context(client_at(host, emulator, f"198.51.100.{each}"))
            for each in range(10, 14)
        ]
        addresses = [person.callback_address("/procore/signin") for person in people]
        answers = threads.map(lambda person, back: person.http.get(back), people, addresses)
        assert [answer.status_code for answer in answers] == [303] * 4
    assert len(httpx2.get(f"{host.url}/noted").json()) == before + 4


def test_a_button_that_is_pressed_after_the_session_ended_leads_back_to_its_page(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    for name, host in everywhere.items():
        for button in ("/procore/sessions/end", "/procore/disconnect"):
            # A connection each: a server may close one whose form no one has read.
            with client_at(host, emulator, "198.51.100.5") as person:
                sent = person.post(button, session_id="1")
            where = "/procore/signin?return_to=/procore/sessions"
            assert (sent.status_code, sent.headers["location"]) == (303, where), name


def test_a_sign_in_leads_back_to_the_page_as_it_was_asked_for(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    pages = ("a%C3%B1o", "caf%c3%a9", "a%20b?x=1&y=%C3%A9", "a%2Fb", "100%25", "a%3Fb")
    for name, host in everywhere.items():
        with client_at(host, emulator, "198.51.100.6") as nobody:
            for page in (f"/places/{each}" for each in pages):
                sent = nobody.http.get(page, headers={"accept": "text/html"})
                where = f"/procore/signin?return_to={quote(page, safe='/')}"
                assert (name, sent.headers["location"]) == (name, where)
