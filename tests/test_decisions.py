"""The pages in docs/decisions/: numbered without holes, and one for each dependency."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [*PROJECT["dependencies"], *(each for extra in EXTRAS.values() for each in extra)]
DEPENDENCIES = {re.split(r"[^A-Za-z0-9_.-]", each)[0] for each in REQUIREMENTS} - {PROJECT["name"]}
PAGES = {
    page.name: page.read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
}
PACKAGES = re.compile(r"^\*\*Packages\.\*\*.*?\n\n", re.MULTILINE | re.DOTALL)
"""What a page about dependencies begins with: their names in backticks, and those of extras."""


def packages(page: str) -> set[str]:
    """Return the names that `page` says it is about."""
    named = PACKAGES.search(PAGES[page])
    return set() if named is None else set(re.findall(r"`([a-z0-9-]+)(?:\[\w+\])?`", named[0]))


def test_decisions_are_numbered_from_1_without_holes() -> None:
    assert [int(page[:4]) for page in PAGES] == list(range(1, len(PAGES) + 1))


def test_a_decision_has_the_same_number_in_its_name_and_in_its_title() -> None:
    wrong = [page for page, text in PAGES.items() if not text.startswith(f"# {int(page[:4])}. ")]

    assert wrong == []


def test_every_dependency_has_a_decision() -> None:
    decided = {name for page in PAGES for name in packages(page)}

    assert DEPENDENCIES - decided == set(), "name it after **Packages.** in docs/decisions/"
    assert decided - DEPENDENCIES - EXTRAS.keys() == set(), "no dependency any more"


def test_a_decision_about_a_dependency_says_what_it_replaces() -> None:
    assert [page for page in PAGES if packages(page) and "**Replaces.**" not in PAGES[page]] == []
