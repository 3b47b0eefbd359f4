"""People sign in and out in Chromium where a service worker is active, in tabs, and as older
browsers do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosts import Host, hosts
from pages import run_by
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect
from profiles import PATIENCE

from procore_signin.emulator import DEMO_LOGIN, Emulator

SIGN_IN = "/procore/signin?return_to=/me"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator.started() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def host(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with hosts(emulator, tmp_path_factory.mktemp("pwa"), "pwa") as started:
        [documented] = run_by("service-worker")
        (started["pwa"].folder / "documented.js").write_text(documented.text, encoding="utf-8")
        yield started["pwa"]


@pytest.fixture
def context(real_browser: Browser) -> Iterator[BrowserContext]:
    with real_browser.new_context() as context:
        context.set_default_timeout(PATIENCE)
        yield context


def installed(context: BrowserContext, host: Host, worker: str) -> Page:
    """Return a page whose requests the worker answers."""
    page = context.new_page()
    page.goto(f"{host.url}/with-worker?{worker}")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    return page


def allow(page: Page) -> None:
    """Log in at Procore and allow access, unless Procore remembers that it is allowed."""
    page.get_by_role("button", name="Log in as Joe Contractor").click()
    button = page.get_by_role("button", name="Allow")
    expect(button.or_(page.get_by_role("heading", name="Inside"))).to_be_visible()
    if button.is_visible():
        button.click()


def sign_in(page: Page, host: Host) -> None:
    page.goto(host.url + SIGN_IN)
    page.get_by_role("link", name="Sign In with Procore").click()
    allow(page)
    expect(page).to_have_url(f"{host.url}/me")
    expect(page.get_by_text(DEMO_LOGIN)).to_be_visible()


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()


@pytest.mark.parametrize("worker", ["passes", "changes", "remakes", "preloads", "documented"])
def test_K10_a_person_signs_in_and_out_through_a_service_worker(
    context: BrowserContext, host: Host, worker: str
) -> None:
    page = installed(context, host, worker)
    sign_in(page, host)
    sign_out(page)


def test_K10_a_link_of_another_site_begins_a_sign_in_through_a_service_worker(
    context: BrowserContext, emulator: Emulator, host: Host
) -> None:
    page = installed(context, host, "passes")
    page.goto(f"{emulator.url}/_emulator/")  # another site
    page.evaluate("address => { location = address }", host.url + SIGN_IN)
    page.get_by_role("link", name="Sign In with Procore").click()
    allow(page)
    expect(page).to_have_url(f"{host.url}/me")


def test_C7_no_referer_has_the_code_or_the_state_of_a_sign_in(
    context: BrowserContext, emulator: Emulator, host: Host
) -> None:
    sent: list[Request] = []
    context.on("request", lambda each: sent.append(each))  # noqa: PLW0108  # it takes no built-in
    page = context.new_page()
    sign_in(page, host)
    used = next(each.url for each in sent if "/callback?" in each.url)
    context.clear_cookies()
    page.goto(used)  # the page of a problem, with a style sheet and links at that address
    page.get_by_role("link", name="Go to the first page").click()
    expect(page).to_have_title("First page")
    page.goto(used)
    page.get_by_role("link", name="Sign In with Procore").click()
    expect(page.get_by_role("button", name="Log in as Joe Contractor")).to_be_visible()
    ours = [
        (each.url, referer)
        for each in sent
        if (referer := each.all_headers().get("referer", "")).startswith(host.url)
    ]
    assert ours
    assert not [referer for _, referer in ours if "code=" in referer or "callback" in referer]
    # Other sites learn nothing at all from our pages.
    assert not [url for url, _ in ours if url.startswith(emulator.url)]


@pytest.mark.parametrize("where", ["/me", "/procore/sessions"])
def test_K8_a_browser_without_fetch_metadata_signs_out_on_any_of_our_pages(
    context: BrowserContext, host: Host, where: str
) -> None:
    context.set_extra_http_headers({"x-older-browser": "yes"})
    page = context.new_page()
    sign_in(page, host)
    page.goto(host.url + where)
    sign_out(page)


def test_K8_a_page_of_another_site_signs_nobody_out_of_a_browser_without_fetch_metadata(
    context: BrowserContext, emulator: Emulator, host: Host
) -> None:
    context.set_extra_http_headers({"x-older-browser": "yes"})
    page = context.new_page()
    sign_in(page, host)
    page.goto(f"{emulator.url}/_emulator/")
    for sandbox in ("", "sandbox='allow-forms allow-scripts allow-top-navigation'"):
        page.goto("about:blank")
        page.set_content(
            f"""<iframe {sandbox} srcdoc="<form method=post target=_top
            action='{host.url}/procore/sign-out'><button>Free telephones</button></form>">
            </iframe>"""
        )
        page.frame_locator("iframe").get_by_role("button").click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("heading", name="You are signed out")).to_be_hidden()
    page.goto(f"{host.url}/me")
    expect(page.get_by_text(DEMO_LOGIN)).to_be_visible()


def test_K10_each_tab_finishes_the_sign_in_that_it_began(
    context: BrowserContext, host: Host
) -> None:
    tabs = [context.new_page() for _ in range(3)]
    for tab in tabs:
        tab.goto(host.url + SIGN_IN)
        tab.get_by_role("link", name="Sign In with Procore").click()
    for tab in reversed(tabs):
        allow(tab)
        expect(tab).to_have_url(f"{host.url}/me")
