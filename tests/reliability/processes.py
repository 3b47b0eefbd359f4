"""Worker processes, as the run that commands them sees them."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

Answer = dict[str, Any]
ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 60.0
"""Seconds after which a response that does not come is a failure."""


class WorkerDied(Exception):
    """The process is gone."""


class Worker:
    """One process; see `worker.Worker` for what it can do.

    Attributes:
        pid: Its number.
        busy: Whether a response is still to come.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(path))
        self._heard = b""
        self.busy = True
        self.pid: int = self.hear()["pid"]

    def fileno(self) -> int:
        """For `select`: readable when a response came, or the process died."""
        return self._socket.fileno()

    def tell(self, do: str, **order: Any) -> None:
        """Give an order."""
        self.busy = True
        self._socket.sendall(json.dumps({"do": do, **order}).encode() + b"\n")

    def hear(self) -> Answer:
        """Wait for the response to the last order.

        Raises:
            WorkerDied: It died instead.
        """
        while b"\n" not in self._heard:
            try:
                piece = self._socket.recv(65_536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                raise WorkerDied
            self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        answer: Answer = json.loads(line)
        assert "crashed" not in answer, answer["crashed"]
        self.busy = False
        return answer

    def ask(self, do: str, **order: Any) -> Answer:
        """Give an order and wait for its response."""
        self.tell(do, **order)
        return self.hear()

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, which must not have ended."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        if not self._has_hung_up():
            self.send_signal(signal.SIGKILL)
        self.wait_until_gone()

    def wait_until_gone(self) -> None:
        """Wait until the process has ended, and drop what it still said."""
        if self._socket.fileno() == -1:
            return
        try:
            while True:
                self.hear()
        except WorkerDied:
            self.close()

    def _has_hung_up(self) -> bool:
        """Whether the process ended already: its number may be another's by now."""
        ready, _, _ = select.select([self], [], [], 0)
        try:
            return bool(ready) and not self._socket.recv(1, socket.MSG_PEEK)
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Hang up. A worker that is not busy ends then."""
        self._socket.close()


class Zygote:
    """Where workers come from."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def worker(self) -> Worker:
        """Start a process."""
        return Worker(self._path)


@contextmanager
def a_zygote(folder: Path) -> Iterator[Zygote]:
    """Run the program that workers are forks of."""
    path = folder / "zygote"
    with (folder / "workers.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.zygote", str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", (folder / "workers.log").read_text()
        yield Zygote(path)
    finally:
        process.communicate(timeout=PATIENCE)
