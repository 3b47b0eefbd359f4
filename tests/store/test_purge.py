"""Bounded growth: row O6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from doing import Purged, clear_escrow, purge

from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import CompletedSignIn, Store
from procore_signin._store.ledger import AttemptOf, Escrowed, EscrowTokens, TakeAttempt
from procore_signin._store.sessions import SessionOf

NOW = 1_800_000_000
Sql = Callable[..., list[tuple[Any, ...]]]

MANY_SESSIONS = """
INSERT INTO sessions (id_hash, user_id, environment, me_json, created_at, last_seen_at,
                      idle_expires_at, absolute_expires_at)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
SELECT {hash}, :user, 'emulator', '{{}}', 0, 0, :ends, :ends FROM n
"""
MANY_ATTEMPTS = """
INSERT INTO sign_in_ledger (state_hash, environment, status, created_at, expires_at)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
SELECT {hash}, 'emulator', 'failed', 0, :ends FROM n
"""
HASH = {
    "sqlite": "printf('%064d', i)",
    "postgresql": "lpad(i::text, 64, '0')",
    "mariadb": "lpad(i, 64, '0')",
}


def rows(sql: Sql) -> tuple[int, int]:
    ((sessions,),) = sql("SELECT count(*) FROM sessions")
    ((attempts,),) = sql("SELECT count(*) FROM sign_in_ledger")
    return sessions, attempts


def test_O6_expired_rows_go_in_batches_and_live_ones_stay(
    kind: str, store: Store, sign_in: Callable[..., CompletedSignIn], sql: Sql, hashed: Any
) -> None:
    user = sign_in().user
    sql(MANY_SESSIONS.format(hash=HASH[kind]), user=user.id, ends=NOW)
    sql(MANY_ATTEMPTS.format(hash=HASH[kind]), ends=NOW)
    assert (251, 251) == rows(sql)
    batches = [purge(store, NOW, 100) for _ in range(4)]
    assert [Purged(100, 100), Purged(100, 100), Purged(50, 50), Purged(0, 0)] == batches
    assert (1, 1) == rows(sql)
    assert store.ask(SessionOf(hashed("cookie"), environment="emulator", now=NOW)) is not None
    assert store.ask(AttemptOf(hashed("state for cookie 1"))) is not None


def test_O6_a_row_goes_at_the_second_in_which_it_ends(
    store: Store, sign_in: Callable[..., CompletedSignIn]
) -> None:
    sign_in()
    assert Purged(0, 0) == purge(store, NOW + 1799)
    assert Purged(0, 1) == purge(store, NOW + 1800)
    assert Purged(0, 0) == purge(store, NOW + 3599)
    assert Purged(1, 0) == purge(store, NOW + 3600)


def test_O6_tokens_in_escrow_are_never_purged(
    store: Store, hashed: Any, tokens: Callable[..., TokenSet]
) -> None:
    store.do(TakeAttempt(hashed("s"), environment="emulator", now=NOW, expires_at=NOW + 1))
    store.do(EscrowTokens(hashed("s"), tokens(), environment="emulator", now=NOW))
    assert Purged(0, 0) == purge(store, NOW + 10**6)
    assert len(store.ask(Escrowed(NOW + 10**6))) == 1
    clear_escrow(store, hashed("s"))
    assert Purged(0, 1) == purge(store, NOW + 10**6)


@pytest.mark.parametrize("limit", [-1, 0, 10_001])
def test_O6_a_batch_has_a_size(store: Store, limit: int) -> None:
    with pytest.raises(ValueError, match="1 to 10000 rows"):
        purge(store, NOW, limit)


def test_O6_two_purges_at_once_share_the_work(
    kind: str,
    new_store: Callable[..., Store],
    sign_in: Callable[..., CompletedSignIn],
    sql: Sql,
    at_once: Callable[..., list[Any]],
) -> None:
    user = sign_in().user
    sql(MANY_SESSIONS.format(hash=HASH[kind]), user=user.id, ends=NOW)
    store = new_store(lock_timeout=30.0)
    purged = at_once(lambda _: purge(store, NOW, 200), [1, 2])
    assert 200 <= sum(each.sessions for each in purged) <= 250


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_O6_purging_reads_by_index_however_many_rows_live(sql: Sql) -> None:
    """Asked of SQLite: the servers' plans for an almost empty table tell nothing."""
    plan = sql(
        "EXPLAIN QUERY PLAN SELECT id FROM sessions WHERE idle_expires_at <= 1"
        " ORDER BY idle_expires_at LIMIT 10"
    )
    assert "USING COVERING INDEX ix_sessions_idle_expires_at" in str(plan)
    plan = sql(
        "EXPLAIN QUERY PLAN SELECT state_hash FROM sign_in_ledger WHERE expires_at <= 1"
        " AND escrow IS NULL ORDER BY expires_at LIMIT 10"
    )
    assert "USING INDEX ix_sign_in_ledger_expires_at" in str(plan)
