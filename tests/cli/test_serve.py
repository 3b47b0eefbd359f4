"""The server: what it refuses to start with, how it stops, and that nothing outlives it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

import pytest
from commands import Command, Page, Running, children_of, needs_proc

Get = Callable[[str], Page]
SETTINGS = {"PROCORE_ENVIRONMENT": "emulator", "PROCORE_KEYS": f"k1:{'A' * 43}"}


def start(command: Command, free_port: Callable[[], int], *arguments: str) -> tuple[Running, str]:
    port = free_port()
    uri = f"http://localhost:{port}/callback"
    running = command.start(
        "serve", "--port", str(port), *arguments, PROCORE_REDIRECT_URI=uri, **SETTINGS
    )
    running.read_until(r"Ctrl-C stops it\.\n")
    return running, f"http://localhost:{port}"


def wait_for(get: Get, url: str) -> Page:
    deadline = time.monotonic() + 20
    while True:
        try:
            return get(url)
        except ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_every_problem_with_the_settings_is_named_at_once(command: Command) -> None:
    done = command("serve", PROCORE_ENVIRONMENT="sandbox", PROCORE_CLIENT_ID="your-client-id")

    assert done.status == 1
    assert "3 settings need attention" in done.err
    for name in ("PROCORE_CLIENT_ID", "PROCORE_CLIENT_SECRET", "PROCORE_KEYS"):
        assert f"  {name}: " in done.err


def test_K2_plain_http_to_another_machine_is_refused(command: Command) -> None:
    done = command("serve", PROCORE_REDIRECT_URI="http://example.com/callback", **SETTINGS)

    assert (done.status, "plain http" in done.err) == (1, True)


def test_a_database_without_tables_stops_the_start_with_the_cure(command: Command) -> None:
    done = command("serve", "--port", "0", **SETTINGS)

    assert (done.status, "procore-signin db upgrade" in done.err) == (1, True)
    assert not (command.folder / "test.db").exists()


def test_migrate_makes_the_tables_first(
    command: Command, free_port: Callable[[], int], get: Get
) -> None:
    _, url = start(command, free_port, "--migrate")

    assert wait_for(get, f"{url}/readyz").status == 200


def test_a_taken_port_stops_the_start_although_the_server_could_share_it(
    command: Command, free_port: Callable[[], int], get: Get
) -> None:
    _, url = start(command, free_port, "--migrate")
    wait_for(get, f"{url}/")

    done = command("serve", "--port", url.rpartition(":")[2], **SETTINGS)

    assert (done.status, "is taken" in done.err) == (1, True)


def test_port_0_finds_a_free_port_and_says_that_procore_will_not_know_it(command: Command) -> None:
    running = command.start_process("serve", "--port", "0", "--migrate", **SETTINGS)
    running.read_until(r"Ctrl-C stops it\.\n")

    port = running.read_until(r"Listening at 127\.0\.0\.1:(\d+);")[1]
    assert int(port) > 0
    assert "http://localhost:4567/callback, which is another port" in running.said


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_it_quietly(
    command: Command, free_port: Callable[[], int], get: Get, number: int, status: int
) -> None:
    running, url = start(command, free_port, "--migrate")
    wait_for(get, f"{url}/")
    said = running.said

    assert running.stop(number) == status
    assert running.said == said


def test_O1_no_line_is_written_about_a_request(
    command: Command, free_port: Callable[[], int], get: Get
) -> None:
    running, url = start(command, free_port, "--migrate")
    wait_for(get, f"{url}/")
    said = running.said
    get(f"{url}/callback?code=fake-code-1234&state={'f' * 64}")
    running.stop()

    added = running.said.removeprefix(said)
    assert ("fake-code-1234" in added, "f" * 64 in added, "GET" in added) == (False, False, False)


def test_C13_its_workers_end_when_it_is_killed(
    command: Command, free_port: Callable[[], int], get: Get, is_listening: Callable[[int], bool]
) -> None:
    running, url = start(command, free_port, "--migrate", "--workers", "2")
    wait_for(get, f"{url}/")

    running.process.kill()
    running.process.wait()

    assert nobody_listens(is_listening, url)


def test_C13_its_workers_end_when_it_is_killed_before_they_are_ready(
    command: Command, free_port: Callable[[], int], is_listening: Callable[[int], bool]
) -> None:
    running, url = start(command, free_port, "--migrate", "--workers", "2")
    while not is_listening(int(url.rpartition(":")[2])):
        time.sleep(0.001)

    running.process.kill()
    running.process.wait()

    assert nobody_listens(is_listening, url)


def nobody_listens(is_listening: Callable[[int], bool], url: str) -> bool:
    """Wait for less than the 25 seconds after which a worker that hears nothing is ended."""
    deadline = time.monotonic() + 20
    port = int(url.rpartition(":")[2])
    while is_listening(port) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_listening(port)


def test_the_settings_are_read_from_the_file_too(
    command: Command, free_port: Callable[[], int]
) -> None:
    command("init", "--environment", "emulator")
    running = command.start("serve", "--port", str(free_port()), "--migrate")

    assert running.read_until(r"Sign in with Procore \((\w+)\)")[1] == "emulator"


@needs_proc
def test_C13_a_ctrl_c_at_the_terminal_reaches_the_server_alone(
    command: Command, free_port: Callable[[], int], get: Get
) -> None:
    """Its workers would otherwise stop by themselves, which looks like a crash to the server."""
    running, url = start(command, free_port, "--migrate")
    wait_for(get, f"{url}/")
    workers = children_of(running.process.pid)

    assert len(workers) == 1
    assert os.getpgid(running.process.pid) not in {os.getpgid(pid) for pid in workers}


def test_a_database_that_cannot_be_used_is_told(command: Command) -> None:
    done = command("serve", PROCORE_DATABASE_URL="mysql+mysqldb://u@h/d", **SETTINGS)

    assert (done.status, "PROCORE_DATABASE_URL" in done.err) == (1, True)


@needs_proc
def test_O8_half_a_request_does_not_keep_the_server_from_stopping(
    command: Command, free_port: Callable[[], int], get: Get
) -> None:
    running, url = start(command, free_port, "--migrate")
    wait_for(get, f"{url}/healthz")
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as half:
        half.sendall(b"GET / HT")
        began = time.monotonic()
        running.stop(signal.SIGTERM)
        assert time.monotonic() - began < 8  # a container is killed after ten
