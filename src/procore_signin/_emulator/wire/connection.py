"""One client's connection to the emulator's server: HTTP/1.1 on `httptools`."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Protocol, cast

import httptools

from procore_signin._emulator.wire.asgi import App
from procore_signin._emulator.wire.body import MAX_BODY
from procore_signin._emulator.wire.exchange import STATUS_LINES, Incoming, Outgoing
from procore_signin._emulator.wire.responses import ConnectionDropped

MAX_HEAD: Final = 65_536
"""The longest request line with headers, in bytes; the response to a longer one is 431."""

HEAD_DEADLINE: Final = 10.0
"""Seconds from a head's first byte to its last; the response to a later one is 408. Bodies have the
same: see `body.py`."""

_MAX_RAW: Final = MAX_HEAD + 8 * MAX_BODY
"""Bytes on the wire of a whole request: a body in chunks of one byte is six times as long."""
_MAX_UNREAD: Final = 65_536
"""Bytes of a body that wait for the application; the rest waits at the client."""
_MAX_PIPELINED: Final = 32
_LINGER: Final = 1.0
"""Seconds that a refused client gets to notice."""
_LAST_MOMENT: Final = 0.5
"""Seconds that responses get whose client will send no more."""

_REFUSALS: Final = {
    408: b"The rest of the request did not come in time.\n",
    413: b"The emulator takes bodies of a mebibyte at most.\n",
    431: b"The emulator takes 64 KiB of request line and headers at most.\n",
    503: b"The emulator is answering as many connections as it can hold open. This is no response "
    b"of Procore's. Close some, clear its faults, or raise the limit of open files (ulimit -n).\n",
}

_LOG: Final = logging.getLogger(__name__)


class Host(Protocol):
    """What a connection needs of its server.

    Attributes:
        connections: The open ones.
        waiting: Those of them that wait for their client, the longest waiting first. Each joins
            when it begins to wait and leaves when it has something to do.
        log: Takes one line for each request, without its query, or None.
        head_deadline: See `HEAD_DEADLINE`.
    """

    connections: set[Connection]
    waiting: dict[Connection, None]
    log: Callable[[str], None] | None
    head_deadline: float

    def admit(self, connection: Connection) -> None:
        """Let a connection join, or end it or another when there are too many."""
        ...

    def http_date(self) -> bytes:
        """Return the value of the `date` header."""
        ...

    def refuse_for(self, seconds: float) -> None:
        """Refuse every connection from now on for so many seconds."""
        ...


class Connection(asyncio.Protocol):
    """Reads requests one after the other and runs the application for each.

    The application begins when a head is complete, so that it can refuse a request before its body.
    It is not cancelled when the client goes away: a real server would finish the work too, and that
    is exactly what a client that gave up has to reckon with. The socket is closed all the same:
    abandoned work holds no descriptor.

    Args:
        app: The ASGI application.
        host: The server it is a connection of.
    """

    def __init__(self, app: App, host: Host) -> None:
        self.date = host.http_date
        self.arrived = asyncio.Event()
        self.gone = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self._app = app
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._incoming = Incoming()
        self._read = 0
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = None
        self._requests: deque[Incoming] = deque()
        self._task: asyncio.Task[None] | None = None
        self._outgoing: Outgoing | None = None
        self._refusal: int | None = None
        self._left = False
        self._stopping = False
        self._deaf = False

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the server's open connections."""
        self.transport = cast("asyncio.Transport", transport)
        self._host.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell a running application that the client has gone."""
        self._host.connections.discard(self)
        self._host.waiting.pop(self, None)
        self._left = True
        self._keep_deadline(None)
        for told in (self.gone, self.arrived, self.writable):
            told.set()

    def pause_writing(self) -> None:
        """Make the application wait: the client reads slowly."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Let the application go on."""
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self.ends or self._deaf or self.transport.is_closing():
            return
        self._read += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # An upgrade is an offer (RFC 9110 §7.8): the request stands, and is the last one.
            self._incoming.keep_alive = False
            self._deaf = True
            return
        except httptools.HttpParserError:
            self._refuse(400)
            return
        if self._in_head and self._read:
            self._bound_head()
        elif self._read > _MAX_RAW:
            self._refuse(413)

    def eof_received(self) -> bool:
        """Give responses under way a moment, then close this end too.

        The client left, or closed its half and still reads: the two look the same.
        """
        self._left = True
        self.arrived.set()
        if self._task is None:
            return False
        self._host.waiting[self] = None
        self._loop.call_later(_LAST_MOMENT, self._end)
        return True

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._incoming = Incoming()
        self._read = self._read or 1  # it may have begun right behind the one before

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request target."""
        self._incoming.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header; fields after the body say nothing that is looked at."""
        if self._in_head:
            self._incoming.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Start the application, or let the request wait for those before it."""
        self._in_head = False
        self._keep_deadline(None)
        incoming = self._incoming
        incoming.method = self._parser.get_method().decode("ascii")
        incoming.keep_alive = self._parser.should_keep_alive()
        incoming.may_continue = self._parser.get_http_version() != "1.0"
        self._requests.append(incoming)
        if self._task is None and self._refusal is None:
            self.has_work()
            self._task = self._loop.create_task(self._serve_requests())
            self._task.add_done_callback(self._ended)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._deaf:
            return
        self._incoming.body += body
        self.arrived.set()
        if len(self._incoming.body) > _MAX_UNREAD:
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """Take note that the request is whole."""
        self._incoming.complete = True
        self._in_head = True
        self._read = 0
        self.arrived.set()
        if len(self._requests) >= _MAX_PIPELINED:
            self.transport.pause_reading()

    # What the application's side of a request calls.

    @property
    def ends(self) -> bool:
        """Whether nothing more will be read from this client."""
        return self._left or self._stopping or self._refusal is not None

    def read_on(self) -> None:
        """Read more from the client, unless many of its requests wait for responses (row E5)."""
        if len(self._requests) < _MAX_PIPELINED:
            self.transport.resume_reading()

    def waits(self) -> None:
        """Wait for the client from now on, at the end of the line of those that do."""
        if self in self._host.connections:
            self._host.waiting.pop(self, None)
            self._host.waiting[self] = None

    def has_work(self) -> None:
        """Wait for the client no longer."""
        if not self._left:
            self._host.waiting.pop(self, None)

    # What the server calls.

    def refuse_newcomer(self) -> None:
        """Respond that there are too many, and close."""
        self._refuse(503)

    def stop(self) -> asyncio.Task[None] | None:
        """Close when idle; otherwise tell the application to come to an end, then close.

        Returns:
            What is still under way, or None.
        """
        self._stopping = True
        self.gone.set()
        self.arrived.set()
        if self._task is None:
            self.transport.close()
        return self._task

    def kill(self) -> None:
        """Close at once, and end the work too."""
        if self._task is not None:
            self._task.cancel()
        self.transport.abort()

    def make_room(self) -> None:
        """Close at once, because others need the place."""
        self._host.connections.discard(self)
        self._host.waiting.pop(self, None)
        self.transport.abort()

    async def _serve_requests(self) -> None:
        while self._requests:
            incoming = self._requests.popleft()
            outgoing = self._outgoing = Outgoing(self, incoming)
            try:
                await self._app(outgoing.scope(), outgoing.receive, outgoing.send)
            except ConnectionDropped as dropped:
                # The one whose connection is reset must already be refused when it tries again.
                self._close(reset=dropped.reset)
                if dropped.refuse_for is not None:
                    self._host.refuse_for(dropped.refuse_for)
            except ConnectionError:  # the client went away in the middle of a response
                self.transport.abort()
            if self._host.log is not None:
                self._host.log(outgoing.line())
            if not outgoing.status and self._refusal is not None:
                return  # what was wrong with this request is said next
            if not outgoing.finished or not incoming.keep_alive or self._stopping:
                self._close_after(outgoing, incoming)
                return
        if self._left:
            self._close_in_order()
        self.transport.resume_reading()
        self.waits()

    def _close_after(self, outgoing: Outgoing, incoming: Incoming) -> None:
        if outgoing.finished and not incoming.complete and not self._left:
            self._listen_to_nothing()
        else:
            self._close_in_order()

    def _close_in_order(self) -> None:
        """Close when what was written is read, for which the client may need a while."""
        self.waits()
        self.transport.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            _LOG.error("The emulator failed to answer a request", exc_info=error)
            if self._outgoing is not None and self._outgoing.status:
                self.transport.abort()  # half of a response is on its way already
            else:
                self._refusal = self._refusal or 500
        if self._refusal is not None and not self._deaf:
            self._say_refusal()
        elif self._stopping:
            self.transport.close()

    def _bound_head(self) -> None:
        """Refuse a head that is too long, and begin to count the time of one that is not whole."""
        if self._read > MAX_HEAD:
            self._refuse(431)
        elif self._deadline is None:
            self._keep_deadline(self._host.head_deadline)

    def _keep_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self._loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        self._deadline = None
        if self.transport.is_reading():
            self._refuse(408)
        else:  # the rest waits for the responses before it, not for the client
            self._keep_deadline(self._host.head_deadline)

    def _refuse(self, status: int) -> None:
        """Read no further, and send the refusal after the responses that are due before."""
        if self._refusal is not None:
            return
        self._refusal = status
        self._keep_deadline(None)
        self.arrived.set()
        if self._task is None:
            self._say_refusal()

    def _say_refusal(self) -> None:
        """Send the refusal without the application, and close."""
        if self.transport.is_closing():
            return
        status = self._refusal or HTTPStatus.INTERNAL_SERVER_ERROR
        said = _REFUSALS.get(status, b"")
        self.transport.write(
            STATUS_LINES[status]
            + b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(said)
            + b"connection: close\r\n\r\n"
            + said
        )
        self._listen_to_nothing()

    def _listen_to_nothing(self) -> None:
        """Close in a moment: with unread bytes it would reset, and the response might be lost."""
        self._deaf = True
        self.waits()
        self.transport.write_eof()
        self.transport.resume_reading()
        self._loop.call_later(_LINGER, self.transport.abort)

    def _end(self) -> None:
        """Close, unless a response is on its way: then the client reads it, or resets."""
        if self.transport.get_write_buffer_size():
            self._loop.call_later(_LAST_MOMENT, self._end)
        else:
            self.transport.abort()

    def _close(self, *, reset: bool) -> None:
        if not reset:
            self._close_in_order()
            return
        sock = self.transport.get_extra_info("socket")
        # Linger on with no time: closing throws away what is buffered and sends a TCP reset.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
