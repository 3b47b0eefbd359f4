"""Under asyncio, an exchange that was sent is finished whatever meets the event loop (row R13)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from granian.server.common import AbstractServer
from ports import free_port
from scripted import Clock, ScriptedProcore, front_door, reply

from procore_signin._app import server
from procore_signin._client import ProcoreSignIn
from procore_signin._flow.attempt import new_attempt
from procore_signin._flow.hooks import Candidate, Hooks
from procore_signin._flow.phases import SignedIn
from procore_signin._flow.running import own_loop
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.running.interrupts import can_be_interrupted
from procore_signin._flow.sessions import Browser
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._store.records import User

T = TypeVar("T")

signal_handler_of_granian = AbstractServer.signal_handler_reload

request = ContextVar[str]("request", default="none")


class Patient:
    """For any event loop. Responds when the test says so, and notes on which loop it was asked."""

    for_any_loop = True

    def __init__(self, procore: ScriptedProcore) -> None:
        self.procore = procore
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.loops: list[asyncio.AbstractEventLoop] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.loops.append(asyncio.get_running_loop())
        self.asked.set()
        await asyncio.to_thread(self.go_on.wait, 20)
        return self.procore.send(request)

    async def aclose(self) -> None:
        pass


@pytest.fixture
def transport(procore: ScriptedProcore) -> Patient:
    procore.next("/rest/v1.0/companies", reply(200, []))
    return Patient(procore)


@contextlib.contextmanager
def handlers(of: dict[signal.Signals, Any]) -> Iterator[None]:
    """Have these signal handlers, and no others that were written in Python."""
    before = {
        number: signal.signal(number, of.get(number, signal.SIG_DFL))
        for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGALRM, signal.SIGTERM, *of)
        if callable(signal.getsignal(number)) or number in of
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raising(*_: object) -> None:
    raise TimeoutError("a soft limit")


@pytest.fixture(autouse=True)
def a_handler_that_raises() -> Iterator[None]:
    with handlers({signal.SIGALRM: raising}):
        yield


def sign_in(door: ProcoreSignIn, runner: AsyncRunner) -> Coroutine[Any, Any, SignedIn]:
    attempt = new_attempt(door.context, return_to="/")
    granted = CodeGranted(code=Secret("fake-code", "code"), state=attempt.state, iss=None)
    browser = Browser(user_agent=None, session_hash=None)
    return runner.run(finish_sign_in(door.context, attempt, granted, browser))


def leave_in_the_middle(
    door: ProcoreSignIn, transport: Patient, gone: Callable[[asyncio.AbstractEventLoop], None]
) -> None:
    """Have `gone` happen to the caller's event loop once the code was sent, and go on."""
    runner, loop = AsyncRunner(door.store, transport), asyncio.new_event_loop()
    task = loop.create_task(sign_in(door, runner))
    while not transport.asked.is_set():
        loop.run_until_complete(asyncio.sleep(0.002))
    gone(loop)
    transport.go_on.set()
    asyncio.run(runner.aclose())
    assert not task.done()
    loop.close()


def close(loop: asyncio.AbstractEventLoop) -> None:
    loop.close()


def stand(_: asyncio.AbstractEventLoop) -> None:
    """It is never run again, and never closed."""


def by_itself(
    door: ProcoreSignIn, transport: Patient, then: Callable[[AsyncRunner], Coroutine[Any, Any, T]]
) -> T:
    """Run `then` on an event loop, in a program that closes what it opens."""

    async def main() -> T:
        runner = AsyncRunner(door.store, transport)
        transport.go_on.set()
        try:
            return await then(runner)
        finally:
            await runner.aclose()

    return asyncio.run(main())


@pytest.mark.parametrize("gone", [close, stand])
def test_R13_C13_an_exchange_becomes_a_sign_in_although_the_callers_event_loop_is_gone(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    transport: Patient,
    gone: Callable[[asyncio.AbstractEventLoop], None],
) -> None:
    leave_in_the_middle(door, transport, gone)
    assert [user.email for user in door.users()] == ["joecontractor@procore.com"]
    assert procore.revoked == []


@pytest.mark.parametrize("gone", [close, stand])
def test_R13_the_hooks_of_a_caller_whose_event_loop_is_gone_are_called_all_the_same(
    tmp_path: Path,
    procore: ScriptedProcore,
    clock: Clock,
    transport: Patient,
    gone: Callable[[asyncio.AbstractEventLoop], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own_loop, "FORK_SEEN_SECONDS", 0.05)
    told: list[str] = []

    async def hook(user: User) -> None:
        told.append(f"{user.email} {request.get()}")

    request.set("this one")
    with front_door(tmp_path, procore, clock, hooks=Hooks(on_sign_in=hook)) as door:
        leave_in_the_middle(door, transport, gone)
    assert told == ["joecontractor@procore.com this one"]


def test_R13_a_hook_is_called_on_the_event_loop_of_its_caller(
    tmp_path: Path,
    procore: ScriptedProcore,
    clock: Clock,
    transport: Patient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frameworks keep connections and requests by event loop."""
    # It is told of each end at once: were a look needed, this would take an hour.
    monkeypatch.setattr(own_loop, "FORK_SEEN_SECONDS", 3600.0)
    loops: list[object] = []
    seen: list[str] = []

    async def on_the_loop(*_: object) -> None:
        loops.append(asyncio.get_running_loop())
        seen.append(request.get())

    def plain(*_: object) -> None:
        seen.append(request.get())

    async def then(runner: AsyncRunner) -> SignedIn:
        loops.append(asyncio.get_running_loop())
        request.set("this one")
        return await asyncio.wait_for(sign_in(door, runner), 20)

    hooks = Hooks(may_sign_in=on_the_loop, on_sign_up=plain, on_sign_in=on_the_loop)
    with front_door(tmp_path, procore, clock, hooks=hooks) as door:
        assert by_itself(door, transport, then).created
    assert loops == [loops[0]] * 3
    assert loops[0] not in transport.loops
    assert seen == ["this one"] * 3


@pytest.mark.parametrize("told", [0, 2], ids=["lost to an interrupt", "told twice"])
def test_R13_a_hook_whose_call_was_lost_to_an_interrupt_is_called_again_and_once(
    tmp_path: Path,
    procore: ScriptedProcore,
    clock: Clock,
    transport: Patient,
    monkeypatch: pytest.MonkeyPatch,
    told: int,
) -> None:
    monkeypatch.setattr(own_loop, "FORK_SEEN_SECONDS", 0.05)
    called, wrong = list[str](), list[object]()

    async def hook(user: User) -> None:
        called.append(user.email)
        await asyncio.sleep(0.2)  # it is told again meanwhile

    async def then(runner: AsyncRunner) -> SignedIn:
        loop = asyncio.get_running_loop()
        wake, lost = loop.call_soon_threadsafe, list[object]()

        def lossy(callback: Any, *arguments: Any, **options: Any) -> Any:
            if "call_there" in callback.__qualname__ and not lost:
                lost.append(callback)
                for _ in range(told):
                    wake(callback, *arguments, **options)
                return wake(lambda: None)
            return wake(callback, *arguments, **options)

        loop.call_soon_threadsafe = lossy  # type: ignore[assignment]
        loop.set_exception_handler(lambda _, context: wrong.append(context))
        async with asyncio.timeout(5):
            signed_in = await sign_in(door, runner)
        assert lost
        return signed_in

    with front_door(tmp_path, procore, clock, hooks=Hooks(on_sign_in=hook)) as door:
        by_itself(door, transport, then)
    assert called == ["joecontractor@procore.com"]
    assert wrong == []


class OutOfOrderError(Exception):
    """What an application's hook raises."""


def test_R13_an_error_of_a_hook_on_the_callers_loop_reaches_the_caller_as_it_is(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock, transport: Patient
) -> None:
    error = OutOfOrderError()

    async def hook(_: Candidate) -> None:
        raise error

    with front_door(tmp_path, procore, clock, hooks=Hooks(may_sign_in=hook)) as door:
        with pytest.raises(OutOfOrderError) as raised:
            by_itself(door, transport, lambda runner: sign_in(door, runner))
        assert raised.value is error
        assert list(door.users()) == []
    assert procore.revoked != []


@pytest.mark.parametrize("end", ["cancelled", "closed", "left standing"])
def test_R13_a_hook_that_ends_with_its_event_loop_ends_the_sign_in_and_gives_the_tokens_back(
    tmp_path: Path,
    procore: ScriptedProcore,
    clock: Clock,
    transport: Patient,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    monkeypatch.setattr(own_loop, "FORK_SEEN_SECONDS", 0.05)
    monkeypatch.setattr(own_loop, "STANDING_SECONDS", 0.2)
    loop, reached = asyncio.new_event_loop(), asyncio.Event()

    async def hook(_: Candidate) -> None:
        reached.set()
        await loop.create_future()

    transport.go_on.set()
    with front_door(tmp_path, procore, clock, hooks=Hooks(may_sign_in=hook)) as door:
        runner = AsyncRunner(door.store, transport)
        task = loop.create_task(sign_in(door, runner))
        loop.run_until_complete(reached.wait())
        hooks = asyncio.all_tasks(loop) - {task}
        if end == "cancelled":  # as `asyncio.run` does at its end
            for each in hooks:
                each.cancel()
            loop.run_until_complete(asyncio.wait(hooks))
        if end != "left standing":
            loop.close()
        asyncio.run(runner.aclose())
        assert list(door.users()) == []
    assert procore.revoked != []
    loop.close()


class Watched(asyncio.SelectorEventLoop):
    """Tells when another thread has looked whether it runs, and what it was told."""

    def __init__(self) -> None:
        self.seen = {True: threading.Semaphore(0), False: threading.Semaphore(0)}
        self._thread = threading.get_ident()
        super().__init__()

    def is_running(self) -> bool:
        running = super().is_running()
        if threading.get_ident() != self._thread:
            self.seen[running].release()
        return running


@pytest.mark.parametrize("first", ["it is seen running", "it stands still at once"])
def test_R13_a_hook_whose_event_loop_stands_still_for_a_moment_is_waited_for(
    tmp_path: Path,
    procore: ScriptedProcore,
    clock: Clock,
    transport: Patient,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
) -> None:
    """As a program does that runs its event loop again and again."""
    monkeypatch.setattr(own_loop, "FORK_SEEN_SECONDS", 0.02)
    loop, called = Watched(), list[str]()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hook(user: User) -> None:
        reached.set()
        if first == "it is seen running":
            assert await asyncio.to_thread(loop.seen[True].acquire, timeout=10)
        await go_on.wait()
        called.append(user.email)

    transport.go_on.set()
    with front_door(tmp_path, procore, clock, hooks=Hooks(on_sign_in=hook)) as door:
        runner = AsyncRunner(door.store, transport)
        task = loop.create_task(sign_in(door, runner))
        loop.run_until_complete(reached.wait())
        if first == "it is seen running":
            loop.run_until_complete(asyncio.sleep(0.05))
        for _ in range(3):
            assert loop.seen[False].acquire(timeout=10)
        go_on.set()
        loop.run_until_complete(asyncio.wait_for(task, 20))
        loop.run_until_complete(runner.aclose())
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert called == ["joecontractor@procore.com"]


@pytest.mark.parametrize("raises", [raising, signal.SIG_DFL], ids=["own loop", "caller's loop"])
@pytest.mark.parametrize("hook_is", ["plain", "async"])
def test_R13_a_hook_that_raises_stop_iteration_ends_the_sign_in_as_any_other_error_does(
    tmp_path: Path,
    procore: ScriptedProcore,
    clock: Clock,
    transport: Patient,
    hook_is: str,
    raises: Any,
) -> None:
    """As `next(…)` does where nothing is found. No future can be told one."""

    def hook(candidate: Candidate) -> None:
        next(company for company in candidate.companies if company.id == 0)

    async def async_hook(candidate: Candidate) -> None:
        hook(candidate)

    async def within(runner: AsyncRunner) -> SignedIn:
        return await asyncio.wait_for(sign_in(door, runner), 20)

    hooks = Hooks(may_sign_in=hook if hook_is == "plain" else async_hook)
    with (
        handlers({signal.SIGALRM: raises}),
        front_door(tmp_path, procore, clock, hooks=hooks) as door,
    ):
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            by_itself(door, transport, within)
        assert list(door.users()) == []
    assert procore.revoked != []


def test_R13_a_process_without_descriptors_to_spare_spends_a_code_on_the_callers_loop(
    door: ProcoreSignIn, transport: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted() -> None:
        raise OSError("too many open files")

    async def then(runner: AsyncRunner) -> SignedIn:
        monkeypatch.setattr(asyncio, "SelectorEventLoop", exhausted)
        try:
            return await sign_in(door, runner)
        finally:
            assert asyncio.get_running_loop() in transport.loops
            monkeypatch.undo()

    assert by_itself(door, transport, then).created


def test_where_nothing_can_raise_a_code_is_spent_on_the_callers_loop(
    door: ProcoreSignIn, transport: Patient
) -> None:
    """There it costs a third."""

    async def then(runner: AsyncRunner) -> SignedIn:
        with handlers({}):
            signed_in = await sign_in(door, runner)
        assert set(transport.loops) == {asyncio.get_running_loop()}
        return signed_in

    assert by_itself(door, transport, then).created


@pytest.mark.parametrize(
    "handler",
    [raising, signal.default_int_handler, lambda *_: None, functools.partial(raising)],
    ids=["raising", "Ctrl-C", "unknown", "without a name"],
)
def test_R13_any_handler_that_is_not_known_may_raise(handler: Any) -> None:
    with handlers({}):
        assert not can_be_interrupted()
    with handlers({signal.SIGUSR1: handler}):
        assert can_be_interrupted()


def test_R13_a_handler_that_bears_the_name_of_one_that_is_known_may_raise() -> None:
    @functools.wraps(signal_handler_of_granian)
    def handler(*_: object) -> None:
        raise TimeoutError

    with handlers({signal.SIGUSR1: signal_handler_of_granian}):
        assert not can_be_interrupted()
    with handlers({signal.SIGUSR1: handler}):
        assert can_be_interrupted()


def test_R13_a_job_queue_may_set_an_exception_on_any_other_thread() -> None:
    with handlers({}):
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(can_be_interrupted()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_the_handler_of_serve_is_known_not_to_raise() -> None:
    with handlers({signal.SIGTERM: signal.SIG_DFL}):
        server._tell_of_the_stop(None)  # type: ignore[arg-type]  # asked only at the end
        assert callable(signal.getsignal(signal.SIGTERM))
        assert not can_be_interrupted()


APP = """
from procore_signin._flow.running.interrupts import can_be_interrupted

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"].removeprefix("lifespan.")
            await send({"type": f"lifespan.{kind}.complete"})
            if kind == "shutdown":
                return
    body = str(can_be_interrupted()).encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.mark.parametrize(
    "command",
    [
        "granian --interface asgi --loop asyncio --no-ws --port {port}",
        "granian --interface asgi --loop uvloop --no-ws --port {port}",
        "gunicorn --no-control-socket --worker-class asgi --bind 127.0.0.1:{port}",
    ],
)
def test_no_handler_of_granian_and_gunicorn_raises(tmp_path: Path, command: str) -> None:
    (tmp_path / "where.py").write_text(APP)
    port = free_port()
    words = [sys.executable, "-m", *command.format(port=port).split(), "where:app"]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(words, cwd=tmp_path, stdout=output, stderr=output)
    transport = httpx2.HTTPTransport(retries=12)
    try:
        with httpx2.Client(transport=transport, trust_env=False, timeout=30) as client:
            assert client.get(f"http://127.0.0.1:{port}/").text == "False"
    finally:
        process.terminate()
        process.wait(30)
