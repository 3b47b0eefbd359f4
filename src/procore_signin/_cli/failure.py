"""The error output of a command: what happened, why, and the cure."""

from __future__ import annotations

import os
from typing import Final

import typer

from procore_signin._settings.env_file import EnvFileUnusable
from procore_signin.errors import ProcoreSignInError, SettingsInvalid

FAILED: Final = 1
INTERRUPTED: Final = 130


class CommandFailed(Exception):
    """A command cannot go on. Shown to the user, never as a traceback.

    Attributes:
        what: What happened, as a sentence.
        why: The reason, as a sentence.
        cure: What to do about it, as a sentence.
    """

    def __init__(self, what: str, *, why: str, cure: str) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.cure = cure


def complain(trouble: CommandFailed | EnvFileUnusable | ProcoreSignInError | OSError) -> None:
    """Write `trouble` to standard error."""
    match trouble:
        case CommandFailed() | EnvFileUnusable():
            lines = [trouble.what, f"  Why:  {trouble.why}", f"  Cure: {trouble.cure}"]
        case SettingsInvalid():
            count = len(trouble.problems)
            lines = [f"{count} setting{'s need' if count > 1 else ' needs'} attention."]
            for problem in trouble.problems:
                lines += [f"  {problem.setting}: {problem.what}", f"    Cure: {problem.cure}"]
            lines += [] if trouble.hint is None else [f"  {trouble.hint}"]
        case ProcoreSignInError():
            told = trouble.hint is None or trouble.hint in str(trouble)
            lines = [str(trouble), *([] if told else [f"  Cure: {trouble.hint}"])]
        case OSError():
            place = f" ({trouble.filename})" if trouble.filename else ""
            lines = [f"The system refused: {os.strerror(trouble.errno or 0)}{place}"]
    typer.secho(f"Error: {lines[0]}", fg="red", err=True)
    for line in lines[1:]:
        typer.echo(line, err=True)
