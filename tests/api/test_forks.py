"""API clients in a forked child: made before the fork or after it, half used or not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
import trustme
from forked import Child, in_child
from tests.api.conftest import Serve
from tests.api.server import Server
from tests.api.world import ME, AsyncFace, Face, World

from procore_signin import api
from procore_signin._api import shared
from procore_signin._api.http import wire
from procore_signin._api.rate_limit import FIRST_IN_FLIGHT
from procore_signin._client import AsyncProcoreSignIn, ProcoreSignIn
from procore_signin._forks import Lock
from procore_signin.api import ApiUnreachable, AsyncWire, Wire
from procore_signin.emulator import DEMO_LOGIN

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
TIMES = 20
LONG = 200_000


def wire_of(door: ProcoreSignIn) -> Wire:
    """Return the connections that the clients of a front door share."""
    found = shared.shared_by(door).wire()
    assert isinstance(found, Wire)
    return found


def echo(sock: socket.socket, server: Server) -> None:
    """Answer with what was asked for, many times over, so that it comes in pieces."""
    while head := server.read(sock):
        path = head.split(b" ")[1]
        body = (path + b" ") * (LONG // (len(path) + 1) if b"long" in path else 1)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def own_loop(face: Face) -> Face:
    """Give a client a loop of the child's own: an event loop is not for a child."""
    if isinstance(face, AsyncFace):
        face._runner = asyncio.Runner()
    return face


def others(face: Face, whose: str) -> list[str]:
    """Ask as `whose`; return the responses that are not one's own."""
    return wrong(own_loop(face), whose)


def wrong(face: Face, whose: str) -> list[str]:
    answers = [face.get(f"/{whose}/{n}").text.strip() for n in range(TIMES)]
    return [each for n, each in enumerate(answers) if each != f"/{whose}/{n}"]


@pytest.mark.parametrize("secure", [False, True], ids=["http", "TLS"])
def test_F1_a_client_made_before_the_fork_gives_each_process_its_own_answers(
    world: World,
    serve: Serve,
    secure: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    server = serve(echo, server_side if secure else None)
    client = world.client(at=server.origin, tls=ours if secure else None)
    parent = getattr(client, "_runner", None)
    client.get("/before")
    children = [Child(others, client, f"child-{n}") for n in range(3)]
    answers = [client.get(f"/parent/{n}").text.strip() for n in range(TIMES)]
    assert [f"/parent/{n}" for n in range(TIMES)] == answers
    assert [child.outcome() for child in children] == [[]] * 3
    assert client.get("/after").text.strip() == "/after"
    assert getattr(client, "_runner", None) is parent


def test_F1_a_child_of_a_child_has_connections_of_its_own(world: World, serve: Serve) -> None:
    client = world.client(at=serve(echo).origin)
    client.get("/before")

    def child() -> Any:
        before = others(client, "child")
        return before + in_child(others, client, "grandchild") + wrong(client, "child-again")

    assert in_child(child) == []
    assert client.get("/after").text.strip() == "/after"


def test_F1_people_of_parent_and_children_are_not_mixed_up(world: World) -> None:
    """The case as it was seen: each process asks who its person is."""
    world.emulator.person(4711, login="other@example.com", name="Other")
    other = world.sign_in("other@example.com")
    asked = {user: world.client(user=user) for user in (world.user, other)}
    own = {user: client.get(ME).json()["login"] for user, client in asked.items()}
    assert own == {world.user: DEMO_LOGIN, other: "other@example.com"}

    def ask(user: int) -> set[str]:
        face = own_loop(asked[user])
        return {face.get(ME).json()["login"] for _ in range(TIMES)}

    children = [Child(ask, user) for user in (other, world.user, other)]
    assert {asked[world.user].get(ME).json()["login"] for _ in range(TIMES)} == {DEMO_LOGIN}
    assert [child.outcome() for child in children] == [
        {"other@example.com"},
        {DEMO_LOGIN},
        {"other@example.com"},
    ]


def read_on(response: httpx2.Response, parts: Any) -> str:
    """Return what comes of reading on in a child."""
    try:
        list(parts)
    except ApiUnreachable as error:
        response.close()
        return str(error)
    return "it was read"


@pytest.mark.parametrize("new_world", ["sync"], indirect=True)  # of no colour
@pytest.mark.parametrize("secure", [False, True], ids=["http", "TLS"])
def test_F1_an_answer_that_is_half_read_belongs_to_the_parent_alone(
    serve: Serve,
    new_world: Any,
    secure: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    world: World = new_world()
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    server = serve(echo, server_side if secure else None)
    door = world._sync_door(server.origin)
    with ExitStack() as stack:
        connections = Wire(ssl_context=ours)
        stack.callback(connections.close)
        client = stack.enter_context(api.client_for(door, world.user, wire=connections))
        response = stack.enter_context(client.stream("GET", "/long"))
        parts = response.iter_raw()
        first = next(parts)
        assert "belongs to the process" in in_child(read_on, response, parts)
        unread = stack.enter_context(client.stream("GET", "/long/2"))
        assert "belongs to the process" in in_child(read_on, unread, unread.iter_raw())
        assert in_child(dropped, [response, unread, parts]) is None
        whole = first + b"".join(parts)
        assert whole == b"/long " * (LONG // 6)
        assert unread.read().startswith(b"/long/2 ")
    door.close()


def dropped(held: list[Any]) -> None:
    """Close what can be closed, and let go of the rest."""
    for each in held:
        each.close()
    held.clear()


@pytest.mark.parametrize("new_world", ["sync"], indirect=True)  # of no colour
def test_F1_an_async_answer_that_is_half_read_belongs_to_the_parent_alone(
    serve: Serve, new_world: Any
) -> None:
    world: World = new_world()
    server = serve(echo)
    seen: list[str] = []

    async def run(door: AsyncProcoreSignIn) -> bytes:
        async with (
            contextlib.aclosing(AsyncWire()) as connections,
            api.async_client_for(door, world.user, wire=connections) as client,
            client.stream("GET", "/long") as response,
        ):
            parts = response.aiter_raw()
            whole = await anext(parts)

            async def read_all() -> None:
                async for _ in parts:
                    pass

            def child() -> str:
                try:
                    asyncio.run(read_all())
                except ApiUnreachable as error:
                    asyncio.run(response.aclose())
                    return str(error)
                return "it was read"

            seen.append(in_child(child))
            async for part in parts:
                whole += part
            return whole

    with asyncio.Runner() as runner:
        door = AsyncProcoreSignIn(**world._settings(server.origin))
        assert runner.run(run(door)) == b"/long " * (LONG // 6)
        runner.run(door.aclose())
    assert "belongs to the process" in seen[0]


HELD: dict[str, Callable[[ProcoreSignIn], Any]] = {
    "what clients share": lambda door: shared.shared_by(door)._lock,
    "the list of that": lambda _: shared._LOCK,
    "the pace": lambda door: shared.shared_by(door).pace._lock,
    "renewals": lambda door: shared.shared_by(door).renewals._lock,
    "the connections": lambda door: wire_of(door)._lock,
    "the pool": lambda door: wire_of(door)._open()._optional_thread_lock,
    "the authorities": lambda _: wire._TRUST._lock,
}


@pytest.mark.parametrize("new_world", ["sync"], indirect=True)  # of no colour
@pytest.mark.parametrize("name", HELD)
def test_F3_no_lock_that_another_thread_holds_stops_a_child(
    name: str, new_world: Any, serve: Serve
) -> None:
    world: World = new_world()
    server = serve(echo)
    door = world._sync_door(server.origin)
    with api.client_for(door, world.user) as client:
        client.get("/before")
        held, over = threading.Event(), threading.Event()

        def hold() -> None:
            with HELD[name](door):
                held.set()
                over.wait()

        def ask() -> list[str]:
            with api.client_for(door, world.user) as another:
                return [each.get("/child").text.strip() for each in (client, another)]

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        try:
            assert in_child(ask) == ["/child", "/child"]
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("new_world", ["sync"], indirect=True)  # of no colour
def test_F3_a_client_takes_no_lock_for_cookies_that_it_does_not_keep(
    new_world: Any, serve: Serve
) -> None:
    world: World = new_world()

    def set_cookie(sock: socket.socket, server: Server) -> None:
        while server.read(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n")

    server = serve(set_cookie)
    with api.client_for(world._sync_door(server.origin), world.user) as client:

        class Taken:
            """A lock that another thread holds."""

            def acquire(self) -> None:
                raise AssertionError("the lock of the cookies was taken")

            __enter__ = acquire

            def __exit__(self, *_: object) -> None: ...

        client.cookies.jar._cookies_lock = Taken()  # type: ignore[attr-defined]
        for _ in range(2):
            client.get("/me")
    assert not any(b"cookie:" in head.lower() for head in server.requests)


@pytest.mark.parametrize("new_world", ["sync"], indirect=True)  # of no colour
def test_F3_requests_under_way_in_the_parent_do_not_count_in_a_child(
    new_world: Any,
) -> None:
    """Before a first response has told the limits, so many may be under way."""
    world: World = new_world()
    pace = shared.shared_by(world.door).pace
    for _ in range(FIRST_IN_FLIGHT):
        assert pace.ask(0.0) == 0
    assert pace.ask(0.0) > 0
    assert in_child(pace.ask, 0.0) == 0

    def done_twice() -> int:
        pace.done()  # of a call that went through the fork
        return sum(pace.ask(0.0) == 0 for _ in range(FIRST_IN_FLIGHT + 1))

    assert in_child(done_twice) == FIRST_IN_FLIGHT
    for _ in range(FIRST_IN_FLIGHT):
        pace.done()


@pytest.mark.parametrize("new_world", ["sync"], indirect=True)  # of no colour
def test_F1_a_wire_can_be_closed_in_a_child_and_its_parent_goes_on(
    new_world: Any, serve: Serve
) -> None:
    world: World = new_world()
    server = serve(echo)
    connections = Wire()
    door = world._sync_door(server.origin)
    with api.client_for(door, world.user, wire=connections) as client:
        client.get("/before")

        def child() -> str:
            connections.close()
            api.close(door)
            return client.get("/child").text.strip()

        assert in_child(child) == "/child"
        assert client.get("/after").text.strip() == "/after"
        assert server.connections == 2  # the parent's is as it was
    connections.close()


def test_F1_a_service_token_serves_the_child_as_well(world: World) -> None:
    client = world.client(service=True)
    assert client.get(ME).status_code == 200
    assert in_child(lambda: own_loop(client).get(ME).status_code) == 200
    assert client.get(ME).status_code == 200


def test_F3_the_authorities_are_read_again_in_a_child_that_needs_them() -> None:
    before = wire._TRUST.context()

    def child() -> tuple[bool, bool]:
        return wire._TRUST._context is None, wire._TRUST.context() is before

    assert in_child(child) == (True, False)
    assert wire._TRUST.context() is before
    assert isinstance(wire._TRUST._lock, Lock)


@pytest.mark.parametrize("new_world", ["sync"], indirect=True)
def test_F2_a_child_forked_in_a_running_loop_refreshes_and_asks(new_world: Any) -> None:
    world: World = new_world()
    outcomes: list[Any] = []

    async def use(door: AsyncProcoreSignIn) -> tuple[int, str]:
        before = (await door.fresh_tokens(world.user)).generation
        after = await door.fresh_tokens(world.user, rejected=before)
        async with (
            contextlib.aclosing(AsyncWire()) as connections,
            api.async_client_for(door, world.user, wire=connections) as client,
        ):
            login: str = (await client.get(ME)).json()["login"]
        return after.generation - before, login

    async def parent() -> None:
        door = AsyncProcoreSignIn(**world._settings(world.emulator.url))
        outcomes.append(await use(door))
        child = Child(lambda: asyncio.run(use(door)))
        outcomes.append(await asyncio.to_thread(child.outcome))
        outcomes.append(await use(door))
        await door.aclose()

    asyncio.run(parent())
    assert [(1, DEMO_LOGIN)] * 3 == outcomes
