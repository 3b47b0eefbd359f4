"""A place of one's own for commands: an empty folder and an environment without our settings."""

from __future__ import annotations

import http.client
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

DEADLINE = 30.0


def clean_environment(**settings: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PROCORE_")}
    return kept | settings


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    status: int
    out: str
    err: str


class Running:
    """A command that runs, with its words as they come."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.said = ""

    def read_until(self, pattern: str) -> re.Match[str]:
        """Return the first match in what the command says; fail if it ends or takes too long."""
        deadline = time.monotonic() + DEADLINE
        assert self.process.stdout is not None
        while True:
            found = re.search(pattern, self.said)
            if found:
                return found
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, left))
            piece = os.read(self.process.stdout.fileno(), 65_536) if ready else b""
            if not piece:
                pytest.fail(f"{pattern!r} did not come. The command said:\n{self.said}")
            self.said += piece.decode()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        out, _ = self.process.communicate(timeout=DEADLINE)
        self.said += out.decode()
        return self.process.returncode


@dataclass(frozen=True)
class Command:
    """Runs `procore-signin` in a folder."""

    folder: Path
    start_process: Callable[[list[str], dict[str, str]], subprocess.Popen[bytes]]

    def __call__(self, *arguments: str, stdin: str = "", **settings: str) -> Done:
        done = subprocess.run(  # noqa: S603  # this Python, our own program
            [sys.executable, "-P", "-m", "procore_signin", *arguments],
            cwd=self.folder,
            env=clean_environment(**settings),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **settings: str) -> Running:
        return Running(self.start_process([*arguments], clean_environment(**settings)))


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """`command("doctor", "--json", PROCORE_ENVIRONMENT="sandbox")` in an empty folder."""
    started: list[subprocess.Popen[bytes]] = []

    def start(arguments: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603  # this Python, our own program
            [sys.executable, "-P", "-u", "-m", "procore_signin", *arguments],
            cwd=tmp_path,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        return process

    yield Command(tmp_path, start)
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@dataclass(frozen=True)
class Page:
    status: int
    headers: Mapping[str, str]
    body: str


@pytest.fixture
def get() -> Callable[[str], Page]:
    """`get(url)`: one request, no redirect followed."""

    def fetch(url: str) -> Page:
        host, _, path = url.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=10)
        try:
            connection.request("GET", f"/{path}")
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Page(response.status, headers, response.read().decode())
        finally:
            connection.close()

    return fetch


@pytest.fixture
def is_listening() -> Callable[[int], bool]:
    """`is_listening(port)`: does anything answer there?"""

    def knock(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return knock
