"""`procore-signin purge`, as an operator runs it. Row O6."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256

import pytest
from commands import Command
from operating import (
    OLD,
    add_many,
    add_person,
    rows,
    sign_in_at,
    store_in,
    tokens,
    write_settings,
)

from procore_signin._store import Store
from procore_signin._store.ledger import Escrowed, EscrowTokens, TakeAttempt
from procore_signin._store.sessions import SessionsOf
from procore_signin._store.tokens import TokensOf
from procore_signin._store.users import UserOf
from procore_signin.emulator import Emulator

DAY = 86_400
EXPIRED_SESSIONS = """
INSERT INTO sessions (id_hash, user_id, environment, me_json, created_at, last_seen_at,
                      idle_expires_at, absolute_expires_at)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
SELECT printf('%064d', i), ?, 'emulator', '{}', 0, 0, 1, 1 FROM n
"""
EXPIRED_ATTEMPTS = """
INSERT INTO sign_in_ledger (state_hash, environment, status, created_at, expires_at)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
SELECT printf('%064d', i), 'emulator', 'failed', 0, 1 FROM n
"""


@pytest.fixture
def store(command: Command) -> Iterator[Store]:
    write_settings(command.folder)
    store = store_in(command.folder, OLD)
    yield store
    store.close()


def test_O6_what_expired_is_deleted_in_batches_and_what_lives_stays(
    command: Command, store: Store
) -> None:
    user = add_person(store, 1)
    rows(command.folder, EXPIRED_SESSIONS, 2500, user.id)
    rows(command.folder, EXPIRED_ATTEMPTS, 1200)

    done = command("purge", "--json")
    again = command("purge")

    assert (done.status, json.loads(done.out)) == (0, {"sessions": 2500, "attempts": 1200})
    assert "Deleting what expired: 2000\n" in done.err
    assert "0 sessions and 0 sign-in attempts had expired" in again.out
    assert len(store.ask(SessionsOf(user.id, now=int(time.time())))) == 1


def test_O6_others_write_while_it_purges(command: Command, store: Store) -> None:
    """Sign-ins go on between the batches: none waits until everything is purged."""
    user = add_person(store, 1)
    rows(command.folder, EXPIRED_SESSIONS, 10_000, user.id)
    running = command.start("purge")
    running.read_until("Deleting what expired: ")

    with closing(sqlite3.connect(command.folder / "test.db", timeout=5)) as other:
        with other:
            other.execute("UPDATE users SET last_signed_in_at = last_signed_in_at + 1")
        ((left,),) = other.execute("SELECT count(*) FROM sessions WHERE idle_expires_at = 1")

    assert (running.wait(), left > 0) == (0, True)
    assert rows(command.folder, "SELECT count(*) FROM sessions") == [(1,)]


def test_O6_old_token_sets_of_no_use_go_only_if_asked_for(command: Command, store: Store) -> None:
    add_many(command.folder, 4, OLD)
    now = int(time.time())
    for number, status, age in ((1, "lost", 40), (2, "revoked", 40), (3, "lost", 5), (4, "ok", 40)):
        rows(
            command.folder,
            "UPDATE token_sets SET status = ?, updated_at = ? WHERE id = ?",
            *(status, now - age * DAY, number),
        )

    plain = command("purge", "--json")
    before = rows(command.folder, "SELECT count(*) FROM token_sets")
    done = command("purge", "--grants-older-than", "30", "--json")

    assert ("token_sets" in json.loads(plain.out), before) == (False, [(4,)])
    assert json.loads(done.out)["token_sets"] == 2
    assert rows(command.folder, "SELECT id FROM token_sets ORDER BY id") == [(3,), (4,)]
    assert store.ask(UserOf(1)) is not None


def escrow(store: Store, name: str, *, age: int) -> None:
    state_hash, then = sha256(name.encode()).hexdigest(), int(time.time()) - age
    store.do(TakeAttempt(state_hash, environment="emulator", now=then, expires_at=then + 1800))
    store.do(EscrowTokens(state_hash, tokens(name), environment="emulator", now=then))


def test_C13_orphaned_tokens_are_revoked_at_procore_if_asked_for(command: Command) -> None:
    with Emulator.started() as emulator:
        write_settings(command.folder, emulator_url=emulator.url)
        user = sign_in_at(emulator, command.folder, OLD)
        store = store_in(command.folder, OLD)
        orphaned = store.ask(TokensOf(user.id, "emulator"))
        assert orphaned is not None
        rows(command.folder, "DELETE FROM token_sets")
        state_hash, then = "0" * 64, int(time.time()) - 301
        store.do(TakeAttempt(state_hash, environment="emulator", now=then, expires_at=then + 1800))
        store.do(EscrowTokens(state_hash, orphaned, environment="emulator", now=then))
        store.close()

        plain = command("purge", "--json")
        alive = len(emulator.live_grants())
        done = command("purge", "--revoke-orphans")

        assert ("orphans_revoked" in json.loads(plain.out), alive) == (False, 1)
        assert (done.status, "1 orphaned token set revoked." in done.out) == (0, True)
        assert emulator.live_grants() == []


def test_C13_orphans_that_cannot_be_revoked_now_are_counted_and_kept(
    command: Command, store: Store
) -> None:
    for name in ("a", "b"):
        escrow(store, name, age=301)
    escrow(store, "young", age=1)

    done = command("purge", "--revoke-orphans")
    document = json.loads(command("purge", "--revoke-orphans", "--json").out)

    assert (done.status, "0 orphaned token sets revoked." in done.out) == (0, True)
    assert "2 not: Procore did not confirm it" in done.err
    assert (document["orphans_revoked"], document["orphans_left"]) == (0, 2)
    assert len(store.ask(Escrowed(int(time.time()) + 1))) == 3
