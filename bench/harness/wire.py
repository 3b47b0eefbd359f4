"""Counts the round trips to PostgreSQL that an application makes, as they are on the wire.

Each Query and each Sync message is one: the client then waits until the server is ready again.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit, urlunsplit

_WAITED_FOR: Final = frozenset(b"QS")
_MAY_WE_ENCRYPT: Final = (b"\x04\xd2\x16\x2f", b"\x04\xd2\x16\x30")


class Messages:
    """What one client says, from its startup message on.

    Attributes:
        round_trips: How many of its messages end with the server being ready.
    """

    def __init__(self) -> None:
        self.round_trips = 0
        self._rest = b""
        self._started = False

    def read(self, data: bytes) -> None:
        """Take the next piece."""
        self._rest += data
        while (end := self._end()) is not None:
            if not self._started:
                self._started = self._rest[4:8] not in _MAY_WE_ENCRYPT
            elif self._rest[0] in _WAITED_FOR:
                self.round_trips += 1
            self._rest = self._rest[end:]

    def _end(self) -> int | None:
        kind = 1 if self._started else 0
        if len(self._rest) < kind + 4:
            return None
        (length,) = struct.unpack_from("!i", self._rest, kind)
        end = kind + int(length)
        return end if len(self._rest) >= end else None


class Counter:
    """Round trips of every connection.

    Attributes:
        url: Of the database, through the counter.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._clients: list[Messages] = []

    @property
    def round_trips(self) -> int:
        """All until now."""
        return sum(client.round_trips for client in self._clients)

    async def pass_on(
        self, client: asyncio.StreamReader, answers: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        """Pass on what a client and the server say, and read what the client says."""
        messages = Messages()
        self._clients.append(messages)
        server, questions = await asyncio.open_connection(host, port)

        async def one_way(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Messages | None
        ) -> None:
            while data := await reader.read(65536):
                if seen is not None:
                    seen.read(data)
                writer.write(data)
            writer.close()

        await asyncio.gather(
            one_way(client, questions, messages),
            one_way(server, answers, None),
            return_exceptions=True,  # an end that was reset is closed, like any other
        )


@contextmanager
def counted(url: str) -> Iterator[Counter]:
    """Run a counter in front of a database until the block ends, on a thread of its own.

    What it passes on is not encrypted, or it could not be read.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 5432
    ready = threading.Event()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    counter = Counter(url)

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = loop.create_task(counter.pass_on(reader, writer, host, port))
            connections.add(task)
            task.add_done_callback(connections.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        user = parts.netloc.rpartition("@")[0]
        here = f"{user}@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        counter.url = urlunsplit(parts._replace(netloc=here, query="sslmode=disable"))
        ends.append((loop, stop))
        ready.set()
        await stop.wait()
        server.close()
        if connections:
            await asyncio.wait(connections, timeout=5)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        yield counter
    finally:
        ((loop, stop),) = ends
        loop.call_soon_threadsafe(stop.set)
        thread.join()
