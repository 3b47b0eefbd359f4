"""The list of security rows and the tests that carry their ids must agree."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
COUNTS = {
    "A": 12,
    "C": 14,
    "T": 11,
    "I": 7,
    "S": 8,
    "K": 10,
    "V": 7,
    "R": 15,
    "P": 5,
    "O": 14,
    "E": 7,
    "F": 4,
    "N": 8,
}
IDS = {f"{letter}{number}" for letter, most in COUNTS.items() for number in range(1, most + 1)}
ROW = re.compile(r"^\| ([A-Z]\d+) \| (.+?) \| (holds|part|waits) \| ?(.*?) ?\|$", re.MULTILINE)


@cache
def listed_rows() -> dict[str, tuple[str, str]]:
    text = (ROOT / "docs/explanation/security-rows.md").read_text()
    return {row: (state, note) for row, _, state, note in ROW.findall(text)}


@cache
def rows_of_tests() -> dict[str, list[str]]:
    found = defaultdict(list)
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                ids = re.match(r"test_((?:[A-Z]\d+_)+)", node.name)
                for row in ids[1].rstrip("_").split("_") if ids else ():
                    found[row].append(node.name)
    return found


def test_every_row_is_listed_once() -> None:
    assert set(listed_rows()) == IDS


def test_a_row_that_holds_has_a_test_named_after_it() -> None:
    rows = {row for row, (state, _) in listed_rows().items() if state in {"holds", "part"}}

    assert sorted(rows - set(rows_of_tests())) == []


def test_a_row_that_does_not_hold_whole_says_what_waits_and_for_what() -> None:
    silent = [row for row, (state, note) in listed_rows().items() if state != "holds" and not note]

    assert silent == []


def test_no_test_names_a_row_that_does_not_exist() -> None:
    assert set(rows_of_tests()) <= IDS
