"""Programs that use Procore in a parent and in its children, and count what comes of it.

They are told where everything is by the environment: `FORKING_STUB` and `FORKING_DATABASE` are
addresses, and under TLS `FORKING_AUTHORITY` is a file of PEM.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from procore_signin import api
from procore_signin._client import AsyncProcoreSignIn, ProcoreSignIn
from procore_signin._flow.attempt import new_attempt
from procore_signin._flow.sessions import Browser
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._forks import Owned
from procore_signin._protocol.authorization import CodeGranted
from procore_signin._protocol.secret import Secret
from procore_signin._transport.pyreqwest import AsyncPyreqwestTransport, PyreqwestTransport
from procore_signin.environments import Environment
from procore_signin.errors import ProcoreSignInError

PEOPLE: Final = (1001, 1002, 1003, 1004)
STRANGER: Final = 1999
"""Signs in while others are at work; no one else asks for this person."""

EVERY: Final = 50
"""One call in so many refreshes its person's token first."""

HANGS_AFTER: Final = float(os.environ.get("FORKING_PATIENCE", "60"))
"""Seconds after which a child hangs: it has a few hundred calls to make."""

Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Doors:
    """The front doors of one process, opened before it forks."""

    sync: ProcoreSignIn
    concurrent: AsyncProcoreSignIn
    trust: ssl.SSLContext | None
    wire: api.Wire
    users: dict[int, int] = field(default_factory=dict)
    """The user of each person."""


@cache
def doors() -> Doors:
    """Return the front doors of this process; a child has those of its parent."""
    url, authority = os.environ["FORKING_STUB"], os.environ.get("FORKING_AUTHORITY")
    pem = Path(authority).read_bytes() if authority else None
    trust = ssl.create_default_context(cadata=pem.decode()) if pem else None
    more: dict[str, Any] = {
        "environment": Environment("emulator", url, url),
        "client_id": "fake-client-id",
        "client_secret": Secret("fake-client-secret", "client secret"),
        "redirect_uri": "http://localhost:4567/callback",
        "keys": Secret("fake1:" + "A" * 43, "keys"),
        "database_url": os.environ["FORKING_DATABASE"],
    }
    opened = Doors(
        ProcoreSignIn(**more, transport=PyreqwestTransport(root_certificates=pem)),
        AsyncProcoreSignIn(**more, transport=AsyncPyreqwestTransport(root_certificates=pem)),
        trust,
        api.Wire(ssl_context=trust),
    )
    for person in PEOPLE:
        opened.users[person] = sign_in(opened.sync, person)
    return opened


def sign_in(door: ProcoreSignIn, person: int) -> int:
    """Sign a person in; return the user's id."""
    attempt = new_attempt(door.context, return_to="/")
    granted = CodeGranted(Secret(f"code-{person}-x", "code"), attempt.state, None)
    browser = Browser(user_agent=None, session_hash=None)
    return door.run(finish_sign_in(door.context, attempt, granted, browser)).user.id


def counted(do: Callable[[], int], person: int, counts: Counter[str]) -> None:
    """Do one call; count whose response came."""
    counts["calls"] += 1
    try:
        found = do()
    except ProcoreSignInError as error:
        counts["errors"] += 1
        counts[f"error {type(error).__name__}: {error}"[:150]] += 1
    else:
        counts["others"] += found != person


def call(person: int, times: int) -> Counter[str]:
    """Ask `times` times who `person` is, and refresh in between."""
    known, counts = doors(), Counter[str]()
    user = known.users[person]
    with api.client_for(known.sync, user, wire=known.wire) as client:
        for number in range(times):
            if number % EVERY == 0:
                counted(lambda: _refreshed(known.sync, user), person, counts)
            counted(lambda: int(client.get("/rest/v1.0/me").json()["id"]), person, counts)
    return counts


def _refreshed(door: ProcoreSignIn, user: int) -> int:
    generation = door.fresh_tokens(user).generation
    token = door.fresh_tokens(user, rejected=generation).access_token
    return int(token.reveal().split("-")[1])


async def acall(person: int, times: int) -> Counter[str]:
    """As `call`, with the front door for asyncio."""
    known, counts = doors(), Counter[str]()
    user, door = known.users[person], known.concurrent
    async with (
        contextlib.aclosing(api.AsyncWire(ssl_context=known.trust)) as wire,
        api.async_client_for(door, user, wire=wire) as client,
    ):
        for number in range(times):
            if number % EVERY == 0:
                generation = (await door.fresh_tokens(user)).generation
                token = (await door.fresh_tokens(user, rejected=generation)).access_token
                counted(lambda: int(token.reveal().split("-")[1]), person, counts)  # noqa: B023
            response = await client.get("/rest/v1.0/me")
            counted(lambda: int(response.json()["id"]), person, counts)  # noqa: B023
    return counts


def child(number: int, times: int) -> Counter[str]:
    """Do the calls of one child; every other one has an event loop of its own."""
    person = PEOPLE[number % len(PEOPLE)]
    if number % 2:
        return asyncio.run(acall(person, times))
    return call(person, times)


# What the parent is doing while it forks.


@contextlib.contextmanager
def idle(_: Counter[str]) -> Iterator[None]:
    """It has used everything, and does nothing."""
    yield


def _again(do: Callable[[Counter[str]], None], counts: Counter[str]) -> Any:
    @contextlib.contextmanager
    def run() -> Iterator[None]:
        over = threading.Event()
        mine = [Counter[str](), Counter[str]()]

        def loop(own: Counter[str]) -> None:
            while not over.is_set():
                do(own)

        threads = [threading.Thread(target=loop, args=(own,)) for own in mine]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
            for own in mine:
                counts.update(own)

    return run()


def reading(counts: Counter[str]) -> Any:
    """Two threads ask the API."""
    return _again(lambda own: own.update(call(PEOPLE[0], 10)), counts)


def refreshing(counts: Counter[str]) -> Any:
    """Two threads refresh the same people as the children do."""
    known = doors()

    def refresh(own: Counter[str]) -> None:
        for person in PEOPLE:
            user = known.users[person]
            counted(lambda: _refreshed(known.sync, user), person, own)  # noqa: B023

    return _again(refresh, counts)


def signing_in(counts: Counter[str]) -> Any:
    """Two threads sign in people whom no one else knows."""
    known = doors()

    def enter(own: Counter[str]) -> None:
        counted(lambda: STRANGER * bool(sign_in(known.sync, STRANGER)), STRANGER, own)

    return _again(enter, counts)


STATES: Final[dict[str, Callable[[Counter[str]], Any]]] = {
    "idle": idle,
    "reading": reading,
    "refreshing": refreshing,
    "signing in": signing_in,
}


# How the children are made.


def os_fork(number: int, times: int) -> Callable[[], Counter[str]]:
    """Fork; return how to wait for what the child counted."""
    reading_end, writing_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException), os.fdopen(writing_end, "w") as pipe:
            json.dump(child(number, times), pipe)
        os._exit(0)
    os.close(writing_end)

    def wait() -> Counter[str]:
        timer = threading.Timer(HANGS_AFTER, os.kill, (pid, 9))
        timer.start()
        with os.fdopen(reading_end) as pipe:
            text = pipe.read()
        timer.cancel()
        os.waitpid(pid, 0)
        return Counter(json.loads(text)) if text else Counter(hangs=1)

    return wait


def _in_a_process(number: int, times: int, counts: Any) -> None:
    counts.put(dict(child(number, times)))


def by_multiprocessing(how: str) -> Callable[[int, int], Callable[[], Counter[str]]]:
    """Return what starts a child with a method of multiprocessing."""
    context: Any = multiprocessing.get_context(how)
    if how == "forkserver":
        context.set_forkserver_preload(["tests.reliability.forking"])

    def start(number: int, times: int) -> Callable[[], Counter[str]]:
        counts = context.Queue()
        process = context.Process(target=_in_a_process, args=(number, times, counts))
        process.start()

        def wait() -> Counter[str]:
            try:
                return Counter(counts.get(timeout=HANGS_AFTER))
            except Exception:  # noqa: BLE001  # queue.Empty: it hangs, or it died
                process.kill()
                return Counter(hangs=1)
            finally:
                process.join()

        return wait

    return start


WAYS: Final[dict[str, Callable[[], Callable[[int, int], Callable[[], Counter[str]]]]]] = {
    "os.fork": lambda: os_fork,
    "fork": lambda: by_multiprocessing("fork"),
    "forkserver": lambda: by_multiprocessing("forkserver"),
}


def share_connections() -> None:
    """Undo what the product does about them, to see whether this program would notice."""
    api.Wire.after_fork = lambda _: None  # type: ignore[assignment, method-assign]
    Owned.inherited = lambda _: False  # type: ignore[assignment, method-assign]


def main(way: str, rounds: int, children: int, times: int) -> None:
    """Fork in every state, and print what was counted."""
    if os.environ.get("FORKING_MUTANT"):
        share_connections()
    counts, began = Counter[str](), time.monotonic()
    start = WAYS[way]()
    counts.update(call(PEOPLE[0], 5))
    asyncio.run(acall(PEOPLE[1], 5))
    for state in STATES.values():
        with state(counts):
            for _ in range(rounds):
                waits = [start(number, times) for number in range(children)]
                counts.update(call(PEOPLE[0], times // 2))  # beside them
                for wait in waits:
                    counts.update(wait())
                counts["children"] += children
    counts.update(call(PEOPLE[0], 5))
    print(json.dumps({**counts, "seconds": round(time.monotonic() - began, 1)}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
