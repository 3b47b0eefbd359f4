from __future__ import annotations

import json
import os
import pty
import re
import select
import stat
import subprocess

import pytest
import typer
from commands import PROGRAM, Command, clean_environment

from procore_signin._cli.setup.init import Given, Question, answers
from procore_signin._settings import Settings

REAL = ("--environment", "sandbox", "--client-id", "fake-id", "--client-secret-stdin")


def test_options_alone_make_a_file_that_the_application_accepts(command: Command) -> None:
    done = command("init", *REAL, stdin="fake-secret\n")
    settings = Settings.load({}, command.folder / ".env")

    assert done.status == 0
    assert (settings.environment.name, settings.client_id) == ("sandbox", "fake-id")
    assert settings.client_secret.reveal() == "fake-secret"
    assert settings.redirect_uri == "http://localhost:4567/callback"


def test_O1_nothing_that_is_printed_is_secret(command: Command) -> None:
    done = command("init", *REAL, stdin="fake-secret\n")
    key = Settings.load({}, command.folder / ".env").keys.reveal()

    assert "fake-secret" not in done.out + done.err
    assert key.partition(":")[2] not in done.out + done.err


def test_only_the_owner_may_read_the_file(command: Command) -> None:
    command("init", "--environment", "emulator")

    assert stat.S_IMODE((command.folder / ".env").stat().st_mode) == 0o600


def test_the_emulator_needs_no_more_than_its_name(command: Command) -> None:
    command("init", "--environment", "emulator")

    assert Settings.load({}, command.folder / ".env").client_id == "emulator-client-id"


def test_tables_may_be_in_a_database_of_the_applications(command: Command) -> None:
    where = ("--database-url", "sqlite:///app.db", "--table-prefix", "procore_signin_")
    command("init", "--environment", "emulator", *where)
    settings = Settings.load({}, command.folder / ".env")

    assert (settings.database_url, settings.table_prefix) == ("sqlite:///app.db", "procore_signin_")
    assert command("init", "--force", *where[:3], "1").status == 1, "a prefix begins with a letter"


def test_it_says_what_comes_next(command: Command) -> None:
    shown = command("init", "--environment", "emulator").out

    named = re.findall(r"procore-signin (\w+)", shown)
    assert named == ["doctor", "db", "upgrade", "serve"], "upgrade is Flask's own"
    assert "in Flask: flask procore-signin upgrade" in shown


def test_in_a_django_project_its_own_commands_come_next(command: Command) -> None:
    (command.folder / "manage.py").touch()
    shown = command("init", "--environment", "emulator").out

    assert re.findall(r"python (manage.py \w+)", shown) == [
        "manage.py migrate",
        "manage.py procore_signin",
    ]
    assert "procore-signin " not in shown


def test_a_second_time_changes_nothing(command: Command) -> None:
    command("init", *REAL, stdin="fake-secret\n")
    before = (command.folder / ".env").read_bytes()

    done = command("init", "--json")

    assert (command.folder / ".env").read_bytes() == before
    assert json.loads(done.out) == {"file": ".env", "written": [], "kept": ["PROCORE_KEYS"]}


def test_an_option_does_not_replace_a_value(command: Command) -> None:
    command("init", *REAL, stdin="fake-secret\n")

    done = command("init", "--client-id", "other-id", "--json")

    assert Settings.load({}, command.folder / ".env").client_id == "fake-id"
    assert json.loads(done.out)["kept"] == ["PROCORE_CLIENT_ID", "PROCORE_KEYS"]


def test_force_replaces_what_is_given_and_nothing_else(command: Command) -> None:
    command("init", *REAL, stdin="fake-secret\n")
    before = Settings.load({}, command.folder / ".env")

    command("init", "--force", "--client-id", "other-id")
    after = Settings.load({}, command.folder / ".env")

    assert (after.client_id, after.keys == before.keys) == ("other-id", True)
    assert after.client_secret == before.client_secret


def test_comments_and_other_lines_stay(command: Command) -> None:
    path = command.folder / ".env"
    path.write_text("# mine\nOTHER=1\nPROCORE_KEYS=\n", encoding="utf-8")

    command("init", "--environment", "emulator")

    assert path.read_text(encoding="utf-8").startswith("# mine\nOTHER=1\nPROCORE_KEYS=k")


def test_without_a_terminal_what_is_missing_is_named(command: Command) -> None:
    done = command("init", "--environment", "sandbox")

    assert (done.status, (command.folder / ".env").exists()) == (1, False)
    assert "--client-id, --client-secret-stdin" in done.err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--environment", "sandbx"), "PROCORE_ENVIRONMENT"),
        (("--redirect-uri", "http://example.com/callback"), "PROCORE_REDIRECT_URI"),
        (("--client-id", "your-client-id"), "PROCORE_CLIENT_ID"),
    ],
)
def test_what_the_application_would_refuse_is_not_written(
    command: Command, options: tuple[str, str], named: str
) -> None:
    done = command("init", *REAL, *options, stdin="fake-secret\n")

    assert (done.status, (command.folder / ".env").exists()) == (1, False)
    assert named in done.err


def test_another_file_can_be_named(command: Command) -> None:
    command("init", "--environment", "emulator", "--file", "other.env")

    assert [path.name for path in command.folder.iterdir()] == ["other.env"]


def test_a_person_is_asked_for_what_is_missing_only() -> None:
    asked = []

    def ask(name: str, question: Question, _check: object) -> str:
        asked.append(name)
        return question.default or "typed"

    found = answers(
        Given(client_id="by-option"), {"PROCORE_ENVIRONMENT": "sandbox"}, ask, force=False
    )

    assert asked == ["PROCORE_CLIENT_SECRET", "PROCORE_REDIRECT_URI"]
    assert found["PROCORE_CLIENT_ID"] == "by-option"


def test_force_asks_again_and_offers_the_present_value() -> None:
    offered = {}

    def ask(name: str, question: Question, _check: object) -> str:
        offered[name] = question.default
        return "typed"

    answers(Given(), {"PROCORE_ENVIRONMENT": "sandbox"}, ask, force=True)

    assert offered["PROCORE_ENVIRONMENT"] == "sandbox"


def test_a_wrong_answer_is_refused_at_once_with_the_cure() -> None:
    def ask(name: str, _question: Question, check: object) -> str:
        assert callable(check)
        if name == "PROCORE_ENVIRONMENT":
            with pytest.raises(typer.BadParameter, match="Did you mean sandbox"):
                check("sandbx")
        return "sandbox"

    answers(Given(), {}, ask)


def test_at_a_terminal_the_secret_is_not_shown_while_it_is_typed(command: Command) -> None:
    person, terminal = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "init"],
        cwd=command.folder,
        env=clean_environment(),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    shown = ""
    try:
        for question, answer in [
            ("emulator): ", "sandbox"),
            ("Client ID: ", "fake-id"),
            ("while you type): ", "fake-secret"),
            ("callback]: ", ""),
        ]:
            shown += read_until(person, question)
            os.write(person, f"{answer}\n".encode())
        shown += read_until(person, "procore-signin serve")
        status = process.wait(timeout=20)
    finally:
        process.kill()
        process.wait()
        os.close(person)

    assert status == 0
    assert ("fake-id" in shown, "fake-secret" in shown) == (True, False)
    assert Settings.load({}, command.folder / ".env").client_secret.reveal() == "fake-secret"


def read_until(descriptor: int, words: str) -> str:
    seen = ""
    while words not in seen:
        ready, _, _ = select.select([descriptor], [], [], 20)
        assert ready, f"{words!r} did not come after {seen!r}"
        seen += os.read(descriptor, 4096).decode()
    return seen
