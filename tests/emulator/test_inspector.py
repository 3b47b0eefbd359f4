"""The inspector as an ASGI application: its page, its files, one exchange, clearing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import pytest
from recorded import APP, CONSENT, REQUEST, STATE, record, record_denial

from procore_signin._emulator.inspector.endpoints import Inspector, handles
from procore_signin._emulator.journal import Journal

CODE = "c0de" * 16


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


def ask(inspector: Inspector, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask the ASGI application for one response; `headers` with `_` for `-`."""

    async def run() -> Answer:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [
                (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
            ],
        }
        await inspector.answer(scope, receive, send)
        start, *bodies = sent
        return Answer(
            start["status"],
            {name.decode(): value.decode() for name, value in start["headers"]},
            b"".join(body["body"] for body in bodies).decode(),
        )

    return asyncio.run(run())


class Shape(HTMLParser):
    """What of a page matters to people who do not see it, and to its policy."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]


# --- The page ------------------------------------------------------------------------------------


def test_the_empty_page_lists_the_sixteen_steps_and_says_what_to_do(inspector: Inspector) -> None:
    page = ask(inspector, "/_emulator/")

    assert page.status == 200
    assert page.body.count('<li id="empty-step-') == 16
    assert f'<a href="{APP}"' in page.body
    assert "Sign Up with Procore" in page.body


def test_without_script_the_page_shows_what_happened_so_far(
    journal: Journal, inspector: Inspector
) -> None:
    record_denial(journal)

    page = ask(inspector, "/_emulator/").body

    assert "Denied by the user" in page
    assert 'href="/_emulator/exchanges/2#response"' in page
    assert "Reload this page" in page
    assert 'id="empty"' not in page


def test_the_newest_sign_in_is_open_and_stands_first(
    journal: Journal, inspector: Inspector
) -> None:
    record_denial(journal)
    record(journal, "GET", REQUEST.replace(STATE, "9" * 64))

    page = ask(inspector, "/_emulator/").body

    assert page.index('id="sign-in-3" open') < page.index('id="sign-in-1">')


def test_requests_of_no_sign_in_are_shown_apart(journal: Journal, inspector: Inspector) -> None:
    record(journal, "POST", "/logout")

    page = ask(inspector, "/_emulator/").body

    assert "Other requests" in page
    assert 'id="empty"' in page


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere(
    journal: Journal, inspector: Inspector
) -> None:
    record_denial(journal)

    page = ask(inspector, "/_emulator/")
    shape = Shape(page.body)

    assert page.headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; "
    )
    assert "style" not in shape.tags
    assert [name for name, _ in shape.attributes if name == "style" or name.startswith("on")] == []
    assert [
        value
        for name, value in shape.attributes
        if name == "src" and not (value or "").startswith("/_emulator/static/")
    ] == []


def test_every_id_on_the_page_is_used_once(journal: Journal, inspector: Inspector) -> None:
    record_denial(journal)
    record_denial(journal, "8" * 64)

    ids = Shape(ask(inspector, "/_emulator/").body).ids

    assert len(ids) == len(set(ids))


def test_what_an_exchange_carries_cannot_become_markup(
    journal: Journal, inspector: Inspector
) -> None:
    record(journal, "GET", f"{REQUEST}&x=<script>alert(1)</script>", note="<b>fault</b>")

    for path in ("/_emulator/", "/_emulator/exchanges/1"):
        body = ask(inspector, path, accept="text/html").body
        assert "<script>alert" not in body
        assert "<b>fault" not in body


def test_no_secret_reaches_the_page(journal: Journal, inspector: Inspector) -> None:
    record_denial(journal)
    record(journal, "POST", "/oauth/token", request_body=f"code={CODE}".encode(), caller="app")

    for path in ("/_emulator/", *(f"/_emulator/exchanges/{number}" for number in (1, 2, 3))):
        for accept in ("text/html", "application/json"):
            body = ask(inspector, path, accept=accept).body
            assert STATE not in body
            assert CODE not in body


# --- One exchange --------------------------------------------------------------------------------


def test_an_exchange_is_told_as_json(journal: Journal, inspector: Inspector) -> None:
    record(journal, "GET", REQUEST, note="no one is logged in")

    told = ask(inspector, "/_emulator/exchanges/1")

    assert told.headers["content-type"] == "application/json"
    assert json.loads(told.body) == {
        "number": 1,
        "started_at": 1_700_000_000.5,
        "took": 0.0042,
        "caller": "user",
        "lane": "auth",
        "note": "no one is logged in",
        "request": {
            "method": "GET",
            "target": REQUEST.replace(STATE, "5f3c…3c[64]"),
            "headers": [["host", "127.0.0.1:4568"]],
            "body": "",
        },
        "response": {
            "status": 200,
            "headers": [["content-type", "text/html"]],
            "body": CONSENT.decode(),
        },
    }


def test_a_browser_gets_a_page_that_explains_the_parameters(
    journal: Journal, inspector: Inspector
) -> None:
    record(journal, "GET", REQUEST)

    page = ask(inspector, "/_emulator/exchanges/1", accept="text/html,*/*;q=0.8")

    assert "<h1" in page.body
    assert "ties the response to this very browser" in page.body
    assert "4.2 ms" in page.body


def test_an_exchange_without_an_answer_is_shown_so(journal: Journal, inspector: Inspector) -> None:
    record(journal, "GET", REQUEST, status=0, response_headers=(), response_body=b"")

    assert "no response" in ask(inspector, "/_emulator/exchanges/1", accept="text/html").body


@pytest.mark.parametrize("number", ["2", "0", "-1", "x", "", "1/2", "9" * 5000, "٣"])
def test_an_unknown_exchange_is_not_found(
    journal: Journal, inspector: Inspector, number: str
) -> None:
    record(journal, "GET", REQUEST)

    assert ask(inspector, f"/_emulator/exchanges/{number}").status == 404


# --- Paths, methods, files -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/_emulator/", True),
        ("/_emulator/events", True),
        ("/_emulator/clear", True),
        ("/_emulator/exchanges/1", True),
        ("/_emulator/static/emulator.css", True),
        ("/_emulator/people", False),
        ("/_emulator", False),
        ("/", False),
    ],
)
def test_the_inspector_names_its_own_paths(path: str, expected: bool) -> None:  # noqa: FBT001 - a table
    assert handles(path) is expected


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("emulator.css", "text/css; charset=utf-8"),
        ("inspector.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_static_files_are_served_with_their_type(
    inspector: Inspector, name: str, content_type: str
) -> None:
    served = ask(inspector, f"/_emulator/static/{name}")

    assert (served.status, served.headers["content-type"]) == (200, content_type)
    assert served.headers["x-content-type-options"] == "nosniff"
    assert int(served.headers["content-length"]) == len(served.body.encode())


@pytest.mark.parametrize("name", ["", "../inspector.py", "nothing.css", "%2e%2e/journal.py"])
def test_no_other_file_is_served(inspector: Inspector, name: str) -> None:
    assert ask(inspector, f"/_emulator/static/{name}").status == 404


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/_emulator/", "POST", "GET"),
        ("/_emulator/clear", "GET", "POST"),
        ("/_emulator/events", "DELETE", "GET"),
    ],
)
def test_other_methods_are_refused(
    inspector: Inspector, path: str, method: str, allowed: str
) -> None:
    refused = ask(inspector, path, method)

    assert (refused.status, refused.headers["allow"]) == (405, allowed)


def test_clearing_empties_the_page(journal: Journal, inspector: Inspector) -> None:
    record_denial(journal)
    ask(inspector, "/_emulator/")

    cleared = ask(inspector, "/_emulator/clear", "POST", host="a:1", origin="http://a:1")

    assert (cleared.status, cleared.headers["location"]) == (303, "/_emulator/")
    assert journal.exchanges() == []
    assert 'id="empty"' in ask(inspector, "/_emulator/").body


def test_the_page_of_another_site_cannot_clear_the_journal(
    journal: Journal, inspector: Inspector
) -> None:
    record_denial(journal)

    for origin in ("http://elsewhere.example", "null"):
        refused = ask(inspector, "/_emulator/clear", "POST", host="a:1", origin=origin)
        assert refused.status == 403

    assert len(journal.exchanges()) == 2
