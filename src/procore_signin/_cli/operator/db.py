"""`procore-signin db`: the version of the database's tables, and how to change it."""

from __future__ import annotations

import json

import typer

from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.setup import django_project
from procore_signin._settings import read_address
from procore_signin._store import migrate
from procore_signin._store.engine.address import Address
from procore_signin.errors import SettingsInvalid


def upgrade(database_url: str | None, *, beside: bool, as_json: bool) -> None:
    """Update the tables and print the result."""
    address = _address(database_url)
    before = migrate.current(address)
    migrate.upgrade(address, beside=beside)
    after = migrate.current(address)
    if as_json:
        _print_json(database=address.label, before=before, current=after)
    elif before == after:
        typer.echo(f"{address.label} was already up to date, at version {after}.")
    else:
        typer.echo(f"{address.label} is up to date, at version {after}.")


def current(database_url: str | None, *, as_json: bool) -> bool:
    """Print the version of the tables; return whether it is the needed one."""
    address = _address(database_url)
    found, needed = migrate.current(address), migrate.head()
    if as_json:
        _print_json(database=address.label, current=found, needed=needed)
    elif found == needed:
        typer.echo(f"{address.label} is up to date, at version {found}.")
    else:
        has = "has no tables of ours yet" if found is None else f"is at version {found}"
        typer.echo(f"{address.label} {has}; version {needed} is needed.")
        if found is not None and found > needed:
            typer.echo("A newer version has migrated it. This one goes on where that only added.")
        else:
            typer.echo(f"Run: {address.label.upgrade}")
    return found == needed


def downgrade(database_url: str | None, revision: str, *, as_json: bool) -> None:
    """Downgrade the tables to `revision` and print the result."""
    address = _address(database_url)
    before = migrate.current(address)
    migrate.downgrade(address, revision)
    after = migrate.current(address)
    if as_json:
        _print_json(database=address.label, before=before, current=after)
    else:
        typer.echo(f"{address.label} is at version {after or 'base'}.")


def _address(database_url: str | None) -> Address:
    """Return where the tables are: in the database of the option, if it is given.

    Only the settings that say so are read: the tables may be needed before the others are valid.
    """
    given = {} if database_url is None else {django_project.DATABASE: database_url}
    if database_url is None:
        django_project.tell()
    try:
        address = read_address(given)
    except SettingsInvalid as error:
        raise CommandFailed(
            "The database cannot be used.",
            why=" ".join(
                [*(f"{each.setting} {each.what}." for each in error.problems), error.hint or ""]
            ).rstrip(),
            cure=" ".join(each.cure for each in error.problems),
        ) from None
    if database_url is not None:
        address.label.upgrade += " --database-url <as here>"  # the address may have a password
    return address


def _print_json(**values: str | None) -> None:
    typer.echo(json.dumps(values, indent=2))
