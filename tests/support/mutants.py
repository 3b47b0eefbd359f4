"""The breaks of `tests/mutants/*.toml`, and what the security rows and their page say of them.

A break is a text that is found exactly once in a file, and the text to put in its place. So it
lasts through most refactorings; when it does not, `trouble` says which one has to be renewed.
`tests/mutants` puts them in one at a time and runs the tests of the row.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
BREAKS: Final = ROOT / "tests" / "mutants"
PACKAGE: Final = Path("src/procore_signin")
ROWS: Final = ROOT / "docs/explanation/security-rows.md"
PAGE: Final = ROOT / "docs/explanation/mutants.md"
ROW: Final = re.compile(
    r"^\| ([A-Z]\d+) \| (.+?) \| (holds|part|waits) \| ?(.*?) ?\| ?(.*?) ?\|$", re.MULTILINE
)
VERDICT: Final = re.compile(r"^\| ([A-Z]\d+) \| (.+?) \| `(.+?)` \| (\d+\.\d) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One break of the code.

    Attributes:
        row: The id of the security row that it breaks.
        name: What is wrong with the code then, in a few words.
        why: What an attacker or an accident could do then.
        file: Where, below `src/procore_signin` or below the root.
        before: The text that is found there exactly once.
        after: The text in its place.
    """

    row: str
    name: str
    why: str
    file: str
    before: str
    after: str

    @property
    def title(self) -> str:
        return f"{self.row}: {self.name}"

    @property
    def place(self) -> Path:
        """Where it is, below the root."""
        inside = PACKAGE / self.file
        return inside if (ROOT / inside).exists() else Path(self.file)

    def applied(self, text: str) -> str:
        """Return the file with the break in it."""
        return text.replace(self.before, self.after)

    def trouble(self) -> str | None:
        """Return why it has to be renewed, or None if it can be put in."""
        path = ROOT / self.place
        if not path.exists():
            return f"{self.title}: there is no file {self.file}"
        text = path.read_text(encoding="utf-8")
        count = text.count(self.before)
        if count != 1:
            return f"{self.title}: its text is {count} times in {self.file}, and not once"
        if path.suffix == ".py":
            try:
                ast.parse(self.applied(text))
            except SyntaxError as error:
                return f"{self.title}: {self.file} is not Python then, at line {error.lineno}"
        return None


@cache
def mutants() -> tuple[Mutant, ...]:
    """Return all breaks, in the order of the rows."""
    found = [
        Mutant(row, **{name: text.strip("\n") for name, text in each.items()})
        for path in BREAKS.glob("*.toml")
        for row, several in tomllib.loads(path.read_text(encoding="utf-8")).items()
        for each in several
    ]
    order = list(listed_rows())
    return tuple(sorted(found, key=lambda each: order.index(each.row) if each.row in order else -1))


@dataclass(frozen=True, slots=True)
class ListedRow:
    """What the page says of a security row."""

    state: str
    note: str
    broken_by: str


@cache
def listed_rows() -> dict[str, ListedRow]:
    """Return the rows of the page, by id."""
    return {row: ListedRow(*rest) for row, _, *rest in ROW.findall(ROWS.read_text("utf-8"))}


def broken_by(row: str) -> str:
    """Return what the page has to say in the last column of a row."""
    return "; ".join(each.name for each in mutants() if each.row == row)


def shown_verdicts() -> dict[tuple[str, str], tuple[str, str]]:
    """Return what the page of the breaks says: test and seconds, by row and name."""
    lines = VERDICT.findall(PAGE.read_text(encoding="utf-8"))
    return {(row, name): (test, seconds) for row, name, test, seconds in lines}


@cache
def named_after_rows() -> dict[str, list[str]]:
    """Return the tests that have a row's id in their name, as pytest names them."""
    found = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        file = path.relative_to(ROOT).as_posix()
        classes = {each.name: each.body for each in module.body if isinstance(each, ast.ClassDef)}
        for place, body in {"": module.body, **classes}.items():
            for test in body:
                if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
                    ids = re.match(r"test_((?:[A-Z]\d+_)+)", test.name)
                    for row in ids[1].rstrip("_").split("_") if ids else ():
                        found[row].append("::".join(filter(None, (file, place, test.name))))
    return found
