"""The output of commands: columns for readers, JSON for programs, and questions."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Final

import typer

from procore_signin._cli.failure import FAILED, INTERRUPTED, CommandFailed

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


def print_json(document: object) -> None:
    """Print `document` as the only thing on standard output."""
    typer.echo(json.dumps(document, indent=2))


def print_columns(
    head: Sequence[str], rows: Sequence[Sequence[object]], *, err: bool = False
) -> None:
    """Print `rows` below `head`, in columns of the necessary width."""
    table = [list(head), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(len(row[place]) for row in table) for place in range(len(head))]
    for number, row in enumerate(table):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.secho("  ".join(cells).rstrip(), bold=number == 0, err=err)


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """Print names and values, one per line."""
    width = max(len(name) for name, _ in facts) + 1
    for name, value in facts:
        typer.echo(f"{name + ':':{width}} {plain(value)}")


def plain(value: object) -> str:
    """Return `value` as text without control characters: names and addresses are untrusted."""
    text = "-" if value is None or value == "" else str(value)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def moment(seconds: int | None) -> str | None:
    """Return a readable time in UTC, to the minute."""
    if seconds is None:
        return None
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def span(seconds: int) -> str:
    """Return a duration in a suitable unit."""
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def counted(number: int, noun: str) -> str:
    """Return `1 session`, `2 sessions`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def be_sure(question: str, *, yes: bool) -> None:
    """Return if the person at the terminal agrees, or `--yes` was given.

    Raises:
        CommandFailed: There is no terminal to ask at.
        typer.Exit: They do not agree.
    """
    if yes:
        return
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise typer.Exit(INTERRUPTED) from None
        raise CommandFailed(
            "Nothing was done.", why="There is no terminal to ask at.", cure="Add --yes."
        ) from None
    if not agreed:
        typer.echo("Nothing was done.", err=True)
        raise typer.Exit(FAILED)
