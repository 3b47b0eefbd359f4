"""The conformance suite can be pointed at a server that it did not start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from procore_signin.emulator import Emulator

SUITE = Path(__file__).with_name("test_conformance.py")
ADDRESS = re.compile(r"^Open (\S+)$")


@pytest.fixture
def elsewhere() -> Iterator[Emulator]:
    """A server that differs from the default wherever the suite only observes."""
    with Emulator.started(
        client_id="theirs",
        client_secret="their-secret",
        redirect_uris=("http://localhost:9999/back",),
        doorkeeper=5,
        pkce="enforce",
        rotation="grace",
        me_name="company",
    ) as emulator:
        yield emulator


def run(elsewhere: Emulator, **settings: str) -> tuple[int, str]:
    """Run the suite, doing what it asks a person for; returns its status and what it said."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SUITE)],
        cwd=SUITE.parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(os.environ) | {"PROCORE_SIGNIN_CONFORMANCE_URL": elsewhere.url} | settings,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said, address = [], None
        for line in process.stdout:
            said.append(line)
            asked = ADDRESS.match(line)
            address = asked[1] if asked else address
            if address and line.startswith("Press "):
                act = elsewhere.approve if "Press Allow" in line else elsewhere.deny
                process.stdin.write(f"{act(address)}\n")
                process.stdin.flush()
        return process.wait(timeout=60), "".join(said)


def test_one_variable_names_another_server_and_a_person_does_the_rest(elsewhere: Emulator) -> None:
    status, said = run(
        elsewhere,
        PROCORE_CLIENT_ID="theirs",
        PROCORE_CLIENT_SECRET="their-secret",
        PROCORE_REDIRECT_URI="http://localhost:9999/back",
    )
    assert 0 == status, said
    assert re.search(r"^[0-9]+ passed in", said, re.MULTILINE)
    for line in (
        "status of invalid_grant: 400",
        "PKCE is enforced: True",
        "the old access token outlives the refresh: True",
        "/me has a name: False",
        "token_type: Bearer",
    ):
        assert f"Observed: {line}\n" in said
    assert any(exchange.status == 302 for exchange in elsewhere.requests)


def test_without_a_client_it_says_what_is_missing(elsewhere: Emulator) -> None:
    status, said = run(elsewhere, PROCORE_CLIENT_ID="theirs", PROCORE_CLIENT_SECRET="")
    assert 1 == status
    assert "Set PROCORE_CLIENT_SECRET, PROCORE_REDIRECT_URI too" in said
