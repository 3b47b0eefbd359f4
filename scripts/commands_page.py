"""Writes docs/reference/commands.md from the command line itself: every command, every option.

A test fails while the page is not what this writes: `.venv/bin/python scripts/commands_page.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from procore_signin._cli.program import app

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "commands.md"
HEAD = """# Commands

Made by `scripts/commands_page.py` from what `--help` says. Each command also takes `--help`.
"""


def page() -> str:
    """Return the page as it has to be."""
    return "\n".join([HEAD, *_of_group("procore-signin", typer.main.get_command(app))])


def _of_group(name: str, group: Any) -> Iterator[str]:  # Typer's own types are private
    for word, command in group.commands.items():
        whole = f"{name} {word}"
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield f"## `{whole}`\n\n{_paragraphs(command.help)}\n"
            yield from _of_group(whole, command)
        else:
            yield from _of_command(whole, command)


def _of_command(name: str, command: Any) -> Iterator[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    level = "##" if name.count(" ") == 1 else "###"
    yield f"{level} `{name}`\n\n{_paragraphs(command.help)}\n\n```text usage\n{usage}\n```\n"
    records = [each.get_help_record(context) for each in command.get_params(context)]
    rows = [
        f"| `{names.replace('|', chr(92) + '|')}` | {_cell(words)} |"
        for names, words in filter(None, records)
        if names != "--help"
    ]
    if rows:
        yield "\n".join(["| Option | |", "|---|---|", *rows, ""])


def _paragraphs(words: str) -> str:
    return words.strip().replace("<", "&lt;")


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("<", "&lt;").replace("  [", " [")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
