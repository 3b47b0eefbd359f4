"""The faults that were mended, put back one at a time: the simulator must find each.

`faults.toml` has them, as texts that are found exactly once, and what stands in their place then.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
SOURCE = Path("src") / "procore_signin"


@dataclass(frozen=True, slots=True)
class Change:
    """One text of a file below `src/procore_signin`, and the one in its place."""

    file: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that was mended.

    Attributes:
        name: What is wrong then.
        changes: What puts it back.
        first: The seed to begin with: of a rare one, shortly before the one that shows it.
        plan: The schedule of `plans.toml` that shows it, of one that chance meets too seldom.
    """

    name: str
    changes: tuple[Change, ...]
    first: int = 0
    plan: str | None = None

    def trouble(self) -> list[str]:
        """Return which of its texts are not there exactly once."""
        found = []
        for each in self.changes:
            text = (ROOT / SOURCE / each.file).read_text(encoding="utf-8")
            if text.count(each.before) != 1:
                found.append(f"{self.name}: {text.count(each.before)} times in {each.file}")
        return found


def _read() -> tuple[Fault, ...]:
    text = Path(__file__).with_name("faults.toml").read_text(encoding="utf-8")
    return tuple(
        Fault(
            each["name"],
            tuple(
                Change(one["file"], one["before"].strip("\n"), one["after"].strip("\n"))
                for one in each["change"]
            ),
            each.get("first", 0),
            each.get("plan"),
        )
        for each in tomllib.loads(text)["fault"]
    )


FAULTS = _read()


@contextmanager
def applied(fault: Fault) -> Iterator[Path]:
    """Give a copy of the source that has the fault.

    Raises:
        ValueError: It has to be renewed.
    """
    if fault.trouble():
        raise ValueError("; ".join(fault.trouble()))
    with TemporaryDirectory(prefix="procore-signin-fault-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / SOURCE, source / "procore_signin", ignore=_LEFT_OUT)
        for each in fault.changes:
            path = source / "procore_signin" / each.file
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(each.before, each.after), encoding="utf-8")
        yield source


_LEFT_OUT = shutil.ignore_patterns("__pycache__", "static", "templates", "openapi")


def found_by(fault: Fault, most: int) -> str | None:
    """Search the source with the fault, and return what was found, or None."""
    chance = ("--until-broken", "--schedules", str(most), "--first", str(fault.first))
    how = chance if fault.plan is None else ("--plan", fault.plan)
    with applied(fault) as source:
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", *how],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(source)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in {0, 1} or "Traceback" in done.stderr:
        raise RuntimeError(done.stderr[-2000:])
    broken = [line for line in done.stdout.splitlines() if line.startswith("BROKEN")]
    if broken and any(name in broken[0] for name in _CANNOT_RUN):
        raise RuntimeError(f"{fault.name} has to be renewed: {broken[0]}")
    return broken[0] if broken else None


_CANNOT_RUN = ("NameError(", "UnboundLocalError(", "ImportError(")
"""What a text raises that does not fit the code any more: a fault that cannot run is not found."""
