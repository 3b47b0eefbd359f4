"""The whole application, and a database that stands still or may only read (rows O11, O13, O14)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from own_postgres import OwnPostgres
from person import Person
from ports import free_port
from running import Application, application

from procore_signin.emulator import Emulator

AT_ONCE = 2.0
"""Seconds. The promise is one; a busy machine is given another."""
LONGEST = 8.0
"""Likewise, for six."""


@pytest.fixture
def app(server: OwnPostgres, tmp_path: Path) -> Iterator[tuple[Application, Person, Person]]:
    """The application, someone who is signed in, and someone who is not."""
    port = free_port()
    with (
        Emulator.started(redirect_uris=(f"http://localhost:{port}/callback",)) as emulator,
        application(
            emulator.url, port, tmp_path, PROCORE_DATABASE_URL=server.address("signin")
        ) as running,
        Person(running.url, emulator) as joe,
        Person(running.url, emulator) as guest,
    ):
        joe.http.timeout = guest.http.timeout = httpx2.Timeout(30)
        joe.sign_in()
        yield running, joe, guest


def timed(http: httpx2.Client, path: str) -> tuple[int, float]:
    began = time.monotonic()
    return http.get(path).status_code, time.monotonic() - began


def ready_again(http: httpx2.Client, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while http.get("/readyz").status_code != 200:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def told(app: Application, event: str) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in app.output.decode().splitlines() if line[:1] == "{"]
    return [line for line in lines if line["event"].startswith(event)]


def test_O11_O14_a_database_that_stands_still_hangs_no_page_and_no_probe(
    server: OwnPostgres, app: tuple[Application, Person, Person]
) -> None:
    running, joe, guest = app
    assert timed(joe.http, "/home")[0] == 200
    with ThreadPoolExecutor(40) as threads:
        with server.standing_still():
            pages = [threads.submit(timed, joe.http, "/home") for _ in range(20)]
            probes = [threads.submit(timed, guest.http, "/readyz") for _ in range(10)]
            for path, status in (("/readyz", 503), ("/healthz", 200), ("/signin", 200)):
                got, seconds = timed(guest.http, path)
                assert (got, seconds < AT_ONCE) == (status, True), (path, seconds)
            waited = [page.result() for page in pages]
            asked = [probe.result() for probe in probes]
            later = [timed(joe.http, "/home") for _ in range(5)]
        assert {status for status, _ in waited + asked + later} == {503}
        assert max(seconds for _, seconds in waited) < LONGEST
        assert max(seconds for _, seconds in asked) < AT_ONCE
        assert max(seconds for _, seconds in later) < AT_ONCE
    assert ready_again(guest.http, 5)
    assert timed(joe.http, "/home")[0] == 200
    running.stop()
    assert [line["reason"] for line in told(running, "database.failed")] == ["silent"]
    assert [line["reason"] for line in told(running, "database.back")] == ["silent"]
    assert len(told(running, "The database postgresql://")) == 1


def test_O13_O14_a_database_that_may_only_read_is_told_once_and_not_ready(
    server: OwnPostgres, app: tuple[Application, Person, Person]
) -> None:
    running, _, guest = app
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    server.sql("SELECT pg_reload_conf()")
    until = time.monotonic() + 10
    while guest.http.get("/readyz").status_code != 503:
        assert time.monotonic() < until
        time.sleep(0.1)
    for _ in range(3):
        assert guest.http.get(guest.callback_address()).status_code == 503
        assert guest.http.get("/readyz").status_code == 503
    server.sql("ALTER SYSTEM RESET default_transaction_read_only")
    server.sql("SELECT pg_reload_conf()")
    assert ready_again(guest.http, 10)
    guest.sign_in()
    running.stop()
    assert [line["reason"] for line in told(running, "database.failed")] == ["read_only"]
    [words] = told(running, "The database postgresql://")
    assert "cannot be written to" in words["event"]
    assert "name the primary" in words["event"]
    assert [line["reason"] for line in told(running, "database.back")] == ["read_only"]
