import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from person import Person
from running import application, free_port

from procore_signin.emulator import Emulator

TOKEN = "fake-metrics-token"
Scrape = Callable[[], dict[str, float]]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[str, Emulator]]:
    port = free_port()
    with (
        Emulator.started(redirect_uris=(f"http://localhost:{port}/callback",)) as emulator,
        application(emulator.url, port, tmp_path, "--workers", "2") as app,
    ):
        yield app.url, emulator


def numbers(person: Person) -> dict[str, float]:
    answer = person.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = re.findall(r"^(procore_signin_\S+) ([\d.e+-]+)$", answer.text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_metrics_tell_sign_ins_sessions_and_upstream_latency_of_all_workers_together(
    running: tuple[str, Emulator],
) -> None:
    url, emulator = running
    for _ in range(4):
        with Person(url, emulator) as joe:
            joe.sign_in()
    with Person(url, emulator) as joe:
        emulator.fault("POST /oauth/token", "status", status=503)
        joe.sign_in()
        told = numbers(joe)
    assert told['procore_signin_sign_ins_total{outcome="succeeded"}'] == 4
    assert told['procore_signin_sign_ins_total{outcome="failed"}'] == 1
    assert told["procore_signin_sessions"] == 4
    assert told['procore_signin_upstream_seconds_count{endpoint="token",outcome="2xx"}'] == 4
    assert told['procore_signin_upstream_seconds_count{endpoint="token",outcome="5xx"}'] == 1
    assert told['procore_signin_upstream_seconds_count{endpoint="me",outcome="2xx"}'] == 4


def test_metrics_with_a_token_are_for_whoever_has_it(tmp_path: Path) -> None:
    port = free_port()
    with (
        Emulator.started(redirect_uris=(f"http://localhost:{port}/callback",)) as emulator,
        application(emulator.url, port, tmp_path, PROCORE_METRICS_TOKEN=TOKEN) as app,
        Person(app.url, emulator) as scraper,
    ):
        assert scraper.http.get("/metrics").status_code == 404
        wrong = {"authorization": "Bearer fake-metrics-tokem"}
        assert scraper.http.get("/metrics", headers=wrong).status_code == 404
        right = {"authorization": f"Bearer {TOKEN}"}
        assert scraper.http.get("/metrics", headers=right).status_code == 200
