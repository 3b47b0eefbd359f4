"""`procore-signin emulator`: the local Procore alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from procore_signin.cli import env_file
from procore_signin.cli.failure import CommandFailed
from procore_signin.cli.lifeline import stop_when_standard_input_ends
from procore_signin.emulator import (
    DEMO_LOGIN,
    DEMO_PASSWORD,
    EmulatorOptions,
    EmulatorRefused,
    serve,
)


def refuse_in_production() -> None:
    """Return unless the settings say that this is a production machine (row E1).

    Raises:
        CommandFailed: They do. Anybody can log in to a local Procore.
    """
    named = os.environ.get("PROCORE_ENVIRONMENT") or env_file.read(Path(".env")).get(
        "PROCORE_ENVIRONMENT"
    )
    if named == "production":
        raise CommandFailed(
            "The local Procore does not run here.",
            why="PROCORE_ENVIRONMENT is production, and anybody can log in to a local Procore.",
            cure="Run it on another machine, or with PROCORE_ENVIRONMENT=emulator.",
        )


def options(*, redirect_uris: tuple[str, ...], **others: Any) -> EmulatorOptions:
    """Return the emulator's options.

    Args:
        redirect_uris: The registered ones; none for the emulator's own.
        others: The other fields of `EmulatorOptions`.

    Raises:
        CommandFailed: One of them makes no sense.
    """
    if redirect_uris:
        others["redirect_uris"] = redirect_uris
    try:
        return EmulatorOptions(**others)
    except ValueError as error:
        raise _refused(error) from None


def run(chosen: EmulatorOptions, *, host: str, port: int, as_child: bool) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        chosen: How it behaves.
        host: An address of this machine only.
        port: A free port.
        as_child: Say nothing, and stop with the starter.

    Raises:
        CommandFailed: It cannot listen there.
    """
    if as_child:
        stop_when_standard_input_ends()

    def announce(url: str) -> None:
        if not as_child:
            typer.echo(_announcement(chosen, url))

    try:
        serve(chosen, host=host, port=port, announce=announce, log=None if as_child else typer.echo)
    except EmulatorRefused as error:
        raise _refused(error) from None


def _refused(error: ValueError) -> CommandFailed:
    return CommandFailed(
        "The local Procore cannot run like this.",
        why=f"{str(error).rstrip('.')}.",
        cure="See: procore-signin emulator --help",
    )


def _announcement(chosen: EmulatorOptions, url: str) -> str:
    return "\n".join(
        [
            "A local Procore, not the real one",
            f"  Listening at     {url}",
            f"  Watch it         {url}/_emulator/",
            f"  Client           {chosen.client_id}",
            *(f"  Redirect URI     {uri}" for uri in chosen.redirect_uris),
            f"  Log in as        {DEMO_LOGIN}   password: {DEMO_PASSWORD}",
            "Ctrl-C stops it.",
        ]
    )
