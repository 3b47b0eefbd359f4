"""A folder as an operator finds it: settings, a database with people in it, perhaps a Procore."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from doing import clear_escrow
from migrated import migrated

from procore_signin import environments
from procore_signin._client import ProcoreSignIn
from procore_signin._flow.attempt import new_attempt
from procore_signin._flow.sessions import Browser
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted, parse_authorization_response
from procore_signin._protocol.me import Me
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import KeyRing, NewSession, Store
from procore_signin._store.ledger import TakeAttempt
from procore_signin._store.records import User
from procore_signin._store.sign_in import CompleteSignIn
from procore_signin.emulator import Emulator

OLD = f"old:{'B' * 42}E"
NEW = f"new:{'A' * 42}E"
NOBODY_LISTENS = "http://127.0.0.1:9"


def write_settings(folder: Path, *, keys: str = OLD, emulator_url: str = NOBODY_LISTENS) -> Path:
    """Write a `.env` with which the application starts, and migrate its database."""
    path = folder / ".env"
    path.write_text(
        f"# mine\nPROCORE_ENVIRONMENT=emulator\nPROCORE_EMULATOR_URL={emulator_url}\n"
        f"PROCORE_KEYS={keys}\nOTHER=1\n",
        encoding="utf-8",
    )
    migrated(folder / "test.db")
    return path


def keys_in(folder: Path) -> str:
    """Return the value of PROCORE_KEYS in `.env`."""
    lines = (folder / ".env").read_text(encoding="utf-8").splitlines()
    (found,) = [line for line in lines if line.startswith("PROCORE_KEYS=")]
    return found.removeprefix("PROCORE_KEYS=")


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'test.db'}"


def ring(*texts: str) -> KeyRing:
    return KeyRing.parse(Secret(",".join(texts), "keys"))


def store_in(folder: Path, *texts: str) -> Store:
    """Return the store on the folder's database with these keys."""
    return Store(url_of(folder), ring(*texts))


def tokens(tag: object, *, lifetime: int = 5400) -> TokenSet:
    return TokenSet(
        Secret(f"canary-access-{tag}", "access token"),
        Secret(f"canary-refresh-{tag}", "refresh token"),
        int(time.time()) + lifetime,
    )


def add_person(
    store: Store,
    number: int,
    *,
    email: str = "person@example.com",
    name: str | None = "A Person",
    environment: str = "emulator",
    session: int = 1,
    user_agent: str | None = "Browser/1",
) -> User:
    """Sign someone in, with the tokens `tokens(number)`; `session` tells sign-ins apart."""
    now = int(time.time())
    state_hash = sha256(f"{environment} {number} {session}".encode()).hexdigest()
    store.do(TakeAttempt(state_hash, environment=environment, now=now, expires_at=now + 1800))
    done = store.do(
        CompleteSignIn(
            state_hash,
            me=Me(number, email, name, "{}"),
            environment=environment,
            tokens=tokens(number),
            session=NewSession(
                sha256(f"cookie {state_hash}".encode()).hexdigest(),
                "{}",
                user_agent,
                now + 3600,
                now + 86_400,
            ),
            replaces=None,
            now=now,
        )
    )
    clear_escrow(store, state_hash)
    assert done is not None
    return done.user


def add_many(folder: Path, count: int, *texts: str) -> None:
    """Add `count` people with tokens in one transaction; their ids and numbers are 1 to `count`."""
    store = store_in(folder, *texts)
    rows = []
    for number in range(1, count + 1):
        sealed = store._seal.seal_row(
            tokens(number), user_id=number, environment="emulator", generation=1
        )
        rows.append((number, number, sealed["access_token"], sealed["refresh_token"]))
    store.close()
    with closing(sqlite3.connect(folder / "test.db")) as database, database:
        database.executemany(
            "INSERT INTO users (id, procore_id, email, environment, created_at, last_signed_in_at)"
            " VALUES (?, ?, 'person@example.com', 'emulator', 1, 1)",
            [(number, number) for number, *_ in rows],
        )
        database.executemany(
            "INSERT INTO token_sets (id, user_id, environment, generation, access_token,"
            " refresh_token, expires_at, status, created_at, updated_at)"
            " VALUES (?, ?, 'emulator', 1, ?, ?, 1, 'ok', 1, 1)",
            rows,
        )


def sign_in_at(emulator: Emulator, folder: Path, *texts: str) -> User:
    """Sign in with a running emulator, as an application with the folder's database does."""
    with ProcoreSignIn(
        environment=environments.emulator(emulator.url),
        client_id="emulator-client-id",
        client_secret=Secret("emulator-client-secret", "client secret"),
        redirect_uri="http://localhost:4567/callback",
        keys=ring(*texts),
        database_url=url_of(folder),
    ) as door:
        attempt = new_attempt(door.context, return_to="/")
        location = emulator.approve(attempt.authorization_url(door.context))
        granted = parse_authorization_response(location.partition("?")[2].encode())
        assert isinstance(granted, CodeGranted)
        browser = Browser(user_agent=None, session_hash=None)
        return door.run(finish_sign_in(door.context, attempt, granted, browser)).user


def rows(folder: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement as someone else would, and commit it."""
    with closing(sqlite3.connect(folder / "test.db")) as database, database:
        return database.execute(statement, values).fetchall()
