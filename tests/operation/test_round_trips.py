"""Round trips to PostgreSQL, counted on the wire: each ends with Query or Sync (decision 37)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from harness.wire import Counter, counted
from own_postgres import OwnPostgres
from person import Person
from ports import free_port
from running import KEYS, application

from procore_signin import AsyncProcoreSignIn, Secret, environments
from procore_signin.emulator import Emulator

JSON = {"accept": "application/json"}


@pytest.fixture
def counter(server: OwnPostgres) -> Iterator[Counter]:
    with counted(f"postgresql://postgres@127.0.0.1:{server.port}/signin") as counter:
        yield counter


@pytest.fixture
def app(counter: Counter, tmp_path: Path) -> Iterator[tuple[Emulator, Person]]:
    """The application behind the counter, and someone's browser."""
    port = free_port()
    with (
        Emulator.started(redirect_uris=(f"http://localhost:{port}/callback",)) as emulator,
        application(emulator.url, port, tmp_path, PROCORE_DATABASE_URL=counter.url) as running,
        Person(running.url, emulator) as joe,
    ):
        yield emulator, joe


def fewest(counter: Counter, call: Callable[[], object], *, tries: int = 4) -> int:
    """Return how many round trips a call makes, where nothing happens beside it."""
    found = []
    for _ in range(tries):
        before = counter.round_trips
        call()
        found.append(counter.round_trips - before)
    return min(found)


def test_a_page_is_one_round_trip_and_a_sign_in_with_home_six_at_most(
    counter: Counter, app: tuple[Emulator, Person], server: OwnPostgres
) -> None:
    _, joe = app

    def ok(path: str, **headers: str) -> None:
        assert joe.http.get(path, headers=headers).status_code in {200, 303}

    def sign_in_and_home() -> int:
        address = joe.callback_address()
        before = counter.round_trips
        assert joe.http.get(address).status_code == 303
        ok("/home")
        return counter.round_trips - before

    # Where nothing happens beside it: on a busy machine that may take a while.
    assert any(sign_in_and_home() <= 6 for _ in range(10))
    assert fewest(counter, lambda: ok("/home", **JSON)) == 1
    assert fewest(counter, lambda: ok("/home")) == 1

    # A session whose use has to be written down: the person does not wait for that.
    sessions = server.sql("SELECT count(*) FROM sessions", database="signin")
    late = "SELECT count(*) FROM sessions WHERE last_seen_at < extract(epoch FROM now()) - 300"

    def touching() -> int:
        server.sql("UPDATE sessions SET last_seen_at = last_seen_at - 600", database="signin")
        before, until = counter.round_trips, time.monotonic() + 10
        with server_that_waits_for_writes(server):
            ok("/home", **JSON)
        trips = counter.round_trips - before
        while server.sql(late, database="signin") == sessions:
            assert time.monotonic() < until
            time.sleep(0.02)
        return trips

    assert any(touching() <= 2 for _ in range(10))


@contextlib.contextmanager
def server_that_waits_for_writes(server: OwnPostgres) -> Iterator[None]:
    with psycopg.connect(server.address("signin")) as connection:
        connection.execute("SELECT id FROM sessions FOR UPDATE")
        yield
        connection.rollback()


def test_valid_tokens_are_one_round_trip_and_a_refresh_three_whatever_it_leaves_behind(
    counter: Counter, app: tuple[Emulator, Person], server: OwnPostgres
) -> None:
    emulator, joe = app
    joe.sign_in()
    [(user,)] = server.sql("SELECT id FROM users", database="signin")

    async def counts() -> tuple[int, int, int, int]:
        procore = AsyncProcoreSignIn(
            environment=environments.emulator(emulator.url),
            client_id="emulator-client-id",
            client_secret=Secret("emulator-client-secret", "client secret"),
            redirect_uri="http://localhost/callback",
            keys=Secret(KEYS, "keys"),
            database_url=counter.url,
        )

        async def count() -> int:
            before = counter.round_trips
            await procore.fresh_tokens(user)
            waited = counter.round_trips - before
            while procore._runner._background.settle(0):  # noqa: ASYNC110  # its threads tell no loop
                await asyncio.sleep(0.01)
            return waited

        async def refresh(also: str) -> int:
            server.sql(f"UPDATE token_sets SET expires_at = 1{also}", database="signin")
            return await count()

        async with procore:
            valid = min([await count() for _ in range(3)])
            # What follows beside the caller may come about before the caller goes on.
            nothing = min([await refresh("") for _ in range(3)])
            emulator.fault("GET /oauth/token/info", "status", status=503, times=9)
            await refresh("")
            pair = await refresh("")
            doubt = await refresh(", ambiguous = 1")
        return valid, nothing, pair, doubt

    assert asyncio.run(counts()) == (1, 3, 3, 3)
    found = server.sql("SELECT outcome FROM sign_in_ledger ORDER BY 1", database="signin")
    assert found == [("superseded",), ("superseded",), ("unanswered",), (None,)]
