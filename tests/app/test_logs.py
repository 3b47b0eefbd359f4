"""What the application prints, byte for byte: every event, and not one secret (rows O1, O2)."""

import json
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import httpx2
import pytest
from canary import secrets_that_passed, shown
from person import Person
from ports import free_port
from running import KEYS, application

from procore_signin.emulator import Emulator

CRLF = "%0d%0alevel=info%20event=forged"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, set[str]]:
    """Drive every flow and many faults at DEBUG; return the output and the secrets that passed."""
    port = free_port()
    folder: Path = tmp_path_factory.mktemp("logs")
    secrets = {"emulator-client-secret", KEYS, KEYS.partition(":")[2], "procore-password"}
    with (
        Emulator.started(redirect_uris=(f"http://localhost:{port}/callback",)) as emulator,
        application(emulator.url, port, folder, PROCORE_LOG_LEVEL="debug") as app,
    ):
        drive(app.url, emulator, secrets)
        secrets |= secrets_that_passed(emulator)
    return bytes(app.output), secrets


def drive(url: str, emulator: Emulator, secrets: set[str]) -> None:
    with Person(url, emulator) as joe, Person(url, emulator) as mallory:
        address = joe.callback_address("/signin?return_to=/sessions")
        secrets.update(parse_qs(urlsplit(address).query)["state"])
        secrets.update(unquote(value) for value in dict(joe.http.cookies).values())
        joe.http.get(address)
        secrets.add(joe.http.cookies["procore_signin_session"])
        joe.http.get("/sessions")
        mallory.http.get(address)
        mallory.http.get(f"/callback?error={CRLF}&state={CRLF}")
        mallory.http.get(f"/{CRLF}")
        mallory.http.get("/callback?code=stray-code-stray-code&state=" + "a" * 64)
        secrets.add("stray-code-stray-code")
        mallory.http.post("/sign-out", headers={"sec-fetch-site": "cross-site"})
        for route in ("POST /oauth/token", "GET /rest/v1.0/me"):
            for kind in ("malformed-json", "html", "drop-after-commit", "huge", "redirect"):
                emulator.fault(route, kind)
                joe.sign_in()
        emulator.fault("POST /oauth/revoke", "drop-before-commit", times=None)
        joe.sign_in()
        joe.post("/disconnect")
        joe.sign_in()
        joe.post("/sign-out-everywhere")
        secrets.update(dict(joe.http.cookies).values())
        joe.http.get("/home", headers={"accept": "application/json"})
        httpx2.get(f"{url}/readyz")


def test_O1_no_secret_is_in_any_line_of_the_output(everything: tuple[bytes, set[str]]) -> None:
    output, secrets = everything
    assert len(secrets) > 30
    assert shown(secrets, output) == set()


def test_O1_no_email_address_is_in_the_output(everything: tuple[bytes, set[str]]) -> None:
    output, _ = everything
    assert b"joecontractor" not in output
    assert b"Joe Contractor" not in output


def test_O2_every_line_is_an_event_and_none_is_forged(everything: tuple[bytes, set[str]]) -> None:
    output, _ = everything
    lines = [line for line in output.decode().splitlines() if line.startswith("{")]
    records = [json.loads(line) for line in lines]
    names = {record["event"] for record in records}
    assert {
        "sign_in.succeeded",
        "sign_in.failed",
        "attempt.invalid",
        "session.signed_out_everywhere",
        "tokens.disconnected",
        "tokens.revocation_failed",
        "request.refused",
    } <= names
    assert not any("forged" in name for name in names)
    assert all(record["timestamp"].endswith("Z") for record in records)
    failed = next(record for record in records if record["event"] == "sign_in.failed")
    assert {"attempt", "environment", "reason", "level"} <= set(failed)
