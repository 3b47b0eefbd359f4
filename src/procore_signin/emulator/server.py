"""The emulator's own HTTP server, so that its faults are real on the wire.

It binds this machine only (security row E1).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Final

from procore_signin.emulator.asgi import App, EmulatorApp
from procore_signin.emulator.connection import Connection
from procore_signin.emulator.procore import LocalProcore
from procore_signin.emulator.refused import EmulatorRefused
from procore_signin.environments import LOOPBACK_HOSTS

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 4568
_BACKLOG: Final = 1024
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
    bound = _bound(DEFAULT_HOST if host == "localhost" else host, port)
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise _taken(port, error) from error
    return bound


def _bound(address: str, port: int) -> socket.socket:
    """Return a socket that has the port and does not listen: whoever connects to it is refused."""
    family = socket.AF_INET6 if address == "::1" else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise _taken(port, error) from error
    return bound


def _taken(port: int, error: OSError | OverflowError) -> EmulatorRefused:
    return EmulatorRefused(
        f"The emulator cannot listen on port {port} ({error}). Choose another, or 0 for a free one"
    )


class Server:
    """Serves one emulated Procore on one socket.

    Args:
        procore: What to serve.
        host: See `bind`.
        port: See `bind`.
        log: Takes one line for each request, or None for silence.

    Attributes:
        url: The emulator's origin, with the real port.
        app: What answers: the emulator, or until it runs any ASGI application that mounts it.

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
        self.app: App = EmulatorApp(procore)
        self.log = log
        self._listener = bind(host, port)
        self._address: tuple[str, int] = self._listener.getsockname()[:2]
        self._returning: asyncio.Task[None] | None = None
        self.connections: set[Connection] = set()
        self._date_at = 0
        self._date = b""
        shown = f"[{host}]" if ":" in host else host
        self.url: Final = f"http://{shown}:{self._address[1]}"

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until `stop` is set, then end within a second.

        Args:
            stop: Set by whoever wants the end.
            ready: Called once requests are answered.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._open()
            ready()
            await stop.wait()
            self._stay_away()
            self._listening.close()
        finally:
            self._listener.close()
        under_way = [task for c in tuple(self.connections) if (task := c.stop()) is not None]
        if under_way:
            await asyncio.wait(under_way, timeout=_PATIENCE)
        for connection in tuple(self.connections):
            connection.kill()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse every connection while the block runs, as a server does that is down.

        For another thread than the one that serves.
        """
        self._from_outside(self._refuse())
        try:
            yield
        finally:
            self._from_outside(self._open())

    def refuse_for(self, seconds: float) -> None:
        """Refuse every connection from now on for so many seconds of real time.

        For the thread that serves.
        """
        self._close()
        self._returning = self._loop.create_task(self._return_after(seconds))

    def _from_outside(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> None:
        self._listening = await self._loop.create_server(
            lambda: Connection(self.app, self), sock=self._listener, backlog=_BACKLOG
        )

    async def _refuse(self) -> None:
        self._close()

    def _close(self) -> None:
        """Stop listening, and end every connection."""
        self._stay_away()
        if self._listening.is_serving():
            self._listening.close()
            self._listener = _bound(*self._address)  # so that nobody else takes the port meanwhile
        for connection in tuple(self.connections):
            connection.kill()

    async def _return_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._open()

    def _stay_away(self) -> None:
        """Do not come back by itself from a refusal that is under way."""
        if self._returning is not None:
            self._returning.cancel()

    def http_date(self) -> bytes:
        """Return the emulator's time for the `date` header: it follows the advanced clock."""
        now = int(self._procore.state.clock())
        if now != self._date_at:
            self._date_at = now
            self._date = formatdate(now, usegmt=True).encode()
        return self._date
