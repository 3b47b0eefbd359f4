from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from procore_signin.emulator import Emulator

Tokens = dict[str, Any]
Headers = dict[str, str]
WIDE = 562949953434271
MISSING_COMPANY = (
    "Missing Procore-Company-Id header!\n\nEach call your application makes to the Procore API "
    "must contain a request header that includes the Procore-Company-Id field. \nThis request "
    "header field specifies the id of the company into which you are making the call."
)


@pytest.fixture
def joe(
    emulator: Emulator,
    http: httpx2.Client,
    sign_in: Callable[..., Tokens],
    bearer: Callable[[Tokens], Headers],
) -> Headers:
    """The bearer header of the tutorial's person."""
    return bearer(sign_in(emulator, http))


@pytest.fixture
def in_sandbox(joe: Headers) -> Headers:
    """The same, naming the sandbox company."""
    return {**joe, "procore-company-id": "8089"}


class TestMe:
    def test_the_tutorials_person(self, http: httpx2.Client, joe: Headers) -> None:
        answered = http.get("/rest/v1.0/me", headers=joe)
        assert 200 == answered.status_code
        assert (
            b'{"id":11111,"login":"joecontractor@procore.com","name":"Joe Contractor"}'
            == answered.content
        )
        assert "application/json; charset=utf-8" == answered.headers["content-type"]
        assert "no-store, must-revalidate, private, max-age=0" == answered.headers["cache-control"]

    def test_a_changed_login_keeps_its_id(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers
    ) -> None:
        emulator.person(11111, login="joe@example.com")
        assert {"id": 11111, "login": "joe@example.com", "name": "Joe Contractor"} == http.get(
            "/rest/v1.0/me", headers=joe
        ).json()

    def test_a_person_without_a_name_has_no_such_member(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers
    ) -> None:
        emulator.person(11111, name=None)
        assert ["id", "login"] == list(http.get("/rest/v1.0/me", headers=joe).json())

    def test_E2_an_id_of_63_bits_arrives_whole(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        sign_in: Callable[..., Tokens],
        bearer: Callable[[Tokens], Headers],
    ) -> None:
        emulator.person(2**63 - 1, login="wide@example.com")
        tokens = sign_in(emulator, http, login="wide@example.com")
        answered = http.get("/rest/v1.0/me", headers=bearer(tokens))
        assert 9223372036854775807 == answered.json()["id"]

    def test_the_name_can_be_kept_for_requests_that_name_a_company(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        sign_in: Callable[..., Tokens],
        bearer: Callable[[Tokens], Headers],
    ) -> None:
        emulator = emulated(me_name="company")
        http = http_of(emulator)
        headers = bearer(sign_in(emulator, http))
        assert "name" not in http.get("/rest/v1.0/me", headers=headers).json()
        for query in ("company_id=8089", "project_id=1"):
            assert "name" in http.get(f"/rest/v1.0/me?{query}", headers=headers).json()


class TestBearer:
    @pytest.mark.parametrize(
        ("authorization", "message"),
        [
            (None, "The access token is invalid"),
            ("Bearer unknown", "The access token is invalid"),
            ("Basic {token}", "The access token is invalid"),
            ("{token}", "The access token is invalid"),
        ],
    )
    def test_a_call_without_a_good_token_is_refused(
        self, http: httpx2.Client, joe: Headers, authorization: str | None, message: str
    ) -> None:
        token = joe["authorization"].removeprefix("Bearer ")
        sent = {} if authorization is None else {"authorization": authorization.format(token=token)}
        answered = http.get("/rest/v1.0/me", headers=sent)
        assert 401 == answered.status_code
        assert message == answered.json()["message"]
        assert "Invalid Token" == answered.json()["error"]
        assert (
            f'Bearer realm="Doorkeeper", error="invalid_token", error_description="{message}"'
            == answered.headers["www-authenticate"]
        )

    def test_the_scheme_is_found_whatever_its_case(self, http: httpx2.Client, joe: Headers) -> None:
        headers = {"authorization": joe["authorization"].replace("Bearer", "bEARER")}
        assert 200 == http.get("/rest/v1.0/me", headers=headers).status_code

    def test_E2_an_access_token_lives_5400_seconds(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers
    ) -> None:
        emulator.advance(5390)
        assert 200 == http.get("/rest/v1.0/me", headers=joe).status_code
        emulator.advance(10)
        answered = http.get("/rest/v1.0/me", headers=joe)
        assert 401 == answered.status_code
        assert "Your access token has expired, please use your refresh token" in answered.text
        assert "The access token expired" in answered.headers["www-authenticate"]

    def test_a_revoked_token_is_refused_as_revoked(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers
    ) -> None:
        emulator.revoke()
        answered = http.get("/rest/v1.0/me", headers=joe)
        assert 401 == answered.status_code
        assert "The access token was revoked" == answered.json()["message"]

    def test_the_token_of_a_removed_person_is_refused(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers
    ) -> None:
        emulator.remove_person(11111)
        assert 401 == http.get("/rest/v1.0/me", headers=joe).status_code


class TestCompanies:
    def test_both_companies_of_the_seed_and_one_of_them_mine(
        self, http: httpx2.Client, joe: Headers
    ) -> None:
        rows = http.get("/rest/v1.0/companies", headers=joe).json()
        assert [8089, WIDE] == [row["id"] for row in rows]
        assert [True, False] == [row["my_company"] for row in rows]
        assert {
            "id": 8089,
            "name": "Sandbox Test Company",
            "is_active": True,
            "logo_url": None,
            "pcn_business_experience": True,
            "my_company": True,
        } == rows[0]

    def test_E2_a_company_whose_directory_does_not_list_the_person_is_not_theirs(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers
    ) -> None:
        emulator.company(7, "Someone Else", members=frozenset({11112}))
        rows = http.get("/rest/v1.0/companies", headers=joe).json()
        assert [8089, WIDE] == [row["id"] for row in rows]
        answered = http.get("/rest/v1.0/companies/7/me", headers={**joe, "procore-company-id": "7"})
        assert 404 == answered.status_code

    def test_the_person_as_the_companys_directory_knows_them(
        self, http: httpx2.Client, in_sandbox: Headers
    ) -> None:
        person = http.get("/rest/v1.0/companies/8089/me", headers=in_sandbox).json()
        assert {
            "id": 11111,
            "email_address": "joecontractor@procore.com",
            "first_name": "Joe",
            "last_name": "Contractor",
            "job_title": "Superintendent",
            "is_employee": True,
        }.items() <= person.items()

    def test_everybody_in_the_companys_directory(
        self, http: httpx2.Client, in_sandbox: Headers
    ) -> None:
        people = http.get("/rest/v1.0/companies/8089/users", headers=in_sandbox).json()
        assert ["Joe Contractor", "Test Architect", "Test Subcontractor", "API Support"] == [
            person["name"] for person in people
        ]

    @pytest.mark.parametrize(("company", "zone"), [("8089", "us01"), (str(WIDE), "us02")])
    def test_the_companys_web_address_is_the_emulators_own(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers, company: str, zone: str
    ) -> None:
        headers = {**joe, "procore-company-id": company}
        answered = http.get("/rest/v1.0/company_base_url", headers=headers)
        assert {"zone": zone, "web_base_url": emulator.url} == answered.json()

    @pytest.mark.parametrize("company", ["1", "x", "0", "-8089", "9" * 30])
    def test_an_unknown_company_has_no_web_address(
        self, http: httpx2.Client, joe: Headers, company: str
    ) -> None:
        headers = {**joe, "procore-company-id": company}
        answered = http.get("/rest/v1.0/company_base_url", headers=headers)
        assert 400 == answered.status_code
        assert {"error": {"code": "400", "message": "invalid company id"}} == answered.json()


class TestProjects:
    def test_version_1_0(self, http: httpx2.Client, in_sandbox: Headers) -> None:
        rows = http.get("/rest/v1.0/projects?company_id=8089", headers=in_sandbox).json()
        assert ["1234 - Sandbox Test Project"] == [row["display_name"] for row in rows]
        assert "Course of Construction" == rows[0]["stage"]
        assert 1.0 == rows[0]["total_value"]
        assert {"id": 8089, "name": "Sandbox Test Company"} == rows[0]["company"]

    def test_version_1_1(self, http: httpx2.Client, in_sandbox: Headers) -> None:
        rows = http.get("/rest/v1.1/projects?company_id=8089", headers=in_sandbox).json()
        assert {"id": 139797, "name": "Course of Construction"} == rows[0]["project_stage"]
        assert "1.0" == rows[0]["total_value"]
        assert "stage" not in rows[0]

    @pytest.mark.parametrize(
        ("status", "names"), [("All", ["A", "B"]), ("Active", ["A"]), ("Inactive", ["B"])]
    )
    def test_projects_can_be_filtered_by_status(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        joe: Headers,
        status: str,
        names: list[str],
    ) -> None:
        emulator.company(7, "Seven")
        emulator.project(2, 7, "B", active=False)
        emulator.project(1, 7, "A")
        headers = {**joe, "procore-company-id": "7"}
        query = {"company_id": "7", "filters[by_status]": status}
        rows = http.get("/rest/v1.0/projects", params=query, headers=headers).json()
        assert names == [row["name"] for row in rows]

    def test_a_status_that_does_not_exist_is_unprocessable(
        self, http: httpx2.Client, in_sandbox: Headers
    ) -> None:
        query = {"company_id": "8089", "filters[by_status]": "Odd"}
        answered = http.get("/rest/v1.0/projects", params=query, headers=in_sandbox)
        assert 422 == answered.status_code
        assert {"errors": {"by_status": ["is not included in the list"]}} == answered.json()


class TestCompanyHeader:
    @pytest.mark.parametrize(
        "target",
        [
            "/rest/v1.0/projects",
            "/rest/v1.0/companies/8089/me",
            "/rest/v1.0/companies/8089/users",
            "/rest/v1.0/company_base_url",
        ],
    )
    def test_a_call_without_it_is_answered_with_the_documented_words(
        self, http: httpx2.Client, joe: Headers, target: str
    ) -> None:
        answered = http.get(target, headers=joe)
        assert 400 == answered.status_code
        assert MISSING_COMPANY == answered.text

    @pytest.mark.parametrize("version", ["v1.0", "v1.1"])
    def test_projects_need_it_too_when_every_call_shall(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        sign_in: Callable[..., dict[str, Any]],
        bearer: Callable[[dict[str, Any]], Headers],
        version: str,
    ) -> None:
        emulator = emulated(company_header="always")
        http = http_of(emulator)
        target = f"/rest/{version}/projects?company_id=8089"
        answered = http.get(target, headers=bearer(sign_in(emulator, http)))
        assert (400, MISSING_COMPANY) == (answered.status_code, answered.text)

    @pytest.mark.parametrize(
        "target",
        [
            "/rest/v1.0/me",
            "/rest/v1.0/companies",
            "/rest/v1.0/projects?company_id=8089",
            "/rest/v1.1/projects?company_id=8089",
        ],
    )
    def test_calls_that_the_documentation_shows_without_it_do_without_it(
        self, http: httpx2.Client, joe: Headers, target: str
    ) -> None:
        assert 200 == http.get(target, headers=joe).status_code

    def test_it_must_name_the_company_that_is_asked_for(
        self, http: httpx2.Client, joe: Headers
    ) -> None:
        headers = {**joe, "procore-company-id": str(WIDE)}
        answered = http.get("/rest/v1.0/projects?company_id=8089", headers=headers)
        assert 404 == answered.status_code

    def test_projects_need_the_company_in_the_query_too(
        self, http: httpx2.Client, in_sandbox: Headers
    ) -> None:
        assert 400 == http.get("/rest/v1.0/projects", headers=in_sandbox).status_code

    def test_a_company_without_the_application_is_forbidden(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers
    ) -> None:
        emulator.company(7, "Not Connected", connected=False)
        headers = {**joe, "procore-company-id": "7"}
        answered = http.get("/rest/v1.0/projects?company_id=7", headers=headers)
        assert 403 == answered.status_code
        assert {"errors": ["App is not connected to this company."]} == answered.json()


class TestElsewhere:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/rest/v1.0/nothing"),
            ("GET", "/rest/v1.2/projects"),
            ("GET", "/rest/v2.0/me"),
            ("GET", "/rest/v2.0/companies/8089/projects"),
            ("GET", "/rest/v1.0/companies/8089"),
            ("GET", "/rest/v1.0/projects/2783683/rfis"),
            ("GET", "/rest/v1.0"),
            ("GET", "/rest"),
            ("GET", "/vapid/me"),
            ("GET", "/vapid"),
            ("HEAD", "/rest/v1.0/webhooks/hooks"),
            ("POST", "/rest/v1.0/projects"),
            ("PUT", "/rest/v1.0/me"),
            ("PATCH", "/rest/v1.0/companies/8089/users"),
            ("DELETE", "/vapid/projects/1"),
            ("GET", "/rest/v1.0/" + "x" * 5000),
        ],
    )
    def test_E6_an_endpoint_that_is_not_served_says_so(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers, method: str, path: str
    ) -> None:
        answered = http.request(method, path, headers=joe)
        assert 501 == answered.status_code
        noted = emulator.requests[-1]
        assert f"the emulator does not serve {method} {path}"[:200] in (noted.note or "")
        assert "api" == noted.lane
        if method != "HEAD":
            said = answered.json()
            assert ["code", "message", "fields", "reason", "error"] == list(said)
            assert "emulator does not serve" in said["message"]
            assert f"{emulator.url}/_emulator/faults" in said["reason"]
            assert len(answered.content) < 1500

    @pytest.mark.parametrize("path", ["/oauth/introspect", "/oauth/authorized_applications"])
    def test_E6_so_does_an_endpoint_of_the_authorization_server(
        self, http: httpx2.Client, path: str
    ) -> None:
        assert 501 == http.post(path).status_code
        assert "emulator does not serve POST" in http.post(path).json()["message"]

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/oauth/token"),
            ("PUT", "/oauth/revoke"),
            ("POST", "/oauth/authorize/x"),
            ("OPTIONS", "/oauth/introspect"),
            ("GET", "/restful"),
            ("GET", "/nothing"),
            ("GET", "/.well-known/oauth-authorization-server"),
        ],
    )
    def test_E6_what_procore_does_not_have_either_is_not_found(
        self, http: httpx2.Client, method: str, path: str
    ) -> None:
        assert 404 == http.request(method, path).status_code

    @pytest.mark.parametrize("id_", ["1", "0", "abc", "99999999999999999999"])
    def test_E6_a_thing_that_does_not_exist_is_not_found(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers, id_: str
    ) -> None:
        headers = {**joe, "procore-company-id": id_}
        assert 404 == http.get(f"/rest/v1.0/companies/{id_}/me", headers=headers).status_code
        assert "Company not found" == emulator.requests[-1].note

    def test_E6_the_way_out_that_it_names_works(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers
    ) -> None:
        said = http.get("/rest/v1.0/projects/1/rfis", headers=joe).json()["reason"]
        address, _, rest = said.partition(" such as ")
        stub, _ = json.JSONDecoder().raw_decode(rest)
        assert 200 == http.post(address.split()[-1].rstrip(","), json=stub).status_code
        for _ in range(3):
            stubbed = http.get("/rest/v1.0/projects/1/rfis", headers=joe)
            assert (200, []) == (stubbed.status_code, stubbed.json())
        assert "emulator does not serve" not in (emulator.requests[-1].note or "")

    def test_E6_the_journal_has_what_was_sent_there(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers
    ) -> None:
        assert 501 == http.patch("/rest/v1.0/projects/1", json={"a": 1}, headers=joe).status_code
        assert b'{"a":1}' == emulator.requests[-1].request_body

    def test_E6_a_stub_sees_the_body_of_its_request(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers
    ) -> None:
        emulator.fault("POST /rest/v1.0/projects", "status", status=201, body="{}")
        assert 201 == http.post("/rest/v1.0/projects", json={"a": 1}, headers=joe).status_code
        assert b'{"a":1}' == emulator.requests[-1].request_body

    def test_E6_the_inspector_says_it_too(
        self, emulator: Emulator, http: httpx2.Client, joe: Headers
    ) -> None:
        http.get("/rest/v1.0/projects/1/rfis", headers=joe)
        page = http.get(
            f"/_emulator/exchanges/{emulator.requests[-1].number}", headers={"accept": "text/html"}
        ).text
        assert "The emulator does not serve this call" in page
        assert "Procore may well serve it" in page

    def test_a_parameter_sent_twice_is_a_bad_request(
        self, http: httpx2.Client, joe: Headers
    ) -> None:
        assert 400 == http.get("/rest/v1.0/companies?page=1&page=2", headers=joe).status_code
