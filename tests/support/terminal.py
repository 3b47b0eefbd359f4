"""A person at a terminal: `procore-signin login` and its siblings, each in a process of its own."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import warm
from commands import DEADLINE, Done, clean_environment

from procore_signin.emulator import DEMO_LOGIN, OUT_OF_BAND, Emulator

ADDRESS = r"(http://127\.0\.0\.1:\d+/oauth/authorize\S+)\n"


class Login:
    """A login under way."""

    def __init__(self, process: warm.Process) -> None:
        self.process = process
        self.said = ""
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for piece in iter(lambda: self.process.stderr.read1().decode(), ""):
            with self._more:
                self.said += piece
                self._more.notify_all()

    def read_until(self, pattern: str) -> str:
        """Return the first group of `pattern` in what the person reads."""
        with self._more:
            come = self._more.wait_for(lambda: re.search(pattern, self.said), DEADLINE)
        assert come, self.said
        return come[1] if come.re.groups else come[0]

    @property
    def address(self) -> str:
        """The authorization request that the person opens."""
        return self.read_until(ADDRESS)

    def type(self, line: str) -> None:
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def end(self) -> Done:
        """Wait for the end and return what was said."""
        with contextlib.suppress(BrokenPipeError):  # it ended without reading all
            self.process.stdin.close()
        out = self.process.stdout.read().decode()
        status = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return Done(status, out, self.said)

    def close(self) -> None:
        """Leave nothing running and nothing open, however it ended."""
        self.process.kill()
        self._reader.join(DEADLINE)
        self.process.close()


@dataclass
class Terminal:
    """One person's terminal: a folder, a home, and the emulator as their Procore.

    Attributes:
        emulator: Their Procore.
        folder: Where commands are started.
        output: All that any command said, for a look at what must not be in it.
    """

    emulator: Emulator
    folder: Path
    output: list[str] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data" / "procore-signin"

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(
            XDG_DATA_HOME=str(self.folder / "data"), PROCORE_EMULATOR_URL=self.emulator.url
        )

    def run(self, *arguments: str, stdin: str | bytes = "", **settings: str) -> Done:
        """Run a command to its end."""
        raw = stdin if isinstance(stdin, bytes) else stdin.encode()
        process = self.start(*arguments, **settings)
        done = process.communicate(raw)
        out, err = done[0].decode(errors="replace"), done[1].decode()
        self.output += [out, err]
        return Done(process.wait(), out, err)

    def start(self, *arguments: str, **settings: str) -> warm.Process:
        """Start a command and let it run."""
        return warm.interpreter().start(arguments, self.environment | settings, self.folder)

    @contextmanager
    def login(self, *arguments: str, **settings: str) -> Iterator[Login]:
        """Begin a login that opens no browser; it is ended with the block."""
        words = ("login", "--environment", "emulator", "--no-browser", *arguments)
        process = self.start(*words, **settings)
        login = Login(process)
        try:
            yield login
        finally:
            login.close()
            self.output.append(login.said)

    def code(self, address: str, login: str = DEMO_LOGIN) -> str:
        """Do what a person does in the browser, and return the code that the page shows."""
        return self.emulator.approve(address, login=login).rpartition("/")[2]

    def log_in(self, *arguments: str, person: str = DEMO_LOGIN, **settings: str) -> Done:
        """Log in whole, by a pasted code."""
        with self.login("--redirect-uri", OUT_OF_BAND, *arguments, **settings) as login:
            login.type(self.code(login.address, person))
            done = login.end()
        self.output.append(done.out)
        return done
