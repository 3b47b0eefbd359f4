"""The demo as a person starts it: real processes, real ports, real signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import PROGRAM, Command, Page, Running, children_of, clean_environment, needs_proc

Get = Callable[[str], Page]
IsListening = Callable[[int], bool]
FREE = ("demo", "--port", "0", "--emulator-port", "0")


class Demo:
    """A demo that runs, and the addresses it printed."""

    def __init__(self, running: Running) -> None:
        running.read_until(r"Ctrl-C stops it\.\n")
        self.running = running
        self.url = running.read_until(r"Open +(http://localhost:\d+)\n")[1]
        self.inspector = running.read_until(r"Watch it +(\S+)\n")[1]
        self.ports = [int(found) for found in re.findall(r":(\d{2,5})", self.url + self.inspector)]


@pytest.fixture
def demo(command: Command) -> Demo:
    return Demo(command.start(*FREE))


def is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: set[int], seconds: float) -> set[int]:
    """Return those still alive after so many seconds, sooner if there are none."""
    deadline = time.monotonic() + seconds
    while (alive := {pid for pid in pids if is_alive(pid)}) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive


def test_it_prints_where_everything_is_and_each_address_answers(demo: Demo, get: Get) -> None:
    assert "Log in as    joecontractor@procore.com   password: procore" in demo.running.said
    assert "Sign Up with Procore" in get(f"{demo.url}/").body
    assert get(demo.inspector).status == 200
    assert get(f"{demo.url}/readyz").status == 200


def test_its_first_page_leads_to_the_local_procore(demo: Demo, get: Get) -> None:
    page = get(f"{demo.url}/").body

    assert f"{demo.inspector.removesuffix('/_emulator/')}/oauth/authorize?" in page


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_within_three_seconds(
    demo: Demo, number: int, is_listening: IsListening
) -> None:
    begun = time.monotonic()
    status = demo.running.stop(number)
    took = time.monotonic() - begun

    assert (status, took < 3, [is_listening(port) for port in demo.ports]) == (
        0,
        True,
        [False, False],
    )


def test_O1_it_says_nothing_more_than_it_has_to(demo: Demo, command: Command) -> None:
    demo.running.stop()
    key = (command.folder / "test.db.keys").read_text().strip()

    assert key.partition(":")[2] not in demo.running.said
    assert "emulator-client-secret" not in demo.running.said
    assert demo.running.said.endswith("Stopped.\n")


@needs_proc
def test_C13_nothing_is_left_when_the_demo_is_killed(demo: Demo) -> None:
    below = children_of(demo.running.process.pid)

    demo.running.process.kill()
    demo.running.process.wait()

    assert len(below) >= 3  # the emulator, the application and its worker
    assert wait_until_gone(below, 5) == set()


@needs_proc
@pytest.mark.parametrize("victim", ["serve", "emulator"])
def test_when_one_of_the_two_dies_the_other_is_stopped_and_it_says_which(
    demo: Demo, victim: str
) -> None:
    below = children_of(demo.running.process.pid)
    for pid in below:
        words = (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")
        if victim.encode() in words:
            os.kill(pid, signal.SIGKILL)
            break

    status = demo.running.wait()

    name = {"serve": "application", "emulator": "emulator"}[victim]
    assert (status, wait_until_gone(below, 5)) == (1, set())
    assert f"The {name} ended unexpectedly." in demo.running.said


def test_a_taken_port_is_told_before_anything_starts(command: Command) -> None:
    demo = Demo(command.start(*FREE))

    taken = command("demo", "--port", str(demo.ports[0]), "--emulator-port", "0")

    assert (taken.status, taken.out) == (1, "")
    assert "demo --port 8080" in taken.err


def test_an_application_that_cannot_start_ends_the_demo_with_its_words(command: Command) -> None:
    (command.folder / "test.db").write_text("this is no database, but long enough to be read" * 9)

    done = command(*FREE)

    assert done.status == 1
    assert "The application ended unexpectedly." in done.err
    assert "is damaged, or is no database" in done.err


def test_a_second_start_opens_what_the_first_one_sealed(command: Command, get: Get) -> None:
    first = Demo(command.start(*FREE))
    kept = (command.folder / "test.db.keys").read_bytes()
    first.running.stop()

    second = Demo(command.start(*FREE))

    assert (command.folder / "test.db.keys").read_bytes() == kept
    assert get(f"{second.url}/readyz").status == 200


def test_modules_in_the_persons_folder_do_not_get_in_the_way(command: Command, get: Get) -> None:
    for name in ("token.py", "logging.py", "procore_signin.py"):
        (command.folder / name).write_text("raise SystemExit('the wrong module')\n")

    assert get(f"{Demo(command.start_process(*FREE)).url}/").status == 200


def slowdown() -> float:
    """Return how many times as long as its processor time a Python takes to start: 1 at rest."""
    before, began = os.times(), time.monotonic()
    subprocess.run([sys.executable, "-c", "import sqlalchemy.orm"], check=True)
    after = os.times()
    worked = after.children_user + after.children_system
    worked -= before.children_user + before.children_system
    return max(1.0, (time.monotonic() - began) / worked)


def test_the_second_start_shows_the_first_page_within_two_seconds(
    command: Command, get: Get, free_port: Callable[[], int]
) -> None:
    """One of six does: other programs on this machine are not what is measured."""
    Demo(command.start(*FREE)).running.stop()
    times = []
    for _ in range(6):
        port = free_port()
        begun = time.monotonic()
        process = subprocess.Popen(
            [*PROGRAM, "demo", "--port", str(port), "--emulator-port", "0"],
            cwd=command.folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            while time.monotonic() < begun + 20:
                try:
                    assert get(f"http://localhost:{port}/").status == 200
                    break
                except ConnectionError:
                    time.sleep(0.01)
            took = time.monotonic() - begun
            times.append((took, 2 * (slowdown() if took > 2 else 1)))
        finally:
            process.terminate()
            process.wait()
        if took < times[-1][1]:
            return

    pytest.fail(f"It took so long, and might have taken: {times}")
