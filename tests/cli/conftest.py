from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from commands import Command, Page


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """`command("doctor", "--json", PROCORE_ENVIRONMENT="sandbox")` in an empty folder."""
    with ExitStack() as started:
        yield Command(tmp_path, started)


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
