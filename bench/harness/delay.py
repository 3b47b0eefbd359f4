"""A network between an application and its database, on the other core.

    python -m harness.delay <port> <host> <port of the database> <milliseconds of a round trip>

What the application sends goes on at once; what the database answers arrives a round trip later.
For who asks and waits that is the same as half of it each way, and costs half the timers.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from harness.place import BENCH, OTHER_CORE, free_port, on_core
from harness.stub import wait_for


class _End(asyncio.Protocol):
    """One end of a connection: what it receives is written to the other end, perhaps later."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._early: list[bytes] = []
        self._late: deque[bytes] = deque()
        self._other: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        connected = transport.get_extra_info("socket")
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def join(self, other: asyncio.Transport) -> None:
        self._other = other
        for data in self._early:
            self.data_received(data)

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early.append(data)
        elif self._seconds:
            self._late.append(data)
            asyncio.get_running_loop().call_later(self._seconds, self._pass_on)
        else:
            self._other.write(data)

    def _pass_on(self) -> None:
        if self._other is not None:
            self._other.write(self._late.popleft())

    def connection_lost(self, _error: Exception | None) -> None:
        if self._other is not None:
            self._other.close()


async def _serve(port: int, host: str, database_port: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    dialling: set[asyncio.Task[None]] = set()

    async def dial(client: _End) -> None:
        _, database = await loop.create_connection(lambda: _End(seconds), host, database_port)
        assert client.transport is not None  # noqa: S101  # tells the type: it has connected
        assert database.transport is not None  # noqa: S101  # as above
        database.join(client.transport)
        client.join(database.transport)

    def accepted() -> _End:
        client = _End(0.0)
        task = loop.create_task(dial(client))
        dialling.add(task)
        task.add_done_callback(dialling.discard)
        return client

    server = await loop.create_server(accepted, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


@contextmanager
def far_away(url: str, milliseconds: float) -> Iterator[tuple[str, int]]:
    """Run a delay in front of a database; yields the URL to use and the process's id."""
    parts = urlsplit(url)
    port = free_port()
    command = [*on_core(OTHER_CORE), sys.executable, "-m", "harness.delay", str(port)]
    command += [parts.hostname or "127.0.0.1", str(parts.port or 5432), str(milliseconds)]
    process = subprocess.Popen(command, cwd=BENCH)
    try:
        wait_for(port, process)
        user = parts.netloc.rpartition("@")[0]
        yield urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}")), process.pid
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    # select counts in microseconds, epoll as asyncio calls it in milliseconds, rounded up.
    with asyncio.Runner(
        loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
    ) as runner:
        runner.run(
            _serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]) / 1000)
        )
