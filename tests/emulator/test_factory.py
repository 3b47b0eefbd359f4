"""New people, companies and projects in one line each."""

from __future__ import annotations

import httpx2
import pytest

from procore_signin.emulator import Emulator, EmulatorRefused


def test_what_is_not_said_is_made_up_and_no_one_else_has_it(emulator: Emulator) -> None:
    ann, someone = emulator.new_person("ann.lee@example.com"), emulator.new_person()
    acme, other = emulator.new_company("Acme"), emulator.new_company()
    mill, bridge = emulator.new_project(acme, "Mill"), emulator.new_project(other.id)

    assert (ann.name, someone.name) == ("Ann Lee", "Person")
    assert someone.login == f"person-{someone.id}@example.com"
    assert other.name == f"Company {other.id}"
    assert (mill.company_id, bridge.company_id) == (acme.id, other.id)
    kinds = (emulator.people, emulator.companies, emulator.projects)
    ids = [each.id for kind in kinds for each in kind]
    assert len(set(ids)) == len(ids)


def test_a_person_may_have_no_name_and_a_login_that_is_none(emulator: Emulator) -> None:
    assert emulator.new_person("ann@example.com", name=None).name is None
    assert emulator.new_person("+1@example.com").name == "+1@example.com"


def test_only_the_people_of_a_company_see_it_and_its_projects(
    emulator: Emulator, http: httpx2.Client
) -> None:
    ann, bob = emulator.new_person("ann@example.com"), emulator.new_person("bob@example.com")
    acme = emulator.new_company("Acme", people=[ann], projects=["Mill", "Bridge"])
    emulator.new_company("Both", people=["ann@example.com", bob.id])

    seen = {who.login: companies_of(emulator, http, who.login) for who in (ann, bob)}

    assert {"Acme", "Both"} <= seen["ann@example.com"]
    assert seen["ann@example.com"] - seen["bob@example.com"] == {"Acme"}
    assert [each.name for each in emulator.projects if each.company_id == acme.id] == [
        "Mill",
        "Bridge",
    ]


def companies_of(emulator: Emulator, http: httpx2.Client, login: str) -> set[str]:
    token = signed_in(emulator, http, login)
    answer = http.get("/rest/v1.0/companies", headers={"authorization": f"Bearer {token}"})
    return {company["name"] for company in answer.json()}


def signed_in(emulator: Emulator, http: httpx2.Client, login: str) -> str:
    callback = "http://localhost:4567/callback"
    asked = httpx2.QueryParams(
        client_id="emulator-client-id", response_type="code", redirect_uri=callback
    )
    location = emulator.approve(f"{emulator.url}/oauth/authorize?{asked}", login=login)
    form = {
        "grant_type": "authorization_code",
        "client_id": "emulator-client-id",
        "client_secret": "emulator-client-secret",
        "code": httpx2.URL(location).params["code"],
        "redirect_uri": callback,
    }
    return str(http.post("/oauth/token", data=form).json()["access_token"])


@pytest.mark.parametrize("whom", ["no.one@example.com", 4711])
def test_a_company_of_people_who_do_not_exist_is_refused(
    emulator: Emulator, whom: int | str
) -> None:
    with pytest.raises(EmulatorRefused, match="add the person first"):
        emulator.new_company("Acme", people=[whom])

    assert "Acme" not in [company.name for company in emulator.companies]
