"""A real browser goes from the emulator's forms to the application.

Chromium applies the policy's `form-action` to the redirects that response a form. If the policy
left out the redirect URI's origin, Allow would do nothing at all, and no HTTP client would notice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from playwright.sync_api import Page

from procore_signin.emulator import Emulator


class Application(BaseHTTPRequestHandler):
    """Says hello at its callback, and sends the browser on within itself."""

    def do_GET(self) -> None:
        if self.path.startswith("/callback"):
            self.send_response(303)
            self.send_header("location", "/home?" + self.path.partition("?")[2])
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>Your application</title>")

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def application() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Application) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://localhost:{server.server_address[1]}/callback"
        server.shutdown()
        thread.join()


def log_in(page: Page) -> None:
    page.fill("#login", "joecontractor@procore.com")
    page.fill("#password", "procore")
    page.press("#password", "Enter")


@pytest.mark.parametrize(
    ("decision", "answer"), [("allow", "code="), ("deny", "error=access_denied")]
)
def test_allow_and_deny_lead_to_the_application(
    emulated: Callable[..., Emulator],
    authorize: Callable[..., str],
    new_page: Callable[[], Page],
    decision: str,
    answer: str,
) -> None:
    with application() as redirect_uri:
        emulator = emulated(redirect_uris=(redirect_uri,))
        page = new_page()
        page.goto(emulator.url + authorize(redirect_uri=redirect_uri))
        log_in(page)
        page.click(f"button[name=decision][value={decision}]")
        page.wait_for_url("**/home?*")
        assert "Your application" == page.title()
        assert answer in page.url


def test_with_consent_remembered_the_log_in_leads_all_the_way(
    emulated: Callable[..., Emulator],
    authorize: Callable[..., str],
    new_page: Callable[[], Page],
) -> None:
    with application() as redirect_uri:
        emulator = emulated(redirect_uris=(redirect_uri,))
        state = emulator._procore.state
        state.grants.exchange(
            state.grants.issue_code(
                client_id="emulator-client-id", person_id=11111, redirect_uri=redirect_uri
            )
        )
        page = new_page()
        page.goto(emulator.url + authorize(redirect_uri=redirect_uri))
        log_in(page)
        page.wait_for_url("**/home?code=*")
        assert "Your application" == page.title()
