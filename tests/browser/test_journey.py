"""The tutorial, from the first page to the last, as a person goes through it in a browser."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from accessibility import assert_accessible
from person import exchanges
from playwright.sync_api import Page, expect
from ports import free_port
from running import Application, application, forget_tokens

from procore_signin.emulator import Emulator

JOE = "joecontractor@procore.com"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def emulator(port: int) -> Iterator[Emulator]:
    with Emulator.started(redirect_uris=(f"http://localhost:{port}/callback",)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def app(
    emulator: Emulator, port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Application]:
    with application(emulator.url, port, tmp_path_factory.mktemp("app")) as running:
        yield running


@pytest.fixture(autouse=True)
def _as_if_new(emulator: Emulator, app: Application) -> None:
    """Let no one be remembered from the test before: neither consent nor people nor faults."""
    forget_tokens(app)
    emulator.reset()


def log_in(page: Page, login: str = JOE) -> None:
    page.get_by_label(re.compile("e-?mail", re.IGNORECASE)).fill(login)
    page.get_by_label("Password").fill("procore")
    page.get_by_role("button", name="Log in", exact=True).click()


def allow(page: Page) -> None:
    page.get_by_role("button", name="Allow").click()


def sign_up(page: Page, app: Application) -> None:
    page.goto(app.url)
    page.get_by_role("link", name="Sign Up with Procore").click()
    log_in(page)
    allow(page)
    expect(page).to_have_url(f"{app.url}/home")


def row_of(page: Page, app: Application) -> list[Any]:
    answer = page.request.get(f"{app.url}/home", headers={"accept": "application/json"})
    assert answer.ok
    row: list[Any] = answer.json()
    return row


def test_the_sixteen_steps_of_the_tutorial(
    new_page: Any, app: Application, artefacts: Path
) -> None:
    page = new_page()
    page.goto(app.url)  # 1, 2
    page.screenshot(path=artefacts / "journey-1-landing.png")
    page.get_by_role("link", name="Sign Up with Procore").click()  # 3
    expect(page.get_by_label("Password")).to_be_visible()  # 4
    page.screenshot(path=artefacts / "journey-2-login.png")
    log_in(page)  # 5
    expect(page.get_by_role("button", name="Deny")).to_be_visible()  # 6
    page.screenshot(path=artefacts / "journey-3-consent.png")
    allow(page)  # 7, 8, 9, 10, 11, 12, 13, 14
    expect(page).to_have_url(f"{app.url}/home")
    page.screenshot(path=artefacts / "journey-4-home.png", full_page=True)
    text = page.inner_text("main")  # 15, 16
    assert '"login": "joecontractor@procore.com"' in text
    assert re.search(r'\[\d+, 11111, "joecontractor@procore.com"\]', text)
    assert row_of(page, app)[1:] == [11111, JOE]


def test_the_database_is_the_tutorials(new_page: Any, app: Application) -> None:
    sign_up(new_page(), app)
    with closing(sqlite3.connect(app.folder / "test.db")) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(users)")]
        rows = database.execute(
            "SELECT procore_id, email FROM users WHERE procore_id = 11111"
        ).fetchall()
    assert columns[:3] == ["id", "procore_id", "email"]
    assert rows == [(11111, JOE)]


def test_signing_in_again_finds_the_same_row(new_page: Any, app: Application) -> None:
    first, second = new_page(), new_page()
    sign_up(first, app)
    second.goto(f"{app.url}/signin")
    second.get_by_role("link", name="Sign In with Procore").click()
    log_in(second)
    second.wait_for_url(f"{app.url}/home")
    assert row_of(second, app) == row_of(first, app)


def test_a_changed_email_and_name_are_updated(
    new_page: Any, app: Application, emulator: Emulator
) -> None:
    page = new_page()
    emulator.person(77, login="ada@procore.com", name="Ada Lovelace")
    page.goto(app.url)
    page.get_by_role("link", name="Sign Up with Procore").click()
    log_in(page, "ada@procore.com")
    allow(page)
    before = row_of(page, app)
    emulator.person(77, login="ada@byron.example", name="Ada Byron")
    page.goto(f"{app.url}/signin")
    page.get_by_role("link", name="Sign In with Procore").click()
    page.wait_for_url(f"{app.url}/home")
    assert row_of(page, app) == [before[0], 77, "ada@byron.example"]
    expect(page.get_by_text("Ada Byron").first).to_be_visible()


def test_who_is_not_signed_in_is_brought_back_to_where_they_were_going(
    new_page: Any, app: Application
) -> None:
    page = new_page()
    page.goto(f"{app.url}/sessions")
    page.get_by_role("link", name="Sign In with Procore").click()
    log_in(page)
    allow(page)
    expect(page).to_have_url(f"{app.url}/sessions")


def test_denying_ends_on_a_page_that_says_so_and_goes_on_in_one_click(
    new_page: Any, app: Application, artefacts: Path
) -> None:
    page = new_page()
    page.goto(app.url)
    page.get_by_role("link", name="Sign Up with Procore").click()
    log_in(page)
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("not to allow")
    page.screenshot(path=artefacts / "journey-denied.png")
    page.get_by_role("link", name="Sign In with Procore").click()
    allow(page)
    expect(page).to_have_url(f"{app.url}/home")


def test_C11_the_back_button_after_signing_in_is_no_dead_end(
    new_page: Any, app: Application
) -> None:
    page = new_page()
    sign_up(page, app)
    page.go_back()
    page.goto(f"{app.url}/home")
    expect(page).to_have_url(f"{app.url}/home")
    page.go_back()
    assert "Traceback" not in page.content()


def test_C11_a_callback_address_kept_from_before_goes_on_to_home(
    new_page: Any, app: Application
) -> None:
    page = new_page()
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    sign_up(page, app)
    callback = next(url for url in seen if "/callback?" in url)
    page.goto(callback)
    expect(page).to_have_url(f"{app.url}/home")


def test_C4_a_double_click_on_the_way_back_signs_in_once(
    new_page: Any, app: Application, emulator: Emulator
) -> None:
    page = new_page()
    emulator.fault("/oauth/token", "latency", seconds=0.5)
    page.goto(app.url)
    page.get_by_role("link", name="Sign Up with Procore").click()
    log_in(page)
    page.get_by_role("button", name="Allow").dblclick(no_wait_after=True)
    page.wait_for_url(f"{app.url}/home")
    assert exchanges(emulator) == 1


def test_C11_without_cookies_a_page_says_what_to_do(new_page: Any, app: Application) -> None:
    page = new_page()
    page.goto(app.url)
    link = page.get_by_role("link", name="Sign Up with Procore").get_attribute("href")
    page.context.clear_cookies()
    page.goto(link)
    log_in(page)
    allow(page)
    expect(page.get_by_role("heading", level=1)).to_contain_text("did not start that sign-in")
    page.get_by_role("link", name="Sign In with Procore").click()
    allow(page)
    expect(page).to_have_url(f"{app.url}/home")


def test_C11_a_second_tab_does_not_break_the_first(new_page: Any, app: Application) -> None:
    one = new_page()
    one.goto(app.url)
    two = one.context.new_page()
    two.goto(f"{app.url}/signin")
    one.get_by_role("link", name="Sign Up with Procore").click()
    log_in(one)
    allow(one)
    expect(one).to_have_url(f"{app.url}/home")
    two.get_by_role("link", name="Sign In with Procore").click()
    expect(two).to_have_url(f"{app.url}/home")


def test_S3_signing_out_and_the_back_button_shows_nothing(new_page: Any, app: Application) -> None:
    page = new_page()
    sign_up(page, app)
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("signed out")
    page.go_back()
    page.reload()
    expect(page).to_have_url(re.compile("/signin"))
    assert JOE not in page.inner_text("main")


def test_S6_signing_out_everywhere_ends_the_session_of_another_browser(
    new_page: Any, app: Application, artefacts: Path
) -> None:
    laptop, phone = new_page(), new_page(390, 844)
    sign_up(laptop, app)
    phone.goto(f"{app.url}/signin")
    phone.get_by_role("link", name="Sign In with Procore").click()
    log_in(phone)
    phone.wait_for_url(f"{app.url}/home")
    laptop.goto(f"{app.url}/sessions")
    laptop.screenshot(path=artefacts / "journey-sessions.png", full_page=True)
    laptop.get_by_role("button", name="Sign out everywhere").click()
    phone.reload()
    expect(phone).to_have_url(re.compile("/signin"))


def test_S6_disconnecting_revokes_the_tokens_at_procore(
    new_page: Any, app: Application, emulator: Emulator
) -> None:
    page = new_page()
    sign_up(page, app)
    assert len(emulator.live_grants()) == 1
    page.goto(f"{app.url}/sessions")
    page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(
        re.compile("disconnected", re.IGNORECASE)
    )
    assert emulator.live_grants() == []


def test_K1_coming_from_another_site_lands_signed_in(new_page: Any, app: Application) -> None:
    """The emulator's host is another site to the browser: Lax cookies must come along."""
    page = new_page()
    sign_up(page, app)
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies(app.url)}
    session = cookies["procore_signin_session"]
    assert (session["httpOnly"], session["sameSite"], session["path"]) == (True, "Lax", "/")


def test_C7_no_code_stays_in_the_address_or_in_a_referer(new_page: Any, app: Application) -> None:
    page = new_page()
    referers: list[str] = []
    page.on("request", lambda request: referers.append(request.headers.get("referer", "")))
    sign_up(page, app)
    assert "code" not in page.url
    assert not any("code=" in referer for referer in referers)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_of_the_journey_has_an_accessibility_violation(
    new_page: Any, app: Application, scheme: str
) -> None:
    page = new_page(390, 844, scheme)
    page.goto(app.url)
    assert_accessible(page, "Sign up with the Procore account you have")
    page.goto(f"{app.url}/signin")
    assert_accessible(page, "Sign in")
    page.get_by_role("link", name="Sign In with Procore").click()
    assert_accessible(page, "Log in")
    log_in(page)
    assert_accessible(page, re.compile("would like to access your Procore account"))
    allow(page)
    assert_accessible(page, "Hello, Joe Contractor")
    page.goto(f"{app.url}/sessions")
    assert_accessible(page, "My sessions")
    page.goto(f"{app.url}/callback")
    assert_accessible(page, "There is no response from Procore in this address")
    page.goto(f"{app.url}/nowhere")
    assert_accessible(page, "There is no such page")
    page.goto(f"{app.url}/sessions")
    page.get_by_role("button", name="Sign out everywhere").click()
    assert_accessible(page, "You are signed out everywhere")


def test_the_answer_may_come_in_the_fragment(new_page: Any, tmp_path: Path) -> None:
    port = free_port()
    redirect_uri = f"http://localhost:{port}/callback"
    with (
        Emulator.started(redirect_uris=(redirect_uri,), fragment=True) as emulator,
        application(emulator.url, port, tmp_path) as app,
    ):
        page = new_page()
        sign_up(page, app)
        assert row_of(page, app)[1:] == [11111, JOE]
