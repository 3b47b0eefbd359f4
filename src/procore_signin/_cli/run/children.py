"""The child programs of the demo: started together, watched and stopped."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Self
from urllib.parse import urlsplit

from procore_signin._cli.failure import CommandFailed

READY_SECONDS: Final = 20.0
STOP_SECONDS: Final = 2.5
_PROBE_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Program:
    """A `procore-signin` command to run as a child.

    Attributes:
        name: Its name in messages, such as `application`.
        arguments: The arguments of `procore-signin`, such as `("serve", "--port", "4567")`.
        environment: Its whole environment. Contains secrets.
        url: The URL where it responds once it is ready.
        address: Host and port to check. Differs from `url` if that names `localhost`.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    url: str
    address: tuple[str, int]

    def __repr__(self) -> str:
        return f"<{self.name} at {self.url}>"


class Children:
    """The running programs. Use as a context manager: on exit all of them are stopped."""

    def __init__(self) -> None:
        self._running: list[tuple[Program, subprocess.Popen[bytes]]] = []
        self._something_happened = threading.Event()
        self._told_to_stop = False

    def start(self, program: Program) -> None:
        """Start `program` and return at once.

        It leads its own session, so that Ctrl-C in the terminal reaches only this process. Its
        standard input is a pipe: when that closes, it stops, even if this process is killed.
        """
        child = subprocess.Popen(  # noqa: S603  # our own program, arguments as a list
            # -P: modules in the current folder must not replace installed ones.
            [sys.executable, "-P", "-m", "procore_signin", *program.arguments],
            env=dict(program.environment),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._running.append((program, child))
        threading.Thread(target=self._watch, args=(child,), daemon=True).start()

    def stop(self) -> None:
        """End `wait` and `wait_until_ready`. May be called from a signal handler."""
        self._told_to_stop = True
        self._something_happened.set()

    def wait_until_ready(self) -> bool:
        """Return True once every program responds to HTTP, or False if told to stop before.

        Raises:
            CommandFailed: A program ended, or does not respond in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        for program, _ in self._running:
            while not _answers(program):
                if self._something_happened.wait(_PROBE_SECONDS):
                    self._fail_if_one_ended()
                    return False
                if time.monotonic() > deadline:
                    raise CommandFailed(
                        f"The {program.name} does not respond at {program.url}.",
                        why=f"It was started, but {READY_SECONDS:.0f} seconds were not enough.",
                        cure="See its output above, then start again.",
                    )
        return True

    def wait(self) -> None:
        """Return when told to stop.

        Raises:
            CommandFailed: A program ended unexpectedly.
        """
        self._something_happened.wait()
        self._fail_if_one_ended()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._told_to_stop = True
        for _program, child in self._running:
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for _program, child in self._running:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(child, signal.SIGKILL)
                child.wait()
            if child.stdin is not None:
                child.stdin.close()

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        child.wait()
        self._something_happened.set()

    def _fail_if_one_ended(self) -> None:
        if self._told_to_stop:
            return
        for program, child in self._running:
            status = child.poll()
            if status is not None:
                raise CommandFailed(
                    f"The {program.name} ended unexpectedly.",
                    why=f"Its exit status is {status}; its output, if any, is above.",
                    cure="Correct that and start again. The rest of the demo was stopped.",
                )


def _answers(program: Program) -> bool:
    """Return whether the program serves HTTP. An error page counts; a server error does not."""
    parts = urlsplit(program.url)
    connection = http.client.HTTPConnection(*program.address, timeout=1)
    try:
        connection.request("GET", parts.path or "/", headers={"Host": parts.netloc})
        return connection.getresponse().status < HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to the program and its children."""
    if child.poll() is None:
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return
