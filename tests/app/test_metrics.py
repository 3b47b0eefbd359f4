import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from person import Person
from ports import free_port
from running import application
from scripted import Clock, ScriptedProcore, front_door, reply, sign_in

from procore_signin import GrantLost, ProcoreUnavailable
from procore_signin._app.metrics import Metrics
from procore_signin.emulator import Emulator
from procore_signin.events import Event, emit, listen

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
    return in_text(answer.text)


def in_text(text: str) -> dict[str, float]:
    found = re.findall(r"^(procore_signin_\S+) ([\d.e+-]+)$", text, re.MULTILINE)
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


def test_every_metric_is_listed_with_its_kind() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
    row = re.compile(r"^\| `(procore_signin_\w+)` \| (\w+) \|", re.MULTILINE)
    kind = re.compile(r"^# TYPE (procore_signin_\w+) (\w+)$", re.MULTILINE)
    told = dict(kind.findall(Metrics().text(sessions=0).decode()))
    created = {name: "gauge" for name in told if name.endswith("_created")}
    assert told == created | dict(row.findall(page.read_text(encoding="utf-8")))


def test_metrics_tell_refreshes_by_outcome_and_waits_for_other_processes(tmp_path: Path) -> None:
    """The application itself asks for no one's tokens: here a program beside it does."""
    procore, clock, metrics = ScriptedProcore(), Clock(), Metrics()
    stop = listen(metrics.count)
    try:
        with front_door(tmp_path, procore, clock) as door:
            user = sign_in(door).user
            clock.advance(5401)
            door.fresh_tokens(user)
            clock.advance(5401)
            procore.next("/oauth/token", ProcoreUnavailable("refused", ambiguous=False))
            with pytest.raises(ProcoreUnavailable):
                door.fresh_tokens(user)
            clock.advance(600)
            procore.next("/oauth/token", reply(400, {"error": "invalid_grant"}))
            with pytest.raises(GrantLost):
                door.fresh_tokens(user)
        emit(Event.REFRESH_WAITED, user=user.id, milliseconds=40)
    finally:
        stop()
    told = in_text(metrics.text(sessions=1).decode())
    assert {
        outcome: told[f'procore_signin_refreshes_total{{outcome="{outcome}"}}']
        for outcome in ("refreshed", "failed", "lost")
    } == {"refreshed": 1, "failed": 1, "lost": 1}
    assert told["procore_signin_lease_wait_seconds_sum"] == 0.04
    assert told["procore_signin_lease_wait_seconds_count"] == 1


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
