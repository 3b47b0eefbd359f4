"""Takes the pictures of the tutorial from the application itself, with Chromium, into docs/images/.

    .venv/bin/python scripts/pictures.py

It starts a local Procore and the application, signs up, and takes a picture of each page. Run it
again when a page looks different. Needs Chromium (PROCORE_SIGNIN_CHROMIUM names another one).
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images" / "tutorial"
sys.path.insert(0, str(ROOT / "tests" / "support"))

from running import application  # noqa: E402  # it is where the tests keep it

from procore_signin.emulator import DEFAULT_PORT, DEMO_LOGIN, DEMO_PASSWORD, Emulator  # noqa: E402

PORT = 4567  # the tutorial's, since pictures may show it


def walk(page: Page) -> None:
    """Sign up, with a picture of each page on the way."""

    def take(name: str) -> None:
        page.screenshot(path=FOLDER / f"{name}.png", full_page=True)

    page.goto(f"http://localhost:{PORT}/")
    take("landing")
    page.get_by_role("link", name="Sign Up with Procore").click()
    page.get_by_label(re.compile("e-?mail", re.IGNORECASE)).fill(DEMO_LOGIN)
    page.get_by_label("Password").fill(DEMO_PASSWORD)
    take("log-in")
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("button", name="Allow").wait_for()
    take("consent")
    page.get_by_role("button", name="Allow").click()
    page.wait_for_url("**/home")
    take("home")


def main() -> None:
    """Start everything, and walk."""
    program = os.environ.get("PROCORE_SIGNIN_CHROMIUM") or shutil.which("chromium")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Emulator.started(
            port=DEFAULT_PORT, redirect_uris=(f"http://localhost:{PORT}/callback",)
        ) as emulator,
        application(emulator.url, PORT, Path(folder)),
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=["--no-sandbox"]) as browser,
    ):
        walk(browser.new_page(viewport={"width": 820, "height": 560}))


if __name__ == "__main__":
    main()
