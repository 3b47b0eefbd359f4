"""The emulator answers as the exchanges that Procore's documentation shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import pytest

from procore_signin.emulator import Emulator

TRANSCRIPTS = sorted((Path(__file__).parents[1] / "transcripts").glob("*.json"))

WORD_FOR_WORD = {
    "company-base-url-invalid",
    "invalid-client",
    "invalid-grant",
    "me",
    "missing-company",
    "not-connected",
    "revoke",
}


def placed(
    transcript: dict[str, Any], code: str, refresh_token: str, access_token: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the transcript's headers and form with values that this emulator issued."""
    request = transcript["request"]
    form = dict(parse_qsl(request["body"]))
    headers = dict(request["headers"])
    if transcript["name"] == "token success":
        form["code"] = code
    if "refresh_token" in form:
        form["refresh_token"] = refresh_token
    if "token" in form:
        form["token"] = access_token
    if "authorization" in headers:
        headers["authorization"] = f"Bearer {access_token}"
    return headers, form


def shape(value: Any) -> Any:
    """Return names, order and types without the values, but for what must be equal."""
    if isinstance(value, dict):
        return [
            (name, member if name in {"token_type", "expires_in", "error"} else shape(member))
            for name, member in value.items()
        ]
    if isinstance(value, list):
        return [shape(member) for member in value]
    return type(value).__name__


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: str(path.stem))
def test_E2_a_documented_request_gets_the_documented_response(
    emulated: Callable[..., Emulator],
    http_of: Callable[[Emulator], httpx2.Client],
    authorize: Callable[..., str],
    code_in: Callable[[str], str],
    path: Path,
) -> None:
    transcript = json.loads(path.read_text())
    emulator = emulated(client_id="fake-client-id", client_secret="fake-client-secret")
    emulator.company(1, "ABC Drywall", members=frozenset({160586}))
    if path.stem == "not-connected":
        emulator.company(3, "Not Installed", members=frozenset({160586}), connected=False)
    emulator.project(123456, 1, "Demo Account Project")
    for company in (8089, 562949953434271):  # the documented person is in one company only
        emulator.company(company, "Another", members=frozenset(), zone="us02")
    emulator.person(160586, login="carl.contractor@example.com", name="Carl Contractor")
    http = http_of(emulator)

    def code() -> str:
        url = authorize(client_id="fake-client-id")
        return code_in(emulator.approve(url, login="carl.contractor@example.com"))

    client = {"client_id": "fake-client-id", "client_secret": "fake-client-secret"}
    form = {
        "grant_type": "authorization_code",
        "code": code(),
        "redirect_uri": "http://localhost:4567/callback",
    }
    tokens = http.post("/oauth/token", data={**client, **form}).json()
    headers, sent = placed(transcript, code(), tokens["refresh_token"], tokens["access_token"])
    answered = http.request(
        transcript["request"]["method"],
        transcript["request"]["path"],
        headers=headers,
        data=sent or None,
    )

    expected = transcript["response"]
    assert expected["status"] == answered.status_code
    assert expected["headers"].items() <= dict(answered.headers).items() | {
        # The API forbids storing in more words than the token endpoint.
        ("cache-control", expected["headers"].get("cache-control", ""))
    }
    if path.stem in WORD_FOR_WORD:
        assert expected["body"].encode() == answered.content
        return
    documented, given = json.loads(expected["body"]), answered.json()
    if path.stem == "companies":
        documented[0]["logo_url"] = None  # the emulator has no logos to show
    if path.stem == "projects":  # the page shows some of the members only, in its own order
        given = [{name: given[0][name] for name in documented[0]}]
    assert shape(documented) == shape(given)
