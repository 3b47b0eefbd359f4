"""`manage.py migrate` makes and updates the sign-in's tables."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.management.base import CommandError
from django.db import connections

from procore_signin._store import migrate
from procore_signin.errors import SettingsInvalid, StoreUnavailable
from procore_signin.web.django import database


def bring_up_to_date() -> None:
    """Make the tables, or update them to this version.

    Raises:
        SettingsInvalid: The settings name no database that can be used.
        StoreUnavailable: As `migrate.upgrade` says.
    """
    alias, naming = database.alias(), database.naming()
    connection = connections[alias]
    if not database.goes_through_django(elsewhere=database.is_elsewhere()):
        migrate.upgrade(database.address())
    elif database.is_in_memory(connection):
        connection.ensure_connection()
        migrate.upgrade_in_memory(connection.connection, naming)
    else:
        migrate.upgrade(database.address_in(alias, naming))


def after_migrate(sender: AppConfig, using: str, **_: Any) -> None:
    """Hear Django's signal `post_migrate`, which also comes where tests make no migrations.

    In tests it comes after each flush, which empties the tables of models only: so ours are emptied
    here.
    """
    del sender
    if using != database.alias():
        return
    try:
        bring_up_to_date()
    except (SettingsInvalid, StoreUnavailable, ValueError) as error:
        raise CommandError(str(error)) from error
    if database.under_test():
        database.empty()
