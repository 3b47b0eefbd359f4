"""The application as a real process on a real port, for tests that need one."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

KEYS = "k1:" + "A" * 43
READY_SECONDS = 30


@dataclass
class Application:
    """A running application.

    Attributes:
        url: Its origin.
        folder: Where its database is.
        process: The server.
        output: Everything it has printed, once it has ended.
    """

    url: str
    folder: Path
    process: subprocess.Popen[bytes]
    output: bytearray = field(default_factory=bytearray)

    def stop(self) -> None:
        """End it as an orchestrator would, and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=40)


def settings_for(emulator_url: str, port: int, folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of an application on `port` that talks to the emulator."""
    return {
        "PATH": os.environ["PATH"],
        "PROCORE_ENVIRONMENT": "emulator",
        "PROCORE_EMULATOR_URL": emulator_url,
        "PROCORE_REDIRECT_URI": f"http://localhost:{port}/callback",
        "PROCORE_DATABASE_URL": f"sqlite:///{folder / 'test.db'}",
        "PROCORE_KEYS": KEYS,
        "PROCORE_RATE_LIMIT": "0",
        **more,
    }


@contextlib.contextmanager
def application(
    emulator_url: str, port: int, folder: Path, *arguments: str, **more: str
) -> Iterator[Application]:
    """Run `procore-signin serve` until the block ends."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "procore_signin"),
            *("serve", "--migrate", "--port", str(port)),
            *arguments,
        ],
        cwd=folder,
        env=settings_for(emulator_url, port, folder, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    running = Application(f"http://localhost:{port}", folder, process)
    assert process.stdout is not None
    reader = threading.Thread(target=_collect, args=(process.stdout, running.output), daemon=True)
    reader.start()
    try:
        _wait_until_ready(running)
        yield running
    finally:
        running.stop()
        reader.join(timeout=10)
        process.stdout.close()


def _collect(stream: object, output: bytearray) -> None:
    for line in stream:  # type: ignore[attr-defined]
        output.extend(line)


def _wait_until_ready(running: Application) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            break
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"{running.url}/readyz").status_code == httpx2.codes.OK:
                return
        time.sleep(0.05)
    raise AssertionError(f"The application did not start:\n{running.output.decode()}")


def forget_tokens(running: Application) -> None:
    """Let the application hold no tokens, as if no one had signed in before.

    Otherwise it would give back those of an earlier test, and meet this test's faults with it.
    """
    with contextlib.closing(sqlite3.connect(running.folder / "test.db", timeout=30)) as database:
        database.execute("DELETE FROM token_sets")
        database.execute("UPDATE sign_in_ledger SET escrow = NULL, escrowed_at = NULL")
        database.commit()
