"""PgBouncer in transaction mode: each transaction may get another connection (row O12)."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import psycopg
from own_postgres import OwnPostgres
from tests.operation.conftest import NewStore

from procore_signin._protocol.me import Me
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import NewSession, Store, migrate
from procore_signin._store.ledger import TakeAttempt
from procore_signin._store.sessions import SessionOf
from procore_signin._store.sign_in import CompleteSignIn

NOW = int(time.time())
PEOPLE = 40


def sign_in(store: Store, number: int) -> None:
    """Sign someone in and look at their pages, as a browser of theirs would."""
    state, cookie = (sha256(f"{word} {number}".encode()).hexdigest() for word in ("s", "c"))
    store.do(TakeAttempt(state, environment="emulator", now=NOW, expires_at=NOW + 1800))
    secrets = [Secret(f"canary-{number}-{kind}", kind) for kind in ("access", "refresh")]
    store.do(
        CompleteSignIn(
            state,
            me=Me(number, "person@example.com", None, "{}"),
            environment="emulator",
            tokens=TokenSet(secrets[0], secrets[1], NOW + 5400),
            session=NewSession(cookie, "{}", None, NOW + 3600, NOW + 86_400),
            replaces=None,
            now=NOW,
        )
    )
    for _ in range(10):
        assert store.ask(SessionOf(cookie, environment="emulator", now=NOW)) is not None


def test_O12_people_sign_in_and_have_their_pages_through_a_pooler(
    pooler: str, server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(pooler)
    store.probe()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: sign_in(store, number), range(1, PEOPLE + 1)))
    assert server.sql("SELECT count(*) FROM users", database="signin") == [(PEOPLE,)]


def test_O12_nothing_of_ours_stays_on_a_connection_of_the_pooler(
    pooler: str, new_store: NewStore
) -> None:
    """It would hold for whoever gets that connection next, another program among them."""
    migrate.upgrade(pooler)
    store = new_store(pooler)
    for number in range(1, 8):
        sign_in(store, number)
    with psycopg.connect(pooler, autocommit=True, prepare_threshold=None) as connection:
        for name in ("lock_timeout", "statement_timeout", "default_transaction_read_only"):
            [(value,)] = connection.execute(f"SHOW {name}").fetchall()
            assert value in {"0", "off"}, name
        prepared = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchall()
    assert prepared == [(0,)]
