"""A database that says nothing more, or cannot be reached, hangs no one (row O11)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import psycopg
import pytest
from doing import Doing, in_words
from own_postgres import OwnPostgres
from tests.operation.conftest import NewStore, Relay

from procore_signin._store import Store
from procore_signin._store.engine.pool import Pool
from procore_signin._store.engine.server import ServerDatabase
from procore_signin._store.engine.statement import Statements, change
from procore_signin._store.ledger import AttemptOf, TakeAttempt
from procore_signin._store.postgresql.connection import LimitedConnection
from procore_signin._store.sessions import EndSessions
from procore_signin.errors import StoreUnavailable

SHORT = 1.5
"""Seconds that a call may take here. What is asserted leaves a busy machine some more."""
LATE = 3.0


def database_of(store: Store) -> ServerDatabase:
    return cast("ServerDatabase", store._database)


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def refusal_of(call: Callable[[], object]) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as refused, no_longer_than(SHORT + LATE):
        call()
    return refused.value


def until_it_works(call: Callable[[], object], seconds: float) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            call()
        except StoreUnavailable:
            assert time.monotonic() < until, "it does not work again"
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
def test_O11_an_address_that_swallows_packets_is_given_up(
    scheme: str, black_hole: int, new_store: NewStore
) -> None:
    store = new_store(f"{scheme}://someone@127.0.0.1:{black_hole}/signin", timeout=SHORT)
    assert refusal_of(store.probe).reason == "silent"
    assert refusal_of(lambda: store.do(EndSessions(1))).reason == "silent"


def test_O11_a_dead_address_leaves_time_for_the_next_one(
    black_hole: int, server: OwnPostgres, new_store: NewStore
) -> None:
    hosts = f"host=127.0.0.1:{black_hole}&host=127.0.0.1:{server.port}"
    store = new_store(f"postgresql://postgres@/signin?{hosts}")
    with no_longer_than(4 + LATE):
        store.probe()


def test_O11_reads_and_writes_of_a_server_that_stands_still_end_and_work_again_by_themselves(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"), timeout=SHORT)
    store.probe()
    store.do(EndSessions(1))
    with server.standing_still():
        for call in (lambda: store.ask(AttemptOf("a" * 64)), lambda: store.do(EndSessions(1))):
            assert refusal_of(call).reason == "silent"
    until_it_works(lambda: store.do(EndSessions(1)), seconds=5)


def test_O11_mariadb_that_says_nothing_is_given_up_as_well(
    mariadb: tuple[Relay, str], new_store: NewStore
) -> None:
    relay, url = mariadb
    store = new_store(url, timeout=SHORT)
    store.probe()
    store.do(EndSessions(1))
    relay.passing.clear()
    assert refusal_of(lambda: store.ask(AttemptOf("a" * 64))).reason == "silent"
    with no_longer_than(1):
        assert refusal_of(lambda: store.do(EndSessions(1))).reason == "silent"
    relay.passing.set()
    until_it_works(lambda: store.do(EndSessions(1)), seconds=5)

    def work() -> Statements[None]:
        yield from change(in_words("DELETE FROM sessions WHERE id = 0"), {})
        relay.passing.clear()

    assert refusal_of(lambda: store.do(Doing(work))).reason == "uncertain"


def test_O11_of_many_callers_only_the_first_wait_and_the_others_are_told_at_once(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"), timeout=SHORT, connections=4)
    store.probe()
    with server.standing_still(), ThreadPoolExecutor(24) as threads:
        with no_longer_than(SHORT + LATE):
            calls = [
                threads.submit(refusal_of, lambda: store.ask(AttemptOf("a" * 64)))
                for _ in range(24)
            ]
            assert {call.result().reason for call in calls} <= {"silent", "locked"}
        with no_longer_than(1):
            for _ in range(20):
                assert refusal_of(lambda: store.ask(AttemptOf("a" * 64))).reason == "silent"


def test_O11_a_commit_whose_outcome_no_one_knows_is_uncertain_and_not_repeated(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"), timeout=SHORT)
    store.probe()
    tries: list[int] = []
    frozen = threading.Event()

    def work() -> Statements[None]:
        tries.append((yield from change(in_words("DELETE FROM sessions WHERE id = 0"), {})))
        frozen.set()
        still.__enter__()

    still = server.standing_still()
    try:
        refused = refusal_of(lambda: store.do(Doing(work)))
    finally:
        assert frozen.is_set()
        still.__exit__(None, None, None)
    assert refused.reason == "uncertain"
    assert len(tries) == 1


@contextmanager
def table_lock(server: OwnPostgres) -> Iterator[None]:
    """Hold the lock that a change of a table takes: not even reads go on."""
    with psycopg.connect(server.address("signin")) as connection:
        connection.execute("LOCK TABLE sign_in_ledger IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def waiting_for_locks(server: OwnPostgres) -> int:
    [(count,)] = server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return int(count)


@pytest.mark.parametrize("through", ["server", "pooler"])
def test_O11_a_read_that_was_given_up_does_not_go_on_at_the_server(
    through: str, server: OwnPostgres, pooler: str, new_store: NewStore
) -> None:
    """It would hold a connection for as long as someone holds the lock, and the next one too."""
    url = pooler if through == "pooler" else server.address("signin")
    store = new_store(url, timeout=SHORT)
    store.probe()
    with table_lock(server):
        refusal_of(lambda: store.ask(AttemptOf("a" * 64)))
        until = time.monotonic() + 10
        while waiting_for_locks(server):
            assert time.monotonic() < until, "it still waits"
            time.sleep(0.05)
    until_it_works(lambda: store.ask(AttemptOf("a" * 64)), seconds=5)


def test_O11_a_write_that_waits_for_a_lock_is_ended_by_the_server_itself(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"), timeout=SHORT)
    with table_lock(server):
        call = lambda: store.do(TakeAttempt("a" * 64, environment="x", now=1, expires_at=2))  # noqa: E731
        assert refusal_of(call).reason == "locked"
    assert database_of(store)._breaker._answered is None  # it answered: no one was kept from it


def test_O11_the_wait_for_a_free_connection_is_part_of_the_time(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"), timeout=SHORT, connections=2)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> Statements[None]:
        yield from change(in_words("DELETE FROM sessions WHERE id = 0"), {})
        inside.set()
        assert leave.wait(20)

    thread = threading.Thread(target=store.do, args=(Doing(hold),))
    thread.start()
    assert inside.wait(20)
    assert refusal_of(lambda: store.do(EndSessions(1))).reason == "locked"
    leave.set()
    thread.join()
    assert store.do(EndSessions(1)) == 0


def test_O11_closing_and_undoing_wait_for_no_one(server: OwnPostgres, new_store: NewStore) -> None:
    store = new_store(server.address("signin"), timeout=SHORT)
    store.probe()
    store.do(EndSessions(1))
    with server.standing_still():
        refusal_of(lambda: store.do(EndSessions(1)))
        with no_longer_than(1):
            store.close()


def test_O11_limits_cost_no_round_trip(
    server: OwnPostgres, new_store: NewStore, tmp_path: Path
) -> None:
    """One for a read; for a write one to begin, one for each statement, one to commit."""
    store = new_store(server.address("signin"), connections=2)

    def round_trips(pool: Pool[LimitedConnection], call: Callable[[], object]) -> int:
        call()  # the first one connects
        connection = pool.take()
        pool.give_back(connection)  # the next call takes it again
        with (tmp_path / "trace").open("w+b") as trace:
            connection.pgconn.trace(trace.fileno())
            call()
            connection.pgconn.untrace()
            trace.seek(0)
            return trace.read().count(b"ReadyForQuery")

    database = database_of(store)
    assert round_trips(database._readers, lambda: store.ask(AttemptOf("a" * 64))) == 1
    assert round_trips(database._writers, lambda: store.do(EndSessions(1))) == 3
