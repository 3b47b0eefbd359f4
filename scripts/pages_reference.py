"""Writes docs/reference/pages.md from the table of pages.

A test fails while it is not what this writes: `.venv/bin/python scripts/pages_reference.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from procore_signin._web.look.jinja import file_name
from procore_signin._web.look.values import COMMON, PAGES, Value

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "pages.md"
_HEAD = """\
# Pages

Made by `scripts/pages_reference.py` from the table in `_web/look/values.py`.

Each page of the sign-in, the file that [replaces it](../how-to/own-look.md#one-page), and the
values that the file is given. Values are text, numbers or None, never HTML, unless it says so.

## Every page

`procore_signin/base.html` is the frame of all pages; its blocks are `title`, `kind` and `content`.

"""


def page() -> str:
    """Return the page as it has to be."""
    sections = (
        f"## `{name}`\n\n`{file_name(name)}`: {each.shown}.\n\n{_table(each.values)}"
        for name, each in PAGES.items()
    )
    return "\n".join([_HEAD + _table(COMMON), *sections])


def _table(values: Iterable[Value]) -> str:
    rows = "".join(f"| `{each.name}` | {each.meaning} |\n" for each in values)
    return f"| Value | |\n|---|---|\n{rows}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
