"""Writes docs/reference/settings.md and .env.example from the table of settings.

A test fails while they are not what this writes: `.venv/bin/python scripts/settings_page.py`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from procore_signin._settings import Settings
from procore_signin._settings.row import Row

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "settings.md"
EXAMPLE = ROOT / ".env.example"
Rows = Iterable[Row[Any]]

_EXAMPLE_HEAD = """\
# Settings of the application. `procore-signin init` writes a .env like this one for you;
# `procore-signin doctor` checks it. The process environment beats this file.
"""
_PAGE_HEAD = """\
# Settings

Made by `scripts/settings_page.py` from the table in `_settings/settings.py`.

`procore-signin serve`, the mappings for FastAPI, Flask and Django, and `from_env()` read the same
settings: from the process environment, and below it from `.env` in the working directory. A setting
without a value counts as not set. In Flask, `app.config` beats both; in Django, `PROCORE_SIGNIN` in
`settings.py` does, with the names without `PROCORE_`, and the tables are in `DATABASES` unless
`PROCORE_DATABASE_URL` is set: [Django](../how-to/django.md#the-database).

Everything that is missing or wrong is named at once, with the cure, and no message shows a value.
Any other `PROCORE_` name is your application's own. One that is like a setting which is not set is
named: beside it where the setting is required, or is `PROCORE_REDIRECT_URI`, whose default suits no
server; otherwise in the log, once. `procore-signin init` writes `.env`; `procore-signin doctor`
checks the settings, here and at Procore. A value is read as it stands: `$` means nothing, and
spaces, line ends and quotes around it are an error.

| Setting | What it is | Default |
|---|---|---|
"""


def example(rows: Rows) -> str:
    """Return `.env.example` as it has to be."""
    return "\n".join([_EXAMPLE_HEAD, *map(_in_example, rows)])


def _in_example(row: Row[Any]) -> str:
    words = (row.meaning.replace("`", ""), row.accepts.replace("`", ""))
    lines = [f"# {line}" for sentence in words for line in textwrap.wrap(sentence, 98)]
    mark = "" if row.expected else "#"
    return "\n".join([*lines, f"{mark}{row.name}={row.default or row.example}", ""])


def page(rows: Rows) -> str:
    """Return the page as it has to be."""
    rows = list(rows)
    listed = "\n".join(
        f"| [`{row.name}`](#{row.name.lower()}) | {row.meaning} | {_default(row)} |" for row in rows
    )
    return "\n".join([f"{_PAGE_HEAD}{listed}\n", *map(_section, rows)])


def _default(row: Row[Any]) -> str:
    if row.missing:
        return "none: it has to be set"
    return f"`{row.default}`" if row.default else "none"


def _section(row: Row[Any]) -> str:
    lines = "\n".join(f"| {title} | {words} |" for title, words in _facts(row))
    return f"## `{row.name}`\n\n{row.meaning}\n\n| | |\n|---|---|\n{lines}\n"


def _facts(row: Row[Any]) -> Iterator[tuple[str, str]]:
    yield "Accepts", row.accepts
    yield "Default", _default(row)
    if row.emulators:
        yield "With the emulator", f"`{row.emulators}`"
    yield "Needed by", row.needed_by
    if row.example:
        yield "Example", f"`{row.name}={row.example}`"
    yield "In Django", f'`PROCORE_SIGNIN["{row.key}"]`'
    if row.secret:
        yield "Secret", "yes: it is never shown"


if __name__ == "__main__":
    table = Settings.rows().values()
    EXAMPLE.write_text(example(table), encoding="utf-8")
    PAGE.write_text(page(table), encoding="utf-8")
