"""One transport for many threads, event loops and moments."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from procore_signin._protocol.http_message import HttpRequest
from procore_signin._transport.contract import AsyncTransport, Transport
from procore_signin._transport.pyreqwest import AsyncPyreqwestTransport, PyreqwestTransport
from procore_signin.errors import ProcoreUnavailable


def echo(connection: Any) -> None:
    while request := connection.read_request():
        body = request.partition(b"\r\n\r\n")[2]
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


def silent(connection: Any) -> None:
    connection.read_request()
    connection.stay_silent()


def post(url: str, body: bytes = b"grant_type=fake") -> HttpRequest:
    return HttpRequest("POST", url, (), body)


def test_both_classes_keep_the_contract() -> None:
    sync: Transport = PyreqwestTransport()
    concurrent: AsyncTransport = AsyncPyreqwestTransport()
    sync.close()
    asyncio.run(concurrent.aclose())


def test_eight_threads_share_one_transport_and_get_their_own_answers(serve: Any) -> None:
    server = serve(echo)
    transport = PyreqwestTransport()
    bodies = [b"%d" % number for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: transport.send(post(server.url, body)).body, bodies))
    transport.close()
    assert bodies == answers
    assert server.connections <= 8


def test_a_hundred_tasks_share_one_transport_and_get_their_own_answers(serve: Any) -> None:
    server = serve(echo)
    bodies = [b"%d" % number for number in range(100)]

    async def run() -> list[bytes]:
        transport = AsyncPyreqwestTransport()
        answers = await asyncio.gather(*(transport.send(post(server.url, body)) for body in bodies))
        await transport.aclose()
        return [answer.body for answer in answers]

    assert bodies == asyncio.run(run())


def test_event_loops_of_several_threads_share_one_transport(serve: Any) -> None:
    server = serve(echo)
    transport = AsyncPyreqwestTransport()

    async def run(thread: int) -> list[bytes]:
        return [(await transport.send(post(server.url, b"%d" % thread))).body for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda thread: asyncio.run(run(thread)), range(4)))
    asyncio.run(transport.aclose())
    assert [[b"%d" % thread] * 10 for thread in range(4)] == answers


def test_waiting_threads_leave_the_interpreter_to_others(serve: Any) -> None:
    server = serve(silent)
    transport = PyreqwestTransport(deadline=0.3)
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises(ProcoreUnavailable):
            transport.send(post(server.url))
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    turns = 0
    while not ended.wait(0.01):
        turns += 1
    thread.join()
    transport.close()
    assert turns > 5


def test_waiting_tasks_leave_the_event_loop_to_others(serve: Any) -> None:
    server = serve(silent)

    async def run() -> int:
        transport = AsyncPyreqwestTransport(deadline=0.3)
        task = asyncio.create_task(transport.send(post(server.url)))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.01)
            turns += 1
        with pytest.raises(ProcoreUnavailable):
            await task
        await transport.aclose()
        return turns

    assert asyncio.run(run()) > 5


def test_a_cancelled_task_stops_waiting_and_harms_no_other(serve: Any) -> None:
    silence, server = serve(silent), serve(echo)

    async def run() -> None:
        transport = AsyncPyreqwestTransport(deadline=5)
        task = asyncio.create_task(transport.send(post(silence.url)))
        await asyncio.to_thread(silence.request_seen.acquire, timeout=2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 2)
        assert (await transport.send(post(server.url))).body == b"grant_type=fake"
        await transport.aclose()

    asyncio.run(run())


def test_closing_ends_a_request_under_way(serve: Any) -> None:
    server = serve(silent)
    transport = PyreqwestTransport(deadline=5)
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(transport.send, post(server.url))
        assert server.request_seen.acquire(timeout=2)
        transport.close()
        with pytest.raises(ProcoreUnavailable) as failure:
            request.result(timeout=2)
    assert failure.value.ambiguous is True


def test_aclosing_ends_a_request_under_way(serve: Any) -> None:
    server = serve(silent)

    async def run() -> None:
        transport = AsyncPyreqwestTransport(deadline=5)
        task = asyncio.create_task(transport.send(post(server.url)))
        assert await asyncio.to_thread(server.request_seen.acquire, timeout=2)
        await transport.aclose()
        with pytest.raises(ProcoreUnavailable) as failure:
            await asyncio.wait_for(task, 2)
        assert failure.value.ambiguous is True

    asyncio.run(run())


def test_a_transport_can_be_closed_twice_and_used_again(new_transport: Any, serve: Any) -> None:
    server = serve(echo)
    transport = new_transport()
    transport.close()
    assert transport.send(post(server.url)).body == b"grant_type=fake"
    transport.close()
    transport.close()
    assert transport.send(post(server.url)).body == b"grant_type=fake"
    assert server.connections == 2
