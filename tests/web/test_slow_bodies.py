"""A client that is slow with its body, or gives up on it, costs no one else anything (row O8)."""

from __future__ import annotations

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from hosts import EVERYWHERE, Host
from person import Person

from procore_signin._web.http.bodies import BODY_SECONDS
from procore_signin._web.http.messages import LONGEST_BODY
from procore_signin.emulator import Emulator

PATIENCE = BODY_SECONDS + 15
OURS = b"Sec-Fetch-Site: same-origin"
# Django reads the body before any view is asked, where it runs on ASGI; its server has to be quick.
READS_LATE = tuple(name for name in EVERYWHERE if name != "django-asgi")


@pytest.fixture(scope="session")
def emulator(emulator_of_hosts: Emulator) -> Emulator:
    return emulator_of_hosts


def open_form(
    at: Host,
    path: str,
    *more: bytes,
    length: int = 20,
    body: bytes = b"session_id=1",
    host: bytes | None = None,
) -> socket.socket:
    """Send the beginning of a form, and leave the rest to the test."""
    parts = urlsplit(at.url)
    peer = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=PATIENCE)
    lines = [
        b"POST /procore" + path.encode() + b" HTTP/1.1",
        b"Host: " + (host or parts.netloc.encode()),
        b"Content-Type: application/x-www-form-urlencoded",
        b"Content-Length: %d" % length,
        *more,
    ]
    peer.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
    return peer


def status_of(peer: socket.socket) -> tuple[int, float]:
    """Return the status of the response, and how many seconds it took."""
    began = time.monotonic()
    with peer:
        answer = peer.recv(65_536)
    found = re.match(rb"HTTP/1\.[01] ([0-9]{3}) ", answer)
    assert found, answer[:200]
    return int(found[1]), time.monotonic() - began


@pytest.mark.parametrize(
    ("path", "headers", "length", "status"),
    [
        ("/sign-out", [], 20, 403),
        ("/sign-out", [b"Sec-Fetch-Site: cross-site"], 20, 403),
        ("/sign-out", [OURS], LONGEST_BODY + 1, 413),
        ("/sign-out", [OURS], 20, 200),
        ("/signin", [OURS], 20, 405),
        ("/nowhere", [OURS], 20, 404),
        ("/sessions/end", [OURS], 20, 303),
    ],
)
def test_O8_half_a_form_of_a_stranger_is_answered_at_once(
    everywhere: dict[str, Host], path: str, headers: list[bytes], length: int, status: int
) -> None:
    for name in READS_LATE:
        found, seconds = status_of(open_form(everywhere[name], path, *headers, length=length))
        assert (found, seconds < BODY_SECONDS / 2) == (status, True), name


def test_O8_half_a_form_for_another_host_is_answered_at_once(
    everywhere: dict[str, Host],
) -> None:
    for name in READS_LATE:
        peer = open_form(everywhere[name], "/sign-out", OURS, host=b"other.example.com")
        found, seconds = status_of(peer)
        assert (found, seconds < BODY_SECONDS / 2) == (400, True), name


def test_O8_half_a_form_of_a_person_has_a_deadline(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    def send(name: str) -> tuple[int, float]:
        with Person(everywhere[name].url, emulator) as joe:
            joe.sign_in("/procore/signin")
            cookie = "; ".join(f"{key}={value}" for key, value in joe.http.cookies.items())
            return status_of(
                open_form(everywhere[name], "/sessions/end", OURS, b"Cookie: " + cookie.encode())
            )

    with ThreadPoolExecutor(len(READS_LATE)) as threads:
        for name, (status, seconds) in zip(READS_LATE, threads.map(send, READS_LATE), strict=True):
            assert status == 408, name
            assert BODY_SECONDS - 1 < seconds < PATIENCE, name


def test_O9_a_body_that_breaks_off_leaves_no_traceback(
    everywhere: dict[str, Host], emulator: Emulator
) -> None:
    for name, host in everywhere.items():
        with Person(host.url, emulator) as joe:
            joe.sign_in("/procore/signin")
            cookie = (
                b"Cookie: "
                + "; ".join(f"{key}={value}" for key, value in joe.http.cookies.items()).encode()
            )
            for path in ("/sign-out", "/sessions/end", "/signin"):
                for headers in ([], [OURS], [OURS, cookie]):
                    with open_form(host, path, *headers) as peer:
                        peer.shutdown(socket.SHUT_WR)
                        while peer.recv(65_536):
                            pass
                    open_form(host, path, *headers).close()
            assert joe.http.get("/").status_code == 200, name
        assert "Traceback" not in host.said, name
