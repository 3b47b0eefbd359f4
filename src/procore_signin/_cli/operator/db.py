"""`procore-signin db`: the version of the database's tables, and how to change it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import typer

from procore_signin._cli.failure import CommandFailed
from procore_signin._settings import default_of, env_file
from procore_signin._store import migrate
from procore_signin._store.engine.address import parse_address


def upgrade(database_url: str | None, *, as_json: bool) -> None:
    """Update the tables and print the result."""
    url, label = _database(database_url)
    before = migrate.current(url)
    migrate.upgrade(url)
    after = migrate.current(url)
    if as_json:
        _print_json(database=label, before=before, current=after)
    elif before == after:
        typer.echo(f"{label} was already up to date, at version {after}.")
    else:
        typer.echo(f"{label} is up to date, at version {after}.")


def current(database_url: str | None, *, as_json: bool) -> bool:
    """Print the version of the tables; return whether it is the needed one."""
    url, label = _database(database_url)
    found, needed = migrate.current(url), migrate.head()
    if as_json:
        _print_json(database=label, current=found, needed=needed)
    elif found == needed:
        typer.echo(f"{label} is up to date, at version {found}.")
    else:
        has = "has no tables of ours yet" if found is None else f"is at version {found}"
        typer.echo(f"{label} {has}; version {needed} is needed.")
        if found is not None and found > needed:
            typer.echo("A newer version has migrated it. This one goes on where that only added.")
        else:
            typer.echo("Run: procore-signin db upgrade")
    return found == needed


def downgrade(database_url: str | None, revision: str, *, as_json: bool) -> None:
    """Downgrade the tables to `revision` and print the result."""
    url, label = _database(database_url)
    before = migrate.current(url)
    migrate.downgrade(url, revision)
    after = migrate.current(url)
    if as_json:
        _print_json(database=label, before=before, current=after)
    else:
        typer.echo(f"{label} is at version {after or 'base'}.")


def _database(given: str | None) -> tuple[str, str]:
    """Return the database's address, and its display name, without a password.

    Only this setting is read: the tables may be needed before the other settings are valid.
    """
    url = (
        given
        or os.environ.get("PROCORE_DATABASE_URL")
        or env_file.read(Path(".env")).get("PROCORE_DATABASE_URL")
        or default_of("PROCORE_DATABASE_URL")
    )
    try:
        return url, parse_address(url).label
    except ValueError as error:
        raise CommandFailed(
            "The database cannot be used.",
            why=str(error),
            cure="Correct PROCORE_DATABASE_URL or --database-url, or install what it needs.",
        ) from None


def _print_json(**values: str | None) -> None:
    typer.echo(json.dumps(values, indent=2))
