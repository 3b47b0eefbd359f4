"""What is taken of a body: whole, short, in time, and a few of one client at once (row O8)."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack
from typing import Any

import pytest

from procore_signin._web.http.bodies import Bodies, BodyRefused
from procore_signin._web.http.messages import LONGEST_BODY, BrowserRequest

Message = MutableMapping[str, Any]


def request(address: str = "192.0.2.1", length: int | None = None) -> BrowserRequest:
    headers = {} if length is None else {b"content-length": b"%d" % length}
    return BrowserRequest(
        method="POST",
        path="/",
        query=b"",
        headers=headers,
        cookies=(),
        client_address=address,
        request_id="",
    )


class Client:
    """Sends these parts of a body, and then nothing, or that it went away."""

    def __init__(self, *parts: bytes, end: str = "last") -> None:
        self.parts = list(parts)
        self.end = end
        self.asked = asyncio.Event()

    async def __call__(self) -> Message:
        self.asked.set()
        if self.parts:
            more = len(self.parts) > 1 or self.end != "last"
            return {"type": "http.request", "body": self.parts.pop(0), "more_body": more}
        if self.end == "gone":
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError


def refused(client: Client, bodies: Bodies | None = None) -> str:
    with pytest.raises(BodyRefused) as raised:
        asyncio.run((bodies or Bodies()).receive(client, request()))
    return raised.value.problem.code


def test_O8_a_body_may_come_in_parts() -> None:
    body = asyncio.run(Bodies().receive(Client(b"a", b"", b"b"), request()))
    assert body == b"ab"


def test_O8_a_body_without_a_length_is_read_no_further_than_it_may_be_long() -> None:
    client = Client(*[b"x" * 1024] * 100)
    assert refused(client) == "body_too_long"
    assert len(client.parts) == 100 - LONGEST_BODY // 1024 - 1


def test_O8_a_body_that_breaks_off_is_none() -> None:
    assert refused(Client(b"session_id=1", end="gone")) == "body_broken_off"


def test_O8_a_body_that_does_not_end_is_given_up() -> None:
    assert refused(Client(b"a", end="never"), Bodies(seconds=0.01)) == "body_too_slow"


def test_O8_one_client_has_a_few_bodies_under_way_and_others_have_theirs() -> None:
    async def scene() -> list[str]:
        bodies, found = Bodies(at_once=2), []
        slow = [Client(end="never") for _ in range(2)]
        waiting = [
            asyncio.create_task(bodies.receive(client, request(f"2001:db8::{number}")))
            for number, client in enumerate(slow)
        ]
        for client in slow:
            await client.asked.wait()
        for address in ("2001:db8::3", "2001:db8:0:1::1", "192.0.2.1"):
            try:
                found.append((await bodies.receive(Client(b"a"), request(address))).decode())
            except BodyRefused as error:
                found.append(error.problem.code)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        found.append((await bodies.receive(Client(b"b"), request("2001:db8::3"))).decode())
        assert bodies._under_way == {}
        return found

    assert asyncio.run(scene()) == ["too_many_bodies", "a", "a", "b"]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as stack:
        ours, theirs = socket.socketpair()
        yield stack.enter_context(ours), stack.enter_context(theirs)


def test_O8_a_read_that_blocks_ends_at_the_deadline(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    theirs.sendall(b"a")

    def read() -> bytes:
        body = b""
        while len(body) < 10 and (part := ours.recv(10)):
            body += part
        return body

    with pytest.raises(BodyRefused) as raised:
        Bodies(seconds=0.05).read(read, request(length=10), ours)
    assert raised.value.problem.code == "body_too_slow"
    ours.sendall(b"answer")  # it can still be told
    assert theirs.recv(10) == b"answer"


def test_O8_a_read_in_time_leaves_the_connection_and_no_thread(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    before = threading.active_count()
    theirs.sendall(b"ab")
    assert Bodies().read(lambda: ours.recv(2), request(length=2), ours) == b"ab"
    theirs.sendall(b"more")
    assert ours.recv(4) == b"more"
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(timeout=10)
    assert threading.active_count() <= before


@pytest.mark.parametrize(
    ("body", "length", "code"),
    [
        (b"ab", 3, "body_broken_off"),
        (b"x" * (LONGEST_BODY + 1), None, "body_too_long"),
        (ConnectionResetError(), 3, "body_broken_off"),
    ],
)
def test_O8_what_a_server_reads_is_looked_at(
    body: bytes | OSError, length: int | None, code: str
) -> None:
    def read() -> bytes:
        if isinstance(body, OSError):
            raise body
        return body

    with pytest.raises(BodyRefused) as raised:
        Bodies().read(read, request(length=length), None)
    assert raised.value.problem.code == code
