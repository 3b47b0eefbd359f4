"""`procore-signin` as a person starts it: in a folder of one's own, without our settings."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import warm

DEADLINE = 90.0
"""Seconds that a command may take on a busy machine. Longer than 120 no test takes."""
PROGRAM = [sys.executable, "-P", "-u", "-m", "procore_signin"]


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

    def __init__(self, process: subprocess.Popen[bytes] | warm.Process) -> None:
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
        assert self.process.returncode is not None
        return self.process.returncode


@dataclass(frozen=True)
class Command:
    """Runs `procore-signin` in a folder.

    Called, it runs in a fork of a warm Python (`warm.py`), which is quick; `start` lets that go on
    running. `process` and `start_process` do the same in a Python of its own, as a person does.
    """

    folder: Path
    started: ExitStack
    """Ends what was started, with the test."""

    def __call__(self, *arguments: str, stdin: str = "", **settings: str) -> Done:
        started = warm.interpreter().start(arguments, clean_environment(**settings), self.folder)
        out, err = started.communicate(stdin.encode())
        return Done(started.wait(), out.decode(), err.decode())

    def process(self, *arguments: str, stdin: str = "", **settings: str) -> Done:
        done = subprocess.run(
            [*PROGRAM, *arguments],
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
        environment = clean_environment(**settings)
        process = warm.interpreter().start(arguments, environment, self.folder, together=True)
        self.started.callback(process.close)
        process.stdin.close()
        return Running(process)

    def start_process(self, *arguments: str, **settings: str) -> Running:
        process = self.started.enter_context(
            subprocess.Popen(
                [*PROGRAM, *arguments],
                cwd=self.folder,
                env=clean_environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
        self.started.callback(process.kill)
        return Running(process)


@dataclass(frozen=True)
class Page:
    status: int
    headers: Mapping[str, str]
    body: str


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


def children_of(process: int) -> set[int]:
    """Return every process below that one, found by Linux's process table."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
            except OSError:
                continue  # it ended meanwhile
            parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    found, wanted = set[int](), {process}
    while wanted:
        wanted = {child for child, parent in parents.items() if parent in wanted}
        found |= wanted
    return found
