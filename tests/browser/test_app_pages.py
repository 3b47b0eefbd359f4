"""The application's pages in a real browser, under the policy that they are served with."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

import pytest
from accessibility import ANY, assert_accessible
from playwright.sync_api import Page, expect

from procore_signin._web import pages
from procore_signin._web.look.languages import shipped
from procore_signin._web.look.values import PageName
from procore_signin._web.paths import Paths

pytestmark = pytest.mark.browser

Scheme = Literal["light", "dark"]


class NewPage(Protocol):
    """The fixture `new_page`: opens a page in a fresh profile."""

    def __call__(self, width: int = 1280, height: int = 800, scheme: Scheme = "light") -> Page: ...


POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PATHS: Final = Paths.under()
AUTHORIZE: Final = "/authorize?client_id=emulator-client-id&response_type=code"
JOE: Final = SimpleNamespace(
    id=1,
    procore_id=11111,
    email="joecontractor@procore.com",
    name="Joe Contractor",
    environment="emulator",
    created_at=1_777_816_920,
    last_signed_in_at=1_791_816_131,
)
HOSTILE_NAME: Final = (
    "<script>document.title='owned'</script>\u202eevil\u2066 "
    "\N{FAMILY}\N{WOMAN WITH BUNNY EARS} Z\u0310\u0340\u0334a\u0310\u0340\u0334 " + "W" * 190
)
HOSTILE: Final = SimpleNamespace(
    id=2**63 - 1,
    procore_id=2**63 - 1,
    email="a" * 240 + "@example.org\u202e",
    name=HOSTILE_NAME,
    environment="production",
    created_at=0,
    last_signed_in_at=4_102_444_799,
)
LINUX: Final = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 "
    "Safari/537.36"
)
IPHONE: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/19.5 Mobile/15E148 Safari/604.1"
)


def a_session(number: int, *, current: bool, user_agent: str | None) -> SimpleNamespace:
    return SimpleNamespace(
        id=number,
        current=current,
        created_at=1_791_816_131 - number * 90_000,
        last_seen_at=1_791_819_731 - number * 86_000,
        user_agent=user_agent,
        expires_at=1_793_025_731 - number * 90_000,
    )


def a_home(user: SimpleNamespace) -> dict[str, object]:
    me = {"id": user.procore_id, "login": user.email, "name": user.name}
    return {
        "user": user,
        "row": json.dumps([user.id, user.procore_id, user.email], ensure_ascii=False),
        "me_json": json.dumps(me, ensure_ascii=False),
        "session": SimpleNamespace(created_at=1_791_816_131, absolute_expires_at=1_793_025_731),
        "signed_in": user,
    }


SESSIONS: Final = [
    a_session(1, current=True, user_agent=LINUX),
    a_session(2, current=False, user_agent=IPHONE),
    a_session(3, current=False, user_agent=None),
]
DENIED: Final = {
    "title": "You did not allow access",
    "what": "Procore says that you chose not to let this application see who you are. "
    "So you are not signed in.",
    "why": None,
    "cure": "If that was not what you meant, try again and choose Allow.",
    "action_label": "Sign In with Procore",
    "action_url": AUTHORIZE,
    "second_label": "Back to the start",
    "second_url": "/",
    "reference": "b7e2-41c9",
    "status": 403,
}
UNAVAILABLE: Final = {
    "title": "Procore does not answer right now",
    "what": "You logged in at Procore, but it did not answer when we asked who you are.",
    "why": "This happens while Procore is being maintained or is very busy.",
    "cure": "Wait a minute, then sign in again. Nothing was lost.",
    "action_label": "Sign In with Procore",
    "action_url": AUTHORIZE,
    "second_label": None,
    "second_url": None,
    "reference": "c05d-9f10",
    "status": 503,
}
SIGN_IN: Final[dict[str, object]] = {
    "sign_in_url": AUTHORIZE,
    "return_to": None,
    "notice": None,
    "sign_up_page": "/",
}

SCENES: Final[dict[str, tuple[PageName, Mapping[str, object]]]] = {
    "landing": ("landing", {"sign_up_url": AUTHORIZE, "user": None}),
    "landing-signed-in": ("landing", {"sign_up_url": AUTHORIZE, "user": JOE, "signed_in": JOE}),
    "landing-production": (
        "landing",
        {"sign_up_url": AUTHORIZE, "user": None, "environment": "production"},
    ),
    "signin": ("signin", SIGN_IN),
    "signin-returning": (
        "signin",
        {**SIGN_IN, "return_to": "/home", "notice": "Your session has ended."},
    ),
    "fragment": ("fragment", {"sign_in_url": AUTHORIZE}),
    "home": ("home", a_home(JOE)),
    "home-hostile": ("home", {**a_home(HOSTILE), "environment": "sandbox"}),
    "sessions": ("sessions", {"sessions": SESSIONS, "signed_in": JOE}),
    "company": (
        "company",
        {
            "companies": (
                SimpleNamespace(id=4268, name="Demo Builders"),
                SimpleNamespace(id=598134325694431, name="A Company With A Long Name " * 6),
            ),
            "chosen": 4268,
            "return_to": "/home",
            "signed_in": JOE,
        },
    ),
    "signed-out": ("signed_out", {"everywhere": False, "sign_in_url": AUTHORIZE}),
    "signed-out-everywhere": ("signed_out", {"everywhere": True, "sign_in_url": AUTHORIZE}),
    "disconnected": ("disconnected", {"revoked": True, "sign_in_url": AUTHORIZE}),
    "disconnected-by-hand": ("disconnected", {"revoked": False, "sign_in_url": AUTHORIZE}),
    "problem-denied": ("problem", DENIED),
    "problem-unavailable": ("problem", UNAVAILABLE),
    "problem-hostile": (
        "problem",
        {**DENIED, "title": HOSTILE_NAME, "what": HOSTILE_NAME, "reference": "x" * 200},
    ),
}


@dataclass(slots=True)
class Preview:
    """The pages behind a port, and the forms that the browser sent there."""

    origin: str
    posted: list[tuple[str, str]] = field(default_factory=list)

    def scene(self, name: str) -> str:
        return f"{self.origin}/scene/{name}"


def scene_html(name: str) -> str:
    name, _, tag = name.partition(".")
    page_name, values = SCENES[name]
    return pages.render(
        page_name,
        {
            "app_name": "Site Diary",
            "paths": PATHS,
            "environment": "emulator",
            "signed_in": None,
            "language": shipped(tag or "en"),
            "logo": None,
            "stylesheet": None,
            **values,
        },
    )


def answer_to(path: str) -> tuple[bytes, str] | None:
    """Return the body and media type for a GET, as the application would."""
    if path.startswith("/static/"):
        return pages.static_file(path.removeprefix("/static/"))
    if path.startswith("/scene/"):
        return scene_html(path.removeprefix("/scene/")).encode(), "text/html; charset=utf-8"
    return b"<!doctype html><title>Arrived</title>", "text/html; charset=utf-8"


@pytest.fixture(scope="module")
def server() -> Iterator[Preview]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answer_to(urlsplit(self.path).path)
            self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
            self.send_header("content-security-policy", POLICY)
            self.send_header("content-type", found[1] if found else "text/plain")
            self.end_headers()
            self.wfile.write(found[0] if found else b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            preview.posted.append((self.path, body.decode()))
            self.send_response(HTTPStatus.SEE_OTHER)
            self.send_header("location", "/arrived")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            """Say nothing: the tests look at `posted`."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    preview = Preview(f"http://127.0.0.1:{listening.server_port}")
    thread = threading.Thread(target=listening.serve_forever, name="preview")
    thread.start()
    yield preview
    listening.shutdown()
    thread.join()
    listening.server_close()


EVERY_SCENE: Final = pytest.mark.parametrize("scene", list(SCENES))


@EVERY_SCENE
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    new_page: NewPage, server: Preview, artefacts: Path, scene: str, scheme: Scheme
) -> None:
    # Colours depend on the scheme and order on the size: one run of each pair sees both.
    size, width, height = ("phone", 390, 844) if scheme == "light" else ("desk", 1280, 900)
    page = new_page(width=width, height=height, scheme=scheme)
    page.goto(server.scene(scene))
    folder = artefacts / "app-pages"
    page.screenshot(path=folder / f"{scene}-{size}-{scheme}.png", full_page=True)
    assert_accessible(page, ANY)


@pytest.mark.parametrize("tag", ["es", "fr"])
def test_every_page_is_accessible_and_fits_a_phone_in_each_language(
    new_page: NewPage, server: Preview, artefacts: Path, tag: str
) -> None:
    page = new_page(width=360, height=640, scheme="dark" if tag == "es" else "light")
    for scene in SCENES:
        page.goto(server.scene(f"{scene}.{tag}"))
        page.screenshot(path=artefacts / "app-pages" / f"{scene}-{tag}.png", full_page=True)
        assert_accessible(page, ANY)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, scene


@EVERY_SCENE
def test_nothing_makes_a_narrow_phone_scroll_sideways(
    new_page: NewPage, server: Preview, scene: str
) -> None:
    page = new_page(width=360, height=640)
    page.goto(server.scene(scene))

    beyond = page.evaluate(
        """() => [...document.querySelectorAll("body :not(.skip, .person *)")]
            .filter(element => element.getBoundingClientRect().right > innerWidth + 0.5)
            .map(element => element.outerHTML.slice(0, 80))"""
    )
    assert beyond == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@EVERY_SCENE
def test_K6_the_policy_stops_nothing_that_a_page_needs(
    new_page: NewPage, server: Preview, scene: str
) -> None:
    page = new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(server.scene(scene), wait_until="load")

    assert complaints == []
    # The stylesheet and the icon arrived: both would be refused silently by a wrong address.
    assert page.evaluate("getComputedStyle(document.body).marginTop") == "0px"
    assert page.evaluate("document.images[0].naturalWidth > 0")


@EVERY_SCENE
def test_every_action_is_reached_by_keyboard_and_seen_when_it_is(
    new_page: NewPage, server: Preview, scene: str
) -> None:
    page = new_page()
    page.goto(server.scene(scene))
    actions = page.locator("a[href]:visible, button:visible").count()
    reached = set()
    for _ in range(actions):
        page.keyboard.press("Tab")
        label, outline, inside = page.evaluate(
            """() => {
                const focused = document.activeElement;
                const all = [...document.querySelectorAll("a[href], button")];
                const style = getComputedStyle(focused);
                const box = focused.getBoundingClientRect();
                return [
                    all.indexOf(focused),
                    style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
                    box.left >= 0 && box.top >= 0 && box.bottom <= innerHeight,
                ];
            }"""
        )
        assert outline >= 2, "the focus must be seen"
        assert inside, "what has the focus must be on the screen"
        reached.add(label)

    assert actions == len(reached - {-1})


def test_the_first_tab_offers_to_skip_to_the_content(new_page: NewPage, server: Preview) -> None:
    page = new_page()
    page.goto(server.scene("home"))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")

    expect(page.get_by_role("button", name="Sign out")).to_be_focused()


def test_a_session_is_ended_with_the_keyboard_and_told_apart_by_ear(
    new_page: NewPage, server: Preview
) -> None:
    page = new_page()
    page.goto(server.scene("sessions"))
    iphone = page.get_by_role("button", name="End this session", description="Safari on iPhone")
    iphone.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/arrived")

    assert server.posted == [(PATHS.end_session, "session_id=2")]


def test_all_other_sessions_are_ended_by_one_button(new_page: NewPage, server: Preview) -> None:
    page = new_page()
    page.goto(server.scene("sessions"))
    page.get_by_role("button", name="End all others").click()
    page.wait_for_url("**/arrived")

    assert server.posted[-1] == (PATHS.end_session, "others=yes")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_print_is_black_on_white_without_buttons(
    new_page: NewPage, server: Preview, scheme: Scheme
) -> None:
    page = new_page(scheme=scheme)
    page.goto(server.scene("home"))
    page.emulate_media(media="print")

    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(page.get_by_text("[1, 11111,")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


class TestHostileValues:
    def test_I6_a_name_runs_no_script_and_stays_in_its_place(
        self, new_page: NewPage, server: Preview
    ) -> None:
        page = new_page(width=360, height=640)
        page.goto(server.scene("home-hostile"))

        expect(page).to_have_title("Home · Site Diary")
        expect(page.locator("h1 bdi")).to_have_text(HOSTILE_NAME)
        # In the header one long name takes one line, so that the rest stays where it always is.
        person = page.locator(".person").bounding_box()
        assert person is not None
        assert person["height"] < 50
        assert page.locator("script").count() == 0

    def test_I6_a_mark_that_turns_text_around_ends_with_the_name(
        self, new_page: NewPage, server: Preview
    ) -> None:
        page = new_page()
        page.goto(server.scene("home-hostile"))
        # "procore" must run left to right on the screen, whatever stands in the e-mail before it.
        runs_forward = page.evaluate(
            """() => {
                const text = [...document.querySelectorAll("dt")]
                    .find(term => term.textContent === "Procore ID").firstChild;
                const at = (index) => {
                    const range = document.createRange();
                    range.setStart(text, index);
                    range.setEnd(text, index + 1);
                    return range.getBoundingClientRect().left;
                };
                return at(0) < at(6);
            }"""
        )
        assert runs_forward
        assert "\\u202e" in page.locator("pre").first.inner_text()
