"""The applications of `examples/existing/`, before and after the page that adds the sign-in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pages import DOCS, ROOT, Block, path_of

EXISTING = ROOT / "examples" / "existing"
PAGE = DOCS / "how-to" / "existing-application.md"
DIFF = "add-sign-in.diff"
SUITES = {
    "flask": "-m pytest -q -p no:cacheprovider",
    "fastapi": "-m pytest -q -p no:cacheprovider",
    "django": "manage.py test",
}
"""How each application runs its own tests."""

COUNTED = {"flask": 10, "fastapi": 10, "django": 15}
"""The most lines that an application may need, besides those of its templates: the buttons."""


@dataclass(frozen=True)
class Existing:
    """One of the applications, in a folder of its own.

    Attributes:
        name: Which.
        folder: Where it is.
        environment: What its commands are given.
    """

    name: str
    folder: Path
    environment: dict[str, str]

    def run(self, command: str) -> str:
        """Run a command of a shell, which has to succeed; return what it prints."""
        done = subprocess.run(
            ["sh", "-euc", command],  # noqa: S607
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def test(self) -> None:
        """Run its own tests, which have to pass."""
        printed = self.run(f"python -B {SUITES[self.name]}")
        assert re.search(r"\n(?:Ran [345] tests|[345] passed) in ", printed), printed


def before(name: str, folder: Path) -> Existing:
    """Copy the application as it was."""
    copy = f"cp -r {EXISTING / name} {name}"
    Existing(name, folder, _environment(folder)).run(copy)
    return Existing(name, folder / name, _environment(folder))


def after(
    name: str, folder: Path, blocks: Sequence[Block], *, port: int, emulator_url: str
) -> Existing:
    """Do what the page says for the application in these blocks, at another port."""
    environment = _environment(folder) | {"PROCORE_EMULATOR_URL": emulator_url}
    commands = "".join(block.text for block in blocks)
    commands = commands.replace("path/to/procore-signin", str(ROOT)).replace("8000", str(port))
    Existing(name, folder, environment).run(commands)
    return Existing(name, folder / f"{name}-safety", environment)


def _environment(folder: Path) -> dict[str, str]:
    # As in a new shell, but for the address of an emulator at another port.
    language = {"LANG": os.environ.get("LANG", "C.UTF-8")}
    # The plugins that this project tests with are none of theirs, and take longer than their tests.
    plain = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return {"PATH": path_of(sys.executable), "HOME": str(folder), **language, **plain}
