"""Threads that an event loop gives work to survive that it is interrupted meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from interrupting import ends_on_another_thread, interrupted_everywhere

from procore_signin._store.engine.shared_outcome import Threads, on_a_thread

pytestmark = pytest.mark.timeout(40)


def test_R13_an_interrupt_of_who_gives_them_work_leaves_no_lock_held() -> None:
    with Threads(1, "of a test") as threads:
        assert threads.submit(int).result(10) == 0
        places = 0
        for place in interrupted_everywhere(partial(threads.submit, int), most=2000):
            places += 1
            assert ends_on_another_thread(lambda: threads.submit(int).result(10)), place
        assert places > 10


def test_R13_an_interrupt_of_who_waits_for_them_on_an_event_loop_leaves_no_lock_held() -> None:
    loop = asyncio.new_event_loop()
    with Threads(1, "of a test") as threads:
        assert loop.run_until_complete(on_a_thread(loop, threads, int)) == 0
        for place in interrupted_everywhere(
            partial(on_a_thread, loop, threads, int), most=2000, inside=""
        ):
            assert ends_on_another_thread(lambda: threads.submit(int).result(10)), place
            assert loop.run_until_complete(on_a_thread(loop, threads, int)) == 0
    loop.close()


def test_work_that_is_cancelled_before_it_has_begun_is_not_done() -> None:
    done: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with Threads(1, "of a test") as threads:
            gate = asyncio.Event()
            first = on_a_thread(
                loop, threads, lambda: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
            )
            second = on_a_thread(loop, threads, partial(done.append, 2))
            second.cancel()
            gate.set()
            await first
            await on_a_thread(loop, threads, partial(done.append, 3))

    asyncio.run(main())
    assert done == [3]
