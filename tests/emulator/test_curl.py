"""The curl commands of Procore's documentation pages on authentication, run as they stand there.

Only the host is another, and a person's own values stand where the pages show samples of them.
Pages: "Authorization Code Grant Flow", "Client Credentials Grant Flow", "Authentication Endpoints",
and as urlencoded forms the requests of the "Quick Start Guide" and of "Troubleshooting".
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from procore_signin.emulator import OUT_OF_BAND, Emulator

Curl = Callable[..., Any]
CALLBACK = "http://localhost:4567/callback"
VALUES = {"CLIENT_ID": "emulator-client-id", "CLIENT_SECRET": "emulator-client-secret"}
OUR_PLACE = re.compile(r"https://(?:login|api|login-sandbox)\.procore\.com")

EXCHANGE = r"""
curl -F grant_type=authorization_code \
     -F client_id=<CLIENT_ID> \
     -F client_secret=<CLIENT_SECRET> \
     -F code=<AUTHORIZATION_CODE> \
     -F redirect_uri=<REDIRECT_URI> \
     -X POST https://login.procore.com/oauth/token
"""
ME = r"""
curl -H "Authorization: Bearer <ACCESS_TOKEN>" \
     -X GET https://api.procore.com/rest/v1.0/me
"""
REFRESH = r"""
curl -F grant_type=refresh_token \
     -F client_id=<CLIENT_ID> \
     -F client_secret=<CLIENT_SECRET> \
     -F refresh_token=<REFRESH_TOKEN> \
     -F redirect_uri=<REDIRECT_URI> \
     -X POST https://login.procore.com/oauth/token
"""
TOKEN_INFO = r"""
curl -H "Authorization: Bearer <ACCESS_TOKEN>" \
-X GET https://login.procore.com/oauth/token/info
"""
REVOKE = r"""
curl -F token=<ACCESS_TOKEN> \
 -F client_id=<CLIENT_ID> \
 -F client_secret=<CLIENT_SECRET> \
 -X POST https://login.procore.com/oauth/revoke
"""
CLIENT_CREDENTIALS = r"""
curl -F grant_type=client_credentials \
     -F client_id=<CLIENT_ID> \
     -F client_secret=<CLIENT_SECRET> \
     -X POST https://login.procore.com/oauth/token
"""
PROJECTS = r"""
curl -H "Authorization: Bearer <ACCESS_TOKEN>" \
     -X GET https://api.procore.com/rest/v1.0/projects?company_id=<COMPANY_ID>
"""
ME_OF_A_SERVICE_ACCOUNT = r"""
curl -H "Authorization: Bearer <ACCESS_TOKEN>" \
     -H "Procore-Company-Id: <COMPANY_ID>" \
     -X GET https://api.procore.com/rest/v1.0/me
"""
COMPANIES = r"""
curl -H "Authorization: Bearer <ACCESS_TOKEN>" \
     -H "Procore-Company-Id: <COMPANY_ID>" \
     -X GET https://api.procore.com/rest/v1.0/companies
"""
QUICK_START = r"""
curl -d grant_type=authorization_code -d code=<AUTHORIZATION_CODE> \
     -d client_id=<CLIENT_ID> -d client_secret=<CLIENT_SECRET> \
     -d redirect_uri=urn:ietf:wg:oauth:2.0:oob \
     https://login-sandbox.procore.com/oauth/token/
"""
TROUBLESHOOTING = r"""
curl -d grant_type=refresh_token -d client_id=<CLIENT_ID> -d client_secret=<CLIENT_SECRET> \
     -d refresh_token=<REFRESH_TOKEN> https://login.procore.com/oauth/token
"""


@pytest.fixture
def curl(emulator: Emulator, program: Callable[[str], str], tmp_path: Path) -> Curl:
    """Run a command in a shell with values in its places; returns the JSON that it prints."""
    folder = str(Path(program("curl")).parent)

    def run(command: str, **values: str) -> Any:
        for name, value in {**VALUES, "COMPANY_ID": "8089", **values}.items():
            command = command.replace(f"<{name}>", value)
        assert "<" not in command
        done = subprocess.run(
            ["/bin/sh", "-c", OUR_PLACE.sub(emulator.url, command.strip())],
            capture_output=True,
            check=True,
            timeout=10,
            env={"PATH": f"{folder}:{os.environ['PATH']}", "CURL_HOME": str(tmp_path)},
        )
        return json.loads(done.stdout)

    return run


@pytest.fixture
def new_code(
    emulator: Emulator, authorize: Callable[..., str], code_in: Callable[[str], str]
) -> Callable[..., str]:
    """Sign in for a redirect URI; returns the code."""

    def sign_in(redirect_uri: str) -> str:
        location = emulator.approve(authorize(redirect_uri=redirect_uri))
        return location.rpartition("/")[2] if "?" not in location else code_in(location)

    return sign_in


def test_the_pages_on_the_authorization_code(
    emulator: Emulator, curl: Curl, new_code: Callable[..., str]
) -> None:
    tokens = curl(EXCHANGE, AUTHORIZATION_CODE=new_code(CALLBACK), REDIRECT_URI=CALLBACK)
    assert ("bearer", 5400) == (tokens["token_type"], tokens["expires_in"])
    assert 11111 == curl(ME, ACCESS_TOKEN=tokens["access_token"])["id"]
    renewed = curl(REFRESH, REFRESH_TOKEN=tokens["refresh_token"], REDIRECT_URI=CALLBACK)
    assert tokens["refresh_token"] != renewed["refresh_token"]
    info = curl(TOKEN_INFO, ACCESS_TOKEN=renewed["access_token"])
    assert (11111, "emulator-client-id") == (info["resource_owner_id"], info["application"]["uid"])
    assert {} == curl(REVOKE, ACCESS_TOKEN=renewed["access_token"])
    assert [] == emulator.live_grants()


def test_the_page_on_endpoints_exchanges_a_code_out_of_band(
    curl: Curl, new_code: Callable[..., str]
) -> None:
    code = new_code(OUT_OF_BAND)
    tokens = curl(EXCHANGE, AUTHORIZATION_CODE=code, REDIRECT_URI=OUT_OF_BAND)
    assert tokens["refresh_token"]


def test_the_page_on_client_credentials(emulator: Emulator, curl: Curl) -> None:
    emulator.project(1, 8089, "Demo Account Project")
    tokens = curl(CLIENT_CREDENTIALS)
    assert ["access_token", "token_type", "expires_in", "created_at"] == list(tokens)
    token = tokens["access_token"]
    assert "Demo Account Project" in [one["name"] for one in curl(PROJECTS, ACCESS_TOKEN=token)]
    assert curl(ME_OF_A_SERVICE_ACCOUNT, ACCESS_TOKEN=token)["id"]
    assert 8089 in [one["id"] for one in curl(COMPANIES, ACCESS_TOKEN=token)]


def test_the_urlencoded_requests_of_the_quick_start_and_of_troubleshooting(
    curl: Curl, new_code: Callable[..., str]
) -> None:
    tokens = curl(QUICK_START, AUTHORIZATION_CODE=new_code(OUT_OF_BAND))
    renewed = curl(TROUBLESHOOTING, REFRESH_TOKEN=tokens["refresh_token"])
    assert 11111 == curl(ME, ACCESS_TOKEN=renewed["access_token"])["id"]


def test_a_refusal_is_printed_as_json_too(curl: Curl) -> None:
    refused = curl(EXCHANGE, AUTHORIZATION_CODE="0" * 64, REDIRECT_URI=CALLBACK)
    assert "invalid_grant" == refused["error"]
