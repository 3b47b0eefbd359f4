"""The emulator's own HTTP server, so that its faults are real on the wire.

It binds this machine only (security row E1).
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Final

from procore_signin.emulator.asgi import EmulatorApp
from procore_signin.emulator.connection import Connection
from procore_signin.emulator.options import EmulatorOptions
from procore_signin.emulator.procore import LocalProcore
from procore_signin.emulator.refused import EmulatorRefused
from procore_signin.environments import LOOPBACK_HOSTS

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 4568
_PATIENCE: Final = 0.5
"""Seconds that answers under way get to finish when the server stops."""

Log = Callable[[str], None]


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket on this machine.

    Args:
        host: `127.0.0.1`, `localhost` (the same) or `::1`.
        port: 0 picks a free one.

    Raises:
        EmulatorRefused: The host is not this machine, or the port cannot be had.
    """
    if host not in LOOPBACK_HOSTS:
        raise EmulatorRefused(
            f"The emulator listens on this machine only, not on {host!r}: anyone can log in to it. "
            "Use 127.0.0.1"
        )
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    address = DEFAULT_HOST if host == "localhost" else host
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        raise EmulatorRefused(
            f"The emulator cannot listen on port {port} ({error}). "
            "Choose another, or 0 for a free one"
        ) from error
    return listener


class Server:
    """Serves one emulated Procore on one socket.

    Args:
        procore: What to serve.
        host: See `bind`.
        port: See `bind`.
        log: Takes one line for each request, or None for silence.

    Attributes:
        url: The emulator's origin, with the real port.

    Raises:
        EmulatorRefused: The host is not this machine, or the port cannot be had.
    """

    def __init__(
        self,
        procore: LocalProcore,
        *,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        log: Log | None = None,
    ) -> None:
        self._procore = procore
        self._app = EmulatorApp(procore)
        self._log = log
        self._listener = bind(host, port)
        self._connections: set[Connection] = set()
        self._date_at = 0
        self._date = b""
        shown = f"[{host}]" if ":" in host else host
        self.url: Final = f"http://{shown}:{self._listener.getsockname()[1]}"

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until `stop` is set, then end within a second.

        Args:
            stop: Set by whoever wants the end.
            ready: Called once requests are answered.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._open(self._listener)
            ready()
            await stop.wait()
            self._listening.close()
        finally:
            self._listener.close()
        under_way = [task for c in tuple(self._connections) if (task := c.stop()) is not None]
        if under_way:
            await asyncio.wait(under_way, timeout=_PATIENCE)
        for connection in tuple(self._connections):
            connection.kill()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse every connection while the block runs, as a server does that is down.

        For another thread than the one that serves.

        Raises:
            EmulatorRefused: Somebody else took the port meanwhile.
        """
        host, port = self._listener.getsockname()[:2]
        self._from_outside(self._refuse())
        try:
            yield
        finally:
            self._listener = bind(host, port)
            self._from_outside(self._open(self._listener))

    def _from_outside(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self, listener: socket.socket) -> None:
        self._listening = await self._loop.create_server(
            lambda: Connection(self._app, self._connections, self._http_date, self._log),
            sock=listener,
        )

    async def _refuse(self) -> None:
        self._listening.close()
        for connection in tuple(self._connections):
            connection.kill()

    def _http_date(self) -> bytes:
        """Return the emulator's time for the `date` header: it follows the advanced clock."""
        now = int(self._procore.state.clock())
        if now != self._date_at:
            self._date_at = now
            self._date = formatdate(now, usegmt=True).encode()
        return self._date


def serve(
    options: EmulatorOptions | None = None,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    announce: Callable[[str], None],
    log: Log | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. To be called in a process's main thread.

    Args:
        options: How the emulator behaves.
        host: See `bind`.
        port: See `bind`.
        announce: Called once with the emulator's origin, when it answers requests.
        log: Takes one line for each request, or None for silence.

    Raises:
        EmulatorRefused: The host is not this machine, or the port cannot be had.
    """
    server = Server(LocalProcore(options), host=host, port=port, log=log)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, stop.set)
        await server.run(stop, lambda: announce(server.url))

    asyncio.run(main())


@contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Serve in one thread of its own while the block runs.

    Raises:
        EmulatorRefused: The thread ended before the servers answered; its own error says why.
    """
    ready = threading.Semaphore(0)
    stops: list[Callable[[], object]] = []

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        await asyncio.gather(*(server.run(stop, ready.release) for server in servers))

    def work() -> None:
        try:
            asyncio.run(main())
        finally:
            ready.release(len(servers))  # whatever happened, nobody waits any longer

    thread = threading.Thread(target=work, name="procore-emulator", daemon=True)
    thread.start()
    for _ in servers:
        ready.acquire()
    if not thread.is_alive():
        raise EmulatorRefused("The emulator ended before it answered its first request")
    try:
        yield
    finally:
        stops[0]()
        thread.join()
