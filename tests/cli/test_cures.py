"""Cures name the command that acts on this database, also through a framework's command."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Command

import procore_signin

ROOT = Path(procore_signin.__file__).parent
ACTS_ON_A_DATABASE = re.compile(r"procore-signin (db|users|sessions|keys|purge|doctor)\b")
BEFORE_THERE_IS_ONE = {"_cli/setup/init.py"}
"""Writes the settings, and knows by itself which commands come next."""


def texts(path: Path) -> Iterator[str]:
    """Find every text of a module that is no docstring and no comment."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


def test_no_message_spells_out_how_this_program_is_called() -> None:
    modules = {path.relative_to(ROOT).as_posix(): path for path in ROOT.rglob("*.py")}
    found = {
        name: text
        for name, path in modules.items()
        for text in texts(path)
        if ACTS_ON_A_DATABASE.search(text) and not name.startswith("_emulator")
    }
    assert set(found) == BEFORE_THERE_IS_ONE, "see _program.py"


@pytest.mark.parametrize("words", [("users", "show", "7"), ("keys", "retire", "k9")])
def test_through_a_frameworks_command_cures_begin_with_that(
    words: tuple[str, ...], command: Command
) -> None:
    settings = {
        "PROCORE_ENVIRONMENT": "emulator",
        "PROCORE_KEYS": "k1:" + "A" * 43,
        "PROCORE_SIGNIN_PROGRAM": "python manage.py procore_signin",
    }
    unmigrated = command(*words, **settings)
    assert "python manage.py procore_signin db upgrade" in unmigrated.err
    command("db", "upgrade", **settings)
    unknown = command(*words, **settings)
    assert f": python manage.py procore_signin {words[0]} list" in unknown.err


def test_the_cure_for_a_database_that_is_named_in_the_command_names_it_as_well(
    command: Command,
) -> None:
    command("db", "upgrade")
    elsewhere = command("db", "current", "--database-url", "sqlite:///other.db")
    assert "Run: procore-signin db upgrade --database-url" in elsewhere.out
