"""The application's own tests: without a network, without a Procore."""
# ruff: noqa: D103, INP001, S101, PLR2004  # tests

import pytest
from flask.testing import FlaskClient

from app import create_app
from procore_signin.pytest_plugin import ProcoreSignedIn


@pytest.fixture
def client() -> FlaskClient:
    """Return a client of a new application."""
    return create_app().test_client()


def test_the_projects_of_the_company_are_shown(
    client: FlaskClient, procore_signed_in: ProcoreSignedIn
) -> None:
    procore_signed_in(client, "ann@example.com", companies={"Acme": ["Mill", "Bridge"]})

    page = client.get("/projects")

    assert page.status_code == 200
    assert ("Ann" in page.text, "Mill" in page.text, "Bridge" in page.text) == (True, True, True)


def test_whoever_has_several_companies_is_asked_for_one(
    client: FlaskClient, procore_signed_in: ProcoreSignedIn
) -> None:
    procore_signed_in(client, companies=["Acme", "Builders"])

    assert client.get("/projects").location == "/procore/company?return_to=/projects"


def test_a_page_says_when_procore_is_down(
    client: FlaskClient, procore_signed_in: ProcoreSignedIn
) -> None:
    ann = procore_signed_in(client, companies=["Acme"])
    ann.emulator.fault("GET /rest/*", "drop-before-commit")

    assert client.get("/projects", headers={"accept": "text/html"}).status_code == 503


def test_nobody_else_is_let_in(client: FlaskClient) -> None:
    assert client.get("/projects").status_code == 401
    browser = client.get("/projects", headers={"accept": "text/html"})
    assert browser.location == "/procore/signin?return_to=/projects"
