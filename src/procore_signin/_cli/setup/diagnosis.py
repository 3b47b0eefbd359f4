"""`procore-signin doctor`: the findings on a terminal or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

import typer

from procore_signin._cli.setup.doctor import examine
from procore_signin._cli.setup.finding import Finding, Level

_COLOURS: Final[dict[Level, str]] = {"ok": "green", "warning": "yellow", "problem": "red"}


def run(environ: Mapping[str, str], env_file: Path, *, port: int, as_json: bool) -> bool:
    """Check everything and print what was found.

    Returns:
        True if nothing is a problem.
    """
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
        typer.echo(_sum_up(problems, warnings))
    return not problems


def _show(finding: Finding) -> None:
    typer.secho(f"{finding.level:8}", fg=_COLOURS[finding.level], nl=False)
    typer.echo(f" {finding.check}: {finding.what}")
    for title, text in (("Why", finding.why), ("Cure", finding.cure)):
        if text:
            typer.echo(f"           {title + ':':5} {text}")


def _sum_up(problems: int, warnings: int) -> str:
    if problems:
        return f"\n{_count(problems, 'problem')} to cure before anybody can sign in."
    if warnings:
        return f"\nReady to sign in, with {_count(warnings, 'warning')}."
    return "\nReady to sign in. Next: procore-signin serve"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
