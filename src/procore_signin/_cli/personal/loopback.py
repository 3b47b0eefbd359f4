"""A web server for one response, on the redirect URI's port, on this machine only.

For a client with a loopback redirect URI (RFC 8252 §7.3). It takes one response, shows one page,
and ends. It refuses all other requests and keeps waiting.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.personal.loopback_page import MAYBE_IN_FRAGMENT, Told, render
from procore_signin._flow.attempt import SignInAttempt
from procore_signin._protocol.authorization import (
    AuthorizationDenied,
    CodeGranted,
    parse_authorization_response,
)
from procore_signin._web.http.asgi_wsgi import folded
from procore_signin._web.http.messages import BrowserRequest
from procore_signin._web.http.origin import hosts_of, is_navigation
from procore_signin.environments import LOOPBACK_HOSTS
from procore_signin.errors import AttemptInvalid

HTTP_PORT: Final = 80
SILENT_SECONDS: Final = 10
"""Seconds that a connection may be idle: browsers open some in advance and never use them."""

OUTCOME_SECONDS: Final = 60
"""Seconds that the browser with the response waits for the outcome."""

SHOWN_SECONDS: Final = 3
"""Seconds to wait at the end until the browser has its page."""

_WRONG_HOST: Final = Told(
    HTTPStatus.BAD_REQUEST, "Another address was meant", "This is not the address of a sign-in."
)
_NOT_HERE: Final = Told(HTTPStatus.NOT_FOUND, "Nothing is here", "A sign-in is waited for.")
_NO_WINDOW: Final = Told(
    HTTPStatus.FORBIDDEN,
    "This page opens in a window of its own",
    "The request came from inside another page, or before anyone asked for it.",
)
_NOT_OURS: Final = Told(
    HTTPStatus.BAD_REQUEST,
    "That response belongs to no sign-in on this computer",
    "The sign-in that was begun in the terminal still waits: open the address that it shows.",
)
_TWICE: Final = Told(
    HTTPStatus.GONE, "The response was already received", "Look at the terminal for the outcome."
)
_ARRIVED: Final = Told(HTTPStatus.OK, "The response has arrived", "Look at the terminal.")


def is_loopback(redirect_uri: str) -> bool:
    """Return whether this redirect URI can be served here: plain http, on this machine."""
    try:
        parts = urlsplit(redirect_uri)
        port = parts.port
    except ValueError:
        return False
    plain = parts.username is None and not parts.query and not parts.fragment and port != 0
    return plain and parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS


class Loopback:
    """Waits for the authorization response of one attempt. Use it as a context manager.

    Args:
        redirect_uri: One that `is_loopback`.
        attempt: The attempt that the response must belong to.

    Raises:
        CommandFailed: The port cannot be used.
    """

    def __init__(self, redirect_uri: str, attempt: SignInAttempt) -> None:
        parts = urlsplit(redirect_uri)
        self._hosts: Final = hosts_of(redirect_uri)
        self._path: Final = parts.path or "/"
        self._attempt: Final = attempt
        self._one_at_a_time: Final = threading.Lock()
        self._response: CodeGranted | AuthorizationDenied | None = None
        self._came: Final = threading.Event()
        self._outcome = _ARRIVED
        self._concluded: Final = threading.Event()
        self._shown: Final = threading.Event()
        self._servers: Final = _listen(redirect_uri, self)

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._concluded.set()
        if self._came.is_set():
            self._shown.wait(SHOWN_SECONDS)
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def wait(self, seconds: float) -> CodeGranted | AuthorizationDenied:
        """Return the one response that has the attempt's state.

        Raises:
            CommandFailed: None came in time.
        """
        self._came.wait(seconds)
        if self._response is None:
            raise CommandFailed(
                "No one signed in.",
                why=f"No response came from the browser within {seconds:.0f} seconds.",
                cure="Run the command again, and finish in the browser that it opens.",
            )
        return self._response

    def conclude(self, told: Told) -> None:
        """Show the outcome in the browser that brought the response."""
        self._outcome = told
        self._concluded.set()

    def answer(self, request: BrowserRequest) -> Told:
        """Return the page for the sender of `request`.

        Takes the response if the request has it, and then waits for the outcome.
        """
        if (request.header(b"host") or "").lower() not in self._hosts:
            return _WRONG_HOST
        if request.path != self._path:
            return _NOT_HERE
        if not is_navigation(request):
            return _NO_WINDOW
        try:
            response = parse_authorization_response(request.query)
        except AttemptInvalid:
            return _NOT_OURS
        if response is None:
            return MAYBE_IN_FRAGMENT
        if not self._attempt.has_state(response.state):
            return _NOT_OURS
        if not self._take(response):
            return _TWICE
        self._concluded.wait(OUTCOME_SECONDS)
        return self._outcome

    def sent(self, told: Told) -> None:
        """Note that a page was sent; the last one ends the wait."""
        if told is self._outcome:
            self._shown.set()

    def _take(self, response: CodeGranted | AuthorizationDenied) -> bool:
        with self._one_at_a_time:
            if self._response is not None:
                return False
            self._response = response
        self._came.set()
        return True


class _Server(ThreadingTCPServer):
    # Not `http.server.HTTPServer`, which asks the network for the machine's name.
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = os.name == "posix"  # elsewhere it would let two servers share the port

    def __init__(self, host: str, port: int, loopback: Loopback) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.loopback: Final = loopback
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind where no one else can (row K9)."""
        if sys.platform == "win32":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: browsers often go away, and their requests contain secrets."""


class _Handler(BaseHTTPRequestHandler):
    timeout = SILENT_SECONDS
    server: _Server

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked, cookies = folded(
            (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in self.headers.items()
        )
        request = BrowserRequest(
            method="GET",
            path=path,
            query=query.encode("latin-1"),
            headers=asked,
            cookies=cookies,
            client_address=str(self.client_address[0]),
            request_id="",
        )
        told = self.server.loopback.answer(request)
        body, headers = render(told)
        self.send_response_only(told.status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.server.loopback.sent(told)

    def log_message(self, *_: object) -> None:
        """Write no log: its lines would hold the code and the state (row O1)."""


def _listen(redirect_uri: str, loopback: Loopback) -> list[_Server]:
    """Listen where a browser may look for the redirect URI.

    It may try either address of `localhost` first. No other program may listen on the other one.
    """
    parts = urlsplit(redirect_uri)
    hosts = {"localhost": ("127.0.0.1", "::1"), "::1": ("::1",)}.get(
        parts.hostname or "", ("127.0.0.1",)
    )
    servers: list[_Server] = []
    for host in hosts:
        try:
            servers.append(_Server(host, parts.port or HTTP_PORT, loopback))
        except OSError as error:
            if servers and not _is_taken(error):
                continue  # a machine without IPv6: no program can listen there
            for server in servers:
                server.server_close()
            raise _no_port(redirect_uri, host, error) from None
    return servers


def _is_taken(error: OSError) -> bool:
    return isinstance(error, PermissionError) or error.errno == errno.EADDRINUSE


def _no_port(redirect_uri: str, host: str, error: OSError) -> CommandFailed:
    port = urlsplit(redirect_uri).port or HTTP_PORT
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    reason = (
        f"another program listens there, at {shown}, perhaps the application itself"
        if error.errno == errno.EADDRINUSE
        else f"the system said: {os.strerror(error.errno or 0)}"
    )
    return CommandFailed(
        "The browser's response cannot be received.",
        why=f"It would come to {redirect_uri}, and {reason}.",
        cure="Stop that program for a moment; or register urn:ietf:wg:oauth:2.0:oob at Procore, "
        "name it with --redirect-uri, and paste the code.",
    )
