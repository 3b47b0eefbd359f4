"""Processes and threads that exist in a schedule alone, under the real runner.

Each thread is a greenlet. It runs until it wants something that others could notice: a statement, a
request, a pause, somebody else's outcome. There it stands until the schedule lets it go on.
"""

from __future__ import annotations

import copy
import gc
import hashlib
import logging
import queue
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from greenlet import GreenletExit, greenlet

from procore_signin import environments
from procore_signin._flow.context import Context
from procore_signin._flow.outage import Outage
from procore_signin._flow.running import background, outcome
from procore_signin._flow.running.runner import Runner
from procore_signin._forks import FORKS
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_endpoint import Client
from procore_signin._store.engine.command import Command, Query
from procore_signin._store.keys.token_seal import TokenSeal

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

ENVIRONMENT = environments.emulator()
CLIENT = Client("client", Secret("secret", "client secret"), "http://localhost/callback")


class _Now:
    """Which thread runs."""

    thread: Thread | None = None


def _perform(kind: str, what: object) -> Any:
    """Want something, and return what comes of it when the schedule lets this thread go on."""
    thread = _Now.thread
    assert thread is not None
    if thread.process.dead or thread.process.world.over:
        raise GreenletExit  # what is not there any more does nothing any more
    thread.kind, thread.wants = kind, what
    thread.wanted_at = thread.process.world.now
    return thread.process.world.main.switch()


class Thread:
    """One thread.

    Attributes:
        process: Whose.
        name: For the story.
        caller: What it does for whom, or None for one of the runner's own.
        kind: What it wants; empty when it has ended.
        wants: The command, request, seconds or lock.
        wanted_at: Since when, by the world's time.
        answer: What Procore answered, while that is on its way.
        until: When its pause is over.
        carries: Pairs that it was given and that it has to write down or end.
        history: Stands for all that it has been told.
        lease_at: When it took the lease that it holds, by the world's time, or None.
        outcome: What it returned.
        error: What it raised.
    """

    __slots__ = (
        "answer",
        "caller",
        "carries",
        "drawn",
        "error",
        "greenlet",
        "history",
        "kind",
        "lease_at",
        "name",
        "outcome",
        "process",
        "spawned",
        "until",
        "wanted_at",
        "wants",
    )

    def __init__(
        self, process: Process, name: str, body: Callable[[], Any], caller: object | None
    ) -> None:
        self.process = process
        self.name = name
        self.caller = caller
        self.kind = "start"
        self.wants: Any = None
        self.wanted_at = 0.0
        self.answer: Any = None
        self.until = 0.0
        self.carries: set[str] = set()
        self.history = hash(name)
        self.drawn = 0
        self.spawned = 0
        self.lease_at: float | None = None
        self.outcome: Any = None
        self.error: BaseException | None = None
        self.greenlet = greenlet(lambda: self._run(body), process.world.main)

    def _run(self, body: Callable[[], Any]) -> None:
        try:
            self.outcome = body()
        except GreenletExit:
            pass
        except BaseException as error:  # noqa: BLE001 - what a caller is told, whatever it is
            self.error = error
        self.kind = ""
        self.carries.clear()

    def go_on(self, value: object = None, error: BaseException | None = None) -> None:
        """Let it run until it wants something again."""
        before, _Now.thread = _Now.thread, self
        FORKS.generation = self.process.generation
        began = self.kind == "start"
        self.kind, self.wants, self.answer = "", None, None
        try:
            if error is not None:
                self.greenlet.throw(error)
            elif began:
                self.greenlet.switch()
            else:
                self.greenlet.switch(value)
        finally:
            _Now.thread = before

    def end(self) -> None:
        """Unwind it without a trace, when its process or the schedule is over."""
        if self.kind:
            self.go_on(error=GreenletExit())
            self.kind = ""

    @property
    def ready(self) -> bool:
        """Whether it waits for what has come."""
        return self.kind == "wait" and self.wants[0].ready


class Bell:
    """A lock on which simulated threads wait."""

    def __init__(self) -> None:
        self._held = False

    @property
    def ready(self) -> bool:
        return not self._held

    def acquire(self, timeout: float = -1) -> bool:
        if self._held and not _perform("wait", (self, timeout)):
            return False
        self._held = True
        return True

    def release(self) -> None:
        self._held = False


class Queue:
    """A queue on which simulated threads wait."""

    def __class_getitem__(cls, _: object) -> type[Queue]:
        return cls

    def __init__(self) -> None:
        self._items: deque[Any] = deque()

    @property
    def ready(self) -> bool:
        return bool(self._items)

    def put(self, item: object) -> None:
        self._items.append(item)

    def get(self, timeout: float = -1) -> Any:
        if not self._items and not _perform("wait", (self, timeout)):
            raise queue.Empty
        return self._items.popleft()


class Threads:
    """In place of the runner's own threads."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._keys: set[Hashable] = set()

    def start(self, work: Callable[[], None]) -> bool:
        self._process.spawn(work)
        return True

    def later(self, work: Callable[[], None], key: Hashable | None) -> None:
        if key is not None:
            if key in self._keys:
                return
            self._keys.add(key)

        def done() -> None:
            try:
                work()
            finally:
                self._keys.discard(key)

        self._process.spawn(done)

    @property
    def closing(self) -> bool:
        return self._process.ending_since is not None

    def ending(self) -> float:
        since = self._process.ending_since
        return 0.0 if since is None else max(self._process.world.now - since, 0.001)


class _Door:
    """Store and Procore, as the runner sees them."""

    def do(self, command: Command[T]) -> T:
        outcome: T = _perform("do", command)
        return outcome

    def ask(self, query: Query[T]) -> T:
        outcome: T = _perform("ask", query)
        return outcome

    def send(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = _perform("send", request)
        return response

    def close(self) -> None:
        pass


DOOR = _Door()


def _sleep(seconds: float) -> None:
    if seconds > 0:
        _perform("sleep", seconds)


def _random_bytes(count: int) -> bytes:
    """Return bytes that depend on who draws them, and not on what others drew before."""
    thread = _Now.thread
    assert thread is not None
    thread.drawn += 1
    return hashlib.blake2b(f"{thread.name} {thread.drawn}".encode(), digest_size=count).digest()


class Process:
    """One process.

    Attributes:
        world: Where it is.
        name: For the story.
        seal: Its keys.
        generation: How many forks led to it.
        threads: All that it ever had.
        dead: Whether it was killed, or has ended.
        ending_since: When it was told to end, or None.
    """

    def __init__(self, world: World, name: str, seal: TokenSeal) -> None:
        self.world = world
        self.name = name
        self.seal = seal
        self.generation = 0
        self.threads: list[Thread] = []
        self.dead = False
        self.ending_since: float | None = None
        self.runner = Runner(DOOR, DOOR, sleep=_sleep)  # type: ignore[arg-type]  # the world's own
        self.runner._background = Threads(self)  # type: ignore[assignment]  # as above
        self.context = Context(
            environment=ENVIRONMENT,
            client=CLIENT,
            attempt_seal=seal._seal,
            clock=world.clock,
            random_bytes=_random_bytes,
        )

    def spawn(
        self, body: Callable[[], Any], caller: object | None = None, name: str | None = None
    ) -> Thread:
        """Begin a thread. It carries what the one that begins it carries."""
        by = _Now.thread
        if name is None:
            assert by is not None
            by.spawned += 1
            name = f"{by.name}+{by.spawned}"
        thread = Thread(self, name, body, caller)
        if by is not None:
            thread.carries |= by.carries
        self.threads.append(thread)
        self.world.threads.append(thread)
        return thread

    def fork(self) -> Process:
        """Return a child: the memory of this process, and none of its threads."""
        child = copy.copy(self)
        child.name = f"{self.name}'"
        child.generation = self.generation + 1
        child.threads = []
        runner = copy.copy(self.runner)
        runner._under_way = {key: _copied(asked) for key, asked in runner._under_way.items()}
        runner._background = Threads(child)  # type: ignore[assignment]  # as above
        child.runner = runner
        outage = Outage()
        outage._failed = set(self.context.outage._failed)
        child.context = replace(self.context, outage=outage)
        FORKS.generation = child.generation
        runner.after_fork()
        return child


def _copied(asked: background.Asked) -> background.Asked:
    """Return what a child finds in its memory: no one tells it what the other one is told."""
    twin, inner = copy.copy(asked), copy.copy(asked.outcome)
    object.__setattr__(inner, "_told", dict(inner._told))
    object.__setattr__(inner, "_bells", deque())
    object.__setattr__(inner, "_followers", deque())
    object.__setattr__(twin, "outcome", inner)
    return twin


@contextmanager
def simulated() -> Iterator[None]:
    """Have the runner wait for the schedule instead of for the system."""
    patch = pytest.MonkeyPatch()
    patch.setattr(outcome, "threading", SimpleNamespace(Lock=Bell))
    patch.setattr(background, "queue", SimpleNamespace(SimpleQueue=Queue, Empty=queue.Empty))
    generation = FORKS.generation
    logging.disable(logging.CRITICAL)
    gc.disable()  # a schedule is short, and `search.run` collects what many leave behind
    gc.freeze()  # and nothing else: a quarter of a second each time, when every test is collected
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()
        logging.disable(logging.NOTSET)
        patch.undo()
        FORKS.generation = generation
