"""What can be counted instead of timed. Run with the application's own Python, prints JSON.

    python -m harness.calls <upstream origin> <folder> [<URL of a PostgreSQL database>]

The application runs in this process, on one event loop, without a server in front of it.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import procore_signin
import psycopg
from procore_signin import AsyncProcoreSignIn, ProcoreSignIn, Secret, environments
from procore_signin._app.application import create_app
from procore_signin._flow.steps import do
from procore_signin._settings import read_settings
from procore_signin._store.migrate import upgrade
from procore_signin._store.sessions import EndSessions

from harness.servers import KEYS
from harness.storm import somebody
from harness.wire import counted

PRODUCT: Final = str(Path(procore_signin.__file__).parent)
ORIGIN: Final = "http://localhost:4567"
STATE: Final = re.compile(r"[?&]state=([^&\"']+)")
RUNNER: Final = "runner.py"
Door = TypeVar("Door")
WARM: Final = 30
TIMES: Final = 3000
QUIET_SECONDS: Final = 0.2
"""When no message came for so long, the work is over."""


class Client:
    """Asks an ASGI application for pages, and keeps its cookies."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._cookies: dict[str, str] = {}

    async def get(self, path: str, accept: str = "text/html") -> tuple[int, dict[str, str], str]:
        """Return status, headers and body."""
        parts = urlsplit(path)
        cookies = "; ".join(f"{name}={text}" for name, text in self._cookies.items())
        headers = {"host": "localhost:4567", "accept": accept, "cookie": cookies}
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(
            {
                "type": "http",
                "asgi": {"version": "3.0"},
                "http_version": "1.1",
                "method": "GET",
                "scheme": "http",
                "path": parts.path,
                "raw_path": parts.path.encode(),
                "query_string": parts.query.encode(),
                "root_path": "",
                "headers": [(name.encode(), text.encode()) for name, text in headers.items()],
                "client": ("127.0.0.1", 50000),
                "server": ("127.0.0.1", 4567),
            },
            receive,
            send,
        )
        found = {name.decode(): text.decode() for name, text in sent[0]["headers"]}
        for name, text in sent[0]["headers"]:
            if name == b"set-cookie":
                cookie, _, rest = text.decode().partition("=")
                value = rest.partition(";")[0]
                self._cookies.pop(cookie, None)
                if value:
                    self._cookies[cookie] = value
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], found, body.decode()

    async def begin(self) -> str:
        """Return the callback with a code and the state of a new attempt."""
        status, _, body = await self.get("/")
        state = STATE.search(unescape(body))
        if status != 200 or state is None:
            raise SystemExit(f"/ answered {status}: {body[:300]}")
        return f"/callback?code=a-code-of-the-benchmark&state={state[1]}"

    async def come_back(self, callback: str, accept: str = "text/html") -> str:
        """Finish the attempt and return the page behind it."""
        status, headers, body = await self.get(callback)
        if status not in {302, 303}:
            raise SystemExit(f"/callback answered {status}: {body[:300]}")
        return await self.home(headers["location"], accept)

    async def home(self, path: str = "/home", accept: str = "text/html") -> str:
        """Return home; it must name the person."""
        status, _, body = await self.get(path, accept)
        if status != 200 or "@" not in body:
            raise SystemExit(f"{path} answered {status}: {body[:300]}")
        return body


class Walk:
    """Where the calls of one thread go, for `sys.setprofile`.

    Attributes:
        calls: Of the product's functions; a coroutine that goes on counts as a call.
        changes: How often such a call was in another file than the one before.
        files: Their files.
        decryptions: Calls of the library that opens what is sealed.
    """

    def __init__(self) -> None:
        self.calls = self.changes = self.decryptions = 0
        self.files: set[str] = set()
        self._last = ""

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        """Take one event."""
        if event == "c_call":
            self.decryptions += getattr(arg, "__name__", "") == "decrypt"
            return
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(PRODUCT):
            return
        self.calls += 1
        self.changes += name != self._last
        self.files.add(name)
        self._last = name


class Way:
    """The calls from the one that performs a flow's steps to the driver's, for `sys.setprofile`.

    Attributes:
        files: The product's file of each, the innermost first; of the statement that lies deepest.
    """

    def __init__(self) -> None:
        self.files: list[str] = []

    def __call__(self, frame: FrameType | None, event: str, arg: Any) -> None:
        """Take one event."""
        if event != "c_call" or getattr(arg, "__name__", "") != "execute":
            return
        passed: list[str] = []
        while frame is not None and not (passed and passed[-1].endswith(RUNNER)):
            if frame.f_code.co_filename.startswith(PRODUCT):
                passed.append(frame.f_code.co_filename)
            frame = frame.f_back
        self.files = max(self.files, passed, key=len)


async def walked(work: Awaitable[object]) -> Walk:
    """Return the walk of `work` on this thread."""
    walk = Walk()
    sys.setprofile(walk)
    try:
        await work
    finally:
        sys.setprofile(None)
    return walk


def settings(upstream: str, database_url: str) -> Any:
    """Return the settings of an application for this upstream and database."""
    return read_settings(
        {
            "PROCORE_ENVIRONMENT": "emulator",
            "PROCORE_EMULATOR_URL": upstream,
            "PROCORE_REDIRECT_URI": f"{ORIGIN}/callback",
            "PROCORE_DATABASE_URL": database_url,
            "PROCORE_KEYS": KEYS,
            "PROCORE_RATE_LIMIT": "0",
        }
    )


def front_door(kind: Callable[..., Door], upstream: str, database_url: str) -> Door:
    """Return a front door of the library, of this kind, for this upstream and database."""
    return kind(
        environment=environments.emulator(upstream),
        client_id="bench-client-id",
        client_secret=Secret("bench-client-secret", "client secret"),
        redirect_uri=f"{ORIGIN}/callback",
        keys=Secret(KEYS, "keys"),
        database_url=database_url,
    )


async def in_the_application(
    upstream: str, database_url: str, work: Callable[[Client], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    """Return what `work` finds with a client of the running application."""
    upgrade(database_url)
    app = create_app(settings(upstream, database_url))
    begun, ended = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if begun.is_set():
            await ended.wait()
            return {"type": "lifespan.shutdown"}
        return {"type": "lifespan.startup"}

    async def send(_message: Any) -> None:
        begun.set()

    lifespan = asyncio.create_task(
        app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    )
    await begun.wait()
    try:
        return await work(Client(app))
    finally:
        ended.set()
        await lifespan


@contextmanager
def as_on_a_server() -> Iterator[None]:
    """Have no handler of SIGINT that raises, as on a server: an exchange stays on its loop then."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def walk_of_a_callback(upstream: str, folder: Path) -> dict[str, Any]:
    """Return how one warm callback walks through the product's files, on SQLite."""

    async def work(client: Client) -> dict[str, Any]:
        for _ in range(WARM):
            await client.come_back(await client.begin())
        walks = []
        for _ in range(5):
            callback = await client.begin()
            walks.append(await walked(client.get(callback)))
            await client.home()
        return {
            "changes_of_file": [walk.changes for walk in walks],
            "calls": [walk.calls for walk in walks],
            "files": len(walks[-1].files),
        }

    with as_on_a_server():
        return await in_the_application(upstream, f"sqlite:///{folder / 'walk.db'}", work)


def way_of_a_write(folder: Path) -> dict[str, int]:
    """Return the calls from a flow that wants a row written to the driver, on SQLite."""
    url = f"sqlite:///{folder / 'way.db'}"
    upgrade(url)
    with front_door(ProcoreSignIn, "http://127.0.0.1:9", url) as procore:
        procore.run(do(EndSessions(1)))
        way = Way()
        sys.setprofile(way)
        try:
            procore.run(do(EndSessions(1)))
        finally:
            sys.setprofile(None)
    return {"calls": len(way.files) + 1, "files": len(set(way.files))}


async def valid_tokens(upstream: str, folder: Path) -> dict[str, Any]:
    """Return what `fresh_tokens` costs for tokens that are valid, on SQLite."""
    url = f"sqlite:///{folder / 'fresh.db'}"
    user = somebody(url, lifetime=5400)
    async with front_door(AsyncProcoreSignIn, upstream, url) as procore:
        for _ in range(WARM):
            await procore.fresh_tokens(user)
        walk = await walked(procore.fresh_tokens(user))
        each = []
        for _ in range(7):
            began = time.process_time()
            for _ in range(TIMES):
                await procore.fresh_tokens(user)
            each.append((time.process_time() - began) / TIMES * 1e6)
    return {
        "decryptions": walk.decryptions,
        "microseconds": {"median": statistics.median(each), "least": min(each), "most": max(each)},
    }


async def round_trips(upstream: str, database_url: str) -> dict[str, dict[str, int]]:
    """Return the round trips to PostgreSQL of one piece of work each: waited for, and altogether.

    What goes on beside the response is counted in the second figure, and in the first as far as it
    came about before the response.
    """
    with counted(database_url) as counter:

        async def of(work: Awaitable[object]) -> dict[str, int]:
            before = counter.round_trips
            await work
            waited = counter.round_trips
            after = -1
            while after != counter.round_trips:
                after = counter.round_trips
                await asyncio.sleep(QUIET_SECONDS)
            return {"waited": waited - before, "altogether": after - before}

        async def pages(client: Client) -> dict[str, dict[str, int]]:
            for _ in range(WARM):
                await client.come_back(await client.begin())
                await client.home(accept="application/json")
            found = {
                "page as JSON": await of(client.home(accept="application/json")),
                "page in HTML": await of(client.home()),
                "callback with home": await of(client.come_back(await client.begin())),
            }
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("UPDATE sessions SET last_seen_at = last_seen_at - 120")
            found["page as JSON that touches the session"] = await of(
                client.home(accept="application/json")
            )
            return found

        with as_on_a_server():
            found = await in_the_application(upstream, counter.url, pages)
        valid = somebody(database_url, lifetime=5400)
        async with front_door(AsyncProcoreSignIn, upstream, counter.url) as procore:
            for _ in range(WARM):
                await procore.fresh_tokens(valid)
            found["valid `fresh_tokens`"] = await of(procore.fresh_tokens(valid))
            await procore.fresh_tokens(refreshable(database_url, valid))
            found["refresh"] = await of(procore.fresh_tokens(refreshable(database_url, valid)))
    return found


def refreshable(database_url: str, user: Any) -> Any:
    """Return the user, whose tokens have expired now."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE token_sets SET expires_at = 1 WHERE user_id = %s", (user.id,))
    return user


async def main(upstream: str, folder: Path, database_url: str | None) -> dict[str, Any]:
    """Count everything."""
    return {
        "callback": await walk_of_a_callback(upstream, folder),
        "write": way_of_a_write(folder),
        "fresh_tokens": await valid_tokens(upstream, folder),
        "round_trips": database_url and await round_trips(upstream, database_url),
    }


if __name__ == "__main__":
    given = sys.argv[3] if len(sys.argv) > 3 else None
    print(json.dumps(asyncio.run(main(sys.argv[1], Path(sys.argv[2]), given))))
