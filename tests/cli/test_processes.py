"""Each command as a person starts it, in a Python of its own. Other tests fork one: `warm.py`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import typer
import warm
from commands import Command, clean_environment
from operating import NEW, OLD, add_person, store_in, write_settings

from procore_signin._cli.program import app

# The command, its exit status, and words that it prints.
ENDING = [
    ("init --environment emulator --file new.env", 0, "new.env"),
    ("doctor", 1, "emulator"),
    ("login --no-browser", 1, "No authorization code was pasted"),
    ("logout", 0, "logged in"),
    ("whoami", 3, "procore-signin login"),
    ("api /rest/v1.0/me", 3, "procore-signin login"),
    ("users list", 0, "person@example.com"),
    ("users show 1", 0, "person@example.com"),
    ("users tokens 1", 0, "GENERATION"),
    ("users disable 1 --yes", 1, "Procore has NOT confirmed"),
    ("users enable 1", 0, "enabled"),
    ("users disconnect 1 --yes", 1, "Procore has NOT confirmed"),
    ("users delete 1 --yes", 1, "disable"),
    ("sessions list", 0, "person@example.com"),
    ("sessions revoke 1 --yes", 0, "1 session"),
    ("keys list", 0, "old"),
    ("keys generate", 0, "Made the key"),
    ("keys promote new", 0, "new"),
    ("keys rotate", 0, "sealed again"),
    ("keys retire new --yes", 0, "new"),
    ("purge", 0, "had expired"),
    ("db upgrade", 0, "up to date"),
    ("db current", 0, "0004"),
    ("db downgrade 0001 --yes", 0, "0001"),
]
SERVERS = {"demo", "serve", "emulator"}  # test_demo.py, test_serve.py, test_emulator_command.py


@pytest.mark.parametrize(("line", "status", "words"), ENDING, ids=[line for line, *_ in ENDING])
def test_a_command_does_its_work_in_a_python_of_its_own(
    command: Command, line: str, status: int, words: str
) -> None:
    write_settings(command.folder, keys=f"{OLD},{NEW}")
    store = store_in(command.folder, OLD)
    add_person(store, 1)
    store.close()

    done = command.process(*line.split(), XDG_DATA_HOME=str(command.folder))

    assert done.status == status, done
    assert words in done.out + done.err


def test_no_command_is_left_out() -> None:
    tried = {" ".join(line.split()[:2]) for line, *_ in ENDING}

    def leaves(group: object, *above: str) -> set[str]:
        if not isinstance(group, typer.core.TyperGroup):
            return {" ".join(above)}
        return set().union(*(leaves(each, *above, name) for name, each in group.commands.items()))

    every = leaves(typer.main.get_command(app)) - SERVERS
    assert {each for each in every if not any(line.startswith(each) for line in tried)} == set()


def test_what_a_command_changes_ends_with_it(command: Command) -> None:
    before = {**os.environ}, Path.cwd(), signal.getsignal(signal.SIGINT)

    first = command("db", "upgrade", PROCORE_DATABASE_URL="sqlite:///other.db")
    second = command("db", "upgrade")

    assert (first.status, second.status) == (0, 0)
    assert "sqlite:///test.db" in second.out
    assert ({**os.environ}, Path.cwd(), signal.getsignal(signal.SIGINT)) == before
    assert {each.name for each in command.folder.iterdir()} >= {"other.db", "test.db"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_fork_ends_as_a_process_does(command: Command, number: int) -> None:
    words = ("login", "--environment", "emulator", "--no-browser")
    login = warm.interpreter().start(words, clean_environment(HOME="/"), command.folder)
    assert login.poll() is None

    login.send_signal(number)

    assert login.wait(20) == -number
    login.close()
