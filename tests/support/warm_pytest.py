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
ALWAYS: Final = ("-q", "--tb=no", "-p", "no:cacheprovider", "-p", OURS)
PLACE: Final = "tests/support/warm_pytest.py"
LEFT_OUT: Final = "pyreqwest"
"""The product finds out when to load it, and tests look at that."""


@dataclass(slots=True)
class Ran:
    """What came of a run.

    Attributes:
        status: pytest's, or None where there is none, such as of a run that was killed.
        late: Whether the run did not end in time.
        failed: The tests that failed, without their parameters, and in which phase.
        hung: Those of them that did not end in time.
        seconds: How long each test took, with all of its parameters.
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
    """

    def __init__(self, copy: Path, folder: Path) -> None:
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

    def run(self, *arguments: str, seconds: float) -> Ran:
        """Run pytest; after so many seconds it and all that it started are killed."""
        answer = self._ask({"arguments": arguments, "seconds": seconds})
        return Ran(**answer)

    def _ask(self, order: object) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

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
        name = report.nodeid.partition("[")[0]
        self.seconds[name] += report.duration
        if report.failed:
            self.failed.setdefault(name, report.when)
            if "from pytest-timeout" in str(report.longrepr):
                self.hung.append(name)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.status = int(exitstatus)


class Imported:
    """A plugin that notes what a process has imported from outside a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []

    def pytest_collection_finish(self) -> None:
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
    warm(folder)
    for line in orders:
        order = json.loads(line)
        done = forked(order["arguments"], order["seconds"], Notes(), folder)
        answers.write(json.dumps(done) + "\n")
        answers.flush()


def warm(folder: Path) -> None:
    """Import what the tests import, except for what is of the copy."""
    for name in OTHERS:
        importlib.import_module(name)
    found = forked(["--collect-only", "-q", "tests"], 600, Imported(Path.cwd()), folder)
    for name in found.get("names", ()):
        if name.partition(".")[0] != LEFT_OUT:
            with contextlib.suppress(Exception):  # what wants settings first, such as Django's
                importlib.import_module(name)
    gc.collect()
    gc.freeze()


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
