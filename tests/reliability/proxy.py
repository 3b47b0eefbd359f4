"""A network between us and a database server, which can be cut at a chosen moment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

PIECE: Final = 65_536
PLAINTEXT_PLEASE: Final = (b"\0\0\0\x08\x04\xd2\x16\x2f", b"\0\0\0\x08\x04\xd2\x16\x30")
"""PostgreSQL's requests for TLS and for GSSAPI, which are declined: the proxy has to read along."""
COMMIT: Final = (b"Q\0\0\0\x0bCOMMIT\0", b"\x07\0\0\0\x03COMMIT")
"""The statement as PostgreSQL's and MariaDB's protocols frame it."""


class Proxy:
    """Forwards connections to a server on this machine.

    Attributes:
        cuts: How often the response to a commit was lost.
        port: Where it listens.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = _listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        self._open: set[socket.socket] = set()
        self._commits_until_cut = 0
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def lose_the_answer_to_commit(self, which: int) -> None:
        """Cut the connection after the server has carried out that many commits from now on."""
        self._commits_until_cut = which

    def down(self) -> None:
        """Cut every connection and refuse new ones."""
        self._shut(self._listener)
        for connection in tuple(self._open):
            self._shut(connection)

    def up(self) -> None:
        """Accept connections again."""
        self._listener = _listen(self.port)
        self._run(self._accept)

    def close(self) -> None:
        """Cut everything and wait for our threads."""
        self.down()
        for thread in self._threads:
            thread.join(timeout=10)

    def _run(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        listener = self._listener
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # it was shut
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            self._open |= {client, server}
            cut = threading.Event()
            self._run(self._to_server, client, server, cut)
            self._run(self._to_client, server, client, cut)

    def _to_server(
        self, client: socket.socket, server: socket.socket, cut: threading.Event
    ) -> None:
        for piece in _pieces(client):
            if piece in PLAINTEXT_PLEASE:
                client.sendall(b"N")
                continue
            if self._commits_until_cut and any(words in piece for words in COMMIT):
                self._commits_until_cut -= 1
                if not self._commits_until_cut:
                    self.cuts += 1
                    cut.set()
            with suppress(OSError):
                server.sendall(piece)
        self._shut(server)

    def _to_client(
        self, server: socket.socket, client: socket.socket, cut: threading.Event
    ) -> None:
        for piece in _pieces(server):
            if cut.is_set():
                break
            with suppress(OSError):
                client.sendall(piece)
        self._shut(client)
        self._shut(server)

    def _shut(self, connection: socket.socket) -> None:
        self._open.discard(connection)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def _pieces(connection: socket.socket) -> Iterator[bytes]:
    with suppress(OSError):
        while piece := connection.recv(PIECE):
            yield piece


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(16)
    return listener


@contextmanager
def a_proxy(server_port: int) -> Iterator[Proxy]:
    """Run a proxy while the block runs."""
    proxy = Proxy(server_port)
    try:
        yield proxy
    finally:
        proxy.close()
