"""The application's own tests: without a network, without a Procore."""
# ruff: noqa: D103, INP001, S101  # tests

import pytest
from fastapi.testclient import TestClient
from main import app

from procore_signin.pytest_plugin import ProcoreSignedIn


@pytest.fixture
def client() -> TestClient:
    """Return a client that asks as the page does."""
    origin = "http://localhost:8000"
    return TestClient(app, base_url=origin, headers={"accept": "application/json"})


def test_the_projects_are_those_of_the_chosen_company(
    client: TestClient, procore_signed_in: ProcoreSignedIn
) -> None:
    procore_signed_in(
        client, "ann@example.com", companies={"Acme": ["Mill"], "Builders": ["Tower"]}
    )
    assert client.get("/procore/session").json()["user"]["email"] == "ann@example.com"
    assert client.get("/api/projects").json() == []

    listed = client.get("/procore/company").json()["companies"]
    [builders] = [each["id"] for each in listed if each["name"] == "Builders"]
    own = {"origin": "http://localhost:8000"}  # as a browser says it
    client.post("/procore/company", json={"company_id": builders}, headers=own)

    assert client.get("/api/projects").json() == ["Tower"]


def test_nobody_else_is_let_in(client: TestClient) -> None:
    with client:  # begins the lifespan, as a server does
        refused = client.get("/api/projects")

    assert (refused.status_code, refused.json()["code"]) == (401, "not_signed_in")
