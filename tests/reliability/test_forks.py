"""Parents that fork in the middle of everything: whose responses come, and does anything hang?

The short form is part of `make test`; `make soak` makes 100,000 calls in all.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from ports import free_port
from tests.reliability.conftest import Report
from tests.reliability.forking import PEOPLE, STATES, WAYS
from tests.reliability.processes import ROOT
from tests.reliability.settings import size

from procore_signin._store.migrate import upgrade

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
REDIS_DATABASE = 9
Environ = dict[str, str]


@contextlib.contextmanager
def a_stub(*arguments: str) -> Iterator[int]:
    """Run a Procore of its own process; give its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.stub", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate("")


@pytest.fixture
def place(tmp_path: Path) -> Environ:
    """A database, and an environment without settings of anyone's."""
    url = f"sqlite:///{tmp_path / 'forks.db'}"
    upgrade(url)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PROCORE_")}
    return {**clean, "FORKING_DATABASE": url, "PYTHONWARNINGS": "ignore"}


@pytest.fixture(params=["http", "TLS"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stub(scheme: str, place: Environ, tmp_path: Path) -> Iterator[Environ]:
    """A stub of Procore, and where it is."""
    if scheme == "http":
        with a_stub() as port:
            yield place | {"FORKING_STUB": f"http://127.0.0.1:{port}"}
        return
    authority, certificate = trustme.CA(), tmp_path / "certificate.pem"
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(certificate)
    with a_stub(str(certificate)) as port:
        yield place | {
            "FORKING_STUB": f"https://127.0.0.1:{port}",
            "FORKING_AUTHORITY": str(tmp_path / "authority.pem"),
        }


def right(counts: Counter[str]) -> None:
    """Refuse a response of another person, an error, and a hang."""
    told = {name: number for name, number in counts.items() if name.startswith("error")}
    assert (counts["others"], counts["hangs"], told) == (0, 0, {})


@pytest.mark.parametrize("way", WAYS)
def test_F1_F2_F3_children_of_a_busy_parent_get_their_own_answers(
    way: str, stub: Environ, report: Report
) -> None:
    rounds, children, times = size(1, 4), size(2, 4), size(10, 200)
    command = [sys.executable, "-m", "tests.reliability.forking", way]
    done = subprocess.run(
        [*command, *map(str, (rounds, children, times))],
        cwd=ROOT,
        env=stub,
        capture_output=True,
        text=True,
        check=False,
        timeout=size(110, 850),
    )
    assert (done.returncode, done.stderr) == (0, "")
    counts = Counter(json.loads(done.stdout))
    right(counts)
    assert counts["children"] == len(STATES) * rounds * children
    assert counts["calls"] >= counts["children"] * times
    report(
        "{children} children by {way}, of a parent that was idle, reading, refreshing and in a"
        " sign-in: {calls} calls, {others} answers of another person, {hangs} hangs",
        way=way,
        **{name: counts[name] for name in ("children", "calls", "others", "hangs", "errors")},
    )


@pytest.mark.parametrize("scheme", ["http"], indirect=True)
def test_the_harness_sees_children_that_share_connections(stub: Environ) -> None:
    command = [sys.executable, "-m", "tests.reliability.forking", "os.fork", "1", "4", "50"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=stub | {"FORKING_MUTANT": "shares", "FORKING_PATIENCE": "5"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    counts = Counter(json.loads(done.stdout))
    assert counts["others"] + counts["errors"] + counts["hangs"] > 0
    with pytest.raises(AssertionError):
        right(counts)


SERVERS: dict[str, Callable[[str], list[str]]] = {
    "gunicorn --preload": lambda port: [
        *(sys.executable, "-m", "gunicorn", "--preload", "--workers=3", "--threads=2"),
        *(f"--bind=127.0.0.1:{port}", "--timeout=60", "tests.reliability.fork_apps:wsgi"),
    ],
    "uvicorn": lambda port: [
        *(sys.executable, "-m", "uvicorn", "--workers=2", "--log-level=warning"),
        *(f"--port={port}", "tests.reliability.fork_apps:asgi"),
    ],
    "granian": lambda port: [
        *(sys.executable, "-m", "granian", "--interface=asgi", "--workers=2", "--no-ws"),
        # A worker of it that has only begun does not hear SIGTERM, and would be waited for forever.
        *("--workers-kill-timeout=5", f"--port={port}", "tests.reliability.fork_apps:asgi"),
    ],
}


@pytest.mark.parametrize("server", SERVERS)
def test_F1_F2_F3_workers_of_a_server_get_their_own_answers(
    server: str, scheme: str, stub: Environ, report: Report, tmp_path: Path
) -> None:
    """The application has used Procore, and goes on, where the server loads it before it forks."""
    port, batches, times = free_port(), size(6, 60), size(10, 100)
    environment = stub | {"FORKING_USED": "yes"}
    with a_server(SERVERS[server](str(port)), environment, tmp_path / "log"):
        ask(port, PEOPLE[0], 1, patience=30)  # until it listens
        orders = [PEOPLE[number % len(PEOPLE)] for number in range(batches)]
        with ThreadPoolExecutor(4) as threads:
            heard = list(threads.map(lambda person: ask(port, person, times), orders))
    workers = {each.pop("pid") for each in heard}
    counts = sum((Counter(each) for each in heard), Counter[str]())
    right(counts)
    assert counts["calls"] >= batches * times
    report(
        "{workers} workers of {server}, {scheme}: {calls} calls, {others} answers of another"
        " person",
        server=server,
        scheme=scheme,
        workers=len(workers),
        **{name: counts[name] for name in ("calls", "others", "errors")},
    )


@contextlib.contextmanager
def a_server(command: list[str], environment: Environ, log: Path) -> Iterator[None]:
    """Run a server with its workers; nothing of it is left, however it ends."""
    with (
        log.open("wb") as lines,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=lines, stderr=lines, start_new_session=True
        ) as process,
    ):
        try:
            yield
            process.terminate()
            process.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):  # as it should be
                os.killpg(process.pid, signal.SIGKILL)


def ask(port: int, person: int, times: int, *, patience: float = 0.0) -> dict[str, int]:
    """Have a worker ask `times` times who `person` is; return what it counted."""
    url, until = f"http://127.0.0.1:{port}/{person}/{times}", time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:  # our own
                counts: dict[str, int] = json.load(answer)
                return counts
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


@pytest.fixture
def broker() -> Iterator[str]:
    """A database of Redis of the test's own."""
    url = f"redis://127.0.0.1:6379/{REDIS_DATABASE}"
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        try:
            client.flushdb()
        except redis.ConnectionError:
            if os.environ.get("PROCORE_SIGNIN_REQUIRE_DATABASES"):
                raise
            pytest.skip("no Redis listens on its standard port")
        yield url
        client.flushdb()


def test_F1_F2_F3_tasks_of_a_celery_worker_get_their_own_answers(
    scheme: str, stub: Environ, broker: str, report: Report, tmp_path: Path
) -> None:
    """The worker has used Procore, and goes on, when it forks its pool."""
    import celery  # noqa: PLC0415  # it takes half a second

    tasks, times = size(8, 100), size(10, 100)
    command = [
        *(sys.executable, "-m", "celery", "-A", "tests.reliability.fork_apps", "worker"),
        *("-P", "prefork", "-c", "4", "--loglevel=WARNING", "--without-mingle"),
        *("--without-gossip", "--max-tasks-per-child=5"),
    ]
    environment = stub | {"FORKING_USED": "yes", "FORKING_BROKER": broker}
    log = (tmp_path / "log").open("wb")
    with (
        celery.Celery("ask", broker=broker, backend=broker) as app,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            results = [
                app.send_task("ask", (PEOPLE[number % len(PEOPLE)], times))
                for number in range(tasks)
            ]
            heard: list[Any] = [each.get(timeout=90) for each in results]
        finally:
            process.terminate()
            process.wait(60)
    log.close()
    children = {each.pop("pid") for each in heard}
    counts = sum((Counter(each) for each in heard), Counter[str]())
    right(counts)
    assert counts["calls"] >= tasks * times
    assert process.pid not in children
    report(
        "{children} children of a Celery worker, {scheme}: {calls} calls in {tasks} tasks,"
        " {others} answers of another person",
        scheme=scheme,
        children=len(children),
        tasks=tasks,
        **{name: counts[name] for name in ("calls", "others", "errors")},
    )
