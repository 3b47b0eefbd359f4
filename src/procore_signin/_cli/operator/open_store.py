"""The database and the front door, opened with the settings in `.env` and the environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.setup import django_project
from procore_signin._client import ProcoreSignIn
from procore_signin._flow.running.async_runner import LONG_SECONDS
from procore_signin._settings import Settings, read_settings
from procore_signin._store import KeyRing, Store


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """Open the store for a block, after checking its tables.

    Raises:
        CommandFailed: The database's driver is missing.
        StoreUnavailable: The database does not respond or is not migrated.
    """
    try:
        store = Store(
            settings.address,
            KeyRing.parse(settings.keys),
            # No browser waits for a command, and some of them look at every row.
            timeout=max(settings.database_timeout, LONG_SECONDS),
        )
    except ValueError as error:
        raise unusable(error) from None
    try:
        store.probe()
        yield store
    finally:
        store.close()


@contextmanager
def open_door(settings: Settings) -> Iterator[ProcoreSignIn]:
    """Open the front door for a block, with logging.

    Raises:
        CommandFailed: The database's driver is missing.
        StoreUnavailable: The database does not respond or is not migrated.
    """
    from procore_signin._app.logs import configure_logs  # noqa: PLC0415  # lists need no logs

    configure_logs(level=settings.log_level)
    try:
        door = ProcoreSignIn.from_settings(settings)
    except ValueError as error:
        raise unusable(error) from None
    with door:
        door.store.probe()
        yield door


def load_settings() -> Settings:
    """Return the settings.

    Raises:
        SettingsInvalid: Names every setting that is missing or wrong.
    """
    django_project.tell()
    return read_settings()


def unusable(error: ValueError) -> CommandFailed:
    """Return the error for a database that cannot be opened at all."""
    return CommandFailed(
        "The database cannot be used.",
        why=str(error),
        cure="Correct PROCORE_DATABASE_URL, or install what it needs.",
    )
