"""PostgreSQL on an event loop (rows O11, O12, R13, C12, F3)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, TypeVar

import psycopg
import pytest
import uvloop
from doing import Asking, Doing, every, in_words
from interrupting import Place, interrupted_everywhere
from own_postgres import OwnPostgres
from own_process import run_script
from sqlalchemy import func, select
from tests.operation.conftest import NewStore
from tests.operation.test_deadlines import table_lock

from procore_signin._protocol.me import Me
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import NewSession, Store
from procore_signin._store.engine.command import LookUp
from procore_signin._store.engine.database import OnLoop
from procore_signin._store.engine.statement import Change as ChangeRows
from procore_signin._store.engine.statement import Last, Sql, Statements, change, many, one
from procore_signin._store.ledger import AttemptOf, EscrowTokens, FailAttempt, TakeAttempt
from procore_signin._store.postgresql.text import Prepared
from procore_signin._store.probe import Revision
from procore_signin._store.records import Session
from procore_signin._store.refresh import TokenRowOf
from procore_signin._store.sessions import EndSessions, SessionAndMe, SessionOf
from procore_signin._store.sign_in import CompleteSignIn
from procore_signin._store.tokens import TokensOf
from procore_signin._store.users import UserOf
from procore_signin.errors import AttemptInvalid, StoreUnavailable

T = TypeVar("T")
NOW = int(time.time())
Run = Callable[[Coroutine[Any, Any, T]], T]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run[Any]:
    """Runs a coroutine on an event loop of its own."""

    def on_its_own(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(work)

    return on_its_own


@contextlib.asynccontextmanager
async def on_loop(store: Store) -> AsyncIterator[OnLoop]:
    with ThreadPoolExecutor(2) as threads:
        database = store.on_loop(asyncio.get_running_loop(), threads)
        assert database is not None
        try:
            yield database
        finally:
            await database.drained()
            database.close()


def hashed(*words: object) -> str:
    return sha256(repr(words).encode()).hexdigest()


def taking(number: int, environment: str = "emulator") -> TakeAttempt:
    state = hashed("state", number)
    return TakeAttempt(state, environment=environment, now=NOW, expires_at=NOW + 1800)


async def sign_in(database: OnLoop, number: int) -> int:
    """Sign someone in and return their number here."""
    assert await database.do(taking(number)) is None
    state, secrets = hashed("state", number), [Secret(f"canary-{number}-{k}", k) for k in "ar"]
    tokens = TokenSet(secrets[0], secrets[1], NOW + 5400)
    await database.do(EscrowTokens(state, tokens, environment="emulator", now=NOW))
    completed = await database.do(
        CompleteSignIn(
            state,
            me=Me(number, "person@example.com", None, f'{{"id":{number}}}'),
            environment="emulator",
            tokens=tokens,
            session=NewSession(hashed("cookie", number), "{}", None, NOW + 3600, NOW + 86_400),
            replaces=None,
            now=NOW,
        )
    )
    assert completed is not None
    return completed.user.id


def session_of(number: int) -> SessionOf:
    return SessionOf(hashed("cookie", number), environment="emulator", now=NOW)


@pytest.mark.parametrize("through", ["server", "pooler"])
def test_O12_many_sign_in_and_everyone_has_their_own_pages(
    through: str, run: Run[None], server: OwnPostgres, pooler: str, new_store: NewStore
) -> None:
    store = new_store(pooler if through == "pooler" else server.address("signin"))

    async def people() -> None:
        async with on_loop(store) as database:
            await asyncio.gather(*(sign_in(database, number) for number in range(1, 31)))
            numbers = [1 + number % 40 for number in range(400)]
            found = await asyncio.gather(*(database.ask(session_of(each)) for each in numbers))
            assert [None if each is None else each.user.procore_id for each in found] == [
                number if number <= 30 else None for number in numbers
            ]

    run(people())
    assert server.sql("SELECT count(*) FROM users", database="signin") == [(30,)]


def test_each_look_up_by_key_finds_the_same_alone_and_together(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"))

    async def look() -> None:
        async with on_loop(store) as database:
            ids = [await sign_in(database, number) for number in (1, 2, 3)]
            wanted: dict[type[LookUp[Any]], Callable[[int], LookUp[Any]]] = {
                SessionOf: session_of,
                SessionAndMe: lambda n: SessionAndMe(
                    hashed("cookie", n), environment="emulator", now=NOW
                ),
                UserOf: lambda n: UserOf(ids[n - 1] if n <= 3 else 0),
                TokensOf: lambda n: TokensOf(ids[n - 1] if n <= 3 else 0, "emulator"),
                TokenRowOf: lambda n: TokenRowOf(ids[n - 1] if n <= 3 else 0, "emulator", now=NOW),
                AttemptOf: lambda n: AttemptOf(hashed("state", n)),
                Revision: lambda _: Revision(),
            }
            by_key: set[Any] = every(LookUp)
            assert {kind for kind in by_key if kind.by_key} == wanted.keys()
            for look_up in wanted.values():
                alone = [store.ask(look_up(number)) for number in (1, 2, 3, 4)]
                # One that is under way has the others collected into one statement.
                first, *together = await asyncio.gather(
                    database.ask(Revision()),
                    *(database.ask(look_up(number)) for number in (1, 2, 3, 4)),
                )
                assert first is not None
                assert together == alone

    asyncio.run(look())


def test_a_look_up_that_fails_harms_no_other(server: OwnPostgres, new_store: NewStore) -> None:
    store = new_store(server.address("signin"))

    async def look() -> None:
        async with on_loop(store) as database:
            await database.do(taking(1))
            late = Asking(lambda: many(in_words("SELECT 1 / 0"), {}))
            asked: list[Any] = [
                Revision(),
                AttemptOf(hashed("state", 1)),
                AttemptOf("a\0b"),
                AttemptOf('{"\\'),
                late,
            ]
            first, good, bad, other, defect = await asyncio.gather(
                *map(database.ask, asked), return_exceptions=True
            )
            assert isinstance(first, str)
            assert getattr(good, "status", None) == "taken"
            assert isinstance(bad, RuntimeError)
            assert other is None
            assert isinstance(defect, RuntimeError)
            assert "22012" in str(defect)

    asyncio.run(look())


def test_what_a_command_says_undoes_all_of_it_and_its_connection_goes_on(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"), connections=2)

    def refuse() -> Statements[None]:
        yield from TakeAttempt("b" * 64, environment="x", now=1, expires_at=2).run(store._seal)
        raise AttemptInvalid("no", reason="used")

    def written_before() -> Statements[None]:
        yield from change(in_words("UPDATE users SET name = 'never'"), {})
        raise AttemptInvalid("no", reason="used")

    async def work() -> None:
        async with on_loop(store) as database:
            await sign_in(database, 1)
            for body in (refuse, written_before):
                with pytest.raises(AttemptInvalid):
                    await database.do(Doing(body))
            user = await database.ask(UserOf(1))
            assert user is not None
            assert user.name is None

    asyncio.run(work())


def test_a_cancelled_caller_loses_no_commit_and_breaks_no_connection(
    run: Run[None], server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"), connections=2)

    async def work() -> None:
        async with on_loop(store) as database:
            await database.do(EndSessions(1))
            for number in range(40):
                task = asyncio.ensure_future(database.do(taking(number)))
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            asks = [asyncio.ensure_future(database.ask(session_of(1))) for _ in range(20)]
            await asyncio.sleep(0)
            for ask in asks[::2]:
                ask.cancel()
            assert await asyncio.gather(*asks[1::2]) == [None] * 10
            await database.drained()

    run(work())
    [(taken,)] = server.sql("SELECT count(*) FROM sign_in_ledger", database="signin")
    assert 30 <= taken <= 40  # those that had begun: a task cancelled before its first step has not


HANGS = "it hangs"
KILL = "SELECT pg_terminate_backend({})"


def test_C12_a_connection_that_breaks_before_the_commit_is_replaced_and_in_it_is_told(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"))
    tries: list[int] = []

    def kill() -> Statements[None]:
        row = yield from one(Sql(select(func.pg_backend_pid())), {})
        assert row is not None
        server.sql(KILL.format(int(row[0])))

    def before() -> Statements[int]:
        tries.append(1)
        if len(tries) == 1:
            yield from kill()
        return (yield from change(in_words("UPDATE users SET last_signed_in_at = 1"), {}))

    def inside() -> Statements[None]:
        tries.append(1)
        yield from change(in_words("UPDATE users SET last_signed_in_at = 2"), {})
        yield from kill()

    async def work() -> None:
        async with on_loop(store) as database:
            await sign_in(database, 1)
            assert await database.do(Doing(before)) == 1
            assert len(tries) == 2
            tries.clear()
            with pytest.raises(StoreUnavailable, match="closed the connection during a commit"):
                await database.do(Doing(inside))
            assert len(tries) == 1
            assert (await database.ask(session_of(1))) is not None

    asyncio.run(work())


def test_S7_a_restarted_server_costs_nobody_an_error(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"))

    async def work() -> None:
        async with on_loop(store) as database:
            for number in range(1, 4):
                await sign_in(database, number)
                server.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = 'signin'"
                )
                assert await database.ask(session_of(number)) is not None

    asyncio.run(work())


def test_O11_a_commit_whose_outcome_no_one_knows_is_uncertain_and_others_are_told_at_once(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"), timeout=1.5)
    tries: list[int] = []
    still = contextlib.ExitStack()

    def work() -> Statements[None]:
        tries.append(1)
        yield from change(in_words("DELETE FROM sessions WHERE id = 0"), {})
        still.enter_context(server.standing_still())

    async def everyone() -> None:
        async with on_loop(store) as database:
            await database.ask(session_of(1))
            with still:
                began = time.monotonic()
                refused, *others = await asyncio.gather(
                    database.do(Doing(work)),
                    *(database.ask(session_of(number)) for number in range(20)),
                    return_exceptions=True,
                )
                assert isinstance(refused, StoreUnavailable)
                assert refused.reason == "uncertain"
                later = await asyncio.gather(
                    *(database.ask(session_of(number)) for number in range(20)),
                    return_exceptions=True,
                )
                assert {getattr(each, "reason", None) for each in later} == {"silent"}
                assert time.monotonic() - began < 6
                assert len(others) == 20
            assert len(tries) == 1
            until = time.monotonic() + 5
            while True:
                with contextlib.suppress(StoreUnavailable):
                    await database.do(EndSessions(1))
                    break
                assert time.monotonic() < until
                await asyncio.sleep(0.05)

    asyncio.run(everyone())


def test_O11_a_write_that_waits_for_a_lock_is_ended_by_the_server_and_reads_go_on(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"), timeout=1.5)

    async def work() -> None:
        async with on_loop(store) as database:
            await sign_in(database, 1)
            with table_lock(server):
                stuck = asyncio.ensure_future(database.ask(AttemptOf("a" * 64)))
                write = asyncio.ensure_future(database.do(taking(2)))
                await asyncio.sleep(0.2)
                began = time.monotonic()
                assert await database.ask(session_of(1)) is not None
                assert time.monotonic() - began < 1
                with pytest.raises(StoreUnavailable) as refused:
                    await write
                assert refused.value.reason == "locked"
                with pytest.raises(StoreUnavailable):
                    await stuck
            assert await database.do(taking(2)) is None

    asyncio.run(work())


def test_no_more_connections_are_open_than_may_be_and_those_who_wait_get_one(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"), connections=6)
    most = 0

    async def work() -> None:
        nonlocal most
        async with on_loop(store) as database:
            writes = [asyncio.ensure_future(sign_in(database, number)) for number in range(1, 41)]
            while not all(write.done() for write in writes):
                [(count,)] = await asyncio.to_thread(
                    server.sql, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'signin'"
                )
                most = max(most, int(count))
            await asyncio.gather(*writes)

    asyncio.run(work())
    assert 1 <= most <= 6


def test_as_many_writes_at_once_as_before_make_no_connection_anew(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"), connections=8)

    def processes() -> list[tuple[Any, ...]]:
        return server.sql("SELECT pid FROM pg_stat_activity WHERE datname = 'signin' ORDER BY 1")

    async def work() -> None:
        async with on_loop(store) as database:
            await asyncio.gather(*(database.do(taking(number)) for number in range(4)))
            before = await asyncio.to_thread(processes)
            await asyncio.gather(*(database.do(taking(number)) for number in range(4, 8)))
            assert await asyncio.to_thread(processes) == before
            assert len(before) == 4

    asyncio.run(work())


def open_connections(server: OwnPostgres) -> int:
    [(count,)] = server.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'signin'")
    return int(count)


def test_event_loops_of_several_threads_share_a_store_and_leave_nothing_open(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"))
    failures: list[BaseException] = []

    def thread(first: int) -> None:
        async def work() -> None:
            async with on_loop(store) as database:
                await asyncio.gather(*(sign_in(database, first + each) for each in range(5)))

        try:
            asyncio.run(work())
        except BaseException as error:  # noqa: BLE001  # told below
            failures.append(error)

    threads = [threading.Thread(target=thread, args=(100 * number,)) for number in range(1, 5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []
    assert server.sql("SELECT count(*) FROM users", database="signin") == [(20,)]
    store.close()
    until = time.monotonic() + 10
    while open_connections(server):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_O11_what_one_event_loop_keeps_idle_starves_neither_another_one_nor_a_thread(
    server: OwnPostgres, new_store: NewStore
) -> None:
    """With one connection for reads and one for writes."""
    store = new_store(server.address("signin"), connections=2)
    served, over = threading.Event(), threading.Event()

    async def keeping() -> None:
        async with on_loop(store) as database:
            await sign_in(database, 1)
            assert await database.ask(session_of(1)) is not None
            served.set()
            await asyncio.to_thread(over.wait)  # it goes on, and asks for nothing
            assert await database.ask(session_of(1)) is not None

    async def another() -> None:
        async with on_loop(store) as database, asyncio.timeout(3):
            await sign_in(database, 2)
            assert await database.ask(session_of(2)) is not None

    with ThreadPoolExecutor(1) as threads:
        kept = threads.submit(asyncio.run, keeping())
        try:
            assert served.wait(20)
            asyncio.run(another())
            began = time.monotonic()
            assert store.ask(session_of(2)) is not None
            assert store.do(EndSessions(2)) is not None
            assert time.monotonic() - began < 3
        finally:
            over.set()
        kept.result()


def test_what_follows_the_last_statement_is_a_transaction_of_its_own(
    server: OwnPostgres, new_store: NewStore
) -> None:
    store = new_store(server.address("signin"))
    seen: list[Any] = []
    move = in_words("UPDATE users SET last_signed_in_at = last_signed_in_at + 1")

    def body() -> Statements[None]:
        yield Last(ChangeRows(move, {}))
        seen.extend(server.sql("SELECT last_signed_in_at FROM users", database="signin"))
        yield from change(move, {})
        raise AttemptInvalid("no", reason="used")

    async def work() -> None:
        async with on_loop(store) as database:
            await sign_in(database, 1)
            with pytest.raises(AttemptInvalid):
                await database.do(Doing(body))

    asyncio.run(work())
    assert seen == [(NOW + 1,)]
    assert server.sql("SELECT last_signed_in_at FROM users", database="signin") == seen


def test_a_failed_attempt_stays_failed(server: OwnPostgres, new_store: NewStore) -> None:
    store = new_store(server.address("signin"))

    async def work() -> None:
        async with on_loop(store) as database:
            await database.do(taking(1))
            assert await database.do(FailAttempt(hashed("state", 1), "denied", now=NOW))
            assert not await database.do(FailAttempt(hashed("state", 1), "denied", now=NOW))

    asyncio.run(work())


def test_R13_an_interrupt_at_any_place_of_a_callback_keeps_nobody_waiting(
    server: OwnPostgres, new_store: NewStore
) -> None:
    """A signal handler raises there, or a job queue: the loop goes on without the callback."""
    store = new_store(server.address("signin"), connections=2)  # one for reads and one for writes
    numbers = iter(range(100, 100_000))
    known: set[Place] = set()
    broken: list[str] = []

    async def signed_in(database: OnLoop) -> None:
        await sign_in(database, 1)
        await sign_in(database, 2)

    async def calls(database: OnLoop) -> list[Any]:
        # Those that come while one is under way are together in the next statement.
        work: list[Coroutine[Any, Any, Any]] = [
            database.ask(Revision()),
            *(database.ask(session_of(number)) for number in (1, 2, 3)),
            database.do(taking(next(numbers))),
            database.do(EndSessions(0)),
        ]
        tasks = [asyncio.ensure_future(each) for each in work]
        await asyncio.wait(tasks, timeout=8)
        return [each.exception() or each.result() if each.done() else HANGS for each in tasks]

    def others(found: list[Any]) -> list[Any]:
        """Return what is neither one's own nor an error."""
        return [
            each
            for each, own in zip(found[1:4], (1, 2, None), strict=bool(found))
            if not isinstance(each, BaseException)
            and (each.user.procore_id if isinstance(each, Session) else each) != own
        ]

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(lambda *_: None)
        with ThreadPoolExecutor(2) as threads:
            database = store.on_loop(loop, threads)
            assert database is not None
            runner.run(signed_in(database))
            found: list[Any] = []

            def call() -> None:
                found.clear()
                found.extend(runner.run(calls(database)))

            for place in interrupted_everywhere(
                call, most=3000, inside="/_store/postgresql/", known=known
            ):
                broken += [f"{place}: {each}" for each in others(found)]
                broken += [f"{place}: {each}" for each in found if each is HANGS]
                after = runner.run(calls(database))  # and those who come next find all in order
                if any(isinstance(each, BaseException) for each in after) or others(after):
                    broken.append(f"{place}: afterwards {after}")
            runner.run(database.drained())
            database.close()
    assert broken == []
    assert len(known) > 100


@pytest.mark.parametrize("what", ["a read", "a write"])
def test_R13_a_callback_that_was_lost_before_it_was_ours_keeps_nobody_for_good(
    what: str, server: OwnPostgres, new_store: NewStore
) -> None:
    """An interrupt meets asyncio's own lines when the first connection has been made."""
    store = new_store(server.address("signin"), connections=2)  # one for reads and one for writes

    async def work() -> None:
        async with on_loop(store) as database:
            connections = database._for_reads if what == "a read" else database._for_writes  # type: ignore[attr-defined]
            met = connections._connected

            def lost(*came: Any) -> None:
                came[-1].result().close()
                connections._connected = met

            connections._connected = lost
            for _ in range(2):
                asked = database.ask(session_of(1)) if what == "a read" else database.do(taking(1))
                if connections._connected is lost:
                    with pytest.raises(StoreUnavailable):
                        await asyncio.wait_for(asked, 20)
                else:
                    await asked

    asyncio.run(work())


def test_an_event_loop_that_ends_in_the_middle_takes_no_connection_from_the_next(
    server: OwnPostgres, new_store: NewStore
) -> None:
    """As a second Ctrl-C ends it: what it was waiting for comes to nobody."""
    store = new_store(server.address("signin"), connections=2)

    async def leave(database: OnLoop) -> None:
        await database.ask(session_of(1))
        tasks = [
            asyncio.ensure_future(database.ask(session_of(1))),  # it is sent
            asyncio.ensure_future(database.do(taking(1))),  # its connection is being made
        ]
        await asyncio.sleep(0)
        assert not any(map(asyncio.Task.done, tasks))

    for _ in range(3):
        with ThreadPoolExecutor(2) as threads, asyncio.Runner() as runner:
            database = store.on_loop(runner.get_loop(), threads)
            assert database is not None
            runner.run(leave(database))
        database.close()

    async def ask() -> object:
        async with on_loop(store) as database:
            await database.do(EndSessions(0))
            return await database.ask(session_of(1))

    assert asyncio.run(ask()) is None


FORK = """
import asyncio, os, sys
from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store
from procore_signin._store.ledger import AttemptOf, TakeAttempt
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.steps import ask, do

store = Store(sys.argv[1], KeyRing.parse(Secret("fake:" + "A" * 42 + "E", "keys")))
runner = AsyncRunner(store, None)

def flow(name):
    yield from do(TakeAttempt(name * 64, environment="emulator", now=1, expires_at=2))
    return (yield from ask(AttemptOf(name * 64)))

async def use(name):
    assert (await runner.run(flow(name))).status == "taken"

async def parent():
    await use("a")
    under_way = [asyncio.ensure_future(runner.run(flow(c))) for c in "cdef"]
    await asyncio.sleep(0)
    child = os.fork()
    if child == 0:
        return "child"
    await asyncio.gather(*under_way)
    assert await asyncio.to_thread(os.waitpid, child, 0) == (child, 0)
    await use("0")
    await runner.aclose()
    return "parent"

loop = asyncio.new_event_loop()
who = loop.run_until_complete(parent())
if who == "child":
    async def child():
        await use("b")
        await runner.aclose()
    try:
        asyncio.events._set_running_loop(None)
        asyncio.run(child())
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)
store.close()
print("good")
"""


def test_F3_a_child_of_a_process_with_an_event_loop_has_connections_of_its_own(
    server: OwnPostgres,
) -> None:
    done = run_script(FORK, server.address("signin"), options=("-W", "ignore"))
    assert (done.stdout, done.stderr) == ("good\n", "")
    assert server.sql("SELECT count(*) FROM sign_in_ledger", database="signin") == [(7,)]


class Between:
    """A proxy in front of PostgreSQL, which changes the next response as it is told."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        self.change: Callable[[bytes], bytes] | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._open += [client, server]
                for come, go, changes in ((client, server, False), (server, client, True)):
                    pump = threading.Thread(
                        target=self._pump, args=(come, go), kwargs={"changes": changes}, daemon=True
                    )
                    pump.start()

    def _pump(self, come: socket.socket, go: socket.socket, *, changes: bool) -> None:
        with contextlib.suppress(OSError):
            while data := come.recv(65536):
                if changes and self.change is not None:
                    data, self.change = self.change(data), None
                go.sendall(data)
            go.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def between(server: OwnPostgres) -> Iterator[Between]:
    between = Between(server.port)
    yield between
    between.close()


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "twice": lambda data: data * 2,
    "a page of a gateway": lambda data: data[:7] + b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>",
    "zeros at the end": lambda data: data + bytes(5),
    "a length of none": lambda data: data[:1] + bytes(4) + data[5:],
    "a huge length": lambda data: data[:1] + b"\x7f\xff\xff\xff" + data[5:],
}


@pytest.mark.parametrize("how", CHANGES)
def test_O17_what_no_statement_asked_for_is_given_to_no_one_and_stops_no_loop(
    how: str, run: Run[None], server: OwnPostgres, between: Between, new_store: NewStore
) -> None:
    direct = server.address("signin")
    store = new_store(direct.replace(f":{server.port}/", f":{between.port}/"))

    async def pages() -> None:
        async with on_loop(store) as database, asyncio.timeout(20):
            for number in (1, 2, 3):
                await sign_in(database, number)
            for number in (1, 2, 3, 2, 1):
                if number == 2:
                    between.change = CHANGES[how]
                found = await database.ask(session_of(number))
                assert found is not None
                assert found.user.procore_id == number

    run(pages())


MANY = 4000
FILLED = f"""
ALTER TABLE users SET (autovacuum_enabled = off);
ALTER TABLE sessions SET (autovacuum_enabled = off);
ALTER TABLE token_sets SET (autovacuum_enabled = off);
ALTER TABLE sign_in_ledger SET (autovacuum_enabled = off);
INSERT INTO users (id, procore_id, environment, email, created_at, last_signed_in_at)
SELECT n, n, 'emulator', 'person@example.com', 1, 1 FROM generate_series(1, {MANY}) AS n;
INSERT INTO sessions (id_hash, user_id, environment, me_json, created_at, last_seen_at,
    idle_expires_at, absolute_expires_at)
SELECT encode(sha256(('(' || n || ',)')::bytea), 'hex'), n, 'emulator', '{{}}', 1, 1,
    4000000000, 4000000000 FROM generate_series(1, {MANY}) AS n;
INSERT INTO token_sets (user_id, environment, generation, access_token, expires_at, status,
    created_at, updated_at)
SELECT n, 'emulator', 1, 'sealed', 4000000000, 'ok', 1, 1 FROM generate_series(1, {MANY}) AS n;
INSERT INTO sign_in_ledger (state_hash, environment, status, created_at, expires_at)
SELECT encode(sha256(('(' || n || ',)')::bytea), 'hex'), 'emulator', 'done', 1, 4000000000
FROM generate_series(1, {MANY}) AS n;
"""
BY_KEY: dict[str, Callable[[int], LookUp[Any]]] = {
    "session": lambda n: SessionOf(hashed(n), environment="emulator", now=NOW),
    "session and /me": lambda n: SessionAndMe(hashed(n), environment="emulator", now=NOW),
    "token row": lambda n: TokenRowOf(n, "emulator", now=NOW),
    "tokens": lambda n: TokensOf(n, "emulator"),
    "user": UserOf,
    "attempt": lambda n: AttemptOf(hashed(n)),
}
PAGES = 10
"""Of the database, for one look-up: the ways through two indexes, and a row at the end of each."""


@pytest.mark.parametrize("known", ["new", "analysed"])
def test_O11_a_look_up_reads_its_rows_whatever_the_database_knows_of_the_table(
    server: OwnPostgres, new_store: NewStore, known: str
) -> None:
    """A database that is new, or was restored, has no statistics. It must not read whole tables."""
    server.sql(FILLED, database="signin")
    if known == "analysed":
        server.sql("ANALYZE", database="signin")
    texts = new_store(server.address("signin"))._database._texts  # type: ignore[attr-defined]
    too_many = []
    with psycopg.connect(server.address("signin")) as connection:

        def pages_read(text: bytes, values: Any) -> int:
            told = connection.pgconn.exec_params(
                b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + text, values
            )
            explained = told.get_value(0, 0) or b""
            assert b"Seq Scan" not in explained  # the whole table, once for all of them
            plan = json.loads(explained)[0]["Plan"]
            assert plan["Actual Rows"] > 0
            return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

        for name, of in BY_KEY.items():
            prepared = Prepared.of(texts[of(1).sql])
            several = [of(n).values() for n in range(1, 201)]
            alone = pages_read(*prepared.told(several[0]))
            together = pages_read(*prepared.told_together(several)) / len(several)
            if max(alone, together) > PAGES:
                too_many.append(f"{name}: {alone} pages alone, {together} each of 200")
    assert too_many == []
