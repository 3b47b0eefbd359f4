"""The control API, as a test in any language would use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from procore_signin.emulator import Emulator


def test_a_whole_sign_in_without_a_browser_or_python(
    emulator: Emulator,
    http: httpx2.Client,
    authorize: Callable[..., str],
    code_in: Callable[[str], str],
    code_form: Callable[..., dict[str, str]],
) -> None:
    url = f"{emulator.url}{authorize()}"
    approved = http.post("/_emulator/approve", json={"authorize_url": url}).json()
    tokens = http.post("/oauth/token", data=code_form(code_in(approved["location"]))).json()
    grants = http.get("/_emulator/grants").json()
    assert [
        {
            "client_id": "emulator-client-id",
            "login": "joecontractor@procore.com",
            "created_at": tokens["created_at"],
            "access_token_expires_at": tokens["created_at"] + 5400,
            "refreshable": True,
        }
    ] == grants
    revoked = http.post("/_emulator/revoke", json={"login": "joecontractor@procore.com"})
    assert {"revoked": 1} == revoked.json()
    assert [] == http.get("/_emulator/grants").json()


def test_deny(http: httpx2.Client, authorize: Callable[..., str]) -> None:
    denied = http.post("/_emulator/deny", json={"authorize_url": authorize()}).json()
    assert "error=access_denied" in denied["location"]


def test_a_request_that_cannot_be_approved_is_explained(
    http: httpx2.Client, authorize: Callable[..., str]
) -> None:
    form = {"authorize_url": authorize(client_id="unknown")}
    answered = http.post("/_emulator/approve", json=form)
    assert 400 == answered.status_code
    assert "invalid_client" in answered.json()["error"]
    assert "Compare the client id" in answered.json()["error"]


def test_people_can_be_listed_added_changed_and_removed(
    http: httpx2.Client, authorize: Callable[..., str]
) -> None:
    person = {"id": 7, "login": "ada@example.com", "name": "Ada"}
    shown = {**person, "job_title": None}
    assert shown == http.post("/_emulator/people", json=person).json()
    changed = http.post("/_emulator/people", json={"id": 7, "name": None}).json()
    assert {**shown, "name": None} == changed
    assert changed in http.get("/_emulator/people").json()
    form = {"authorize_url": authorize(), "login": "ada@example.com"}
    assert 200 == http.post("/_emulator/approve", json=form).status_code
    assert {} == http.post("/_emulator/people/remove", json={"id": 7}).json()
    assert 400 == http.post("/_emulator/approve", json=form).status_code
    assert 400 == http.post("/_emulator/people/remove", json={"id": 7}).status_code


def test_clients_can_be_listed_and_registered_and_their_secret_is_not_shown(
    http: httpx2.Client, authorize: Callable[..., str]
) -> None:
    client = {
        "client_id": "b",
        "client_secret": "b-secret",
        "redirect_uris": ["http://localhost:1/b"],
        "name": "B",
    }
    http.post("/_emulator/clients", json=client)
    listed = http.get("/_emulator/clients")
    assert ["emulator-client-id", "b"] == [one["client_id"] for one in listed.json()]
    assert "secret" not in listed.text
    url = authorize(client_id="b", redirect_uri="http://localhost:1/b")
    assert 200 == http.post("/_emulator/approve", json={"authorize_url": url}).status_code


def test_companies_and_projects_can_be_listed_and_added(http: httpx2.Client) -> None:
    company = {"id": 7, "name": "Seven", "members": [11111], "connected": False, "zone": "uk01"}
    http.post("/_emulator/companies", json=company)
    assert {**company, "is_active": True} == http.get("/_emulator/companies").json()[-1]
    project = {"id": 70, "company_id": 7, "name": "Tower", "active": False}
    http.post("/_emulator/projects", json=project)
    assert project.items() <= http.get("/_emulator/projects").json()[-1].items()


def test_the_clock_can_be_read_and_advanced(http: httpx2.Client) -> None:
    before = http.get("/_emulator/clock").json()["now"]
    after = http.post("/_emulator/clock", json={"advance": 3600}).json()["now"]
    assert 3600 <= after - before < 3610


def test_faults_can_be_added_listed_and_cleared(http: httpx2.Client) -> None:
    fault = {"route": "POST /oauth/token", "kind": "status", "status": 503, "times": 1}
    http.post("/_emulator/faults", json=fault)
    assert 503 == http.post("/oauth/token").status_code
    assert 401 == http.post("/oauth/token").status_code
    assert [
        {
            "number": 1,
            "route": "POST /oauth/token",
            "kind": "status",
            "settings": {"status": 503},
            "times": 0,
            "probability": 1.0,
            "happened": 1,
        }
    ] == http.get("/_emulator/faults").json()
    assert {} == http.post("/_emulator/faults/clear").json()
    assert [] == http.get("/_emulator/faults").json()


def test_requests_are_listed_whole_and_those_of_the_control_api_are_not(
    http: httpx2.Client, code_form: Callable[..., dict[str, str]]
) -> None:
    http.get("/_emulator/clock")
    http.post("/oauth/token/", data=code_form("x", code_verifier="v"))
    http.get("/rest/v1.0/me")
    listed = http.get("/_emulator/requests").json()
    assert [("POST", "/oauth/token", 401), ("GET", "/rest/v1.0/me", 401)] == [
        (one["method"], one["target"], one["status"]) for one in listed
    ]
    assert "code_verifier=v" in listed[0]["request_body"]
    assert [2] == [
        one["number"] for one in http.get("/_emulator/requests", params={"after": "1"}).json()
    ]


def test_reset_returns_to_the_start(
    emulator: Emulator, http: httpx2.Client, sign_in: Callable[..., dict[str, Any]]
) -> None:
    sign_in(emulator, http)
    http.post("/_emulator/people", json={"id": 7, "login": "ada@example.com"})
    http.post("/_emulator/clock", json={"advance": 9999})
    http.post("/_emulator/faults", json={"route": "*", "kind": "html"})
    assert {} == http.post("/_emulator/reset").json()
    assert [] == http.get("/_emulator/grants").json()
    assert [] == http.get("/_emulator/faults").json()
    assert [] == http.get("/_emulator/requests").json()
    assert 4 == len(http.get("/_emulator/people").json())
    assert emulator.now() < http.get("/_emulator/clock").json()["now"] + 1 < emulator.now() + 2


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("people", b"{"),
        ("people", b"[]"),
        ("people", b"[" * 100_000),
        ("people", b'{"id": "7", "login": "a@example.com"}'),
        ("people", b'{"id": 0, "login": "a@example.com"}'),
        ("people", b'{"id": true, "login": "a@example.com"}'),
        ("people", b'{"id": 9223372036854775808, "login": "a@example.com"}'),
        ("people", b'{"id": 7}'),
        ("people", b'{"id": 7, "login": "joecontractor@procore.com"}'),
        ("people", b'{"id": 7, "login": "a\\nb"}'),
        ("people", b'{"id": 7, "login": "a@example.com", "nickname": "Ada"}'),
        ("clients", b'{"client_id": "b"}'),
        ("clients", b'{"client_id": "b", "client_secret": ""}'),
        ("clients", b'{"client_id": "b", "client_secret": "s", "redirect_uris": "x"}'),
        ("clients", b'{"client_id": "b", "client_secret": "s", "redirect_uris": ["https://a.b/"]}'),
        ("companies", b'{"id": 7}'),
        ("companies", b'{"id": 7, "name": "Seven", "connected": "no"}'),
        ("companies", b'{"id": 7, "name": "Seven", "members": 11111}'),
        ("companies", b'{"id": 7, "name": "Seven", "members": ["11111"]}'),
        ("projects", b'{"id": 70, "company_id": 7, "name": "Tower"}'),
        ("clock", b"{}"),
        ("clock", b'{"advance": "1"}'),
        ("clock", b'{"advance": -1}'),
        ("clock", b'{"advance": true}'),
        ("clock", b'{"advance": 1e999}'),
        ("faults", b'{"kind": "html"}'),
        ("faults", b'{"route": "/x", "kind": "unheard-of"}'),
        ("faults", b'{"route": "/x", "kind": "html", "colour": "red"}'),
        ("approve", b"{}"),
        ("approve", b'{"authorize_url": 1}'),
        ("revoke", b'{"login": "no one@example.com"}'),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong_and_changes_nothing(
    http: httpx2.Client, name: str, body: bytes
) -> None:
    before = [http.get(f"/_emulator/{one}").json() for one in ("people", "clients", "companies")]
    answered = http.post(f"/_emulator/{name}", content=body)
    assert 400 == answered.status_code
    assert ["error"] == list(answered.json())
    assert before == [
        http.get(f"/_emulator/{one}").json() for one in ("people", "clients", "companies")
    ]


def test_an_unknown_control_is_answered_with_those_there_are(http: httpx2.Client) -> None:
    answered = http.get("/_emulator/unknown")
    assert 404 == answered.status_code
    assert "POST /_emulator/approve" in answered.json()["error"]


@pytest.mark.parametrize("after", ["x", "-1"])
def test_requests_after_something_that_is_no_number_are_refused(
    http: httpx2.Client, after: str
) -> None:
    assert 400 == http.get("/_emulator/requests", params={"after": after}).status_code


def test_the_control_root_leads_to_the_inspector(http: httpx2.Client) -> None:
    assert "/_emulator/" == http.get("/_emulator").headers["location"]
    assert 200 == http.get("/_emulator/").status_code


class TestStrangers:
    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "https://elsewhere.invalid"},
            {"origin": "http://localhost:4567"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ],
    )
    def test_a_page_of_another_site_cannot_control_the_emulator(
        self, http: httpx2.Client, headers: dict[str, str]
    ) -> None:
        for name in ("reset", "clear", "faults/clear"):
            assert 403 == http.post(f"/_emulator/{name}", headers=headers).status_code

    def test_its_own_page_can(self, emulator: Emulator, http: httpx2.Client) -> None:
        headers = {"origin": emulator.url, "sec-fetch-site": "same-origin"}
        assert 200 == http.post("/_emulator/reset", headers=headers).status_code

    @pytest.mark.parametrize(
        "host", ["elsewhere.invalid", "elsewhere.invalid:4568", "127.0.0.1.nip.io", "[::1", ""]
    )
    def test_E1_no_other_host_name_is_answered(self, http: httpx2.Client, host: str) -> None:
        for path in ("/", "/_emulator/people", "/_emulator/", "/oauth/token/info"):
            assert 421 == http.get(path, headers={"host": host}).status_code

    @pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:4568"])
    def test_E1_every_name_of_this_machine_is_answered(
        self, http: httpx2.Client, host: str
    ) -> None:
        assert 200 == http.get("/_emulator/people", headers={"host": host}).status_code
