"""A fork waits for OpenSSL in other threads, and for no server (row F3)."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
import pytest
from forked import in_child

from procore_signin._api.http import wire
from procore_signin._forks import Undivided
from procore_signin._transport import httpcore
from procore_signin._transport.deadline import AsyncDeadlineBackend, DeadlineBackend
from procore_signin._transport.tls import Tls

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
SOURCE = Path(__file__).parents[2] / "src" / "procore_signin"
USES = re.compile(
    r"""(.*\.)?(create_default_context|create_ssl_context|SSLContext|load_\w+_locations
    |load_cert_chain|load_default_certs|wrap_socket|wrap_bio|do_handshake|start_tls|cancel_safe)
    |LimitedConnection(\.connect)?
    """,
    re.VERBOSE,
)
"""What uses OpenSSL, or has a driver use it, while other threads run."""


def outside(source: str) -> Iterator[str]:
    """Yield the uses that a fork does not wait for."""
    tree = ast.parse(source)
    inside = {
        id(call)
        for block in ast.walk(tree)
        if isinstance(block, ast.With)
        and "OPENSSL.block()" in map(ast.unparse, (item.context_expr for item in block.items))
        for call in ast.walk(block)
    }
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and id(call) not in inside:
            written = ast.unparse(call)
            if USES.fullmatch(ast.unparse(call.func)):
                yield written


def test_F3_whatever_uses_openssl_does_so_where_a_fork_waits_for_it() -> None:
    found = {
        path.relative_to(SOURCE).as_posix(): list(outside(path.read_text(encoding="utf-8")))
        for path in SOURCE.rglob("*.py")
    }
    assert {name: uses for name, uses in found.items() if uses} == {}
    assert len(list(outside("ssl.create_default_context().wrap_socket(sock)"))) == 2
    assert list(outside("with a, OPENSSL.block():\n LimitedConnection()")) == []


class Slow:
    """Stands for OpenSSL: takes a moment for each thing, in which the process forks.

    It is a context and the connection that is made with it.
    """

    options = 0

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.done: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def work(*_: Any, **__: Any) -> Any:
            self.inside.set()
            time.sleep(0.1)
            self.done.append(name)
            return b"" if name == "read" else self

        return work


def talk(tls: Any) -> None:
    with suppress(StopIteration):
        next(tls)


WORK: dict[str, Callable[[Any], object]] = {
    "wrap_bio": lambda slow: Tls(slow, "localhost"),
    "do_handshake": lambda slow: talk(tls_of(slow).handshake()),
    "read": lambda slow: talk(tls_of(slow).read(1)),
    "write": lambda slow: talk(tls_of(slow).write(b"x")),
    "create_default_context": lambda _: httpcore._trust(None),
    "create_ssl_context": lambda _: wire._authorities(),
}


def tls_of(slow: Any) -> Tls:
    tls = object.__new__(Tls)
    tls.__dict__ |= {
        "_incoming": ssl.MemoryBIO(),
        "_outgoing": ssl.MemoryBIO(),
        "_strict_end": False,
        "object": slow,
    }
    return tls


@needs_fork
@pytest.mark.parametrize("name", WORK)
def test_F3_a_fork_waits_until_another_thread_has_left_openssl(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow: Any = Slow()
    if name.startswith("create"):
        monkeypatch.setattr(ssl if hasattr(ssl, name) else httpx2, name, getattr(slow, name))
    thread = threading.Thread(target=WORK[name], args=(slow,))
    thread.start()
    assert slow.inside.wait(10)
    assert name in in_child(lambda: slow.done)
    thread.join(10)


def shake_hands(colour: str, port: int, seconds: float) -> None:
    """Connect to a server, and shake hands, as the API client does."""
    context, at = ssl.create_default_context(), ("127.0.0.1", port, 10.0)

    async def shake_hands_async() -> None:
        stream = await AsyncDeadlineBackend().connect_tcp(*at)
        await stream.start_tls(context, "localhost", seconds)

    if colour == "sync":
        DeadlineBackend().connect_tcp(*at).start_tls(context, "localhost", seconds)
    else:
        asyncio.run(shake_hands_async())


@needs_fork
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_F3_a_fork_does_not_wait_for_a_server_that_does_not_shake_hands(
    colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Undivided, "LONGEST_WAIT", 60.0)
    failed: list[Exception] = []

    def connect(port: int) -> None:
        try:
            shake_hands(colour, port, 20)
        except httpcore2.ConnectError as error:
            failed.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=connect, args=listener.getsockname()[1:])
        thread.start()
        server, _ = listener.accept()
        with server:
            assert server.recv(1)  # the handshake has begun
            began = time.monotonic()
            assert in_child(lambda: "forked") == "forked"
            assert time.monotonic() - began < 15
    thread.join(10)
    assert len(failed) == 1


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_handshake_that_is_not_made_in_time_says_that_nothing_was_sent(colour: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(httpcore2.ConnectTimeout),
    ):
        shake_hands(colour, listener.getsockname()[1], 0.05)
