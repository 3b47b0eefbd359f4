"""The emulator as an ASGI application, without its own server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Host

from procore_signin._emulator.wire.responses import ConnectionDropped
from procore_signin.emulator import EmulatorApp, EmulatorOptions, LocalProcore

Message = dict[str, Any]


def call(app: Any, scope: Message, *messages: Message) -> list[Message]:
    """Run one ASGI call with these incoming messages; returns what was sent."""
    incoming, sent = iter(messages), []

    async def receive() -> Message:
        return next(incoming)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def http_scope(method: str, path: str, **more: Any) -> Message:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:4568")],
    } | more


def test_a_whole_sign_in_in_process(
    authorize: Callable[..., str], code_form: Callable[..., dict[str, str]]
) -> None:
    async def sign_in() -> dict[str, Any]:
        transport = httpx2.ASGITransport(app=EmulatorApp(LocalProcore()))
        base_url = "http://127.0.0.1:4568"
        async with httpx2.AsyncClient(transport=transport, base_url=base_url) as http:
            form = {"login": "joecontractor@procore.com", "password": "procore"}
            await http.post("/login", data={**form, "continue_to": authorize()})
            consent = {"continue_to": authorize(), "decision": "allow"}
            location = (await http.post("/oauth/authorize", data=consent)).headers["location"]
            code = httpx2.URL(location).params["code"]
            tokens = (await http.post("/oauth/token", data=code_form(code))).json()
            bearer = {"authorization": f"Bearer {tokens['access_token']}"}
            me: dict[str, Any] = (await http.get("/rest/v1.0/me", headers=bearer)).json()
            return me

    assert 11111 == asyncio.run(sign_in())["id"]


def test_it_can_be_a_host_of_a_larger_application() -> None:
    app = Starlette(routes=[Host("127.0.0.1", EmulatorApp(LocalProcore()))])
    sent = call(app, http_scope("GET", "/login"), {"type": "http.request"})
    assert 200 == sent[0]["status"]


def test_under_a_prefix_its_redirects_keep_the_prefix(authorize: Callable[..., str]) -> None:
    app = EmulatorApp(LocalProcore())
    path, _, query = authorize().partition("?")
    scope = http_scope("GET", f"/procore{path}", root_path="/procore", query_string=query.encode())
    sent = call(app, scope, {"type": "http.request"})
    location = f"/procore/login?continue_to={quote(authorize(), safe='')}"
    assert (b"location", location.encode()) in sent[0]["headers"]


def test_a_body_may_come_in_several_messages() -> None:
    procore = LocalProcore()
    form = (b"content-type", b"application/x-www-form-urlencoded")
    scope = http_scope("POST", "/oauth/token")
    scope["headers"].append(form)
    sent = call(
        EmulatorApp(procore),
        scope,
        {"type": "http.request", "body": b"grant_", "more_body": True},
        {"type": "http.request", "body": b"type=abc", "more_body": True},
        {"type": "http.request"},
    )
    assert 401 == sent[0]["status"]
    assert b"unsupported_grant_type" in sent[1]["body"]


def test_a_body_that_grows_too_large_is_refused_before_it_ends() -> None:
    part = {"type": "http.request", "body": b"x" * 600_000, "more_body": True}
    sent = call(EmulatorApp(LocalProcore()), http_scope("POST", "/oauth/token"), part, part)
    assert 413 == sent[0]["status"]


def test_a_query_beyond_ascii_is_kept_as_bytes() -> None:
    procore = LocalProcore()
    scope = http_scope("GET", "/rest/v1.0/me", query_string="x=ü".encode())
    call(EmulatorApp(procore), scope, {"type": "http.request"})
    assert "/rest/v1.0/me?x=%C3%BC" == procore.journal.exchanges()[0].target


def test_a_header_sent_twice_is_journaled_twice_and_read_as_one() -> None:
    procore = LocalProcore()
    scope = http_scope("GET", "/rest/v1.0/me")
    scope["headers"] += [(b"x-a", b"1"), (b"x-a", b"2")]
    call(EmulatorApp(procore), scope, {"type": "http.request"})
    headers = procore.journal.exchanges()[0].request_headers
    assert (("host", "127.0.0.1:4568"), ("x-a", "1"), ("x-a", "2")) == headers


def test_who_calls_whom_is_told_by_the_path() -> None:
    procore = LocalProcore()
    app = EmulatorApp(procore)
    for method, path in (
        ("GET", "/oauth/authorize"),
        ("POST", "/oauth/authorize"),
        ("GET", "/oauth/authorize/x"),
        ("GET", "/login"),
        ("POST", "/logout"),
        ("POST", "/oauth/token"),
        ("GET", "/oauth/token/info"),
        ("POST", "/oauth/revoke"),
        ("GET", "/rest/v1.0/me"),
        ("GET", "/"),
        ("GET", "/_emulator/people"),
        ("GET", "/_emulator/"),
        ("GET", "/favicon.ico"),
    ):
        call(app, http_scope(method, path), {"type": "http.request"})
    assert [("user", "auth")] * 5 + [("app", "auth")] * 3 + [("app", "api")] == [
        (one.caller, one.lane) for one in procore.journal.exchanges()
    ]


def test_a_dropped_connection_is_a_failure_that_any_server_understands() -> None:
    procore = LocalProcore()
    procore.faults.add("*", "drop-before-commit")
    with pytest.raises(ConnectionDropped):
        call(EmulatorApp(procore), http_scope("GET", "/login"), {"type": "http.request"})


def test_start_and_stop_of_the_server_are_answered() -> None:
    sent = call(
        EmulatorApp(LocalProcore()),
        {"type": "lifespan"},
        {"type": "lifespan.startup"},
        {"type": "lifespan.shutdown"},
    )
    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == [
        message["type"] for message in sent
    ]


def test_anything_but_http_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="websocket"):
        call(EmulatorApp(LocalProcore()), {"type": "websocket"})


def test_the_application_is_found_where_its_redirect_uri_is() -> None:
    options = EmulatorOptions(
        redirect_uris=("urn:ietf:wg:oauth:2.0:oob", "https://localhost:8443/x/callback")
    )
    assert "https://localhost:8443" == LocalProcore(options).app_url
    oob_only = EmulatorOptions(redirect_uris=("urn:ietf:wg:oauth:2.0:oob",))
    assert "http://localhost:4567" == LocalProcore(oob_only).app_url
