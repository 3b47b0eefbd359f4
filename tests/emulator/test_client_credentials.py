from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2

from procore_signin._emulator.wire.messages import Request
from procore_signin.emulator import Client, Emulator, LocalProcore

FORM = {
    "grant_type": "client_credentials",
    "client_id": "emulator-client-id",
    "client_secret": "emulator-client-secret",
}


def test_the_clients_own_token_has_no_refresh_token(http: httpx2.Client) -> None:
    answered = http.post("/oauth/token", data=FORM)
    assert 200 == answered.status_code
    assert ["access_token", "token_type", "expires_in", "created_at"] == list(answered.json())


def test_it_has_no_resource_owner(
    http: httpx2.Client, bearer: Callable[[dict[str, Any]], dict[str, str]]
) -> None:
    tokens = http.post("/oauth/token", data=FORM).json()
    info = http.get("/oauth/token/info", headers=bearer(tokens)).json()
    assert info["resource_owner_id"] is None


def test_it_must_name_its_company_for_me_and_companies_too(
    http: httpx2.Client, bearer: Callable[[dict[str, Any]], dict[str, str]]
) -> None:
    headers = bearer(http.post("/oauth/token", data=FORM).json())
    for path in ("/rest/v1.0/me", "/rest/v1.0/companies"):
        assert 400 == http.get(path, headers=headers).status_code
        named = {**headers, "procore-company-id": "8089"}
        assert 200 == http.get(path, headers=named).status_code


def test_a_wrong_secret_or_a_scope_is_refused(http: httpx2.Client) -> None:
    wrong = http.post("/oauth/token", data={**FORM, "client_secret": "wrong"})
    assert "invalid_client" == wrong.json()["error"]
    scoped = http.post("/oauth/token", data={**FORM, "scope": "all"})
    assert "invalid_scope" == scoped.json()["error"]


def test_a_client_without_a_service_account_is_refused() -> None:
    procore = LocalProcore()
    client = Client("b", "b-secret", client_credentials=False)
    procore.state.directory.put_client(client)
    reply = procore.answer(
        Request(
            "POST",
            "/oauth/token",
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=b"grant_type=client_credentials&client_id=b&client_secret=b-secret",
        )
    )
    assert 401 == reply.status
    assert b'"error":"unauthorized_client"' in reply.body


def test_a_live_token_of_the_client_counts_as_nobodys_consent(
    emulator: Emulator,
    http: httpx2.Client,
    authorize: Callable[..., str],
    log_in: Callable[..., httpx2.Response],
) -> None:
    http.post("/oauth/token", data=FORM)
    assert [None] == [grant.login for grant in emulator.live_grants()]
    log_in(http, authorize())
    assert 200 == http.get(authorize()).status_code
