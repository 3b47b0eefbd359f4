"""What `make test` says last of the tests that failed (`support/failures.py`)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from failures import FILE, LINES, take_file, told

ROOT = Path(__file__).parents[1]


def report(name: str, longrepr: object) -> pytest.TestReport:
    return pytest.TestReport(
        name,
        ("", None, ""),
        {},
        "failed",
        longrepr,  # type: ignore[arg-type]  # a text, as `pytest.fail(pytrace=False)` leaves it
        "call",
    )


def test_each_failed_test_is_told_with_the_first_lines_of_its_message() -> None:
    long = "\n".join(f"line {number}" for number in range(LINES + 3))

    words = told([report("a.py::test_a", "short"), report("b.py::test_b", long)]).splitlines()

    assert words[:4] == ["FAILED a.py::test_a", "    short", "FAILED b.py::test_b", "    line 0"]
    assert words[-2:] == [f"    line {LINES - 1}", "    … and 3 lines more"]


def test_a_pytest_that_a_test_starts_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILE, "failed.txt")
    assert take_file() == "failed.txt"
    assert FILE not in os.environ


def test_the_script_says_last_what_failed(tmp_path: Path) -> None:
    """With a Python in place of its own that fails as pytest does, and passes the second time."""
    script = tmp_path / "scripts" / "tests"
    python = tmp_path / ".venv" / "bin" / "python"
    for each in (script, python):
        each.parent.mkdir(parents=True)
    script.write_text((ROOT / "scripts" / "tests").read_text("utf-8"), "utf-8")
    python.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "  -c*) echo 2 ;;\n"
        f'  *"not browser"*) echo "FAILED test_a: why" >>"${FILE}"; exit 1 ;;\n'
        '  *pytest*) echo "1 passed" ;;\n'
        "esac\n",
        "utf-8",
    )
    python.chmod(0o755)

    done = subprocess.run(["/bin/sh", script], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == ["What failed, in short:", "FAILED test_a: why"]
