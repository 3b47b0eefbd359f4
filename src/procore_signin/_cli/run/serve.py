"""`procore-signin serve`: the application, after checking its settings and its database."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import typer

from procore_signin._app import server
from procore_signin._app.listeners import listen
from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.run.ports import (
    addresses_to_hold,
    choose_port,
    not_listening,
    whoever_answers_at_localhost,
)
from procore_signin._cli.run.stop_with_parent import stop_when_standard_input_ends
from procore_signin._program import command
from procore_signin._settings import Settings
from procore_signin._store import KeyRing, Store
from procore_signin._store.engine.address import Address
from procore_signin._store.rotation.rewrap import UnknownKeyIds
from procore_signin.environments import LOOPBACK_HOSTS
from procore_signin.errors import StoreUnavailable

CHILD_STOP_SECONDS: Final = 2
_PORT_OPTION: Final = "serve --port"


def run(*, host: str, port: int, workers: int, migrate: bool, as_child: bool) -> int:
    """Serve until a signal.

    Args:
        host: The address to listen at.
        port: The port; 0 for a free one.
        workers: The number of processes.
        migrate: Update the database's tables if necessary.
        as_child: Print nothing, stop with the parent process, and stop soon.

    Returns:
        The number of the signal that ended it.

    Raises:
        SettingsInvalid: Names every setting that is missing or wrong.
        StoreUnavailable: The database does not respond or is not migrated.
        CommandFailed: The port is taken, or the database's driver is missing.
    """
    if as_child:
        stop_when_standard_input_ends()
    settings = Settings.load(os.environ, Path(".env"))
    prepare_database(settings, migrate=migrate)
    localhost = urlsplit(settings.redirect_uri).hostname == "localhost"
    port = choose_port(host, port, option=_PORT_OPTION, localhost=localhost)
    sockets = _hold(settings, host, port)
    if not as_child:
        typer.echo(_announcement(settings, host, port))
    return server.serve(
        host=host,
        port=port,
        workers=workers,
        stop_seconds=CHILD_STOP_SECONDS if as_child else server.STOP_SECONDS,
        sockets=sockets,
    )


def _hold(settings: Settings, host: str, port: int) -> list[socket.socket]:
    """Listen at every address where browsers on this machine look for the application (row K9).

    With another host name there is nothing to hold: no other program can take it, and workers that
    share their port share the load more evenly.
    """
    named = urlsplit(settings.redirect_uri).hostname
    if named is None or named not in LOOPBACK_HOSTS:
        return []
    try:
        return listen(addresses_to_hold(host, named), port)
    except OSError as error:
        raise not_listening(error, str(error.filename), port, _PORT_OPTION) from None


def prepare_database(settings: Settings, *, migrate: bool) -> None:
    """Check that the database is reachable and up to date, and migrate it if wanted.

    Raises:
        StoreUnavailable: It is not. The message gives the reason and the cure.
        CommandFailed: Its driver is missing, or a key that it needs.
    """
    try:
        store = Store(settings.address, KeyRing.parse(settings.keys))
    except ValueError as error:
        raise CommandFailed(
            "The database cannot be used.",
            why=str(error),
            cure="Correct PROCORE_DATABASE_URL, or install what it needs.",
        ) from None
    try:
        _bring_up_to_date(store, settings, migrate=migrate)
        _refuse_missing_keys(store)
    finally:
        store.close()


def _bring_up_to_date(store: Store, settings: Settings, *, migrate: bool) -> None:
    try:
        store.probe()
    except StoreUnavailable:
        if not migrate:
            raise
        # In a separate process: otherwise Alembic would stay in the server's memory.
        upgrading = multiprocessing.Process(target=_upgrade, args=(settings.address,))
        upgrading.start()
        upgrading.join()
        store.probe()


def _upgrade(address: Address) -> None:
    from procore_signin._store.migrate import upgrade  # noqa: PLC0415  # slow, and seldom needed

    # The parent process checks the database again, and reports what is still wrong.
    with contextlib.suppress(StoreUnavailable):
        upgrade(address)


def _refuse_missing_keys(store: Store) -> None:
    """Refuse to start if the ring lacks a key that sealed something (row V3)."""
    missing = store.ask(UnknownKeyIds())
    if missing:
        raise CommandFailed(
            f"PROCORE_KEYS lacks a key that the database needs: {', '.join(missing)}.",
            why="Tokens were sealed with it, and their users would have to sign in again.",
            cure="Put it back, after the active one. If it is lost for good: "
            f"{command(f'keys retire {missing[0]} --give-up')}",
        )


def _announcement(settings: Settings, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    lines = [
        f"Sign in with Procore ({settings.environment.name})",
        f"  Listening at {shown}:{port}; browsers open {settings.origin}",
    ]
    parts = urlsplit(settings.redirect_uri)
    if parts.hostname == "localhost" and (unheld := whoever_answers_at_localhost(host)):
        lines.append(unheld)
    if parts.hostname in LOOPBACK_HOSTS and parts.port != port:
        lines.append(
            f"  Procore will send browsers to {settings.redirect_uri}, which is another port. "
            "Set PROCORE_REDIRECT_URI, here and at Procore."
        )
    return "\n".join([*lines, "Ctrl-C stops it."])
