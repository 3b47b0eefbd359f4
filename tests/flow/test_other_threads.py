"""Refreshes where threads are not what they usually are: after the main one, and under gevent."""

from __future__ import annotations

from own_process import run_script

RUNNER = """
import asyncio, sys, threading, time

from procore_signin._flow.running import own_loop
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.steps import Send, once
from procore_signin._protocol.http_message import HttpRequest, HttpResponse

REQUEST = HttpRequest("GET", "http://localhost/", {}, b"")


class Slow:
    for_any_loop = True

    async def send(self, request):
        await asyncio.sleep(0.3)
        return HttpResponse(200, {}, b"{}")


class NoStore:
    reads_inline = single_writer = True
    closed = False
    ask = do = group = on_loop = close = None


def refresh():
    return (yield Send(REQUEST)).status


def shared(number):
    return (yield from once(number, refresh()))
"""

PAST_THE_MAIN_THREAD = (
    RUNNER
    + """
own_loop.LONGEST_FLOW_SECONDS, own_loop.BEAT_SECONDS = 0.1, 0.05
runner = AsyncRunner(NoStore(), Slow())


def work():
    threading.main_thread().join()
    told = [asyncio.run(asyncio.wait_for(runner.run(shared(each)), 20)) for each in range(4)]
    print(told, runner._background.ending())


threading.Thread(target=work).start()
"""
)

UNDER_GEVENT = (
    """
from gevent import monkey

monkey.patch_all()
"""
    + RUNNER
    + """
runner = AsyncRunner(NoStore(), Slow())
print([asyncio.run(asyncio.wait_for(runner.run(shared(each)), 20)) for each in range(2)])
"""
)


def test_R13_a_program_goes_on_refreshing_on_a_thread_after_its_main_thread_has_ended() -> None:
    done = run_script(PAST_THE_MAIN_THREAD, timeout=100)
    assert (done.stdout, done.stderr) == ("[200, 200, 200, 200] 0.0\n", "")


def test_R13_where_threads_are_greenlets_a_refresh_runs_on_the_callers_event_loop() -> None:
    done = run_script(UNDER_GEVENT, timeout=100)
    assert (done.stdout, done.stderr) == ("[200, 200]\n", "")
