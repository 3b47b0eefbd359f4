"""Tells of failed tests once more, in few lines: a log that keeps its end alone then has them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

LINES: Final = 10
"""Of a message, as many are told."""

FILE: Final = "PROCORE_SIGNIN_FAILURES"
"""The setting that names the file to add them to; `scripts/tests` prints it last."""


def told(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> str:
    """Return each failed test with the first lines of its message."""
    words = []
    for report in reports:
        crash = getattr(report.longrepr, "reprcrash", None)
        message = str(report.longrepr if crash is None else crash.message)
        lines = message.strip().splitlines()
        more = [f"… and {len(lines) - LINES} lines more"] if len(lines) > LINES else []
        words += [f"FAILED {report.nodeid}", *(f"    {line}" for line in [*lines[:LINES], *more])]
    return "".join(f"{line}\n" for line in words)


def take_file() -> str | None:
    """Return the file of the setting, which a pytest that a test starts must not add to."""
    return os.environ.pop(FILE, None)


def add_to_file(reporter: pytest.TerminalReporter, name: str | None) -> None:
    """Add what failed to the file of that name, if there is one."""
    if name is not None:
        failed = [*reporter.getreports("error"), *reporter.getreports("failed")]
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(told(failed))
