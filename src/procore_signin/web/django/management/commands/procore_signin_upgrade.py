"""`manage.py procore_signin_upgrade`: what `migrate` does for the sign-in's tables, and no more."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from procore_signin.errors import SettingsInvalid, StoreUnavailable
from procore_signin.web.django.tables import bring_up_to_date


class Command(BaseCommand):
    """Updates the tables to this version. Safe to repeat, and to run in several places at once."""

    help = "Create or update the tables of the sign-in with Procore."
    requires_system_checks = ()

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Update the tables."""
        try:
            bring_up_to_date()
        except (SettingsInvalid, StoreUnavailable, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write("The tables of the sign-in are up to date.")
