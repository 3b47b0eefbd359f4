"""The page about scripts, followed to the letter."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import run_by
from terminal import Terminal

from procore_signin._cli.personal.json_query import compile_query
from procore_signin.emulator import Emulator

PAGE = (Path(__file__).parents[2] / "docs/how-to/scripts.md").read_text(encoding="utf-8")
DOCUMENT = [{"id": 1, "name": "A", "company": {"id": 8089}}]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with Emulator.started() as emulator:
        yield Terminal(emulator, tmp_path)


def test_its_commands_do_what_they_say_in_their_order(terminal: Terminal) -> None:
    [block] = run_by("scripts")
    lines = [shlex.split(line) for line in block.text.splitlines()]
    assert {line[0] for line in lines} == {"procore-signin"}
    login, *others, logout = [line[1:] for line in lines]
    assert login == ["login", "--environment", "emulator"]

    assert terminal.log_in().status == 0
    done = [terminal.run(*words) for words in (*others, logout)]

    assert [each.status for each in done] == [0] * len(done)
    assert done[-2].out == '[{"id":2783683,"name":"Sandbox Test Project"}]\n'
    assert terminal.emulator.live_grants() == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("[0].name", "A"),
        ("[].company.id", [8089]),
        ("[-1]", DOCUMENT[0]),
        ('[0]."name"', "A"),
        ("[].{id: id, company: company.id}", [{"id": 1, "company": 8089}]),
        ("[?company.id == `8089`].name", ["A"]),
        ("join(', ', [].name)", "A"),
        ('join(`"\\n"`, [].name)', "A"),
        ("length(@)", 1),
        ("keys([0])", ["id", "name", "company"]),
    ],
)
def test_its_queries_are_right(query: str, found: object) -> None:
    assert f"| {code(query)} |" in PAGE
    assert found == compile_query(query)(DOCUMENT)


def code(text: str) -> str:
    """Return `text` as Markdown shows it: two backticks hold one."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def test_it_names_every_option_of_api(terminal: Terminal) -> None:
    shown = set(re.findall(r"--[a-z-]+", terminal.run("api", "--help").out)) - {"--help"}

    long_names = {"--header": "-H", "--raw-field": "-f", "--field": "-F"}
    assert [
        name for name in shown if f"{long_names.get(name, name)} " not in PAGE.replace("`", " ")
    ] == []
