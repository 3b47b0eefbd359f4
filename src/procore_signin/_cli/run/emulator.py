"""`procore-signin emulator`: the local Procore alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import typer

from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.run.ports import choose_port
from procore_signin._cli.run.stop_with_parent import stop_when_standard_input_ends
from procore_signin._settings import env_file
from procore_signin.emulator import (
    EmulatorOptions,
    EmulatorRefused,
    LocalProcore,
    four_environments,
    read_population,
    serve_all,
)

_LAST_PORT: Final = 65_535


def refuse_in_production() -> None:
    """Refuse to run on a machine whose settings name production (row E1).

    Raises:
        CommandFailed: The settings name production, and anyone can log in to a local Procore.
    """
    named = os.environ.get("PROCORE_ENVIRONMENT") or env_file.read(Path(".env")).get(
        "PROCORE_ENVIRONMENT"
    )
    if named == "production":
        raise CommandFailed(
            "The local Procore does not run here.",
            why="PROCORE_ENVIRONMENT is production, and anyone can log in to a local Procore.",
            cure="Run it on another machine, or with PROCORE_ENVIRONMENT=emulator.",
        )


def options(*, redirect_uris: tuple[str, ...], **others: Any) -> EmulatorOptions:
    """Return the emulator's options.

    Args:
        redirect_uris: The registered ones; empty for the emulator's default.
        others: The other fields of `EmulatorOptions`.

    Raises:
        CommandFailed: An option is invalid.
    """
    if redirect_uris:
        others["redirect_uris"] = redirect_uris
    try:
        return EmulatorOptions(**others)
    except ValueError as error:
        raise _refused(error) from None


def run(
    chosen: EmulatorOptions,
    *,
    host: str,
    port: int,
    environments: bool = False,
    seed_file: Path | None = None,
    state_file: Path | None = None,
    as_child: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        chosen: How it behaves.
        host: A loopback address of this machine.
        port: The port; 0 finds a free one.
        environments: Serve all four environments, at this port and the next three.
        seed_file: People and data in YAML or JSON, or None for the built-in ones.
        state_file: The file that keeps the state over a restart, or None.
        as_child: Print nothing, and stop with the parent process.

    Raises:
        CommandFailed: It cannot listen there, or one of the files is invalid.
    """
    if as_child:
        stop_when_standard_input_ends()
    try:
        population = None if seed_file is None else read_population(seed_file)
        procores = (
            four_environments(chosen, population=population)
            if environments
            else {"emulator": LocalProcore(chosen, population=population)}
        )
        serve_all(
            procores,
            host=host,
            port=_free_port(host, port, len(procores)),
            announce=lambda urls: None if as_child else typer.echo(_announcement(procores, urls)),
            log=None if as_child else typer.echo,
            state_file=state_file,
        )
    except EmulatorRefused as error:
        raise _refused(error) from None


def _free_port(host: str, port: int, count: int) -> int:
    """Return the first of `count` free ports in a row, or 0 if each finds its own."""
    if port == 0 and count > 1:
        return 0
    if port + count - 1 > _LAST_PORT:
        raise CommandFailed(
            f"After port {port} there are not {count - 1} others.",
            why=f"Each environment has a port of its own, and {_LAST_PORT} is the last.",
            cure="Choose a lower one: emulator --port 4568 (0 finds free ones).",
        )
    first, *_ = [choose_port(host, port + n, option="emulator --port") for n in range(count)]
    return first


def _refused(error: ValueError) -> CommandFailed:
    return CommandFailed(
        "The local Procore cannot run like this.",
        why=f"{str(error).rstrip('.')}.",
        cure="See: procore-signin emulator --help",
    )


def _announcement(procores: Mapping[str, LocalProcore], urls: Mapping[str, str]) -> str:
    first = next(iter(procores.values()))
    person = next(iter(first.state.directory.people.values()), None)
    return "\n".join(
        [
            *(_one(first, urls["emulator"]) if len(urls) == 1 else _several(procores, urls)),
            *(f"  Redirect URI     {uri}" for uri in first.state.options.redirect_uris),
            f"  Log in as        {person.login}   password: {person.password}"
            if person
            else "  Log in as        no one: there are no people",
            "Ctrl-C stops it.",
        ]
    )


def _one(procore: LocalProcore, url: str) -> Iterable[str]:
    yield "A local Procore, not the real one"
    yield f"  Listening at     {url}"
    yield f"  Watch it         {url}/_emulator/"
    yield f"  Client           {procore.state.options.client_id}"


def _several(procores: Mapping[str, LocalProcore], urls: Mapping[str, str]) -> Iterable[str]:
    yield "Local Procores, not the real ones; watch each at its /_emulator/"
    for name, url in urls.items():
        yield f"  {name:<16} {url}   client {procores[name].state.options.client_id}"
    yield "  Client secrets   end as the ids do: in nothing, -sandbox or -federal"
