"""Worlds and servers for the tests of the API client.

Every test that uses `world` or `new_world` runs twice: with the front door that waits and with the
one for asyncio.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.api.server import Behaviour, Server
from tests.api.world import World

from procore_signin._store.migrate import upgrade
from procore_signin.emulator import Emulator


class NewWorld(Protocol):
    """Makes a world whose emulator has these options."""

    def __call__(self, **options: Any) -> World: ...


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without a row, to be copied."""
    path = tmp_path_factory.mktemp("api") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sync", "async"])
def new_world(
    request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path
) -> Iterator[NewWorld]:
    database, began = Path(shutil.copy(empty_database, tmp_path / "api.db")), time.time()
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> World:
            # Its time passes only when the client's does: see `Time`.
            emulator = stack.enter_context(Emulator.started(now=lambda: began, **options))
            return World(emulator, database, request.param, stack)

        yield make


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world()


class Serve(Protocol):
    """Starts a server that behaves so, until the test ends."""

    def __call__(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Server: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def start(
            behaviour: Behaviour,
            tls: ssl.SSLContext | None = None,
        ) -> Server:
            server = Server(behaviour, tls)
            stack.callback(server.stop)
            return server

        yield start


class Answering(Protocol):
    """Starts a server that gives these responses, one after the other, the last one forever."""

    def __call__(self, *answers: bytes) -> Server: ...


@pytest.fixture
def answering(serve: Serve) -> Answering:
    def start(*answers: bytes) -> Server:
        left = list(answers)
        lock = threading.Lock()

        def behave(sock: socket.socket, server: Server) -> None:
            while server.read(sock):
                with lock:
                    answer = left.pop(0) if len(left) > 1 else left[0]
                sock.sendall(answer)

        return serve(behave)

    return start


class MakeAnswer(Protocol):
    """Writes an HTTP response."""

    def __call__(self, status: int, body: bytes = b"", **headers: str) -> bytes: ...


@pytest.fixture(scope="session")
def answer() -> MakeAnswer:
    def make(status: int, body: bytes = b"", **headers: str) -> bytes:
        lines = [f"HTTP/1.1 {status} Fake", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body

    return make
