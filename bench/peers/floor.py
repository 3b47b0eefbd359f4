"""The floor: what a sign-in costs when everything is left out that can be.

The same server, HTTP client and database as the application, two calls upstream, one durable
transaction, three responses. Nothing is sealed, limited, checked for its form, rendered or retried;
no real application could be this. On PostgreSQL (`BENCH_POSTGRESQL`) everything goes the fastest
way that we know: `floor_postgresql.py`.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlencode

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server
from pyreqwest.client import Client, ClientBuilder

if "BENCH_POSTGRESQL" in os.environ:
    from floor_postgresql import commit, row_of
else:
    from floor_sqlite import commit, row_of

UPSTREAM = os.environ.get("BENCH_UPSTREAM", "")
REDIRECT_URI = os.environ.get("BENCH_REDIRECT_URI", "")
Send = Callable[[dict[str, Any]], Awaitable[None]]
Page = Callable[[dict[str, Any], Send], Awaitable[None]]
App = Callable[[dict[str, Any], object, Send], Awaitable[None]]

_client: Client | None = None


def client() -> Client:
    global _client  # noqa: PLW0603  # one client, as simple as can be
    if _client is None:
        _client = ClientBuilder().build()
    return _client


async def start(_scope: dict[str, Any], send: Send) -> None:
    state = secrets.token_hex(32)
    query = urlencode(
        {
            "client_id": "bench-client-id",
            "response_type": "code",
            "redirect_uri": REDIRECT_URI,
            "state": state,
        }
    )
    cookie = (b"set-cookie", f"state={state}; HttpOnly; Path=/".encode())
    page = f'<a href="{UPSTREAM}/oauth/authorize?{query}">Sign Up with Procore</a>'
    await answer(send, 200, page.encode(), cookie)


async def callback(scope: dict[str, Any], send: Send) -> None:
    query = parse_qs(scope["query_string"].decode())
    if cookies(scope).get("state") != query["state"][0]:
        await answer(send, 400, b"")
        return
    grant = {
        "grant_type": "authorization_code",
        "client_id": "bench-client-id",
        "client_secret": "bench-client-secret",
        "code": query["code"][0],
        "redirect_uri": REDIRECT_URI,
    }
    response = await client().post(f"{UPSTREAM}/oauth/token").form(grant).build().send()
    tokens = await response.json()
    asked = client().get(f"{UPSTREAM}/rest/v1.0/me").bearer_auth(tokens["access_token"])
    me = await (await asked.build().send()).json()
    session = secrets.token_urlsafe(32)
    await commit(session, me, tokens)
    cookie = (b"set-cookie", f"session={session}; HttpOnly; Path=/".encode())
    await answer(send, 303, b"", cookie, (b"location", b"/home"))


async def home(scope: dict[str, Any], send: Send) -> None:
    row = await row_of(cookies(scope).get("session"))
    if row is None:
        await answer(send, 303, b"", (b"location", b"/login"))
        return
    await answer(send, 200, json.dumps(row).encode())


def cookies(scope: dict[str, Any]) -> dict[str, str]:
    for name, value in scope["headers"]:
        if name == b"cookie":
            pairs = (pair.partition("=") for pair in value.decode().split("; "))
            return {key: text for key, _, text in pairs}
    return {}


async def answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


def application(start: Page, callback: Page, home: Page) -> App:
    """Return an ASGI application of three pages; another floor has pages of its own."""

    async def app(scope: dict[str, Any], _receive: object, send: Send) -> None:
        match scope["path"]:
            case "/login":
                await start(scope, send)
            case "/callback":
                await callback(scope, send)
            case _:
                await home(scope, send)

    return app


def serve(app: App) -> None:
    Server(
        "floor",
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.ASGINL,
        websockets=False,
        log_access=False,
        log_level=LogLevels.error,
    ).serve(target_loader=lambda: app, wrap_loader=False)


if __name__ == "__main__":
    serve(application(start, callback, home))
