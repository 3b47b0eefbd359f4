"""What Chromium fetches ahead of the person's wish sets and spends nothing (row C8)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from person import Person, exchanges
from playwright.sync_api import Page, expect
from ports import free_port
from running import Application, application

from procore_signin.emulator import Emulator

LONGEST_WAIT = 20.0
FORBIDDEN = 403
Event = dict[str, Any]
Serve = Callable[[str], str]


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


@pytest.fixture
def other_site() -> Iterator[Serve]:
    """Serves one page of someone else's, on the site `127.0.0.1` or `localhost`."""
    page = b""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    def serve(html: str) -> str:
        nonlocal page
        page = f"<!doctype html><title>Elsewhere</title>{html}".encode()
        return f":{server.server_address[1]}/"

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield serve
        server.shutdown()


@contextmanager
def events(page: Page, domain: str, name: str, last: Callable[[Event], bool]) -> Iterator[None]:
    """Wait, at the end, until Chromium has told something of which `last` is true."""
    browser = page.context.new_cdp_session(page)
    seen: list[Event] = []

    def note(event: Event) -> None:
        seen.append(event)

    browser.on(f"{domain}.{name}", note)
    browser.send(f"{domain}.enable")
    yield
    deadline = time.monotonic() + LONGEST_WAIT
    while not any(map(last, seen)):
        assert time.monotonic() < deadline, seen
        page.wait_for_timeout(10)  # lets Playwright hand on what came


def thrown_away(event: Event) -> bool:
    """Whether Chromium fetched something ahead, and cannot use it."""
    return bool(event["prefetchStatus"] == "PrefetchFailedNon2XX")


def rules(kind: str, url: str) -> str:
    """Return a page that has the browser fetch `url` ahead, and leads there."""
    listed = {kind: [{"source": "list", "urls": [url], "eagerness": "immediate"}]}
    script = f"<script type=speculationrules>{json.dumps(listed)}</script>"
    return f'{script}<a href="{url}">Go</a>'


def cookies(page: Page) -> set[str]:
    return {str(cookie["name"]) for cookie in page.context.cookies()}


@pytest.mark.parametrize("site", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("kind", ["prefetch", "prerender"])
def test_C8_a_page_that_is_fetched_ahead_begins_nothing_and_is_fetched_again_on_a_click(
    new_page: Any, app: Application, other_site: Serve, kind: str, site: str
) -> None:
    page = new_page()
    with events(page, "Preload", "prefetchStatusUpdated", thrown_away):
        page.goto(f"http://{site}{other_site(rules(kind, f'{app.url}/signin'))}")
    assert cookies(page) == set()
    page.get_by_role("link", name="Go").click()
    expect(page.get_by_role("link", name="Sign In with Procore")).to_be_visible()
    assert len(cookies(page)) == 1


def test_C8_a_callback_that_is_fetched_ahead_spends_nothing_and_a_click_signs_in(
    new_page: Any, app: Application, emulator: Emulator, other_site: Serve
) -> None:
    page = new_page()
    with Person(app.url, emulator) as joe:
        callback = f"{app.url}{joe.callback_address()}"
        held = [
            {"name": name, "value": value, "url": app.url}
            for name, value in joe.http.cookies.items()
        ]
    page.context.add_cookies(held)
    before = exchanges(emulator)
    with events(page, "Preload", "prefetchStatusUpdated", thrown_away):
        page.goto(f"http://localhost{other_site(rules('prefetch', callback))}")
    assert exchanges(emulator) == before
    assert cookies(page) == {cookie["name"] for cookie in held}
    page.get_by_role("link", name="Go").click()
    expect(page).to_have_url(f"{app.url}/home")
    assert urlsplit(page.url).query == ""
    assert exchanges(emulator) == before + 1


def test_C8_a_link_that_is_fetched_ahead_into_the_cache_is_not_taken_from_there(
    new_page: Any, app: Application, other_site: Serve
) -> None:
    page = new_page()
    html = f'<link rel=prefetch href="{app.url}/signin"><a href="{app.url}/signin">Go</a>'
    with events(
        page, "Network", "responseReceivedExtraInfo", lambda event: event["statusCode"] == FORBIDDEN
    ):
        page.goto(f"http://localhost{other_site(html)}")
    assert cookies(page) == set()
    page.get_by_role("link", name="Go").click()
    expect(page.get_by_role("link", name="Sign In with Procore")).to_be_visible()
    assert len(cookies(page)) == 1
