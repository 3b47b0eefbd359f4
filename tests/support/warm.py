"""A Python that has imported everything, and forks a process of its own for each command.

A command spends most of its time on imports. Here they are done once: `start` hands a waiting
process the arguments, the environment, the folder and the standard streams, and it forks a child
that runs `python -m procore_signin` with them. The child is a process like any other: it has a pid,
takes signals and ends with the status of the interpreter, and whatever it changes ends with it.

What differs from a process that is started afresh: the modules are there already, and what the
interpreter reads at its start (`PYTHON…`) is that of the waiting process, except for
`PYTHONIOENCODING`, which is read again. Tests of these use `Command.process` and
`Command.start_process`, and so does one test of each command.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from functools import cache, partial
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Final

from ending import end_after

SIZE: Final = struct.Struct("!I")
NOT_FOR_COMMANDS: Final = (
    "procore_signin.web.",
    "procore_signin._store.migrations.",  # Alembic runs them
    "procore_signin.__main__",
    "procore_signin.pytest_plugin",
)


class Process:
    """A command under way, with what tests need of `subprocess.Popen`.

    Attributes:
        pid: Of the process.
        stdin: Where the test writes.
        stdout: What it prints.
        stderr: What it prints beside that.
        returncode: As `subprocess` has it: negative for a signal, None as long as it runs.
    """

    def __init__(
        self, life: socket.socket, streams: tuple[IO[bytes], BufferedReader, BufferedReader]
    ) -> None:
        self.stdin, self.stdout, self.stderr = streams
        self.pid: Final = int(life.recv(64))
        self.returncode: int | None = None
        self._life = life

    def poll(self) -> int | None:
        """Return how it ended, or None."""
        with contextlib.suppress(BlockingIOError):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended; raise `TimeoutError` after so many seconds."""
        if self.returncode is None:
            self._life.settimeout(timeout)
            self.returncode = int(self._life.recv(64))
            self._life.close()
        return self.returncode

    def communicate(self, words: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes]:
        """Write `words`, wait for the end and return all that it printed.

        One after the other: `words` and what it prints beside its output fill no pipe (64 KiB).
        """
        with contextlib.suppress(BrokenPipeError):  # it ended without reading all
            if words:
                self.stdin.write(words)
                self.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        out, err = self.stdout.read(), self.stderr.read()
        self.wait(timeout)
        self.close()
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended just now
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Leave nothing running and nothing open."""
        self.kill()
        self.wait()
        for stream in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class Interpreter:
    """The test's end of the waiting process. One a test process; see `interpreter`."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-u", __file__, str(theirs.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={k: v for k, v in os.environ.items() if not k.startswith("PROCORE_")},
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        atexit.register(self.close)

    def start(
        self,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        folder: Path,
        *,
        together: bool = False,
    ) -> Process:
        """Run `procore-signin` with these arguments and nothing but these settings.

        Args:
            arguments: Its own.
            environment: All of it.
            folder: Where it runs.
            together: Whether it prints its errors where it prints everything else.
        """
        os.umask(mask := os.umask(0o077))
        order = [arguments, dict(environment), str(folder), mask]
        ours, life = socket.socketpair()
        pipes = [os.pipe() for _ in range(3)]
        (theirs_in, ours_in), (ours_out, theirs_out), (ours_err, theirs_err) = pipes
        shown = (theirs_in, theirs_out, theirs_out if together else theirs_err)
        words = json.dumps(order).encode()
        socket.send_fds(self._channel, [SIZE.pack(len(words))], [*shown, life.fileno()])
        self._channel.sendall(words)
        life.close()
        for descriptor in (theirs_in, theirs_out, theirs_err):
            os.close(descriptor)
        streams = (os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb"), os.fdopen(ours_err, "rb"))
        try:
            return Process(ours, streams)
        except ValueError:
            raise AssertionError(self._process.communicate()[1].decode()) from None

    def close(self) -> None:
        self._channel.close()
        self._process.communicate()


@cache
def interpreter() -> Interpreter:
    """Return the one of this test process, started when it is first needed."""
    return Interpreter()


def wait_for_orders(channel: socket.socket) -> list[Any]:
    """Fork a child for each order. Returns in the child, with what it has to do."""
    woken, wake = socket.socketpair()
    wake.settimeout(0)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    alive: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([channel, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _tell_who_ended(alive)
        if channel not in ready:
            continue
        size, descriptors, _, _ = socket.recv_fds(channel, SIZE.size, 4)
        if not size:
            sys.exit()
        (length,) = SIZE.unpack(size)
        order: list[Any] = json.loads(channel.recv(length, socket.MSG_WAITALL))
        *streams, life = descriptors
        if pid := os.fork():
            alive[pid] = socket.socket(fileno=life)
            alive[pid].send(str(pid).encode())
            for descriptor in streams:
                os.close(descriptor)
            continue
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for place, descriptor in enumerate(streams):
            os.dup2(descriptor, place)
        for descriptor in (*descriptors, *(each.detach() for each in (channel, woken, wake))):
            os.close(descriptor)
        for each in alive.values():
            each.close()
        return order


def _tell_who_ended(alive: dict[int, socket.socket]) -> None:
    with contextlib.suppress(ChildProcessError):  # there are no more
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with alive.pop(pid) as life, contextlib.suppress(BrokenPipeError):
                life.send(str(os.waitstatus_to_exitcode(status)).encode())


def import_everything() -> None:
    """Import all that a command may need, and nothing that runs when it is imported."""
    package = importlib.import_module("procore_signin")
    for module in pkgutil.walk_packages(package.__path__, "procore_signin."):
        if not module.name.startswith(NOT_FOR_COMMANDS):
            importlib.import_module(module.name)
    with contextlib.suppress(ModuleNotFoundError):  # an older one
        importlib.import_module("typer._adapters")  # Typer waits for the first argument with that
    gc.collect()
    gc.freeze()


def main() -> None:
    sys.path.remove(str(Path(__file__).parent))  # commands shall not find the modules of tests
    import_everything()
    arguments, environment, folder, mask = wait_for_orders(socket.socket(fileno=int(sys.argv[1])))
    os.umask(mask)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if encoding := environment.get("PYTHONIOENCODING"):
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            errors = "backslashreplace" if stream is sys.stderr else "strict"
            stream.reconfigure(encoding=encoding, errors=errors)  # type: ignore[union-attr]
    sys.argv[1:] = arguments
    end_after(partial(runpy.run_module, "procore_signin", run_name="__main__", alter_sys=True))


if __name__ == "__main__":
    main()
