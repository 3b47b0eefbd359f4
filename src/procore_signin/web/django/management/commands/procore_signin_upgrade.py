"""`manage.py procore_signin_upgrade`: make the sign-in's tables, or bring them up to date."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from procore_signin._store.migrate import upgrade
from procore_signin.errors import SettingsInvalid, StoreUnavailable
from procore_signin.web.django.installed import database_url


class Command(BaseCommand):
    """Brings the tables to this version's. Safe to repeat, and to run in several places at once."""

    help = "Make the tables of the sign-in with Procore, or bring them up to date."
    requires_system_checks = ()

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Do it."""
        try:
            upgrade(database_url())
        except (SettingsInvalid, StoreUnavailable, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write("The tables of the sign-in are up to date.")
