"""`procore-signin doctor`: all checks, ordered so that each can rely on the earlier ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

import typer

from procore_signin._cli.setup import (
    checks_connections,
    checks_local,
    checks_server,
    django_project,
)
from procore_signin._cli.setup.finding import Finding, Level
from procore_signin._cli.setup.tls import Handshake, handshake
from procore_signin._transport.contract import Transport
from procore_signin._transport.pyreqwest import PyreqwestTransport

_COLOURS: Final[dict[Level, str]] = {"ok": "green", "warning": "yellow", "problem": "red"}


def run(environ: Mapping[str, str], env_file: Path, *, port: int, as_json: bool) -> bool:
    """Run all checks and print the findings.

    Returns:
        True if there are no problems.
    """
    django_project.tell()
    findings: list[Finding] = []
    for finding in examine(environ, env_file, port=port):
        findings.append(finding)
        if not as_json:
            _show(finding)
    problems = sum(finding.level == "problem" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    if as_json:
        document = {"ok": not problems, "findings": [asdict(finding) for finding in findings]}
        typer.echo(json.dumps(document, indent=2))
    else:
        settings, _ = checks_local.check_settings(environ, env_file)
        typer.echo(_sum_up(problems, warnings, checks_local.next_step(settings)))
    return not problems


def examine(
    environ: Mapping[str, str],
    env_file: Path,
    *,
    port: int,
    transport: Transport | None = None,
    shake_hands: Callable[[str], Handshake] = handshake,
    clock: Callable[[], float] = time.time,
) -> Iterator[Finding]:
    """Yield the findings of each check as they come.

    Nothing changes, here or at Procore: the code and the token that are sent cannot exist.

    Args:
        environ: The process environment.
        env_file: Where `.env` is.
        port: The port that `serve` will listen at.
        transport: Sends requests to Procore; by default, a new one.
        shake_hands: Connects to an https origin.
        clock: UTC, seconds since 1970.
    """
    settings, findings = checks_local.check_settings(environ, env_file)
    yield from findings
    if settings is None:
        return
    yield from checks_local.check_redirect_uri(settings, port=port)
    yield from checks_local.check_app_name(settings)
    database = list(checks_local.check_database(settings))
    yield from database
    ready = all(finding.level == "ok" for finding in database)
    if ready:
        yield from checks_connections.check_connections(settings)
    yield from checks_local.check_keys(settings, database_ready=ready)
    own = transport if transport is not None else PyreqwestTransport()
    try:
        yield from checks_server.check_tls(settings, shake_hands, clock)
        login = list(checks_server.check_token_endpoint(settings, own, clock))
        yield from login
        reached = any(finding.check == "server" and finding.level == "ok" for finding in login)
        if reached:
            yield from checks_server.check_authorization_page(settings, own)
        if reached or settings.environment.api_origin != settings.environment.login_origin:
            yield from checks_server.check_api(settings, own)
    finally:
        if transport is None:
            own.close()


def _show(finding: Finding) -> None:
    typer.secho(f"{finding.level:8}", fg=_COLOURS[finding.level], nl=False)
    typer.echo(f" {finding.check}: {finding.what}")
    for title, text in (("Why", finding.why), ("Cure", finding.cure)):
        if text:
            typer.echo(f"           {title + ':':5} {text}")


def _sum_up(problems: int, warnings: int, next_step: str) -> str:
    if problems:
        return f"\n{_count(problems, 'problem')} to fix before users can sign in."
    if warnings:
        return f"\nReady to sign in, with {_count(warnings, 'warning')}."
    return f"\nReady to sign in. Next: {next_step}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
