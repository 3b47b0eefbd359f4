"""Connections: none lasts forever, and who has most loses theirs first (row O8)."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from ports import free_port
from running import settings_for

from procore_signin._app.connections import Crowd, bound_unread_answers
from procore_signin._settings.trusted_proxies import TrustedProxies
from procore_signin._store.migrate import upgrade

NOBODY = TrustedProxies()
MANY, FEW, PROXY = "127.0.0.2", "127.0.0.3", "127.0.0.4"
DESCRIPTORS = 400
"""Of a server under attack: it can have 144 connections at once."""

SERVER = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv.pop(1))))
runpy.run_module("procore_signin", run_name="__main__", alter_sys=True)
"""


class Place:
    """A port, and the connections to it, both of whose ends are ours."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack = stack
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port: int = self.listener.getsockname()[1]
        self.accepted: list[tuple[str, socket.socket]] = []

    def connect(self, address: str, times: int) -> list[tuple[str, int]]:
        found = []
        for _ in range(times):
            self.stack.enter_context(self._client(address))
            peer, (host, port) = self.listener.accept()
            self.accepted.append((address, self.stack.enter_context(peer)))
            found.append((host, port))
        return found

    def _client(self, address: str) -> socket.socket:
        """Connect from `address`, and not from the server's own port at that other address.

        Both ends are in this process: it would count as one that came in.
        """
        client = socket.socket()
        client.bind((address, 0))
        if client.getsockname()[1] == self.port:
            with client:
                return self._client(address)
        client.connect(("127.0.0.1", self.port))
        return client

    def left(self) -> Counter[str]:
        """Return how many connections of each address no one has ended."""
        alive = Counter[str]()
        for address, peer in self.accepted:
            peer.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                assert peer.recv(1) == b""
                continue
            alive[address] += 1
        return alive


@pytest.fixture
def place() -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        yield Place(stack)


def test_O8_who_has_most_connections_loses_them_first(place: Place) -> None:
    place.connect(MANY, 70)
    place.connect(FEW, 5)
    crowd = Crowd(place.port, (), NOBODY, most=80)
    assert crowd.thin_out() == 35
    assert place.left() == {MANY: 35, FEW: 5}


def test_O8_enough_connections_are_left_alone(place: Place) -> None:
    place.connect(MANY, 60)
    assert Crowd(place.port, (), NOBODY, most=80).thin_out() == 0
    assert place.left() == {MANY: 60}


def test_O8_a_connection_that_a_request_runs_on_is_left_alone(place: Place) -> None:
    place.connect(MANY, 20)
    busy = set(place.connect(MANY, 30))
    place.connect(MANY, 20)
    Crowd(place.port, busy, NOBODY, most=80).thin_out()
    left = place.left()
    assert left == {MANY: 40}
    for _, peer in place.accepted[20:50]:
        with pytest.raises(BlockingIOError):
            peer.recv(1)


def test_O8_our_own_proxies_lose_theirs_only_where_nothing_else_helps(place: Place) -> None:
    trusted = TrustedProxies.parse(PROXY)
    place.connect(PROXY, 50)
    place.connect(MANY, 20)
    Crowd(place.port, (), trusted, most=80).thin_out()
    assert place.left() == {PROXY: 50}
    place.connect(PROXY, 40)
    Crowd(place.port, (), trusted, most=80).thin_out()
    assert place.left() == {PROXY: 40}


def test_O8_what_is_not_a_clients_connection_is_never_touched(place: Place) -> None:
    with contextlib.ExitStack() as stack:
        elsewhere = Place(stack)
        elsewhere.connect(MANY, 100)
        place.connect(FEW, 3)
        assert Crowd(place.port, (), NOBODY, most=80).thin_out() == 0
        assert (elsewhere.left(), place.left()) == ({MANY: 100}, {FEW: 3})


@pytest.mark.parametrize(("hard", "most"), [(300, 64), (1000, 744), (100_000, 4096)])
def test_O8_as_many_connections_as_the_system_has_descriptors_for(hard: int, most: int) -> None:
    hard = min(hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    ask = (
        "import resource, sys; from procore_signin._app.connections import most_connections;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[1])));"
        "print(most_connections(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask, str(hard)], capture_output=True, text=True, check=True
    )
    found, soft = map(int, done.stdout.split())
    assert (found, soft >= min(hard, found)) == (min(most, max(64, hard - 256)), True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The application, with few descriptors; return its port."""
    folder, port = tmp_path_factory.mktemp("crowded"), free_port()
    settings = settings_for("http://127.0.0.1:9", port, folder)
    upgrade(settings["PROCORE_DATABASE_URL"])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(DESCRIPTORS), "serve", "--port", str(port)],
            cwd=folder,
            env=settings,
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 30
        while healthy(port, MANY) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=40)
    said = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    assert {each["event"] for each in said} == {"connections.closed"}


def healthy(port: int, source: str) -> float | None:
    """Return how many seconds a page took, or None where it could not be had."""
    began = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0)) as peer:
            peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            if not peer.recv(100).startswith(b"HTTP/1.1 200 "):
                return None
    except OSError:
        return None
    return time.monotonic() - began


SLOW: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "half a head": lambda host: b"GET / HTTP/1.1\r\nHost: " + host,
    "half a body": lambda host: (
        b"POST /sessions/end HTTP/1.1\r\nHost: %s\r\nSec-Fetch-Site: same-origin\r\n"
        b"Content-Length: 10\r\n\r\na" % host
    ),
    "idle": lambda host: b"GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n" % host,
    "never read": lambda host: b"GET /signin HTTP/1.1\r\nHost: %s\r\n\r\n" % host * 200,
}


@pytest.mark.parametrize("kind", SLOW)
def test_O8_a_slow_client_with_a_thousand_connections_stops_nobody(server: int, kind: str) -> None:
    content = SLOW[kind](b"localhost:%d" % server)
    with contextlib.ExitStack() as stack:
        for number in range(1000):
            peer = stack.enter_context(socket.socket())
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.settimeout(10)
            peer.connect(("127.0.0.1", server))
            peer.settimeout(0)
            with contextlib.suppress(OSError):  # as much of it as goes in, or it was closed already
                peer.send(content)
            if number % 200 == 199:
                seconds = healthy(server, FEW)
                assert seconds is not None, number
                assert seconds < 2, number


def test_O8_an_answer_that_is_not_read_is_given_up(place: Place) -> None:
    bound_unread_answers(seconds=0.3)
    place.connect(FEW, 1)
    ((_, peer),) = place.accepted
    peer.settimeout(20)
    with pytest.raises(TimeoutError) as raised:
        peer.sendall(b"x" * 50_000_000)
    assert raised.value.errno is not None, "it is the system that gave up, and not this test"


def test_O8_the_look_costs_little(place: Place) -> None:
    """It is taken four times a second in each worker."""
    place.connect(FEW, 20)
    crowd = Crowd(place.port, (), NOBODY, most=4096)
    began = time.process_time()
    for _ in range(100):
        crowd.thin_out()
    assert (time.process_time() - began) / 100 < 0.0025, "1 % of a processor"
