"""Looks at a page for barriers, with axe."""

from __future__ import annotations

import re

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

ANY = re.compile(r"\S")
"""For a page that `goto` has loaded: its heading may be any."""


def assert_accessible(page: Page, heading: str | re.Pattern[str]) -> None:
    """Fail if axe finds a barrier on the page with that heading.

    A click returns before its page is there: without the heading, the page before it would be
    looked at, or none.
    """
    expect(page.locator("h1:visible")).to_have_text(heading)
    found = Axe().run(page)
    assert found.violations_count == 0, f"{page.url}: {found.generate_report()}"
