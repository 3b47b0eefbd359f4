"""The application of docs/how-to/own-look.md in a real browser: its frame, colours, languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from accessibility import ANY, assert_accessible
from hosts import UVICORN, Host, running, wait_until_ready
from pages import run_by
from playwright.sync_api import Browser, BrowserContext, expect
from ports import free_port
from running import settings_for

from procore_signin._store.migrate import upgrade
from procore_signin._web.pages import static_file
from procore_signin.emulator import Emulator

pytestmark = pytest.mark.browser

POLICY: Final = "Content Security Policy"
HEADINGS: Final = {
    "en": ("My sessions", "You are signed out"),
    "es": ("Mis sesiones", "Ha cerrado la sesión"),
    "fr": ("Mes sessions", "Vous êtes déconnecté"),
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Run what the page shows, with a logo that it names."""
    folder, port = tmp_path_factory.mktemp("own-look"), free_port()
    for block in run_by("own-look"):
        [name] = (word.removeprefix("file=") for word in block.words if word.startswith("file="))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(block.text, encoding="utf-8")
    logo = static_file("favicon.svg")
    assert logo is not None
    (folder / "static" / "logo.svg").write_bytes(logo[0])
    redirect_uri = f"http://localhost:{port}/procore/callback"
    with Emulator.started(redirect_uris=(redirect_uri,)) as emulator:
        own = settings_for(emulator.url, port, folder, PROCORE_REDIRECT_URI=redirect_uri)
        upgrade(own["PROCORE_DATABASE_URL"])
        with running(f"{UVICORN} main:app", port, folder, own | {"PYTHONPATH": "."}) as started:
            wait_until_ready(started, "/procore/signin")
            yield started


def context_of(browser: Browser, tag: str) -> BrowserContext:
    """Open a profile of a user with this language: a phone in the dark, or a desk in the light."""
    is_dark = tag == "es"
    return browser.new_context(
        locale=tag,
        color_scheme="dark" if is_dark else "light",
        viewport={"width": 360, "height": 740} if is_dark else {"width": 1280, "height": 800},
    )


@pytest.mark.parametrize("tag", HEADINGS)
def test_pages_in_a_frame_of_the_application_are_accessible_in_each_language(
    real_browser: Browser, host: Host, artefacts: Path, tag: str
) -> None:
    told: list[str] = []
    with context_of(real_browser, tag) as context:
        page = context.new_page()
        page.on("console", lambda line: told.append(line.text) if POLICY in line.text else None)

        def look(name: str) -> None:
            page.screenshot(path=artefacts / f"own-look-{name}-{tag}.png", full_page=True)
            expect(page.locator("html")).to_have_attribute("lang", tag)
            expect(page.get_by_role("banner")).to_have_text("Site Diary")
            assert_accessible(page, ANY)
            assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), name

        page.goto(f"{host.url}/procore/signin?return_to=/procore/sessions")
        look("signin")
        button = page.get_by_role("link", name="Sign in")
        style = "getComputedStyle(document.querySelector('.button'))"
        assert page.evaluate(f"{style}.borderTopLeftRadius") == "4px"
        accent = "rgb(168, 199, 250)" if tag == "es" else "rgb(11, 87, 208)"
        assert page.evaluate(f"{style}.backgroundColor") == accent
        button.click()
        page.get_by_role("button", name=re.compile("^Log in as Joe")).click()
        sessions, signed_out = HEADINGS[tag]
        allow = page.get_by_role("button", name="Allow")
        expect(allow.or_(page.get_by_role("heading", name=sessions))).to_be_visible()
        if allow.is_visible():  # the first time
            allow.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(sessions)
        look("sessions")
        page.get_by_role("button").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(signed_out)
        look("signed-out")
        page.goto(f"{host.url}/procore/callback")
        look("fragment")
        assert told == [], "the policy of the pages stops nothing that they need"
