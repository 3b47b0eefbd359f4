"""The page about coverage names tests that exist, and a switch for everything inferred."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest
from pages import DOCS

from procore_signin.emulator import FAULT_KINDS, EmulatorOptions

HERE = Path(__file__).parent
TEXT = (DOCS / "explanation" / "emulator-coverage.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| Behaviour")
]
GRADED = [row for row in ROWS if len(row) == 4]
SWITCHES = {field.name for field in fields(EmulatorOptions)} | set(FAULT_KINDS)


def found_in(file: str) -> set[str]:
    """Return the tests of a file, those of a class with its name before them."""
    found = set()
    for node in ast.parse((HERE / file).read_text(encoding="utf-8")).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {f"{prefix}{one.name}" for one in inside if isinstance(one, ast.FunctionDef)}
    return found


def test_there_are_rows() -> None:
    assert len(ROWS) > 60
    assert {2, 4} == {len(row) for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_test_that_a_row_names_exists(row: list[str]) -> None:
    file, _, name = row[-1].strip("`").partition("::")
    assert name in found_in(file)


@pytest.mark.parametrize("row", GRADED, ids=lambda row: row[0])
def test_what_is_inferred_has_a_switch_and_every_switch_exists(row: list[str]) -> None:
    grades = set(re.findall(r"doc|oas|live|sdk|inferred", row[1]))
    assert grades
    switch = row[2].strip("`")
    assert switch in SWITCHES or (not switch and "inferred" not in grades)


def test_every_switch_about_behaviour_is_on_the_page() -> None:
    about_the_client = {"client_id", "client_secret", "client_name", "redirect_uris", "seed"}
    named = {row[2].strip("`") for row in GRADED} | {"spike_limit"}  # beside the hourly one
    assert {field.name for field in fields(EmulatorOptions)} - about_the_client <= named
