"""The emulator's pages as people meet them: in both schemes, on a phone, by keyboard."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from accessibility import assert_accessible
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from procore_signin._emulator.process import running
from procore_signin._emulator.wire.server import Server
from procore_signin.emulator import Emulator, EmulatorApp, EmulatorOptions, LocalProcore

Scheme = Literal["light", "dark"]
STATE = "5f3c" * 16
CLIENT = {"client_id": "emulator-client-id", "client_secret": "emulator-client-secret"}
OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
# Colours depend on the scheme and order on the size: one run of each pair sees both.
SHAPES = [
    pytest.param(1280, 900, "light", id="desktop-light"),
    pytest.param(360, 780, "dark", id="phone-dark"),
]

pytestmark = pytest.mark.browser


class NewPage(Protocol):
    def __call__(self, width: int = ..., height: int = ..., scheme: Scheme = ...) -> Page: ...


@pytest.fixture(scope="module")
def app_url() -> Iterator[str]:
    """The application to which the emulator sends the browser back: here one that only listens."""

    class Application(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/plain")
            self.end_headers()
            self.wfile.write(b"the application")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Application) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Local:
    """An emulator, the application it answers, and what that application's server would send."""

    emulator: Emulator
    app_url: str

    @property
    def url(self) -> str:
        return self.emulator.url

    def authorize(self, **changes: str) -> str:
        parameters = {
            "client_id": CLIENT["client_id"],
            "response_type": "code",
            "redirect_uri": f"{self.app_url}/callback",
            "state": STATE,
        }
        return f"{self.url}/oauth/authorize?{urlencode(parameters | changes)}"

    def call(
        self, method: str, path: str, form: dict[str, str] | None = None, **headers: str
    ) -> Any:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=10)
        try:
            if form is not None:
                headers["content-type"] = "application/x-www-form-urlencoded"
            connection.request(method, path, urlencode(form) if form else None, headers)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def finish(self, code: str) -> dict[str, str]:
        """Exchange a code and read `/me`, as the application would; returns the tokens."""
        form = {
            "grant_type": "authorization_code",
            **CLIENT,
            "code": code,
            "redirect_uri": f"{self.app_url}/callback",
        }
        tokens: dict[str, str] = self.call("POST", "/oauth/token", form)
        self.call("GET", "/rest/v1.0/me", authorization=f"Bearer {tokens['access_token']}")
        return tokens


@pytest.fixture
def local(app_url: str) -> Iterator[Local]:
    with Emulator.started(redirect_uris=(f"{app_url}/callback", OUT_OF_BAND)) as emulator:
        yield Local(emulator, app_url)


def log_in(page: Page) -> None:
    page.get_by_role("button", name="Log in as Joe Contractor").click()


def allow(page: Page) -> str:
    """Press Allow; returns the code with which the browser comes to the application."""
    page.get_by_role("button", name="Allow").click()
    page.wait_for_url("**/callback?*")
    return parse_qs(urlsplit(page.url).query)["code"][0]


def sign_in(local: Local, page: Page) -> tuple[str, dict[str, str]]:
    """Go through a whole sign-in; returns the code and the tokens."""
    page.goto(local.authorize())
    log_in(page)
    code = allow(page)
    return code, local.finish(code)


def to_index(local: Local, page: Page) -> None:
    page.goto(local.url)


def to_login(local: Local, page: Page) -> None:
    page.goto(local.authorize())


def to_refused_login(local: Local, page: Page) -> None:
    to_login(local, page)
    page.get_by_label("Email address").fill("joecontractor@procore.com")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()


def to_consent(local: Local, page: Page) -> None:
    to_login(local, page)
    log_in(page)


def to_error(local: Local, page: Page) -> None:
    page.goto(local.authorize(client_id="nobody"))


def to_out_of_band(local: Local, page: Page) -> None:
    page.goto(local.authorize(redirect_uri=OUT_OF_BAND))
    log_in(page)
    page.get_by_role("button", name="Allow").click()


def to_logged_out(local: Local, page: Page) -> None:
    page.goto(local.url)
    page.get_by_role("button", name="Log out").click()


def to_empty_inspector(local: Local, page: Page) -> None:
    page.goto(f"{local.url}/_emulator/")


def to_inspector(local: Local, page: Page) -> None:
    page.goto(local.authorize(client_id="nobody", state="7" * 64))
    sign_in(local, page)
    local.call("POST", "/oauth/token", {"grant_type": "client_credentials", "client_id": "nobody"})
    page.goto(local.authorize(state="8" * 64, redirect_uri=f"{local.app_url}/elsewhere"))
    page.goto(f"{local.url}/_emulator/")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")


def to_message_beside_the_diagram(local: Local, page: Page) -> None:
    to_inspector(local, page)
    page.get_by_role("link", name="POST /oauth/token").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()


def to_exchange(local: Local, page: Page) -> None:
    sign_in(local, page)
    page.goto(f"{local.url}/_emulator/exchanges/5")


PAGES: dict[str, tuple[Callable[[Local, Page], None], str]] = {
    "index": (to_index, "A Procore of your own"),
    "login": (to_login, "Log in"),
    "login-refused": (to_refused_login, "Log in"),
    "consent": (to_consent, "Your Application would like to access your Procore account"),
    "error": (to_error, "An error has occurred"),
    "out-of-band": (to_out_of_band, "Authorization code:"),
    "logged-out": (to_logged_out, "You are logged out"),
    "inspector-empty": (to_empty_inspector, "Flow inspector"),
    "inspector": (to_inspector, "Flow inspector"),
    "message": (to_message_beside_the_diagram, "Flow inspector"),
    "exchange": (to_exchange, "POST /oauth/authorize"),
}


@pytest.mark.parametrize(("width", "height", "scheme"), SHAPES)
@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_accessible_and_fits_its_screen(
    local: Local,
    new_page: NewPage,
    artefacts: Path,
    name: str,
    width: int,
    height: int,
    scheme: Scheme,
) -> None:
    page = new_page(width, height, scheme)
    go, heading = PAGES[name]
    go(local, page)
    expect(page.locator("h1")).to_have_text(heading)  # while it changes no picture can be taken
    device = "phone" if width < 640 else "desktop"
    page.screenshot(path=artefacts / f"emulator-{name}-{device}-{scheme}.png")

    assert_accessible(page, heading)
    scroll_width = page.evaluate("document.documentElement.scrollWidth")
    assert scroll_width <= width
    assert page.locator("h1").inner_text() == heading
    assert "Local emulator: not Procore" in page.locator("header").inner_text()
    assert page.title().endswith("Local emulator, not Procore")
    assert page.locator("html").get_attribute("lang") == "en"


def test_every_page_has_a_title_of_its_own(local: Local, new_page: NewPage) -> None:
    page = new_page()
    titles = {}
    for name in ("index", "login", "consent", "error", "logged-out", "inspector-empty", "exchange"):
        PAGES[name][0](local, page)
        titles[name] = page.title()
        page.context.clear_cookies()

    assert len(set(titles.values())) == len(titles)


def test_no_page_asks_anything_of_another_site_or_breaks_its_policy(
    local: Local, new_page: NewPage
) -> None:
    page = new_page()
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text))
    for name in ("index", "error", "message"):
        PAGES[name][0](local, page)

    own = (local.url, local.app_url)
    assert [url for url in asked if not url.startswith(own)] == []
    assert complaints == []


# --- Logging in and allowing ---------------------------------------------------------------------


def test_the_login_panel_can_be_used_with_the_keyboard_alone(
    local: Local, new_page: NewPage
) -> None:
    page = new_page()
    page.goto(local.authorize())

    page.get_by_label("Email address").focus()
    page.keyboard.type("joecontractor@procore.com")
    page.keyboard.press("Tab")
    page.keyboard.type("procore")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_contain_text("would like to access")
    expect(page.get_by_text("Joe Contractor").first).to_be_visible()


def test_the_first_stop_of_the_keyboard_skips_to_the_content(
    local: Local, new_page: NewPage
) -> None:
    page = new_page()
    page.goto(local.authorize())

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.id") == "main"


def test_a_refused_login_says_so_and_keeps_the_way_on(local: Local, new_page: NewPage) -> None:
    page = new_page()
    to_refused_login(local, page)

    expect(page.get_by_role("alert")).to_contain_text("Invalid email or password.")
    log_in(page)
    expect(page.get_by_role("button", name="Allow")).to_be_visible()


def test_login_and_consent_work_without_script(local: Local, real_browser: Any) -> None:
    context = real_browser.new_context(java_script_enabled=False)
    page = context.new_page()

    code, _ = sign_in(local, page)

    assert len(code) > 20
    context.close()


def test_denying_takes_the_browser_back_with_the_error(local: Local, new_page: NewPage) -> None:
    page = new_page()
    to_consent(local, page)

    page.get_by_role("button", name="Deny").click()

    page.wait_for_url("**/callback?*")
    assert parse_qs(urlsplit(page.url).query)["error"] == ["access_denied"]


# --- The inspector -------------------------------------------------------------------------------


def test_arrows_appear_while_the_sign_in_happens(local: Local, new_page: NewPage) -> None:
    inspector, page = new_page(), new_page()
    inspector.goto(f"{local.url}/_emulator/")
    expect(inspector.get_by_text("Live: arrows appear as they happen")).to_be_visible()
    expect(inspector.locator("#empty")).to_be_visible()
    standing = inspector.locator(".chapter .standing").first

    page.goto(local.authorize())
    expect(standing).to_have_text("Next: step 5")
    expect(inspector.locator("#empty")).to_have_count(0)
    expect(inspector.locator("#said")).to_contain_text("Step 4")

    log_in(page)
    expect(standing).to_have_text("Next: step 7")
    expect(inspector.locator("li.latest")).to_contain_text("Procore displays the consent dialog")

    code = allow(page)
    expect(standing).to_have_text("Next: step 9")

    local.finish(code)
    expect(standing).to_have_text("Signed in")
    expect(inspector.locator("summary").first).to_contain_text("Joe Contractor")
    assert inspector.locator("li.seen").count() == 14
    assert inspector.locator("li.inferred").count() == 7
    assert inspector.locator("li.waiting").count() == 0


def test_what_is_drawn_live_is_what_a_reload_draws(local: Local, new_page: NewPage) -> None:
    inspector, page = new_page(), new_page()
    inspector.goto(f"{local.url}/_emulator/")
    sign_in(local, page)
    page.goto(local.authorize(state="9" * 64))
    expect(inspector.locator(".chapter")).to_have_count(2)
    expect(inspector.locator("li.latest").first).to_contain_text("redirects the browser back")
    drawn = """
        [...document.querySelectorAll(".chapter > summary, .chapter li.arrow")].map(
            (one) => [one.id, one.className, one.textContent.replace(/\\s+/g, " ").trim()])
        """
    live = inspector.evaluate(drawn)

    inspector.reload()

    assert len(live) > 30
    assert inspector.evaluate(drawn) == live


def test_a_new_sign_in_opens_and_closes_the_one_before(local: Local, new_page: NewPage) -> None:
    inspector, page = new_page(), new_page()
    inspector.goto(f"{local.url}/_emulator/")
    page.goto(local.authorize())
    page.goto(local.authorize(state="9" * 64))

    chapters = inspector.locator("details.chapter")

    expect(chapters).to_have_count(2)
    assert [one.get_attribute("open") for one in chapters.all()] == ["", None]
    assert chapters.first.get_attribute("id") == "sign-in-3"


def test_an_arrow_opens_its_message_by_click(local: Local, new_page: NewPage) -> None:
    page = new_page()
    sign_in(local, page)
    page.goto(f"{local.url}/_emulator/")

    page.locator("li", has_text="Your app asks for an access token").click()

    dialog = page.get_by_role("dialog", name="POST /oauth/token")
    expect(dialog).to_contain_text("proves to Procore that your app is asking")
    expect(dialog).to_contain_text("client_secret=[hidden]")
    expect(dialog).to_contain_text("authorization_code")


def test_an_arrow_opens_its_message_by_keyboard_and_gives_the_focus_back(
    local: Local, new_page: NewPage
) -> None:
    page = new_page()
    sign_in(local, page)
    page.goto(f"{local.url}/_emulator/")
    page.get_by_role("link", name="GET /rest/v1.0/me").focus()

    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="GET /rest/v1.0/me")
    expect(dialog).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "details-title"

    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("dialog", name="POST /oauth/token")).to_be_visible()
    page.keyboard.press("Escape")

    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(":focus")).to_have_text(re.compile("^200 JSON, response: Procore returns"))


def test_previous_and_next_end_where_the_diagram_ends(local: Local, new_page: NewPage) -> None:
    page = new_page()
    page.goto(local.authorize())
    page.goto(f"{local.url}/_emulator/")
    page.get_by_role("link", name="GET /oauth/authorize").first.click()
    following = page.get_by_role("button", name="Next")

    expect(page.get_by_role("button", name="Previous")).to_be_disabled()
    for _ in range(3):
        following.click()

    expect(following).to_be_disabled()
    expect(page.get_by_role("dialog", name="GET /login")).to_be_visible()


def test_the_focus_stays_where_it_is_while_arrows_are_drawn(
    local: Local, new_page: NewPage
) -> None:
    inspector, page = new_page(), new_page()
    page.goto(local.authorize())
    inspector.goto(f"{local.url}/_emulator/")
    inspector.locator("a.line", has_text="200 page").focus()

    log_in(page)
    expect(inspector.locator(".standing").first).to_have_text("Next: step 7")

    focused = inspector.evaluate("document.activeElement.textContent")
    assert focused == "200 page, response: Procore presents its login panel"


def test_no_secret_is_to_be_seen_anywhere(local: Local, new_page: NewPage) -> None:
    page = new_page()
    code, tokens = sign_in(local, page)
    cookie = next(c for c in page.context.cookies() if c["name"] == "procore_emulator_login")
    secrets = [
        STATE,
        code,
        tokens["access_token"],
        tokens["refresh_token"],
        CLIENT["client_secret"],
        cookie["value"],
        "password=procore",
        'value="procore"',
    ]
    page.goto(f"{local.url}/_emulator/")
    shown = [page.content()]
    for exchange in local.emulator.requests:
        page.goto(f"{local.url}/_emulator/exchanges/{exchange.number}")
        shown.append(page.content())
        shown.append(json.dumps(local.call("GET", f"/_emulator/exchanges/{exchange.number}")))

    assert len(shown) == 1 + 2 * 7
    assert [secret for secret in secrets if any(secret in text for text in shown)] == []


def test_clearing_brings_the_sixteen_steps_back_on_every_open_page(
    local: Local, new_page: NewPage
) -> None:
    inspector, other = new_page(), new_page()
    other.goto(local.authorize())
    for page in (inspector, other):
        page.goto(f"{local.url}/_emulator/")
        expect(page.get_by_text("Live: arrows appear")).to_be_visible()

    inspector.get_by_role("button", name="Clear").click()

    for page in (inspector, other):
        expect(page.locator("#empty li.waiting")).to_have_count(16)
        expect(page.get_by_text("Live: arrows appear")).to_be_visible()


def test_without_script_the_inspector_shows_everything_so_far(
    local: Local, real_browser: Any
) -> None:
    context = real_browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(local, page)

    page.goto(f"{local.url}/_emulator/")
    expect(page.get_by_text("Reload this page to see what is new.")).to_be_visible()
    expect(page.get_by_text("Scroll along")).to_be_hidden()
    page.get_by_role("link", name="POST /oauth/token").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("POST /oauth/token")
    context.close()


def test_an_emulator_that_went_away_is_named_and_its_successor_found(new_page: NewPage) -> None:
    page = new_page()
    with Emulator.started() as first:
        port = urlsplit(first.url).port or 0
        Local(first, "").call("POST", "/oauth/token", {"grant_type": "client_credentials"})
        page.goto(f"{first.url}/_emulator/")
        expect(page.get_by_text("Live: arrows appear")).to_be_visible()
        expect(page.locator("#others")).to_be_visible()

    expect(page.get_by_text("The emulator does not answer: trying again")).to_be_visible()

    with Emulator.started(port=port):
        expect(page.get_by_text("Live: arrows appear")).to_be_visible()
        expect(page.locator("#others")).to_have_count(0)


def test_the_phone_says_in_words_where_each_arrow_goes(local: Local, new_page: NewPage) -> None:
    page = new_page(360, 780)
    sign_in(local, page)
    page.goto(f"{local.url}/_emulator/")

    row = page.locator("li", has_text="Your app asks for an access token")

    assert row.locator(".ends").inner_text().replace("\n", " ").split() == (
        ["Your", "App", "→", "to", "Procore", "Auth", "Server"]
    )
    expect(row.locator(".stem")).to_be_hidden()


# --- Mounted under a path prefix -----------------------------------------------------------------


def test_a_browser_signs_in_and_watches_an_emulator_that_is_mounted(
    app_url: str, new_page: NewPage
) -> None:
    procore = LocalProcore(EmulatorOptions(redirect_uris=(f"{app_url}/callback",)))
    server = Server(procore, port=0)
    server.app = Starlette(routes=[Mount("/procore", EmulatorApp(procore))])
    inspector, page = new_page(), new_page()
    with running(server):
        inspector.goto(f"{server.url}/procore/_emulator/")
        expect(inspector.get_by_text("Live: arrows appear as they happen")).to_be_visible()
        asked = {"client_id": CLIENT["client_id"], "response_type": "code", "state": STATE}
        query = urlencode(asked | {"redirect_uri": f"{app_url}/callback"})
        page.goto(f"{server.url}/procore/oauth/authorize?{query}")
        log_in(page)
        assert allow(page)
        inspector.get_by_role("link", name="POST /oauth/authorize").first.click()
        expect(inspector.locator("#details article")).to_contain_text("decision")
        inspector.get_by_role("button", name="Close").click()
        inspector.get_by_role("button", name="Clear").click()
        expect(inspector.locator("#empty")).to_be_visible()
        assert inspector.url == f"{server.url}/procore/_emulator/"
