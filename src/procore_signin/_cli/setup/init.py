"""`procore-signin init`: write a `.env` that the application can start with."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import typer

from procore_signin import environments
from procore_signin._cli.failure import INTERRUPTED, CommandFailed
from procore_signin._cli.run.demo import new_key_id
from procore_signin._cli.setup import django_project
from procore_signin._settings import (
    EMULATOR_CLIENT_ID,
    EMULATOR_CLIENT_SECRET,
    Settings,
    default_of,
    env_file,
)
from procore_signin._store.keys.keyring import KeyRing
from procore_signin.errors import Problem, SettingsInvalid

_SECRET: Final = "PROCORE_CLIENT_SECRET"  # noqa: S105  # the name of the setting
_NEXT: Final = (
    ("procore-signin doctor    ", "checks it against Procore"),
    ("procore-signin db upgrade", "makes the tables; in Flask: flask procore-signin upgrade"),
    ("procore-signin serve     ", "starts the ready application, if you have none of your own"),
)
_IN_DJANGO: Final = (
    ("python manage.py migrate              ", "makes the tables in the project's database"),
    ("python manage.py procore_signin doctor", "checks it against Procore"),
)


@dataclass(frozen=True, slots=True)
class Given:
    """The values of the options; None if not given."""

    environment: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    redirect_uri: str | None = None
    database_url: str | None = field(default=None, repr=False)
    table_prefix: str | None = None

    @property
    def tables(self) -> dict[str, str]:
        """The settings that say where the tables are. No one is asked for them."""
        named = {
            "PROCORE_DATABASE_URL": self.database_url,
            "PROCORE_TABLE_PREFIX": self.table_prefix,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Question:
    """A setting to ask for.

    Attributes:
        option: The option that sets it.
        words: What to ask at a terminal.
        default: The value for an empty line, or None if a value is required.
    """

    option: str
    words: str
    default: str | None = None


Ask = Callable[[str, Question, Callable[[str], None]], str]
"""Asks for a setting: its name, the question, and a check that raises `BadParameter`."""


def run(given: Given, *, path: Path, force: bool, as_json: bool) -> None:
    """Write or complete the file at `path`.

    An existing key is never replaced, even with `force`: what it sealed would be lost.

    Raises:
        CommandFailed: Something is missing and there is no terminal to ask at.
        SettingsInvalid: The application would not start with this; the file is unchanged.
        OSError: The file cannot be written.
    """
    text = env_file.text_of(path)
    present = env_file.values_of(text)
    ask = _ask if sys.stdin.isatty() and not as_json else None
    values = answers(given, present, ask, force=force) | given.tables
    if "PROCORE_KEYS" not in present:
        key = KeyRing.generate(secrets.token_bytes, key_id=new_key_id())
        values["PROCORE_KEYS"] = key.reveal()
    completed = env_file.complete(text, values, force=force)
    kept = completed.kept + (("PROCORE_KEYS",) if "PROCORE_KEYS" in present else ())
    problems = _problems(env_file.values_of(completed.text))
    if problems:
        raise SettingsInvalid(problems)
    if completed.written:
        env_file.write(path, completed.text)
    _tell(completed.written, kept, path, as_json=as_json)


def answers(
    given: Given, present: Mapping[str, str], ask: Ask | None, *, force: bool = False
) -> dict[str, str]:
    """Return a value for each setting that `init` has to write.

    Args:
        given: The values of the options.
        present: The values in the file.
        ask: Asks for a value; None without a terminal.
        force: Also ask for settings that are present.

    Raises:
        CommandFailed: Something is missing and there is no terminal to ask at.
    """
    found: dict[str, str] = {}
    missing: list[str] = []

    def settle(name: str, option_value: str | None, question: Question) -> None:
        def check(answer: str) -> None:
            for problem in _problems({**present, **found, name: answer}):
                if problem.setting == name:
                    raise typer.BadParameter(f"It {problem.what}. {problem.cure}")

        default = present.get(name) or question.default
        if option_value:
            found[name] = option_value
        elif ask is not None and (force or name not in present):
            found[name] = ask(name, replace(question, default=default), check)
        elif name in present:
            return
        elif default is not None:
            found[name] = default
        else:
            missing.append(question.option)

    names = ", ".join(environments.NAMES)
    settle(
        "PROCORE_ENVIRONMENT",
        given.environment,
        Question("--environment", f"Procore environment ({names})"),
    )
    local = {**present, **found}.get("PROCORE_ENVIRONMENT") == "emulator"
    settle(
        "PROCORE_CLIENT_ID",
        given.client_id,
        Question("--client-id", "Client ID", EMULATOR_CLIENT_ID if local else None),
    )
    settle(
        _SECRET,
        given.client_secret,
        Question(
            "--client-secret-stdin", "Client secret", EMULATOR_CLIENT_SECRET if local else None
        ),
    )
    settle(
        "PROCORE_REDIRECT_URI",
        given.redirect_uri,
        Question(
            "--redirect-uri",
            "Redirect URI, as registered at Procore",
            default_of("PROCORE_REDIRECT_URI"),
        ),
    )
    if missing:
        raise CommandFailed(
            "Something is missing.",
            why="There is no terminal to ask at, and these options are missing: "
            f"{', '.join(missing)}.",
            cure="Give them, or start procore-signin init at a terminal.",
        )
    return found


def _ask(name: str, question: Question, check: Callable[[str], None]) -> str:
    hidden = name == _SECRET

    def checked(text: str) -> str:
        answer = text.strip()
        check(answer)
        return answer

    try:
        answer: str = typer.prompt(
            f"{question.words} (not shown while you type)" if hidden else question.words,
            default=question.default,
            hide_input=hidden,
            show_default=not hidden,
            value_proc=checked,
        )
    except typer.Abort:
        raise typer.Exit(INTERRUPTED) from None
    return answer


def _problems(values: Mapping[str, str]) -> tuple[Problem, ...]:
    """Return the problems that the application would report at startup."""
    try:
        Settings.load(values, None)
    except SettingsInvalid as invalid:
        return invalid.problems
    return ()


def _tell(written: tuple[str, ...], kept: tuple[str, ...], path: Path, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"file": str(path), "written": written, "kept": kept}, indent=2))
        return
    if written:
        typer.echo(f"Wrote {', '.join(written)} to {path}.")
    else:
        typer.echo(f"{path} already has everything; nothing was changed.")
    if kept:
        typer.echo(f"Kept: {', '.join(kept)}.")
    typer.echo(
        f"\nOnly you can read {path}. It holds secrets: keep it out of version control.\nNext:"
    )
    for command, purpose in _IN_DJANGO if django_project.is_here() else _NEXT:
        typer.echo(f"  {command}   {purpose}")
