"""What the emulator's tests share: emulators on real sockets, and an HTTP client for each."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from recorded import APP

from procore_signin._emulator.inspector.endpoints import Inspector
from procore_signin._emulator.journal import Journal
from procore_signin.emulator import Emulator

CALLBACK = "http://localhost:4567/callback"
CLIENT = {"client_id": "emulator-client-id", "client_secret": "emulator-client-secret"}


@pytest.fixture
def emulated() -> Iterator[Callable[..., Emulator]]:
    """Start emulators with options of one's own; they end with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Emulator.started(**options))


@pytest.fixture
def emulator(emulated: Callable[..., Emulator]) -> Emulator:
    """An emulator as it is when nothing is chosen."""
    return emulated()


@pytest.fixture
def http_of() -> Iterator[Callable[[Emulator], httpx2.Client]]:
    """Make HTTP clients that follow no redirect and keep cookies as a browser does."""
    with ExitStack() as stack:
        # Building a TLS context costs more than a whole sign-in; plain http needs none.
        yield lambda emulator: stack.enter_context(
            httpx2.Client(base_url=emulator.url, verify=False, trust_env=False, timeout=5)
        )


@pytest.fixture
def http(emulator: Emulator, http_of: Callable[[Emulator], httpx2.Client]) -> httpx2.Client:
    """An HTTP client of `emulator`."""
    return http_of(emulator)


@pytest.fixture
def authorize() -> Callable[..., str]:
    """Write an authorization request from its path on; None leaves a parameter out."""

    def write(**changes: str | None) -> str:
        parameters = {
            "client_id": CLIENT["client_id"],
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "state": "0123456789abcdef",
        } | changes
        kept = {name: value for name, value in parameters.items() if value is not None}
        return f"/oauth/authorize?{urlencode(kept)}"

    return write


@pytest.fixture
def code_in() -> Callable[[str], str]:
    """Read the code out of the address the browser was sent to."""
    return lambda location: parse_qs(urlsplit(location).query)["code"][0]


@pytest.fixture
def code_form() -> Callable[..., dict[str, str]]:
    """Write the form that exchanges a code; None leaves a parameter out."""

    def write(code: str, /, **changes: str | None) -> dict[str, str]:
        form = {
            "grant_type": "authorization_code",
            **CLIENT,
            "code": code,
            "redirect_uri": CALLBACK,
        } | changes
        return {name: value for name, value in form.items() if value is not None}

    return write


@pytest.fixture
def refresh_form() -> Callable[..., dict[str, str]]:
    """Write the form that spends a refresh token; None leaves a parameter out."""

    def write(refresh_token: str, /, **changes: str | None) -> dict[str, str]:
        form = {"grant_type": "refresh_token", **CLIENT, "refresh_token": refresh_token} | changes
        return {name: value for name, value in form.items() if value is not None}

    return write


@pytest.fixture
def sign_in(
    authorize: Callable[..., str],
    code_in: Callable[[str], str],
    code_form: Callable[..., dict[str, str]],
) -> Callable[..., dict[str, Any]]:
    """Approve and exchange: returns the token response."""

    def perform(emulator: Emulator, http: httpx2.Client, **person: str) -> dict[str, Any]:
        code = code_in(emulator.approve(authorize(), **person))
        response = http.post("/oauth/token", data=code_form(code))
        tokens: dict[str, Any] = response.json()
        return tokens

    return perform


@pytest.fixture
def bearer() -> Callable[[dict[str, Any]], dict[str, str]]:
    """Write the header that presents an access token."""
    return lambda tokens: {"authorization": f"Bearer {tokens['access_token']}"}


@pytest.fixture
def log_in() -> Callable[..., httpx2.Response]:
    """Send the log-in form, as the tutorial's person unless told otherwise."""

    def perform(http: httpx2.Client, continue_to: str, **changes: str) -> httpx2.Response:
        form = {"login": "joecontractor@procore.com", "password": "procore"} | changes
        return http.post("/login", data={**form, "continue_to": continue_to})

    return perform


@pytest.fixture
def exchange_bytes() -> Callable[[Emulator, bytes], bytes]:
    """Send bytes to an emulator and return all that comes until it closes the connection."""

    def perform(emulator: Emulator, sent: bytes) -> bytes:
        parts = urlsplit(emulator.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as sock:
            sock.sendall(sent)
            received = b""
            while piece := sock.recv(65_536):
                received += piece
            return received

    return perform


@pytest.fixture
def me(
    emulator: Emulator, http: httpx2.Client, sign_in: Callable[..., dict[str, Any]]
) -> tuple[bytes, dict[str, str]]:
    """A request for `/me` as bytes, and its headers."""
    token = sign_in(emulator, http)["access_token"]
    sent = b"GET /rest/v1.0/me HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b\r\n\r\n"
    return sent % token.encode(), {"authorization": f"Bearer {token}"}


@pytest.fixture
def code(emulator: Emulator, authorize: Callable[..., str], code_in: Callable[[str], str]) -> str:
    """A code that was not exchanged yet."""
    return code_in(emulator.approve(authorize()))


@pytest.fixture
def is_spent(
    http: httpx2.Client, code_form: Callable[..., dict[str, str]]
) -> Callable[[str], bool]:
    """Say whether the emulator carried out an exchange of this code before."""
    return lambda code: http.post("/oauth/token", data=code_form(code)).status_code == 401


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Find a program of this machine; without it the test is skipped, or fails where it must run.

    `PROCORE_SIGNIN_REQUIRE_PROGRAMS=1` says that it must.
    """

    def find(name: str) -> str:
        found = shutil.which(name)
        if found is not None:
            return found
        if os.environ.get("PROCORE_SIGNIN_REQUIRE_PROGRAMS") == "1":
            pytest.fail(f"{name} is not on this machine and the suite requires it", pytrace=False)
        pytest.skip(f"{name} is not on this machine")

    return find


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def inspector(journal: Journal) -> Inspector:
    return Inspector(journal, app_url=APP, version="1.2.3", heartbeat=30)
