"""Faults of the connection: what comes is cut, slow, too much, or nothing at all."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx2
import pytest

from procore_signin.emulator import Emulator

Headers = dict[str, str]
ExchangeBytes = Callable[[Emulator, bytes], bytes]
ME = b"GET /rest/v1.0/me HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b\r\n\r\n"


def answers_again(http: httpx2.Client, path: str) -> httpx2.Response:
    """Ask until there is a response."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            return http.get(path)
        except httpx2.TransportError:
            time.sleep(0.01)  # nothing tells us when it is back
    pytest.fail("the emulator did not come back")


class TestOnTheWire:
    def test_E3_a_huge_body_arrives_whole(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "huge", bytes=3_000_000)
        answered = http.get("/rest/v1.0/me", headers=me[1])
        assert 3_000_008 == len(answered.content) == int(answered.headers["content-length"])

    def test_E3_a_dripping_body_keeps_every_single_read_short(
        self, emulator: Emulator, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "drip", bytes=10, interval=0.02)
        parts = urlsplit(emulator.url)
        address = (parts.hostname or "", parts.port or 0)
        pieces: list[bytes] = []
        with socket.create_connection(address, timeout=5) as sock:
            sock.sendall(me[0])
            while not b"".join(pieces).endswith(b"}"):
                pieces.append(sock.recv(65_536))
        assert len(pieces) > 4
        assert all(len(piece) <= 20 for piece in pieces[1:])
        assert b"".join(pieces).endswith(b'"name":"Joe Contractor"}')

    def test_E3_a_drip_ends_when_the_client_leaves(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "drip", bytes=1, interval=0.01)
        with http.stream("GET", "/rest/v1.0/me", headers=me[1]) as answered:
            next(answered.iter_raw(1))
        assert 200 == http.get("/rest/v1.0/me", headers=me[1]).status_code

    def test_E3_a_truncated_body_ends_before_its_length(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "truncate", keep=5)
        head, _, body = exchange_bytes(emulator, me[0]).partition(b"\r\n\r\n")
        assert b"content-length: 72" in head
        assert b'{"id"' == body

    @pytest.mark.parametrize("length", [10, 1000])
    def test_E3_a_wrong_content_length_is_sent_and_the_connection_closed(
        self,
        emulator: Emulator,
        exchange_bytes: ExchangeBytes,
        me: tuple[bytes, Headers],
        length: int,
    ) -> None:
        emulator.fault("/rest/*", "content-length", length=length)
        head, _, body = exchange_bytes(emulator, me[0]).partition(b"\r\n\r\n")
        assert b"content-length: %d\r\n" % length in head
        assert 72 == len(body)

    def test_E3_a_body_of_unknown_length_comes_in_chunks(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "huge", bytes=10, chunked=True)
        sent = me[0].replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        head, _, body = exchange_bytes(emulator, sent).partition(b"\r\n\r\n")
        assert b"content-length" not in head
        assert b"transfer-encoding: chunked" in head
        assert b'12\r\n{"a":"aaaaaaaaaa"}\r\n0\r\n\r\n' == body

    def test_E3_a_small_body_unpacks_to_a_huge_one(
        self, emulator: Emulator, http: httpx2.Client, me: tuple[bytes, Headers]
    ) -> None:
        emulator.fault("/rest/*", "huge", bytes=3_000_000, gzip=True)
        answered = http.get("/rest/v1.0/me", headers=me[1])
        assert "gzip" == answered.headers["content-encoding"]
        assert int(answered.headers["content-length"]) < 30_000
        assert 3_000_008 == len(answered.content)

    def test_E3_a_refused_connection_is_reset_and_for_a_while_nobody_can_connect(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        http_of: Callable[[Emulator], httpx2.Client],
        code: str,
        is_spent: Callable[[str], bool],
        code_form: Callable[..., dict[str, str]],
    ) -> None:
        emulator.fault("POST /oauth/token", "refuse", seconds=0.3)
        assert 200 == http.get("/").status_code
        began = time.monotonic()
        with pytest.raises(httpx2.ReadError):
            http.post("/oauth/token", data=code_form(code))
        for client in (http, http_of(emulator)):
            with pytest.raises(httpx2.ConnectError):
                client.get("/")
        assert 200 == answers_again(http, "/").status_code
        assert 0.3 <= time.monotonic() - began < 3
        assert not is_spent(code)

    def test_E3_each_refusal_lasts_as_long_as_it_says(
        self, emulator: Emulator, http: httpx2.Client, exchange_bytes: ExchangeBytes
    ) -> None:
        emulator.fault("/rest/*", "refuse", seconds=0.1)
        emulator.fault("/rest/*", "refuse", seconds=0.4)
        began = time.monotonic()
        with pytest.raises(ConnectionResetError):
            exchange_bytes(emulator, ME % b"x")
        answers_again(http, "/")
        with pytest.raises(ConnectionResetError):
            exchange_bytes(emulator, ME % b"x")
        answers_again(http, "/")
        assert 0.5 <= time.monotonic() - began < 3

    def test_E3_a_block_that_refuses_outlasts_a_refusal_that_is_under_way(
        self, emulator: Emulator, http: httpx2.Client
    ) -> None:
        emulator.fault("/rest/*", "refuse", seconds=0.05)
        with pytest.raises(httpx2.ReadError):
            http.get("/rest/v1.0/me")
        with emulator.refusing():
            time.sleep(0.1)  # longer than the fault's own refusal
            with pytest.raises(httpx2.ConnectError):
                http.get("/")
        assert 200 == http.get("/").status_code

    def test_E3_an_emulator_that_refuses_can_be_stopped(self) -> None:
        with Emulator.started() as emulator:
            emulator.fault("*", "refuse", seconds=60)
            with pytest.raises(httpx2.ReadError):
                httpx2.get(emulator.url, trust_env=False)
            began = time.monotonic()
        assert time.monotonic() - began < 1

    def test_E3_a_server_that_is_down_refuses_connections_and_comes_back(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        http_of: Callable[[Emulator], httpx2.Client],
    ) -> None:
        assert 200 == http.get("/").status_code
        with emulator.refusing():
            for client in (http, http_of(emulator)):
                with pytest.raises(httpx2.ConnectError):
                    client.get("/")
        assert 200 == http.get("/").status_code
