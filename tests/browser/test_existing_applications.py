"""Applications that existed before, as a person goes through them in a browser: one log-out of two.

Each is set up as its page says, and served as it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from accessibility import assert_accessible
from existing import SUITES, Existing, after
from hosts import Host, as_shown, serving, wait_until_ready
from pages import run_by
from playwright.sync_api import Browser, Page, expect
from ports import free_port

from procore_signin.emulator import DEMO_LOGIN, DEMO_PASSWORD, Emulator

# Three applications are set up at once, by commands of theirs and of ours.
pytestmark = pytest.mark.timeout(300)

SETUP = {
    "flask": run_by("existing-flask"),
    "fastapi": run_by("existing-fastapi"),
    "django": run_by("existing-django"),
}
SERVE = {
    "flask": run_by("serve-existing-flask"),
    "fastapi": run_by("serve-existing-fastapi"),
    "django": run_by("serve-existing-django"),
}
LOG_IN = {"flask": "/log-in", "fastapi": "/log-in", "django": "/accounts/login/"}


def served(application: Existing, port: int) -> AbstractContextManager[Host]:
    """Serve an application with the page's command. It may not be ready yet."""
    [block] = SERVE[application.name]
    words = as_shown(block.text.replace("8000", str(port)))
    return serving(words, port, application.folder, application.environment)


@pytest.fixture(scope="module")
def applications(
    real_browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Existing, Host]]]:
    """Each of them after its page. All tests with them need `real_browser`: they run together."""
    assert real_browser.is_connected()
    [block] = run_by("existing-emulator")
    assert block.text.startswith("procore-signin emulator --redirect-uri http://localhost:8000/")
    ports = {name: free_port() for name in SUITES}
    folder = tmp_path_factory.mktemp("existing")
    with ExitStack() as stack:

        def made(name: str) -> Existing:
            uri = f"http://localhost:{ports[name]}/procore/callback"
            emulator = stack.enter_context(Emulator.started(redirect_uris=(uri,)))
            return after(name, folder, SETUP[name], port=ports[name], emulator_url=emulator.url)

        with ThreadPoolExecutor() as threads:
            applications = {each.name: each for each in threads.map(made, SUITES)}
        found = {
            name: (each, stack.enter_context(served(each, ports[name])))
            for name, each in applications.items()
        }
        for name, (_, host) in found.items():
            wait_until_ready(host, LOG_IN[name])
        yield found


@pytest.mark.parametrize("name", SUITES)
def test_its_own_tests_pass_and_its_own_migrations_leave_our_tables_alone(
    applications: dict[str, tuple[Existing, Host]], name: str
) -> None:
    there, _ = applications[name]
    there.test()
    if name == "fastapi":
        assert "No new upgrade operations detected" in there.run("alembic check")
    if name == "django":
        assert "No changes detected" in there.run("python manage.py makemigrations --check")


def log_in(page: Page) -> None:
    page.get_by_label("E-mail").fill("ann@example.com")
    page.get_by_label("Password").fill("fake-password")
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sessions")


def log_in_at_procore(page: Page) -> None:
    page.get_by_label(re.compile("e-?mail", re.IGNORECASE)).fill(DEMO_LOGIN)
    page.get_by_label("Password").fill(DEMO_PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("button", name="Allow").click()


def is_logged_out_of_both(page: Page, url: str, name: str) -> None:
    page.goto(f"{url}/profile")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    assert LOG_IN[name] in page.url
    page.goto(f"{url}/procore/sessions")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Sign in")


@pytest.mark.parametrize("name", SUITES)
def test_a_user_connects_procore_and_one_log_out_ends_both(
    new_page: Any, applications: dict[str, tuple[Existing, Host]], name: str, artefacts: Path
) -> None:
    url, page = applications[name][1].url, new_page()

    page.goto(url)
    page.get_by_role("link", name="Sign In with Procore").click()
    log_in_at_procore(page)
    expect(page.get_by_text("No account of this application is connected")).to_be_visible()

    page.goto(url)
    log_in(page)
    page.get_by_role("link", name="ann@example.com").click()
    page.get_by_role("button", name="Connect with Procore").click()
    page.get_by_role("button", name="Allow").click()  # as what was granted before is given back
    expect(page.get_by_text(f"Procore: {DEMO_LOGIN}")).to_be_visible()
    page.screenshot(path=artefacts / f"existing-{name}.png")
    page.get_by_role("button", name="Log out").click()
    is_logged_out_of_both(page, url, name)

    page.goto(url)
    page.get_by_role("link", name="Sign In with Procore").click()
    expect(page).to_have_url(f"{url}/")
    page.get_by_role("link", name="ann@example.com").click()
    expect(page.get_by_text(f"Procore: {DEMO_LOGIN}")).to_be_visible()

    page.goto(f"{url}/procore/sessions")
    page.get_by_role("button", name="Sign out", exact=True).click()
    is_logged_out_of_both(page, url, name)


@pytest.mark.parametrize("name", SUITES)
def test_the_pages_are_accessible_with_our_buttons(
    new_page: Any, applications: dict[str, tuple[Existing, Host]], name: str, artefacts: Path
) -> None:
    url = applications[name][1].url
    for width, scheme in ((320, "dark"), (1280, "light")):
        page = new_page(width=width, scheme=scheme)
        page.goto(url)
        assert_accessible(page, "Log in")
        page.screenshot(path=artefacts / f"existing-{name}-log-in-{width}.png")
        log_in(page)
        page.get_by_role("link", name="ann@example.com").click()
        assert_accessible(page, "Your profile")
        page.screenshot(path=artefacts / f"existing-{name}-profile-{width}.png")
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")


def test_djangos_admin_is_unharmed(
    new_page: Any, applications: dict[str, tuple[Existing, Host]]
) -> None:
    url, page = applications["django"][1].url, new_page()
    page.goto(f"{url}/admin/")
    page.get_by_label("Email").fill("ann@example.com")
    page.get_by_label("Password").fill("fake-password")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Users", exact=True).first.click()
    expect(page.get_by_role("link", name="ann@example.com")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
