"""What holds for every command: help, usage, errors, time."""

from __future__ import annotations

import os
import re

import pytest
from commands import Command
from pace import slower

COMMANDS = [
    ("demo",),
    ("serve",),
    ("emulator",),
    ("init",),
    ("doctor",),
    ("login",),
    ("logout",),
    ("whoami",),
    ("api",),
    ("users",),
    ("sessions",),
    ("keys",),
    ("purge",),
    ("db",),
    ("db", "upgrade"),
    ("db", "current"),
    ("db", "downgrade"),
]


def test_help_names_every_command(command: Command) -> None:
    shown = command("--help").out

    assert {each[0] for each in COMMANDS} <= set(re.findall(r"^  ([a-z]+) ", shown, re.MULTILINE))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_command_explains_itself(command: Command, words: tuple[str, ...]) -> None:
    done = command(*words, "--help")

    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"Usage: procore-signin {' '.join(words)} ")


@pytest.mark.parametrize(
    "words", [("doctor",), ("init",), ("db", "upgrade"), ("db", "current"), ("db", "downgrade")]
)
def test_what_prints_data_prints_json_too(command: Command, words: tuple[str, ...]) -> None:
    assert "--json" in command(*words, "--help").out


def test_the_version_is_told(command: Command) -> None:
    assert re.fullmatch(r"procore-signin \d+\.\d+\.\d+\n", command("--version").out)


@pytest.mark.parametrize(
    "words", [(), ("serv",), ("serve", "--port", "x"), ("serve", "--port", "65536"), ("serve", "x")]
)
def test_wrong_usage_ends_with_2(command: Command, words: tuple[str, ...]) -> None:
    assert command(*words).status == 2


def test_help_is_quick(command: Command) -> None:
    """Commands import their rooms when they run. Processor time: the machine may be busy."""

    def seconds() -> float:
        before = os.times()
        command.process("--help")
        after = os.times()
        spent = after.children_user - before.children_user
        return spent + after.children_system - before.children_system

    assert any(seconds() < 0.3 * slower() for _ in range(5))


@pytest.mark.parametrize(
    "words", [("serve",), ("doctor",), ("db", "current", "--database-url", "mongodb://x")]
)
def test_what_goes_wrong_is_told_without_a_traceback(
    command: Command, words: tuple[str, ...]
) -> None:
    done = command.process(*words)

    assert (done.status, "Traceback" in done.err + done.out) == (1, False)
    assert "Cure" in done.err + done.out


def test_a_file_that_may_not_be_read_is_told_without_a_traceback(command: Command) -> None:
    (command.folder / ".env").mkdir()

    done = command("init", "--environment", "emulator")

    assert (done.status, done.out) == (1, "")
    assert done.err == "Error: The system refused: Is a directory (.env)\n"
