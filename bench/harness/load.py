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
        accept: What home is asked to be.
        seeded: For `seeded-page`: how many sessions were written into the database.
    """

    port: int
    what: str
    seconds: float
    browsers: int = 16
    start: str = "/login"
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
        milliseconds: Quantiles of how long a callback (or a page) took: `p50`, `p99`, `max`.
        cpu_microseconds: Of the measured server, per operation.
    """

    operations: int
    failures: int
    failure: str
    seconds: float
    milliseconds: dict[str, float]
    cpu_microseconds: float = 0.0

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


def run_load(load: Load, server: int) -> Figures:
    """Run the load in a process of its own, against the server whose first process is `server`.

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
        before = cpu_seconds(server)
        process.stdin.write("go\n")
        process.stdin.flush()
        line = process.stdout.readline()
        used = cpu_seconds(server) - before
    if not line:
        raise SystemExit(f"The load generator ended early on {load}")
    values = json.loads(line)
    if not values["operations"]:
        raise SystemExit(f"No operation of {load} succeeded: {values['failure']}")
    return Figures(**{**values, "cpu_microseconds": used / values["operations"] * 1e6})


async def _prepare(load: Load) -> list[tuple[Browser, str]]:
    prepared = []
    for _ in range(load.browsers):
        browser, home = Browser(load.port), "/home"
        if load.what == "page":
            state = await browser.begin(load.start)
            home = await browser.come_back("/callback", state)
            await browser.see(home, load.accept)
        prepared.append((browser, home))
    return prepared


async def _sign_in(load: Load, browser: Browser) -> float:
    browser.cookies.clear()
    state = await browser.begin(load.start)
    began = time.perf_counter()
    home = await browser.come_back("/callback", state)
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
    began = time.perf_counter()

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
    for browser, _ in browsers:
        browser.close()
    took.sort()
    quantiles = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return Figures(
        operations=len(took),
        failures=len(failures),
        failure=failures[0] if failures else "",
        seconds=seconds,
        milliseconds={
            name: took[min(int(len(took) * part), len(took) - 1)] * 1000 if took else 0.0
            for name, part in quantiles.items()
        },
    )


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_work(Load(**json.loads(sys.argv[1])))))), flush=True)
