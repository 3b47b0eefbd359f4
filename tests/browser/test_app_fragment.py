"""The page that finds the response behind the `#` (tutorial, steps 8 and 9), in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Literal, Protocol
from urllib.parse import parse_qs, urlsplit

import pytest
from accessibility import assert_accessible
from playwright.sync_api import Browser, Page, expect

from procore_signin._web import pages
from procore_signin._web.look.languages import shipped
from procore_signin._web.paths import Paths

pytestmark = pytest.mark.browser

Scheme = Literal["light", "dark"]

POLICY: Final = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'"
AUTHORIZE: Final = "/authorize?client_id=emulator-client-id"
PATHS: Final = Paths.under()
ANSWERS: Final = {"code", "error"}


class NewPage(Protocol):
    """The fixture `new_page`: opens a page in a fresh profile."""

    def __call__(self, width: int = 1280, height: int = 800, scheme: Scheme = "light") -> Page: ...


@dataclass(slots=True)
class Preview:
    """The callback behind a port, and the queries with which the browser asked for it."""

    origin: str
    asked: list[str] = field(default_factory=list)


def answer_to(path: str, query: str) -> tuple[bytes, str] | None:
    """Return the body and media type for a GET, as the application would."""
    if path.startswith("/static/"):
        return pages.static_file(path.removeprefix("/static/"))
    answered = parse_qs(query, keep_blank_values=True).keys() & ANSWERS
    if path.endswith("/callback") and (not answered or "fragment_page_anyway" in query):
        values = {
            "app_name": "Site Diary",
            "paths": PATHS,
            "environment": "emulator",
            "signed_in": None,
            "language": shipped("en"),
            "logo": None,
            "stylesheet": None,
        }
        html = pages.render("fragment", {**values, "sign_in_url": AUTHORIZE})
    else:
        html = "<!doctype html><html data-answer=arrived><title>Arrived</title>"
    return html.encode(), "text/html; charset=utf-8"


@pytest.fixture(scope="module")
def server() -> Iterator[Preview]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/callback":
                preview.asked.append(parts.query)
            found = answer_to(parts.path, parts.query)
            self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
            self.send_header("content-security-policy", POLICY)
            self.send_header("content-type", found[1] if found else "text/plain")
            self.end_headers()
            self.wfile.write(found[0] if found else b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            """Say nothing: the tests look at `asked`."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    preview = Preview(f"http://127.0.0.1:{listening.server_port}")
    thread = threading.Thread(target=listening.serve_forever, name="preview")
    thread.start()
    yield preview
    listening.shutdown()
    thread.join()
    listening.server_close()


def arrive(page: Page, server: Preview, address: str) -> list[str]:
    """Open `address` and return the queries with which the callback was asked."""
    server.asked.clear()
    page.goto(f"{server.origin}{address}", wait_until="commit")
    # Either the script found nothing to move, and never looks again, or the page was left.
    expect(page.locator("html:is([data-answer=missing], [data-answer=arrived])")).to_be_attached()
    return list(server.asked)


def test_code_and_state_move_into_the_query_once(new_page: NewPage, server: Preview) -> None:
    page = new_page()
    asked = arrive(page, server, "/callback#code=a%2Bb%26c&state=5f5f")

    assert asked == ["", "code=a%2Bb%26c&state=5f5f"]
    assert page.url == f"{server.origin}/callback?code=a%2Bb%26c&state=5f5f"


def test_a_refusal_moves_as_well(new_page: NewPage, server: Preview) -> None:
    fragment = "error=access_denied&error_description=no+thanks&state=5f5f&iss=https%3A%2F%2Fp"
    asked = arrive(new_page(), server, f"/callback#{fragment}")

    (first, query) = asked
    assert first == ""
    assert parse_qs(query) == {
        "error": ["access_denied"],
        "error_description": ["no thanks"],
        "state": ["5f5f"],
        "iss": ["https://p"],
    }


def test_T8_a_token_in_the_fragment_is_left_behind(new_page: NewPage, server: Preview) -> None:
    asked = arrive(
        new_page(), server, "/callback#access_token=fake&code=fake&state=5f5f&token_type=bearer"
    )

    assert asked == ["", "code=fake&state=5f5f"]


@pytest.mark.parametrize(
    "fragment",
    [
        "",
        "#",
        "#access_token=fake&token_type=bearer",
        "#state=5f5f",
        "#_=_",
        "#%E0%A4%A",
        "#top",
    ],
)
def test_C11_without_an_answer_the_page_says_so_and_one_click_goes_on(
    new_page: NewPage, server: Preview, fragment: str
) -> None:
    page = new_page()
    asked = arrive(page, server, f"/callback{fragment}")

    assert asked == [""]
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "There is no response from Procore in this address"
    )
    page.get_by_role("link", name="Sign In with Procore").click()
    page.wait_for_url(f"{server.origin}{AUTHORIZE}")


def test_C11_an_address_that_has_an_answer_already_is_left_alone(
    new_page: NewPage, server: Preview
) -> None:
    address = "/callback?fragment_page_anyway&code=first#code=second&state=5f5f"

    assert arrive(new_page(), server, address) == ["fragment_page_anyway&code=first"]


def test_C2_what_comes_twice_stays_twice_for_the_server_to_refuse(
    new_page: NewPage, server: Preview
) -> None:
    asked = arrive(new_page(), server, "/callback#code=one&code=two&state=5f5f")

    assert asked == ["", "code=one&code=two&state=5f5f"]


def test_an_endless_fragment_is_no_answer(new_page: NewPage, server: Preview) -> None:
    assert arrive(new_page(), server, f"/callback#code={'a' * 9000}&state=5f5f") == [""]


def test_A8_a_path_with_two_slashes_leads_to_no_other_host(
    new_page: NewPage, server: Preview
) -> None:
    page = new_page()
    arrive(page, server, "//evil.example/callback#code=fake&state=5f5f")

    assert page.url == f"{server.origin}//evil.example/callback?code=fake&state=5f5f"


def test_while_it_moves_the_page_says_that_it_is_finishing(
    new_page: NewPage, server: Preview
) -> None:
    page = new_page()
    # A response without content leaves the browser where it is: on the page that is leaving.
    page.route("**/callback?code=*", lambda route: route.fulfill(status=204))
    page.goto(f"{server.origin}/callback#code=fake&state=5f5f", wait_until="commit")

    expect(page.get_by_role("heading", level=1)).to_have_text("Finishing your sign-in")
    expect(page).to_have_title("Finishing your sign-in")
    expect(page.get_by_role("link", name="Sign In with Procore")).to_be_hidden()


def test_C11_the_back_button_does_not_come_back_to_it(new_page: NewPage, server: Preview) -> None:
    page = new_page()
    page.goto(f"{server.origin}/landing")
    arrive(page, server, "/callback#code=fake&state=5f5f")
    page.go_back()

    assert page.url == f"{server.origin}/landing"


def test_without_its_script_the_page_says_what_to_do(
    real_browser: Browser, server: Preview
) -> None:
    context = real_browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{server.origin}/callback#code=fake&state=5f5f")

    expect(page.get_by_text("Allow JavaScript for this page")).to_be_visible()
    expect(page.get_by_role("link", name="Sign In with Procore")).to_be_visible()
    context.close()


def test_those_words_are_gone_where_the_script_runs(new_page: NewPage, server: Preview) -> None:
    page = new_page()
    arrive(page, server, "/callback")

    expect(page.get_by_text("Allow JavaScript for this page")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_page_that_is_leaving(
    new_page: NewPage, server: Preview, scheme: Scheme
) -> None:
    page = new_page(scheme=scheme)
    page.route("**/callback?code=*", lambda route: route.fulfill(status=204))
    page.goto(f"{server.origin}/callback#code=fake&state=5f5f", wait_until="commit")
    assert_accessible(page, "Finishing your sign-in")
