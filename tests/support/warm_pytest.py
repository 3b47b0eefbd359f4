"""A pytest that has imported what it needs of others, and forks a process for each run.

A run of one quick test spends nine tenths of its time on imports. `WarmPytest` starts a process in
a copy of the tree. It has the tests collected once, in a fork, to see what they import from outside
the copy, and imports that itself; nothing of the copy is ever imported there. So each run reads the
copy's code as it is then.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NoReturn, Self

import pytest

OTHERS: Final = ("pytest_asyncio.plugin", "_hypothesis_pytestplugin", "pytest_timeout")
OURS: Final = "procore_signin.pytest_plugin"
"""The plugins that the tests need of those that are installed."""
ALWAYS: Final = (
    *("-q", "--tb=no", "-p", "no:cacheprovider", "-p", OURS),
    *("-o", "timeout_func_only=true"),  # what a test starts before takes longer where much is busy
)
PLACE: Final = "tests/support/warm_pytest.py"
LEFT_OUT: Final = "pyreqwest"
"""The product finds out when to load it, and tests look at that."""


@dataclass(slots=True)
class Ran:
    """What came of a run.

    Attributes:
        status: pytest's, or None where there is none, such as of a run that was killed.
        late: Whether the run did not end in time.
        failed: The tests that failed, as pytest names each of their cases, and in which phase.
        hung: Those of them that did not end in time.
        seconds: How long each case took, without what it starts before and ends afterwards, and
            each test with all of its cases.
        output: What was printed.
    """

    status: int | None = None
    late: bool = False
    failed: dict[str, str] = field(default_factory=dict)
    hung: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    output: str = ""


class WarmPytest:
    """The process, for one copy of the tree.

    Args:
        copy: Where that is.
        folder: Where what is noted of a run may lie. It is not the process's own: tests fork, and
            do what a process does at its end.

    Attributes:
        cases: Every test that is there, as pytest names each of its cases.
    """

    def __init__(self, copy: Path, folder: Path) -> None:
        self._copy, self._folder = copy, folder
        self._begin()

    def _begin(self) -> None:
        copy, folder = self._copy, self._folder
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [str(copy / ".venv/bin/python"), str(copy / PLACE), str(folder)],
            cwd=copy,
            env=outside | {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.cases: frozenset[str] = frozenset(json.loads(self._line()))

    def run(self, *arguments: str, seconds: float) -> Ran:
        """Run pytest; after so many seconds it and all that it started are killed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"arguments": arguments, "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        if answer := self._line():
            return Ran(**json.loads(answer))
        # What a test of broken code does may reach even this process.
        status = self._process.wait()
        self._begin()
        return Ran(output=f"the process that forks for each run ended with {status}")

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


class Notes:
    """A plugin that notes what happens in a run."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.failed: dict[str, str] = {}
        self.hung: list[str] = []
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name, test = report.nodeid, report.nodeid.partition("[")[0]
        if report.when == "call":
            for each in {name, test}:
                self.seconds[each] += report.duration
        if report.failed:
            self.failed.setdefault(name, report.when)
            if "from pytest-timeout" in str(report.longrepr):
                self.hung.append(name)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.status = int(exitstatus)


class Imported:
    """A plugin that notes the tests, and what a process has imported from outside a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        self.cases: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.cases += (each.nodeid for each in session.items)
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and ("site-packages" in file or not file.startswith(f"{self.folder}/")):
                self.names.append(name)


def main() -> None:
    """Import what the tests import of others, and do what is asked for, line by line."""
    orders, answers = sys.stdin, os.fdopen(os.dup(1), "w")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    sys.path[0] = str(Path.cwd())  # as `python -m pytest` has it
    folder = Path(sys.argv[1])
    say(answers, warm(folder))
    for line in orders:
        order = json.loads(line)
        say(answers, forked(order["arguments"], order["seconds"], Notes(), folder))


def say(answers: IO[str], what: object) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()


def warm(folder: Path) -> list[str]:
    """Import what the tests import, except for what is of the copy; return the tests."""
    for name in OTHERS:
        importlib.import_module(name)
    found = forked(["--collect-only", "-q", "tests"], 600, Imported(Path.cwd()), folder)
    for name in found.get("names", ()):
        if name.partition(".")[0] != LEFT_OUT:
            with contextlib.suppress(Exception):  # what wants settings first, such as Django's
                importlib.import_module(name)
    gc.collect()
    gc.freeze()
    cases: list[str] = found.get("cases", [])
    return cases


def forked(
    arguments: list[str], seconds: float, notes: Notes | Imported, folder: Path
) -> dict[str, Any]:
    """Run pytest in a fork; return its status, what was noted, and what it printed."""
    told, output = folder / "notes", folder / "output"
    told.unlink(missing_ok=True)
    with output.open("wb") as lines:
        child = os.fork()
        if not child:
            run_here(arguments, notes, told, lines)
    ends, ended = time.monotonic() + seconds, False
    try:
        while not ended and time.monotonic() < ends:
            time.sleep(0.005)
            ended = os.waitpid(child, os.WNOHANG)[0] == child
    finally:
        with contextlib.suppress(ProcessLookupError):  # with what it started
            os.killpg(child, signal.SIGKILL)
        if not ended:
            os.waitpid(child, 0)
    noted: dict[str, Any] = json.loads(told.read_text("utf-8")) if told.exists() else {}
    return noted | {"late": not ended, "output": output.read_text("utf-8", "replace")}


def run_here(
    arguments: list[str], notes: Notes | Imported, told: Path, lines: IO[bytes]
) -> NoReturn:
    """Run pytest in this process, and end it, whatever comes."""
    me = os.getpid()
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        for descriptor in (1, 2):
            os.dup2(lines.fileno(), descriptor)
        if isinstance(notes, Imported):
            sys.dont_write_bytecode = False  # once, so that each run need not compile the tests
        sys.argv = ["pytest", *arguments]
        plugins = [*(importlib.import_module(name) for name in OTHERS), notes]
        pytest.main([*ALWAYS, *arguments], plugins)
    except BaseException:  # noqa: BLE001 - such as what pytest raises of what no one awaited
        traceback.print_exc()
    finally:
        if os.getpid() == me:  # and not a child that a test has left behind
            noted = {name: value for name, value in vars(notes).items() if name != "folder"}
            # Whole or not at all: the run may be killed while it writes.
            unfinished = told.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(noted), encoding="utf-8")
            unfinished.replace(told)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
