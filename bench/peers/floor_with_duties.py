"""The floor with what a sign-in must not leave out here, written as straight as we can.

An attempt is sealed in a cookie with its state, its PKCE verifier and where to land, and works
once: that is on the disk before the code is spent. Tokens are sealed. They are on the disk before
anything else can fail, and once more with their user and the session. The writes of sign-ins that
meet are committed together. No form is checked, nothing is limited, logged, retried or refreshed,
no error has a page, and there is one kind of database.

So what procore-signin takes more than this is how it is written; what this takes more than the
floor is what it does.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import sqlite3
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from floor import (
    REDIRECT_URI,
    UPSTREAM,
    Send,
    answer,
    application,
    client,
    cookies,
    serve,
)

TABLES = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY, procore_id INTEGER UNIQUE, email TEXT, name TEXT, created_at INTEGER);
CREATE TABLE IF NOT EXISTS token_sets (
    id INTEGER PRIMARY KEY, user_id INTEGER UNIQUE REFERENCES users,
    access_token TEXT, refresh_token TEXT, expires_at INTEGER, generation INTEGER);
CREATE TABLE IF NOT EXISTS sessions (
    id INTEGER PRIMARY KEY, id_hash TEXT UNIQUE, user_id INTEGER REFERENCES users,
    me_json TEXT, user_agent TEXT, created_at INTEGER, expires_at INTEGER);
CREATE INDEX IF NOT EXISTS of_user ON sessions (user_id);
CREATE TABLE IF NOT EXISTS attempts (
    state_hash TEXT PRIMARY KEY, status TEXT, expires_at INTEGER, escrow TEXT, user_id INTEGER)
    WITHOUT ROWID;
"""

_seal = AESGCM(b"k" * 32)
_flusher = ThreadPoolExecutor(1)
_wanted: list[tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]] = []
_busy = False


@cache
def database() -> sqlite3.Connection:
    opened = sqlite3.connect(
        os.environ["BENCH_DATABASE"], check_same_thread=False, isolation_level=None
    )
    opened.executescript(TABLES)
    return opened


@cache
def reader() -> sqlite3.Connection:
    database()
    return sqlite3.connect(os.environ["BENCH_DATABASE"], isolation_level=None)


def sealed(plain: str, what: str) -> str:
    nonce = secrets.token_bytes(12)
    return urlsafe_b64encode(nonce + _seal.encrypt(nonce, plain.encode(), what.encode())).decode()


def opened(text: str, what: str) -> str:
    found = urlsafe_b64decode(text)
    return _seal.decrypt(found[:12], found[12:], what.encode()).decode()


async def written(work: Callable[[sqlite3.Connection], Any]) -> Any:
    """Do `work` in a transaction, with all that wants to be written now, and have it flushed."""
    global _busy  # noqa: PLW0603  # as simple as can be
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()
    _wanted.append((work, outcome))
    if not _busy:
        _busy = True
        loop.call_soon(_write_all, loop)
    return await outcome


def _write_all(loop: asyncio.AbstractEventLoop) -> None:
    global _busy  # noqa: PLW0603  # as above
    wanted, _wanted[:] = _wanted[:], []
    if not wanted:
        _busy = False
        return
    connection = database()
    connection.execute("BEGIN IMMEDIATE")
    told = [(outcome, work(connection)) for work, outcome in wanted]

    def flush() -> None:
        connection.execute("COMMIT")
        loop.call_soon_threadsafe(tell)

    def tell() -> None:
        for outcome, value in told:
            outcome.set_result(value)
        _write_all(loop)

    _flusher.submit(flush)


async def start(_scope: dict[str, Any], send: Send) -> None:
    state, verifier = secrets.token_hex(32), secrets.token_urlsafe(32)
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = urlencode(
        {
            "client_id": "bench-client-id",
            "response_type": "code",
            "redirect_uri": REDIRECT_URI,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
    )
    attempt = sealed(json.dumps([state, verifier, "/home", int(time.time())]), "attempt")
    cookie = (b"set-cookie", f"attempt={attempt}; HttpOnly; Path=/".encode())
    page = f'<a href="{UPSTREAM}/oauth/authorize?{query}">Sign Up with Procore</a>'
    await answer(send, 200, page.encode(), cookie)


async def callback(scope: dict[str, Any], send: Send) -> None:
    query = parse_qs(scope["query_string"].decode())
    state, verifier, return_to, at = json.loads(opened(cookies(scope)["attempt"], "attempt"))
    now = int(time.time())
    if not secrets.compare_digest(state, query["state"][0]) or now - at > 600:
        await answer(send, 400, b"")
        return
    state_hash = hashlib.sha256(state.encode()).hexdigest()

    def take(writer: sqlite3.Connection) -> int:
        row = (state_hash, "taken", at + 600)
        text = "INSERT INTO attempts (state_hash, status, expires_at) VALUES (?, ?, ?)"
        return writer.execute(f"{text} ON CONFLICT DO NOTHING", row).rowcount

    if not await written(take):
        await answer(send, 400, b"")
        return
    grant = {
        "grant_type": "authorization_code",
        "client_id": "bench-client-id",
        "client_secret": "bench-client-secret",
        "code": query["code"][0],
        "redirect_uri": REDIRECT_URI,
        "code_verifier": verifier,
    }
    response = await client().post(f"{UPSTREAM}/oauth/token").form(grant).build().send()
    tokens = json.loads(await response.text())
    access, refresh = tokens["access_token"], tokens["refresh_token"]

    def put_away(writer: sqlite3.Connection) -> None:
        escrow = sealed(json.dumps([access, refresh, tokens["expires_in"]]), state_hash)
        text = "UPDATE attempts SET escrow = ? WHERE state_hash = ? AND status = 'taken'"
        writer.execute(text, (escrow, state_hash))

    await written(put_away)
    asked = client().get(f"{UPSTREAM}/rest/v1.0/me").bearer_auth(access)
    body = await (await asked.build().send()).text()
    me = json.loads(body)
    session = secrets.token_urlsafe(32)
    id_hash = hashlib.sha256(session.encode()).hexdigest()

    def complete(writer: sqlite3.Connection) -> int:
        text = "SELECT id, email, name FROM users WHERE procore_id = ?"
        found = writer.execute(text, (me["id"],)).fetchone()
        if found is None:
            text = "INSERT INTO users (procore_id, email, name, created_at) VALUES (?, ?, ?, ?)"
            made = writer.execute(text, (me["id"], me["login"], me["name"], now))
            user_id = made.lastrowid or 0
        else:
            user_id = found[0]
        writer.execute(
            "INSERT INTO token_sets"
            " (user_id, access_token, refresh_token, expires_at, generation) VALUES (?, ?, ?, ?, 1)"
            " ON CONFLICT (user_id) DO UPDATE SET access_token = excluded.access_token,"
            " refresh_token = excluded.refresh_token, expires_at = excluded.expires_at,"
            " generation = generation + 1",
            (
                user_id,
                sealed(access, f"access {user_id}"),
                sealed(refresh, f"refresh {user_id}"),
                now + tokens["expires_in"],
            ),
        )
        writer.execute(
            "INSERT INTO sessions (id_hash, user_id, me_json, created_at, expires_at)"
            " VALUES (?, ?, ?, ?, ?)",
            (id_hash, user_id, body, now, now + 86_400),
        )
        text = "UPDATE attempts SET status = 'done', escrow = NULL, user_id = ?"
        writer.execute(f"{text} WHERE state_hash = ? AND status = 'taken'", (user_id, state_hash))
        return user_id

    await written(complete)
    await answer(
        send,
        303,
        b"",
        (b"set-cookie", f"session={session}; HttpOnly; Path=/".encode()),
        (b"set-cookie", b"attempt=; Max-Age=0; HttpOnly; Path=/"),
        (b"location", return_to.encode()),
    )


async def home(scope: dict[str, Any], send: Send) -> None:
    session = cookies(scope).get("session", "")
    id_hash = hashlib.sha256(session.encode()).hexdigest()
    row = (
        reader()
        .execute(
            "SELECT users.id, procore_id, email FROM sessions JOIN users ON users.id = user_id"
            " WHERE id_hash = ? AND expires_at > ?",
            (id_hash, int(time.time())),
        )
        .fetchone()
    )
    if row is None:
        await answer(send, 303, b"", (b"location", b"/login"))
        return
    await answer(send, 200, json.dumps(row).encode())


if __name__ == "__main__":
    serve(application(start, callback, home))
