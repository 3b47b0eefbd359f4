"""The tutorial, followed from an empty directory to the line that it promises."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import Host, wait_until_ready
from pages import DOCS, Follower, blocks_of, path_of
from person import Person
from ports import free_port

from procore_signin.emulator import Emulator

PAGE = DOCS / "tutorial" / "index.md"


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    ports = {"4567": free_port(), "4568": free_port()}
    environment = {
        "PATH": path_of(sys.executable),
        "PROCORE_EMULATOR_URL": f"http://127.0.0.1:{ports['4568']}",
        "PROCORE_REDIRECT_URI": f"http://localhost:{ports['4567']}/callback",
    }
    return Follower(blocks_of(PAGE), tmp_path, environment, ports)


@pytest.fixture
def emulator(follower: Follower) -> Iterator[Emulator]:
    """The page's command, in this process and at the ports that are free."""
    assert follower.only("sh", "emulator").text == "procore-signin emulator\n"
    redirect_uri = follower.environment["PROCORE_REDIRECT_URI"]
    with Emulator.started(port=follower.ports["4568"], redirect_uris=(redirect_uri,)) as emulator:
        yield emulator


@pytest.fixture
def host(follower: Follower, emulator: Emulator) -> Iterator[Host]:
    assert not emulator.requests
    follower.run(follower.only("sh", "run"))
    words = shlex.split(follower.only("sh", "serve").text)
    process = subprocess.Popen(
        [*words, "--port", str(follower.ports["4567"])],
        cwd=follower.folder,
        env=follower.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        host = Host(f"http://localhost:{follower.ports['4567']}", follower.folder, process)
        wait_until_ready(host, "/signin")
        yield host
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_whoever_follows_the_tutorial_sees_what_it_promises(
    follower: Follower, emulator: Emulator, host: Host
) -> None:
    for page in ("/", "/signin"):  # signing up, then signing in again
        with Person(host.url, emulator) as joe:
            assert joe.sign_in(page).headers["location"].endswith("/home")
            row = joe.row().json()
            assert row == json.loads(follower.only("json", "result").text)

    follower.write_files()
    printed = [follower.run(block) for block in follower.all("sh", "after")]
    assert printed == [block.text for block in follower.all("text", "output")]
