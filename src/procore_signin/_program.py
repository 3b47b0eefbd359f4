"""How this program is called, for messages that send their readers to one of its commands.

A command of a framework runs this program for the application's own database, and says so in the
environment: the same command without the framework would act on another database.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

_CALLED: Final = "PROCORE_SIGNIN_PROGRAM"
"""The variable that says how it is called."""

_DATABASE: Final = "PROCORE_SIGNIN_DATABASE"
"""The variable that says which setting of the framework's names the database."""

_TOLD: Final = "PROCORE_SIGNIN_TOLD"
"""The variable that says that the process before this one has told what is like a setting."""

_PLAIN: Final = "procore-signin"


def program() -> str:
    """Return how this program is called: `procore-signin`, or a framework's command before it."""
    return os.environ.get(_CALLED) or _PLAIN


def command(words: str) -> str:
    """Return what to type for a command, such as `users list`, that acts on this database."""
    return f"{program()} {words}"


def database_setting() -> str:
    """Return the setting that names this database, such as Django's `DATABASES["default"]`."""
    return os.environ.get(_DATABASE) or "PROCORE_DATABASE_URL"


def is_told() -> bool:
    """Return whether the process before this one has read the settings, and logged about them."""
    return _TOLD in os.environ


def run(
    words: Sequence[str],
    settings: Mapping[str, str],
    *,
    called: str,
    database: str,
    told: bool = False,
) -> int:
    """Run a command of this program in a process of its own, and return its status.

    Args:
        words: The command.
        settings: Its settings, as variables of its environment; the others are this process's.
        called: What `program` returns there.
        database: What `database_setting` returns there.
        told: What `is_told` returns there.
    """
    import subprocess  # noqa: PLC0415  # only commands of frameworks need it

    own = {**settings, _CALLED: called, _DATABASE: database} | ({_TOLD: "yes"} if told else {})
    line = [sys.executable, "-m", "procore_signin", *words]
    return subprocess.run(line, env=os.environ | own, check=False).returncode  # noqa: S603  # what the operator typed
