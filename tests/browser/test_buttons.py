"""The buttons in pages of an application with a strict policy, pressed in Chromium."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from accessibility import assert_accessible
from hosts import Host, hosts
from playwright.sync_api import Browser, BrowserContext, Page, expect

from procore_signin.emulator import DEMO_LOGIN, Emulator


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator.started() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def host(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with hosts(emulator, tmp_path_factory.mktemp("strict"), "strict") as started:
        yield started["strict"]


@pytest.fixture
def page(new_page: Any) -> Page:
    page: Page = new_page()
    page.on("console", lambda told: _refuse(told.text))
    return page


def in_window_of(context: BrowserContext) -> Page:
    """Return a page; what its console says against a policy fails the test."""
    page = context.new_page()
    page.on("console", lambda told: _refuse(told.text))
    return page


def _refuse(told: str) -> None:
    assert "Content Security Policy" not in told, told


def go_through_procore(page: Page) -> None:
    page.get_by_role("button", name="Log in as Joe Contractor").click()
    allow = page.get_by_role("button", name="Allow")
    expect(allow.or_(page.get_by_role("heading", name="The application"))).to_be_visible()
    if allow.is_visible():
        allow.click()


def test_A13_the_button_signs_in_with_one_click_under_a_strict_policy(
    page: Page, host: Host
) -> None:
    page.goto(host.url)
    page.get_by_role("link", name="Sign In with Procore").click()
    go_through_procore(page)
    expect(page).to_have_url(f"{host.url}/?signed-in")
    expect(page.get_by_text(f"With Procore: {DEMO_LOGIN}")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{host.url}/?signed-out")
    expect(page.get_by_text("With Procore: no one")).to_be_visible()


def test_A13_a_form_reaches_procore_although_the_policy_of_its_page_does_not_name_it(
    page: Page, host: Host
) -> None:
    page.goto(f"{host.url}/log-in/ann")
    page.get_by_role("button", name="Connect with Procore").click()
    go_through_procore(page)
    expect(page).to_have_url(f"{host.url}/?connected")
    expect(page.get_by_text(f"Connected: {DEMO_LOGIN}")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("Here: no one. With Procore: no one.")).to_be_visible()


@pytest.mark.parametrize("name", ["talisman", "django-csp"])
def test_A13_the_buttons_work_under_the_policy_that_a_library_sets(
    page: Page, emulator: Emulator, tmp_path: Path, name: str
) -> None:
    with hosts(emulator, tmp_path, name) as started:
        host = started[name]
        shown = page.goto(host.url)
        assert shown is not None
        assert "form-action 'self'" in shown.headers["content-security-policy"]
        page.get_by_role("link", name="Sign In with Procore").click()
        go_through_procore(page)
        expect(page.get_by_text(f"With Procore: {DEMO_LOGIN}")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_url(f"{host.url}/?signed-out")
        page.context.clear_cookies()  # of Procore
        page.goto(f"{host.url}/log-in/ann")
        page.get_by_role("button", name="Connect with Procore").click()
        go_through_procore(page)
        expect(page).to_have_url(f"{host.url}/?connected")
        expect(page.get_by_text(f"Here: ann. With Procore: {DEMO_LOGIN}")).to_be_visible()
        expect(page.get_by_text(f"Connected: {DEMO_LOGIN}")).to_be_visible()
        page.goto(f"{host.url}/procore/signin")  # a page of ours, with a style of its own
        assert page.evaluate("document.styleSheets[0].cssRules.length") > 0


@pytest.mark.parametrize("name", ["strict", "talisman", "django-csp"])
def test_L10_a_login_whose_cookie_is_strict_is_seen_on_the_way_back_from_procore(
    new_page: Any, emulator: Emulator, tmp_path: Path, name: str
) -> None:
    with hosts(emulator, tmp_path, name, HOST_SAMESITE="Strict") as started:
        url, here = started[name].url, f"Here: ann. With Procore: {DEMO_LOGIN}."
        page: Page = new_page()
        page.goto(f"{url}/log-in/ann")
        page.get_by_role("button", name="Connect with Procore").click()
        go_through_procore(page)
        expect(page).to_have_url(f"{url}/?connected")
        expect(page.get_by_text(f"{here} Connected: {DEMO_LOGIN}")).to_be_visible()
        history = page.context.new_cdp_session(page).send("Page.getNavigationHistory")
        assert not [each for each in history["entries"] if "/callback" in each["url"]], "row C7"
        with leading_to(f"{url}/") as elsewhere:  # whose visitor has no login as far as we see
            page.goto(elsewhere)
            page.get_by_role("link", name="A link").click()
            expect(page.get_by_text("Here: no one. With Procore: no one.")).to_be_visible()
        page.get_by_role("link", name="Sign In with Procore").click()  # known there by now
        expect(page).to_have_url(f"{url}/?signed-in")
        expect(page.get_by_text(here)).to_be_visible()
        page.goto(f"{url}/procore/signin")  # whose link leads to Procore without a start
        page.get_by_role("link", name="Sign In with Procore").click()
        expect(page.get_by_text(here)).to_be_visible()
        told = page.context.request.post(  # as the script of a single page does
            f"{url}/procore/start",
            data={"connect": True, "return_to": "/?told"},
            headers={"accept": "application/json", "origin": url},
        )
        page.goto(told.json()["go_to"])
        expect(page).to_have_url(f"{url}/?told")
        expect(page.get_by_text(here)).to_be_visible()


def test_a_button_with_a_value_signs_in_as_well(page: Page, host: Host) -> None:
    page.goto(host.url)
    page.get_by_role("button", name="Accept the invitation").click()
    go_through_procore(page)
    expect(page).to_have_url(f"{host.url}/?invited")


def test_L1_the_applications_own_log_out_ends_the_sign_in(page: Page, host: Host) -> None:
    page.goto(f"{host.url}/log-in/bob")
    page.get_by_role("link", name="Sign In with Procore").click()
    go_through_procore(page)
    expect(page.get_by_text(f"Here: bob. With Procore: {DEMO_LOGIN}")).to_be_visible()
    page.goto(f"{host.url}/log-out")
    page.goto(f"{host.url}/log-in/cy")
    expect(page.get_by_text("Here: cy. With Procore: no one")).to_be_visible()


class Foreign(BaseHTTPRequestHandler):
    """Another site, with a link and a form that lead to the start of ours."""

    start = ""

    def do_GET(self) -> None:
        body = (
            f'<!doctype html><a href="{self.start}">A link</a>'
            f'<form method="post" action="{self.start}">'
            '<input name="connect" value="yes"><button>A form</button></form>'
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def elsewhere(host: Host) -> Iterator[str]:
    with leading_to(f"{host.url}/procore/start") as url:
        yield url


@contextlib.contextmanager
def leading_to(address: str) -> Iterator[str]:
    handler = type("Handler", (Foreign,), {"start": address})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("role", "name"), [("link", "A link"), ("button", "A form")])
def test_A13_from_another_site_the_sign_in_page_is_shown(
    page: Page, host: Host, elsewhere: str, role: str, name: str
) -> None:
    page.goto(f"{host.url}/log-in/ann")
    page.goto(elsewhere)
    page.get_by_role("link" if role == "link" else "button", name=name).click()
    expect(page).to_have_url(f"{host.url}/procore/signin")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_the_buttons_are_accessible(
    real_browser: Browser, host: Host, scheme: str, width: int
) -> None:
    with real_browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 640},
        bypass_csp=True,  # axe is a script that is put into the page
    ) as context:
        page = context.new_page()
        page.goto(host.url)
        assert_accessible(page, "The application")
        box = page.get_by_role("button", name="Connect with Procore").bounding_box()
        assert box is not None
        assert box["height"] >= 44
        wide: bool = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wide
