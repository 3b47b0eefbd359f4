"""The emulator's HTTP server, byte by byte, and how it starts and stops."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from procore_signin.emulator import Emulator, EmulatorRefused, serve

ExchangeBytes = Callable[[Emulator, bytes], bytes]
CLOSE = b"host: localhost\r\nconnection: close\r\n\r\n"


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as sock:
        yield sock


class TestRequests:
    def test_one_connection_serves_many_requests(self, emulator: Emulator) -> None:
        request = b"GET /oauth/token/info HTTP/1.1\r\nhost: localhost\r\n\r\n"
        with connected(emulator.url) as sock:
            for _ in range(3):
                sock.sendall(request)
                received = b""
                while not received.endswith(b"}"):
                    received += sock.recv(65_536)
                assert received.startswith(b"HTTP/1.1 401 Unauthorized\r\n")

    def test_requests_sent_ahead_are_answered_in_their_order(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes
    ) -> None:
        paths = [b"/rest/v1.0/%d" % number for number in range(100)]
        ahead = b"".join(b"GET %b HTTP/1.1\r\nhost: localhost\r\n\r\n" % path for path in paths)
        received = exchange_bytes(emulator, ahead + b"GET /login HTTP/1.1\r\n" + CLOSE)
        assert 100 == received.count(b"HTTP/1.1 401 Unauthorized\r\n")
        assert 1 == received.count(b"HTTP/1.1 200 OK\r\n")
        assert [path.decode() for path in paths] + ["/login"] == [
            exchange.target for exchange in emulator.requests
        ]

    def test_a_request_may_come_byte_by_byte(self, emulator: Emulator) -> None:
        with connected(emulator.url) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"GET /rest/v1.0/me?a=b HTTP/1.1\r\n" + CLOSE:
                sock.sendall(bytes([byte]))
            assert sock.recv(65_536).startswith(b"HTTP/1.1 401")
        assert "/rest/v1.0/me?a=b" == emulator.requests[-1].target

    def test_a_chunked_body_is_read(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes
    ) -> None:
        sent = (
            b"POST /oauth/token HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n"
            b"transfer-encoding: chunked\r\n" + CLOSE + b"b\r\ngrant_type=\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        assert b'"unsupported_grant_type"' in exchange_bytes(emulator, sent)
        assert "abc" == emulator.token_requests[-1].grant_type

    def test_a_client_that_asks_may_send_its_body(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes
    ) -> None:
        sent = (
            b"POST /oauth/token HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 1\r\n"
            + CLOSE
            + b"x"
        )
        assert exchange_bytes(emulator, sent).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 4")

    def test_an_offer_to_upgrade_is_not_taken_up(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes
    ) -> None:
        sent = (
            b"GET /oauth/token/info HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n"
            b"upgrade: h2c\r\n\r\n"
        )
        received = exchange_bytes(emulator, sent)
        assert received.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close\r\n" in received

    def test_head_is_answered_without_a_body(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes
    ) -> None:
        received = exchange_bytes(emulator, b"HEAD / HTTP/1.1\r\n" + CLOSE)
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert received.endswith(b"\r\n\r\n")
        assert int(re.findall(rb"content-length: (\d+)", received)[0]) > 100

    def test_the_date_follows_the_advanced_clock(
        self, emulator: Emulator, http: httpx2.Client
    ) -> None:
        emulator.advance(86_400)
        said = parsedate_to_datetime(http.get("/").headers["date"]).timestamp()
        assert abs(said - time.time() - 86_400) < 5


class TestLimits:
    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"nonsense\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, 431),
            (b"GET /" + b"y" * 70_000, 431),
            (b"POST /oauth/token HTTP/1.1\r\ncontent-length: 2000000\r\n" + CLOSE, 413),
        ],
    )
    def test_what_cannot_be_read_is_refused_and_the_connection_closed(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes, sent: bytes, status: int
    ) -> None:
        received = exchange_bytes(emulator, sent + b"z" * 1_500_000 if status == 413 else sent)
        assert received.startswith(b"HTTP/1.1 %d " % status)
        assert [] == emulator.requests

    def test_a_body_of_a_mebibyte_is_read(self, http: httpx2.Client) -> None:
        form = {"content-type": "application/x-www-form-urlencoded"}
        body = b"grant_type=" + b"y" * (1_048_576 - 11)
        answered = http.post("/oauth/token", content=body, headers=form)
        assert "unsupported_grant_type" == answered.json()["error"]

    def test_a_host_is_required(self, emulator: Emulator, exchange_bytes: ExchangeBytes) -> None:
        received = exchange_bytes(emulator, b"GET / HTTP/1.0\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 421 Misdirected Request\r\n")


class TestFailure:
    def test_a_mistake_of_its_own_is_a_500_and_is_logged(
        self,
        http: httpx2.Client,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("procore_signin._emulator.procore.Provider.answer", fail)
        assert 500 == http.get("/login").status_code
        assert "The emulator failed to answer a request" in caplog.text


class TestStarting:
    @pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com", ""])  # noqa: S104 - refused
    def test_E1_no_other_machine_can_reach_it(self, host: str) -> None:
        with (
            pytest.raises(EmulatorRefused, match="this machine only"),
            Emulator.started(host=host),
        ):
            pass

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
    def test_E1_it_answers_under_the_name_it_was_given(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        host: str,
    ) -> None:
        emulator = emulated(host=host)
        shown = "[::1]" if host == "::1" else host
        assert re.fullmatch(rf"http://{re.escape(shown)}:\d+", emulator.url)
        assert 200 == http_of(emulator).get("/").status_code

    @pytest.mark.parametrize("name", ["procore.localhost", "PROCORE.Localhost", "a.b.localhost"])
    def test_E1_names_under_localhost_are_this_machine(
        self,
        emulated: Callable[..., Emulator],
        http_of: Callable[[Emulator], httpx2.Client],
        name: str,
    ) -> None:
        redirect_uri = f"http://{name}:3000/callback"
        http = http_of(emulated(redirect_uris=(redirect_uri,)))
        assert 200 == http.get("/", headers={"host": f"{name}:4568"}).status_code
        for other in ("a.example", "localhost.a.example", "notlocalhost", "localhost.", ".a"):
            assert 421 == http.get("/", headers={"host": other}).status_code

    @pytest.mark.parametrize(
        "redirect_uri",
        [
            "http://example.com/callback",
            "https://example.com/callback",
            "http://192.168.0.1/callback",
            "http://localhost.example.com/callback",
            "http://notlocalhost/callback",
            "http://app.localhost.example.com/callback",
            "http://.localhost.example/callback",
            "http://user@localhost/callback",
            "http://localhost/callback#x",
            "http://localhost/call back",
            "http://localhost/\ncallback",
            "http://localhost:99999/",
            "http://[::1/",
            "ftp://localhost/",
            "myapp://callback",
            "localhost:4567/callback",
            "urn:ietf:wg:oauth:2.0:oob:auto",
            "",
        ],
    )
    def test_E1_a_redirect_uri_that_leaves_this_machine_is_refused(self, redirect_uri: str) -> None:
        with pytest.raises(ValueError, match="refuses the redirect URI"):
            serve_options(redirect_uris=(redirect_uri,))

    @pytest.mark.parametrize(
        "options",
        [
            {"pkce": "maybe"},
            {"rotation": "never"},
            {"doorkeeper": 3},
            {"me_name": "sometimes"},
            {"spike_limit": 0},
            {"redirect_uris": ()},
            {"client_id": ""},
            {"client_secret": ""},
        ],
    )
    def test_a_wrong_option_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"choose one|1 or more|at least one|neither empty"):
            serve_options(**options)

    def test_a_port_that_is_taken_is_said_to_be(self, emulator: Emulator) -> None:
        port = urlsplit(emulator.url).port
        with pytest.raises(EmulatorRefused, match=f"port {port}"), Emulator.started(port=port or 0):
            pass

    @pytest.mark.parametrize("port", [-1, 65_536])
    def test_a_port_that_cannot_be_is_refused(self, port: int) -> None:
        with pytest.raises(EmulatorRefused), Emulator.started(port=port):
            pass

    def test_E4_the_log_has_no_query_no_code_and_no_secret(
        self,
        http_of: Callable[[Emulator], httpx2.Client],
        authorize: Callable[..., str],
        code_in: Callable[[str], str],
        code_form: Callable[..., dict[str, str]],
    ) -> None:
        lines: list[str] = []
        with Emulator.started(log=lines.append) as emulator:
            http = http_of(emulator)
            code = code_in(emulator.approve(authorize()))
            http.get(f"/oauth/authorize/{code}")
            http.get(authorize())
            http.post("/oauth/token", data=code_form(code))
            http.get("/rest/v1.0/%0aforged")
        assert [
            "GET /oauth/authorize/... 404",
            "GET /oauth/authorize 302",
            "POST /oauth/token 200",
            "GET /rest/v1.0/\\nforged 401",
        ] == lines

    def test_E4_no_repr_shows_a_secret(
        self, emulator: Emulator, http: httpx2.Client, sign_in: Callable[..., dict[str, Any]]
    ) -> None:
        tokens = sign_in(emulator, http)
        shown = repr(
            [
                emulator,
                emulator.options,
                emulator.requests,
                emulator.token_requests,
                emulator.live_grants(),
                emulator._procore.state.grants.live(),
                emulator.client("b", "b-secret", name="B"),
                emulator.person(7, login="ada@example.com", password="lovelace"),
            ]
        )
        secrets = ("emulator-client-secret", "b-secret", "lovelace", tokens["access_token"])
        assert [] == [secret for secret in (*secrets, tokens["refresh_token"]) if secret in shown]


def serve_options(**options: Any) -> None:
    with Emulator.started(**options):
        pass


def test_a_thread_that_cannot_serve_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise EmulatorRefused("no")

    monkeypatch.setattr("procore_signin._emulator.wire.server.Server._open", fail)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with pytest.raises(EmulatorRefused, match="ended before"), Emulator.started():
        pass


class TestStopping:
    def test_the_block_ends_within_a_second_with_streams_and_slow_answers_under_way(
        self, http_of: Callable[[Emulator], httpx2.Client]
    ) -> None:
        with ExitStack() as still_open:
            with Emulator.started() as emulator:
                http_of(emulator).get("/")
                emulator.fault("/rest/*", "latency", seconds=60)
                slow = still_open.enter_context(connected(emulator.url))
                stream = still_open.enter_context(connected(emulator.url))
                slow.sendall(b"GET /rest/v1.0/me HTTP/1.1\r\nhost: localhost\r\n\r\n")
                stream.sendall(b"GET /_emulator/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
                assert stream.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")
                while not any(fault.happened for fault in emulator.faults()):
                    time.sleep(0.001)
                began = time.monotonic()
            assert time.monotonic() - began < 1

    def test_an_answer_under_way_is_finished(self, exchange_bytes: ExchangeBytes) -> None:
        received: list[bytes] = []
        with Emulator.started() as emulator:
            emulator.fault("/rest/*", "latency", seconds=0.2)
            request = b"GET /rest/v1.0/me HTTP/1.1\r\nhost: localhost\r\n\r\n"
            thread = threading.Thread(
                target=lambda: received.append(exchange_bytes(emulator, request))
            )
            thread.start()
            while not any(fault.happened for fault in emulator.faults()):
                time.sleep(0.001)
        thread.join()
        assert received[0].startswith(b"HTTP/1.1 401 ")

    @pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
    def test_a_process_announces_its_port_and_stops_on_a_signal(self, sign: signal.Signals) -> None:
        program = (
            "from procore_signin.emulator import serve\n"
            "serve(port=0, announce=lambda url: print(url, flush=True))\n"
            "print('stopped')\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        ) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with connected(url) as stream:
                stream.sendall(b"GET /_emulator/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
                assert stream.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")
                began = time.monotonic()
                process.send_signal(sign)
                assert "stopped\n" == process.stdout.read()
                assert 0 == process.wait(timeout=5)
                assert time.monotonic() - began < 1

    def test_a_process_that_cannot_start_says_why(self, emulator: Emulator) -> None:
        port = urlsplit(emulator.url).port or 0
        with pytest.raises(EmulatorRefused, match="Choose another, or 0"):
            serve(port=port, announce=lambda _: None)
