"""A child that is forked in a coroutine, and leaves through its parent's event loop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from own_process import run_script

SCRIPT = """
import asyncio, os, sys, time
from pathlib import Path

from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.steps import Send, Shield
from procore_signin._protocol.http_message import HttpRequest, HttpResponse

SENT = Path(sys.argv[1])


class Slow:
    async def send(self, request):
        await asyncio.sleep(0.3)
        with SENT.open("a") as sent:
            sent.write(f"{os.getpid()}\\n")
        return HttpResponse(200, {}, b"{}")

    async def aclose(self):
        pass


class NoStore:
    reads_inline = single_writer = True
    closed = False
    ask = do = group = on_loop = close = None


REQUEST = HttpRequest("GET", "http://localhost/", {}, b"")


def twice():
    yield Send(REQUEST)
    yield Send(REQUEST)


def carried():
    yield Shield(twice())


async def main():
    runner = AsyncRunner(NoStore(), Slow())
    running = asyncio.ensure_future(runner.run(carried()))
    await asyncio.sleep(0.1)
    child = os.fork()
    if child == 0:
        sys.exit(7)
    until = time.monotonic() + 20
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        assert time.monotonic() < until, "the child goes on"
        await asyncio.sleep(0.01)
    await running
    assert os.waitstatus_to_exitcode(status) == 7, status
    assert SENT.read_text().split() == [str(os.getpid())] * 2, SENT.read_text()


asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_F2_a_child_that_is_forked_in_a_coroutine_leaves_and_sends_nothing_of_its_parents(
    tmp_path: Path,
) -> None:
    done = run_script(SCRIPT, str(tmp_path / "sent"))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
