from __future__ import annotations

import contextlib
import http.client
import io
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from commands import PROGRAM, Command, Done, Page

from procore_signin._cli import main


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """`command("doctor", "--json", PROCORE_ENVIRONMENT="sandbox")` in an empty folder."""
    started: list[subprocess.Popen[bytes]] = []

    def start(
        arguments: tuple[str, ...], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=tmp_path,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        return process

    def run_here(arguments: tuple[str, ...], stdin: str, settings: Mapping[str, str]) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            for name in [name for name in os.environ if name.startswith("PROCORE_")]:
                patch.delenv(name)
            for name, value in settings.items():
                patch.setenv(name, value)
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["procore-signin", *arguments])
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            patch.setattr(sys, "excepthook", sys.excepthook)  # Typer sets its own
            with pytest.raises(SystemExit) as ended:
                main()
        return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    yield Command(tmp_path, run_here, start)
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


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
