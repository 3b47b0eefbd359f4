"""`procore-signin emulator`: the flags that need a process to show."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, build_opener

import pytest

OPENER = build_opener()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Any]:
    """Run the command while a block runs; gives what it announced."""

    @contextmanager
    def run(*flags: str) -> Iterator[str]:
        with subprocess.Popen(
            [sys.executable, "-u", "-m", "procore_signin", "emulator", "--port", "0", *flags],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            said = ""
            while "Ctrl-C stops it." not in said:
                said += process.stdout.readline()
            yield said
            process.send_signal(signal.SIGTERM)
            assert 0 == process.wait(timeout=10)

    return run


def listening(said: str) -> str:
    found = re.search(r"Listening at +(http://\S+)", said)
    assert found is not None
    return found[1]


def ask(url: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
    sent = None if body is None else json.dumps(body).encode()
    headers["content-type"] = "application/json"
    with OPENER.open(Request(url, sent, headers), timeout=10) as response:  # noqa: S310 - http to the emulator
        return json.load(response)


def sign_in(url: str, code_in: Callable[[str], str], ending: str = "") -> dict[str, Any]:
    """Sign the first person in; returns the tokens."""
    callback = "http://localhost:4567/callback"
    client = {"client_id": f"emulator-client-id{ending}"}
    query = urlencode({**client, "response_type": "code", "redirect_uri": callback})
    approved = ask(f"{url}/_emulator/approve", {"authorize_url": f"/oauth/authorize?{query}"})
    form = {"grant_type": "authorization_code", "code": code_in(approved["location"])}
    secret = {"client_secret": f"emulator-client-secret{ending}", "redirect_uri": callback}
    tokens: dict[str, Any] = ask(f"{url}/oauth/token", {**client, **secret, **form})
    return tokens


def may_call(url: str, tokens: dict[str, Any]) -> bool:
    request = Request(f"{url}/rest/v1.0/me")  # noqa: S310 - http to the emulator
    request.add_header("authorization", f"Bearer {tokens['access_token']}")
    try:
        with OPENER.open(request, timeout=10) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_a_seed_file_says_who_can_log_in(command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "people.yaml").write_text(
        "people: [{id: 7, login: ada@example.com, password: lovelace}]"
    )
    with command("--seed-file", "people.yaml") as said:
        people = ask(f"{listening(said)}/_emulator/people")
    assert ["ada@example.com"] == [person["login"] for person in people]
    assert "Log in as        ada@example.com   password: lovelace\n" in said


def test_a_state_file_survives_a_restart(
    command: Callable[..., Any], code_in: Callable[[str], str], tmp_path: Path
) -> None:
    flags = ("--state-file", "state.json", "--rotation", "grace")
    with command(*flags) as said:
        tokens = sign_in(listening(said), code_in)
        ask(f"{listening(said)}/_emulator/clock", {"advance": 5000})
    with command(*flags) as said:
        assert may_call(listening(said), tokens)
        ask(f"{listening(said)}/_emulator/clock", {"advance": 400})
        assert not may_call(listening(said), tokens)
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        client = {
            "client_id": "emulator-client-id",
            "client_secret": "emulator-client-secret",
        }
        renewed = ask(f"{listening(said)}/oauth/token", {**form, **client})
        assert may_call(listening(said), renewed)
    assert tokens["access_token"] in (tmp_path / "state.json").read_text()


def test_four_environments_run_at_origins_that_are_printed(
    command: Callable[..., Any], code_in: Callable[[str], str]
) -> None:
    with command("--environments") as said:
        listed = re.findall(r"^  (\w+) +(http://\S+)   client (\S+)$", said, re.MULTILINE)
        urls = {name: url for name, url, _ in listed}
        assert ["production", "sandbox", "monthly", "federal"] == list(urls)
        assert {name: client for name, _, client in listed} == {
            "production": "emulator-client-id",
            "sandbox": "emulator-client-id-sandbox",
            "monthly": "emulator-client-id",
            "federal": "emulator-client-id-federal",
        }
        ask(f"{urls['production']}/_emulator/people", {"id": 7, "login": "ada@example.com"})
        known = [
            name
            for name, url in urls.items()
            if 7 in [person["id"] for person in ask(f"{url}/_emulator/people")]
        ]
        assert ["production", "monthly"] == known
        for name, url in urls.items():
            ending = f"-{name}" if name in {"sandbox", "federal"} else ""
            tokens = sign_in(url, code_in, ending)
            assert [name] == [other for other, at in urls.items() if may_call(at, tokens)]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--seed-file", "nowhere.yaml"), "cannot be read"),
        (("--state-file", "nowhere/state.json"), "cannot be written"),
        (("--environments", "--port", "65534"), "After port 65534"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_runs(
    tmp_path: Path, flags: tuple[str, ...], reason: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "procore_signin", "emulator", "--port", "0", *flags],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )
    assert (1, "") == (done.returncode, done.stdout)
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
