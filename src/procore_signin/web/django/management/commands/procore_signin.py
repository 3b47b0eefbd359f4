"""`manage.py procore_signin users list`: a command of `procore-signin`, on this project's users."""

from __future__ import annotations

import sys
from argparse import REMAINDER
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from procore_signin._program import run
from procore_signin.errors import SettingsInvalid
from procore_signin.web.django.database import address
from procore_signin.web.django.installed import environment


class Command(BaseCommand):
    """Runs it in a process of its own, which gets the project's settings by its environment."""

    help = "Run a command of procore-signin on this project's users, such as: users list"
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take every word behind the name as it is."""
        parser.add_argument("words", nargs=REMAINDER, help="The command, as in `users list`.")

    def handle(self, *_args: Any, words: list[str], **_options: Any) -> None:
        """Run the command, and exit with its status."""
        try:
            where = address()
            own = environment(where)
        except SettingsInvalid as error:
            raise CommandError(str(error)) from error
        sys.exit(run(words, own, called=where.label.program, database=where.label.setting))
