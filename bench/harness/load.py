"""The load generator, a process of its own on the other core: sign-ins or pages, for some seconds.

    python -m harness.load '{"port": …, "what": "sign-in", …}'

It prints `ready` when its browsers are prepared, waits for a line, works, and prints its figures
as one line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Final

from harness.browser import Browser, WrongAnswerError
from harness.cpu import cpu_seconds
from harness.place import BENCH, OTHER_CORE, on_core

SESSION_COOKIE: Final = "procore_signin_session"


@dataclass(frozen=True, slots=True)
class Load:
    """What to do.

    Attributes:
        port: The server's.
        what: `sign-in`, `page` or `seeded-page`.
        seconds: For how long new operations begin.
        browsers: How many operations are under way at once.
        start: The page that begins a sign-in.
        callback: Where Procore sends the browser back to.
        accept: What home is asked to be.
        seeded: For `seeded-page`: how many sessions were written into the database.
    """

    port: int
    what: str
    seconds: float
    browsers: int = 16
    start: str = "/login"
    callback: str = "/callback"
    accept: str = "text/html"
    seeded: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it.

    Attributes:
        operations: How many were done.
        failures: How many went wrong.
        failure: What the first one said, or an empty text.
        seconds: From the first to the end of the last.
        busy: How much of a core the load generator itself took.
        milliseconds: Quantiles of how long a callback (or a page) took: `p50`, `p99`, `max`.
        cpu_microseconds: Of the measured server, per operation.
        database_microseconds: Of the database server, per operation.
    """

    operations: int
    failures: int
    failure: str
    seconds: float
    busy: float
    milliseconds: dict[str, float]
    cpu_microseconds: float = 0.0
    database_microseconds: float = 0.0

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


def run_load(load: Load, server: int, database: int | None = None) -> Figures:
    """Run the load in a process of its own.

    Args:
        load: What to do.
        server: First process of the measured server.
        database: First process of the database server, if it is measured too.

    Raises:
        SystemExit: Nothing worked; the message says how.
    """
    command = [*on_core(OTHER_CORE), sys.executable, "-m", "harness.load", json.dumps(asdict(load))]
    with subprocess.Popen(
        command, cwd=BENCH, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None  # noqa: S101  # tells the type
        assert process.stdout is not None  # noqa: S101  # as above
        process.stdout.readline()
        before = cpu_seconds(server), 0.0 if database is None else cpu_seconds(database)
        process.stdin.write("go\n")
        process.stdin.flush()
        line = process.stdout.readline()
        used = cpu_seconds(server) - before[0]
        beside = 0.0 if database is None else cpu_seconds(database) - before[1]
    if not line:
        raise SystemExit(f"The load generator ended early on {load}")
    values = json.loads(line)
    if not values["operations"]:
        raise SystemExit(f"No operation of {load} succeeded: {values['failure']}")
    each = 1e6 / values["operations"]
    spent = {"cpu_microseconds": used * each, "database_microseconds": beside * each}
    return Figures(**{**values, **spent})


async def _prepare(load: Load) -> list[tuple[Browser, str]]:
    few = asyncio.Semaphore(8)

    async def prepare() -> tuple[Browser, str]:
        browser, home = Browser(load.port), "/home"
        if load.what == "page":
            async with few:
                state = await browser.begin(load.start)
                home = await browser.come_back(load.callback, state)
                await browser.see(home, load.accept)
        return browser, home

    return await asyncio.gather(*(prepare() for _ in range(load.browsers)))


async def _sign_in(load: Load, browser: Browser) -> float:
    browser.cookies.clear()
    state = await browser.begin(load.start)
    began = time.perf_counter()
    home = await browser.come_back(load.callback, state)
    took = time.perf_counter() - began
    await browser.see(home, load.accept)
    return took


async def _page(load: Load, browser: Browser, home: str) -> float:
    if load.seeded:
        browser.cookies = {SESSION_COOKIE: f"seeded-session-{random.randrange(load.seeded)}"}  # noqa: S311  # which page is seen next is no secret
    began = time.perf_counter()
    await browser.see(home, load.accept)
    return time.perf_counter() - began


async def _work(load: Load) -> Figures:
    browsers = await _prepare(load)
    gc.collect()
    gc.disable()
    print("ready", flush=True)
    sys.stdin.readline()
    took: list[float] = []
    failures: list[str] = []
    began, used = time.perf_counter(), time.process_time()

    async def repeat(operation: Callable[[], Awaitable[float]]) -> None:
        while time.perf_counter() - began < load.seconds:
            try:
                took.append(await operation())
            except (WrongAnswerError, OSError) as error:
                failures.append(str(error))

    def operation(browser: Browser, home: str) -> Callable[[], Awaitable[float]]:
        if load.what == "sign-in":
            return lambda: _sign_in(load, browser)
        return lambda: _page(load, browser, home)

    await asyncio.gather(*(repeat(operation(*each)) for each in browsers))
    seconds = time.perf_counter() - began
    busy = (time.process_time() - used) / seconds
    for browser, _ in browsers:
        browser.close()
    took.sort()
    quantiles = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return Figures(
        operations=len(took),
        failures=len(failures),
        failure=failures[0] if failures else "",
        seconds=seconds,
        busy=busy,
        milliseconds={
            name: took[min(int(len(took) * part), len(took) - 1)] * 1000 if took else 0.0
            for name, part in quantiles.items()
        },
    )


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_work(Load(**json.loads(sys.argv[1])))))), flush=True)
