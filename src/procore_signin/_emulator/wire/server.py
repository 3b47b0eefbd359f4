"""The emulator's own HTTP server, so that its faults are real on the wire.

It binds this machine only (security row E1).
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Final

from procore_signin._emulator.errors import EmulatorRefused
from procore_signin._emulator.procore import LocalProcore
from procore_signin._emulator.wire.asgi import App, EmulatorApp
from procore_signin._emulator.wire.connection import HEAD_DEADLINE, Connection
from procore_signin.environments import LOOPBACK_HOSTS

if sys.platform != "win32":
    import resource

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 4568
_BACKLOG: Final = 1024
_PATIENCE: Final = 0.5
"""Seconds that responses under way get to finish when the server stops."""
_MOST_CONNECTIONS: Final = 2000
_RESERVED: Final = 32
"""Descriptors that are left to everything else: templates, the state file, the terminal."""
_FEWEST_CONNECTIONS: Final = 8
_AT_ONCE: Final = 8
"""Connections that may have been accepted and not joined those that are open."""
_PAUSE: Final = 0.05
"""Seconds until a connection is accepted again after there was no descriptor for one."""

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
    """Return a socket that has the port and does not listen: every connection to it is refused."""
    family = socket.AF_INET6 if address == "::1" else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise _taken(port, error) from error
    return bound


def most_connections() -> int:
    """Return how many connections one server holds open: fewer than it may have descriptors."""
    if sys.platform == "win32":
        return _MOST_CONNECTIONS
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(_FEWEST_CONNECTIONS, min(_MOST_CONNECTIONS, allowed - _RESERVED))


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
        app: The application: the emulator, or, set before it runs, any ASGI application that mounts
            it.
        most: How many connections may be open. Beyond them the one that has waited longest for its
            client is closed; if all of them have requests under way, the newcomer is refused.
        head_deadline: See `connection.HEAD_DEADLINE`.

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
        self.most = most_connections()
        self.head_deadline = HEAD_DEADLINE
        self.connections: set[Connection] = set()
        self.waiting: dict[Connection, None] = {}
        self._listener = bind(host, port)
        self._address: tuple[str, int] = self._listener.getsockname()[:2]
        self._listening = False
        self._trying: asyncio.TimerHandle | None = None
        self._arriving: set[asyncio.Task[object]] = set()
        self._returning: asyncio.Task[None] | None = None
        self._date_at = 0
        self._date = b""
        shown = f"[{host}]" if ":" in host else host
        self.url: Final = f"http://{shown}:{self._address[1]}"

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until `stop` is set, then end within a second.

        Args:
            stop: Set by the caller to end it.
            ready: Called once the server accepts requests.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._open()
            ready()
            await stop.wait()
            self._stay_away()
        finally:
            self._close_listener()
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

    def admit(self, connection: Connection) -> None:
        """Let a connection join, or end it or another when there are too many."""
        if not self._listening:  # it was accepted just before the emulator went down
            connection.kill()
            return
        self.connections.add(connection)
        while len(self.connections) > self.most:
            if not self._make_room():
                connection.refuse_newcomer()
                return
        connection.waits()

    def _make_room(self) -> bool:
        """Close the connection that has waited longest for its client; False when none waits."""
        longest = next(iter(self.waiting), None)
        if longest is None:
            return False
        longest.make_room()
        return True

    async def _open(self) -> None:
        if self._listening:
            return
        self._listener.listen(_BACKLOG)
        self._listener.settimeout(0)
        self._listening = True
        self._watch()

    def _watch(self) -> None:
        self._trying = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """Take some of the connections that are there."""
        for _ in range(_AT_ONCE - len(self._arriving)):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No descriptor is left (EMFILE, ENFILE). The client still waits, so that this would
                # be called again at once, forever.
                self._make_room()
                self._loop.remove_reader(self._listener)
                self._trying = self._loop.call_later(_PAUSE, self._watch)
                return
            accepted.settimeout(0)
            arriving: asyncio.Task[object] = self._loop.create_task(
                self._loop.connect_accepted_socket(lambda: Connection(self.app, self), accepted)
            )
            self._arriving.add(arriving)
            arriving.add_done_callback(self._arriving.discard)

    async def _refuse(self) -> None:
        self._close()

    def _close(self) -> None:
        """Stop listening, and end every connection."""
        self._stay_away()
        if self._listening:
            self._close_listener()
            self._listener = _bound(
                *self._address
            )  # so that no other program takes the port meanwhile
        for connection in tuple(self.connections):
            connection.kill()

    def _close_listener(self) -> None:
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._listener)
        if self._trying is not None:
            self._trying.cancel()
            self._trying = None
        self._listener.close()

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
