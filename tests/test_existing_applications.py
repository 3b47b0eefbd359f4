"""The applications of `examples/existing/` before the sign-in, and what they need to have it.

What they are afterwards is tried in `browser/test_existing_applications.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from existing import COUNTED, DIFF, EXISTING, PAGE, SUITES, before
from pages import blocks_of


def added(diff: str) -> dict[str, list[str]]:
    """Return the lines that a diff adds or changes, by the file."""
    found: dict[str, list[str]] = {}
    for line in diff.splitlines():
        if line.startswith("+++ b/"):
            lines = found[line.removeprefix("+++ b/")] = []
        elif line.startswith("+"):
            lines.append(line[1:])
    return found


@pytest.mark.parametrize("name", SUITES)
def test_an_application_that_exists_needs_few_lines_and_the_page_shows_them_all(name: str) -> None:
    diff = (EXISTING / name / DIFF).read_text(encoding="utf-8")
    [shown] = [
        block for block in blocks_of(PAGE) if block.words == ("diff", f"from=existing/{name}")
    ]
    assert shown.text == diff
    lines = added(diff)
    templates = {file for file in lines if file.endswith(".html")}
    counted = [line for file, of_file in lines.items() if file not in templates for line in of_file]
    assert 0 < len(counted) <= COUNTED[name]
    assert max(map(len, counted)) <= 100
    in_templates = [line for file in templates for line in lines[file]]
    assert len(in_templates) <= 2 * len(templates)
    assert all("procore" in line for line in in_templates)


@pytest.mark.parametrize("name", SUITES)
def test_it_was_written_without_us(name: str) -> None:
    files = [path for path in (EXISTING / name).rglob("*") if path.is_file()]
    texts = {path: path.read_text(encoding="utf-8") for path in files if path.name != DIFF}
    assert [path for path, text in texts.items() if re.search("procore", text, re.IGNORECASE)] == []


@pytest.mark.parametrize("name", SUITES)
def test_its_own_tests_pass_before(name: str, tmp_path: Path) -> None:
    before(name, tmp_path).test()
