"""Leases and pauses whose clock was set back, on each database (row R14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from procore_signin._store import CompletedSignIn, Store
from procore_signin._store.records import TokenRow
from procore_signin._store.refresh import RedateLease, ReleaseLease, TakeLease, TokenRowOf

NOW = 1_800_000_000
HOURS = 3 * 3600
Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def row(store: Store, sign_in: Callable[..., CompletedSignIn]) -> TokenRow:
    return row_of(store, sign_in().user.id)


def row_of(store: Store, user_id: int) -> TokenRow:
    row = store.ask(TokenRowOf(user_id, "emulator", now=NOW))
    assert row is not None
    return row


def set_back(sql: Sql) -> None:
    """Have what was written a moment ago be written by a clock that was three hours ahead."""
    sql("UPDATE token_sets SET lease_until = lease_until + :hours", hours=HOURS)


@pytest.mark.parametrize("owner", ["somebody", None], ids=["lease", "pause"])
def test_R14_what_was_meant_to_last_for_seconds_is_made_to(
    store: Store, row: TokenRow, sql: Sql, owner: str | None
) -> None:
    assert store.do(TakeLease(row, owner="somebody", seconds=30, now=NOW))
    if owner is None:
        store.do(ReleaseLease(row, owner="somebody", retry_in=5, now=NOW))
    assert not row_of(store, row.user_id).misdated
    set_back(sql)
    misdated = row_of(store, row.user_id)
    assert misdated.misdated
    redated = store.do(RedateLease(misdated, now=NOW))
    assert redated is not None
    assert (redated.misdated, redated.leased) == (False, owner is not None)
    assert redated.retry_in == (0 if owner else 5)
    assert store.do(TakeLease(redated, owner="other", seconds=30, now=NOW)) is None


def test_R14_a_lease_of_a_version_that_wrote_no_length_ends_within_five_minutes(
    store: Store, row: TokenRow, sql: Sql
) -> None:
    assert store.do(TakeLease(row, owner="somebody", seconds=30, now=NOW))
    sql("UPDATE token_sets SET lease_seconds = NULL")
    set_back(sql)
    misdated = row_of(store, row.user_id)
    assert misdated.misdated
    assert store.do(RedateLease(misdated, now=NOW))
    ((left,),) = sql("SELECT lease_until FROM token_sets")
    store.do(RedateLease(misdated, now=NOW))
    assert not row_of(store, row.user_id).misdated
    assert sql("SELECT lease_until FROM token_sets") == [(left,)]  # a second time changes nothing


def test_R14_a_row_that_went_on_meanwhile_is_left_alone(
    store: Store, row: TokenRow, sql: Sql
) -> None:
    assert store.do(TakeLease(row, owner="somebody", seconds=30, now=NOW))
    set_back(sql)
    misdated = row_of(store, row.user_id)
    sql("UPDATE token_sets SET lease_owner = NULL, lease_until = NULL")
    redated = store.do(RedateLease(misdated, now=NOW))
    assert redated is not None
    assert (redated.leased, redated.retry_in) == (False, 0)
