"""docs/reference/commands.md is what `scripts/commands_page.py` makes of the commands."""

import runpy

from pages import DOCS, ROOT


def test_the_page_of_commands_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "commands_page.py"))["page"]()
    shown = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    assert shown == made, "run: .venv/bin/python scripts/commands_page.py"
