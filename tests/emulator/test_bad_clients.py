"""Clients that give up, stop half-way, crawl or come in crowds cost themselves only (row E5)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from procore_signin._emulator.wire.body import Bodies
from procore_signin._emulator.wire.server import Server
from procore_signin.emulator import Emulator, EmulatorApp, LocalProcore

LogCaptureFixture = pytest.LogCaptureFixture
ExchangeBytes = Callable[[Emulator, bytes], bytes]
HEAD = b"GET /rest/v1.0/me HTTP/1.1\r\nhost: localhost\r\n\r\n"
FORM = b"host: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n"


def server_of(emulator: Emulator) -> Server:
    """Return the server of an emulator that listens."""
    assert isinstance(emulator._server, Server)
    return emulator._server


def bodies(emulator: Emulator) -> Bodies:
    return cast("EmulatorApp", emulator.app).bodies


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as sock:
        yield sock


def all_of(sock: socket.socket) -> bytes:
    """Return all that comes until the emulator closes its end."""
    received = b""
    while piece := sock.recv(65_536):
        received += piece
    return received


def is_closed(sock: socket.socket) -> bool:
    """Wait until the emulator closes its end, in order or not."""
    try:
        return b"" == all_of(sock)
    except ConnectionResetError:
        return True


def until(true: Callable[[], object]) -> None:
    """Wait for what nothing tells us about."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def happened(emulator: Emulator) -> int:
    """Return how often any fault happened."""
    return sum(fault.happened for fault in emulator.faults())


class TestGivingUp:
    def test_E5_a_client_that_gives_up_on_a_late_answer_leaves_no_connection_behind(
        self, emulator: Emulator, http: httpx2.Client
    ) -> None:
        emulator.fault("/rest/*", "latency", seconds=3600, times=None)
        for _ in range(40):
            with connected(emulator.url) as sock:
                sock.sendall(HEAD)
        until(lambda: 40 == happened(emulator) and not server_of(emulator).connections)
        assert not server_of(emulator).waiting
        assert 200 == http.get("/").status_code

    def test_E5_a_client_that_closes_its_half_gets_its_answer_and_the_other_half_closes(
        self, emulator: Emulator
    ) -> None:
        emulator.fault("/rest/*", "latency", seconds=0.1)
        for answered in (b"HTTP/1.1 401 ", b"HTTP/1.1 401 "):
            with connected(emulator.url) as sock:
                sock.sendall(HEAD)
                sock.shutdown(socket.SHUT_WR)
                assert all_of(sock).startswith(answered)
        until(lambda: not server_of(emulator).connections)

    def test_E5_a_client_that_closes_its_half_may_read_a_long_answer(
        self, emulator: Emulator
    ) -> None:
        emulator.fault("/rest/*", "huge", bytes=20_000_000)
        with connected(emulator.url) as sock:
            sock.sendall(HEAD)
            sock.shutdown(socket.SHUT_WR)
            assert len(all_of(sock)) > 20_000_000

    def test_E5_the_work_is_carried_out_although_nobody_waits_for_it(
        self,
        emulator: Emulator,
        code: str,
        is_spent: Callable[[str], bool],
        code_form: Callable[..., dict[str, str]],
        http: httpx2.Client,
    ) -> None:
        emulator.fault("POST /oauth/token", "latency", seconds=0.3)
        with pytest.raises(httpx2.ReadTimeout):
            http.post("/oauth/token", data=code_form(code), timeout=0.05)
        until(lambda: emulator.requests)
        assert is_spent(code)

    def test_E5_a_reader_of_the_inspector_that_leaves_is_forgotten(
        self, emulator: Emulator
    ) -> None:
        with connected(emulator.url) as sock:
            sock.sendall(b"GET /_emulator/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert sock.recv(65_536).startswith(b"HTTP/1.1 200 ")
        until(lambda: not server_of(emulator).connections)
        until(lambda: not emulator._procore.journal._subscriptions)

    def test_E5_what_was_sent_ahead_is_answered_before_the_connection_closes(
        self, emulator: Emulator
    ) -> None:
        with connected(emulator.url) as sock:
            sock.sendall(HEAD * 50)
            sock.shutdown(socket.SHUT_WR)
            assert 50 == all_of(sock).count(b"HTTP/1.1 401 ")

    def test_E5_nothing_more_is_read_while_many_requests_wait_for_an_answer(
        self, emulator: Emulator
    ) -> None:
        emulator.fault("/rest/*", "latency", seconds=5)
        with connected(emulator.url) as sock:
            sock.sendall(HEAD)
            until(lambda: happened(emulator))
            [connection] = server_of(emulator).connections
            sock.sendall(HEAD * 100)
            until(lambda: len(connection._requests) > 90)
            assert not connection.transport.is_reading()

    def test_E5_nor_when_the_first_of_many_is_answered(self, emulator: Emulator) -> None:
        first = emulator.fault("/rest/*", "latency", seconds=0.2, times=1)
        with connected(emulator.url) as sock:
            sock.sendall(HEAD)
            until(lambda: first.happened)
            second = emulator.fault("/rest/*", "latency", seconds=5)
            [connection] = server_of(emulator).connections
            sock.sendall(HEAD * 100)
            until(lambda: second.happened)
            assert len(connection._requests) > 90
            assert not connection.transport.is_reading()


class TestHalfARequest:
    def test_E5_a_head_that_does_not_end_is_refused_in_time(
        self, emulated: Callable[..., Emulator]
    ) -> None:
        emulator = emulated()
        server_of(emulator).head_deadline = 0.05
        for sent in (b"G", b"GET / HTTP/1.1\r\nhost: loc", HEAD + b"GET /", b"\r\n"):
            with connected(emulator.url) as sock:
                sock.sendall(sent)
                assert b"HTTP/1.1 408 " in all_of(sock)

    def test_E5_a_head_that_comes_in_time_is_answered_later_than_that(
        self, emulator: Emulator
    ) -> None:
        server_of(emulator).head_deadline = 0.05
        emulator.fault("/rest/*", "latency", seconds=0.2)
        with connected(emulator.url) as sock:
            sock.sendall(HEAD[:20])
            sock.sendall(HEAD[20:])
            assert sock.recv(65_536).startswith(b"HTTP/1.1 401 ")

    def test_E5_what_waits_for_answers_before_it_is_not_late(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes
    ) -> None:
        server_of(emulator).head_deadline = 0.05
        emulator.fault("/rest/*", "latency", seconds=0.2)
        received = exchange_bytes(
            emulator, HEAD * 4000 + b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"
        )
        assert 4000 == received.count(b"HTTP/1.1 401 ")

    @pytest.mark.parametrize("more", [b"content-length: 9", b"transfer-encoding: chunked"])
    def test_E5_a_body_that_does_not_end_is_refused_in_time(
        self, emulator: Emulator, more: bytes
    ) -> None:
        bodies(emulator).deadline = 0.05
        with connected(emulator.url) as sock:
            sock.sendall(b"POST /oauth/token HTTP/1.1\r\n" + FORM + more + b"\r\n\r\n4\r\n")
            received = all_of(sock)
        assert received.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert 1 == received.count(b"connection: close\r\n")
        assert [] == emulator.requests

    def test_E5_a_body_that_breaks_off_does_nothing(
        self,
        emulator: Emulator,
        http: httpx2.Client,
        sign_in: Callable[..., dict[str, Any]],
        bearer: Callable[[dict[str, Any]], dict[str, str]],
        caplog: LogCaptureFixture,
    ) -> None:
        tokens = sign_in(emulator, http)
        before = len(emulator.requests)
        client = "client_id=emulator-client-id&client_secret=emulator-client-secret"
        body = f"{client}&token={tokens['access_token']}".encode()
        head = b"POST /oauth/revoke HTTP/1.1\r\n" + FORM + b"content-length: 5000\r\n\r\n"
        with connected(emulator.url) as sock:
            sock.sendall(head + body)
        until(lambda: 1 == len(server_of(emulator).connections))  # the client's own
        assert before == len(emulator.requests)
        assert 200 == http.get("/rest/v1.0/me", headers=bearer(tokens)).status_code
        assert "" == caplog.text

    def test_E5_a_body_that_breaks_off_does_not_use_up_a_fault(
        self, emulator: Emulator, http: httpx2.Client
    ) -> None:
        emulator.fault("POST /oauth/token", "status", status=503)
        with connected(emulator.url) as sock:
            sock.sendall(b"POST /oauth/token HTTP/1.1\r\n" + FORM + b"content-length: 9\r\n\r\nx")
            sock.shutdown(socket.SHUT_WR)
            assert b"" == all_of(sock)
        assert 503 == http.post("/oauth/token").status_code

    def test_E5_a_broken_body_is_refused_after_the_answers_before_it(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes
    ) -> None:
        broken = b"POST /oauth/token HTTP/1.1\r\n" + FORM + b"transfer-encoding: chunked\r\n\r\nno"
        received = exchange_bytes(emulator, HEAD + broken)
        assert received.startswith(b"HTTP/1.1 401 ")
        assert 1 == received.count(b"HTTP/1.1 400 Bad Request\r\n")

    @pytest.mark.parametrize("size", [1, 300_000])
    def test_E5_more_than_a_mebibyte_in_chunks_is_refused(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes, size: int
    ) -> None:
        chunk = b"%x\r\n%b\r\n" % (size, b"x" * size)
        head = b"POST /oauth/token HTTP/1.1\r\n" + FORM + b"transfer-encoding: chunked\r\n\r\n"
        received = exchange_bytes(emulator, head + chunk * (1_048_577 // size + 1) + b"0\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 413 ")
        assert [] == emulator.requests

    def test_E5_fields_after_a_body_are_bounded_and_say_nothing(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes
    ) -> None:
        head = b"POST /oauth/token HTTP/1.1\r\n" + FORM + b"transfer-encoding: chunked\r\n"
        head += b"connection: close\r\n\r\n1\r\na\r\n0\r\n"
        exchange_bytes(emulator, head + b"x-after: 1\r\n\r\n")
        assert "x-after" not in dict(emulator.requests[-1].request_headers)
        endless = b"x-after: " + b"y" * 12_000_000
        with connected(emulator.url) as sock:
            sock.sendall(head + endless)
            assert all_of(sock).startswith(b"HTTP/1.1 413 ")


class TestBeforeTheBody:
    @pytest.mark.parametrize(
        ("request_line", "fields", "status"),
        [
            (b"POST /oauth/token", b"content-length: 1048577", 413),
            (b"POST /oauth/token", b"content-length: 99999999999999999999", 400),
            (b"POST /oauth/token", b"content-length: 0000000000005000000000", 413),
            (b"POST /nothing", b"content-length: 5000000000", 404),
            (b"PUT /oauth/token", b"content-length: 9", 404),
            (b"POST /rest/v1.0/me", b"transfer-encoding: chunked", 401),
            (b"POST /_emulator/nothing", b"content-length: 9", 404),
            (b"DELETE /_emulator/people", b"content-length: 9", 405),
            (b"POST /_emulator/people", b"content-length: 9\r\norigin: http://a.example", 403),
            (b"POST /_emulator/people", b"content-length: 9\r\norigin: http://[", 403),
            (b"POST /_emulator/events", b"content-length: 9", 405),
        ],
    )
    def test_E5_what_is_refused_anyway_is_refused_before_its_body(
        self, emulator: Emulator, request_line: bytes, fields: bytes, status: int
    ) -> None:
        head = b" HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n" + fields + b"\r\n\r\n"
        with connected(emulator.url) as sock:
            sock.sendall(request_line + head)
            received = all_of(sock)
        assert received.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close\r\n" in received

    @pytest.mark.parametrize("length", [b"1048577", b"5000000000"])
    def test_E5_what_the_api_does_not_serve_is_not_waited_for_when_it_is_long(
        self, emulator: Emulator, me: tuple[bytes, dict[str, str]], length: bytes
    ) -> None:
        head = me[0].replace(b"GET /rest/v1.0/me", b"POST /rest/v1.0/projects/1/files")
        with connected(emulator.url) as sock:
            sock.sendall(head.replace(b"\r\n\r\n", b"\r\ncontent-length: %b\r\n\r\n" % length))
            assert all_of(sock).startswith(b"HTTP/1.1 501 ")

    def test_E5_another_host_is_refused_before_its_body(self, emulator: Emulator) -> None:
        with connected(emulator.url) as sock:
            sock.sendall(b"POST /login HTTP/1.1\r\nhost: a.example\r\ncontent-length: 9\r\n\r\n")
            assert all_of(sock).startswith(b"HTTP/1.1 421 ")

    @pytest.mark.parametrize("value", [b"100-continue", b"100-Continue", b"100-CONTINUE "])
    def test_E2_a_client_is_told_to_go_on_in_whatever_case_it_asks(
        self, emulator: Emulator, value: bytes
    ) -> None:
        head = b"POST /oauth/token HTTP/1.1\r\n" + FORM + b"content-length: 3\r\nexpect: %b\r\n\r\n"
        with connected(emulator.url) as sock:
            sock.sendall(head % value)
            assert sock.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"a=b")
            assert sock.recv(65_536).startswith(b"HTTP/1.1 4")

    def test_E2_http_1_0_is_not_told_to_go_on(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes
    ) -> None:
        head = b"POST /oauth/token HTTP/1.0\r\n" + FORM + b"content-length: 3\r\n"
        received = exchange_bytes(emulator, head + b"expect: 100-continue\r\n\r\na=b")
        assert received.startswith(b"HTTP/1.1 4")


class TestCrowds:
    def test_E5_whoever_waited_longest_for_its_client_makes_room(
        self, emulator: Emulator, http: httpx2.Client
    ) -> None:
        server_of(emulator).most = 3
        with ExitStack() as still_open:
            crowd = [still_open.enter_context(connected(emulator.url)) for _ in range(20)]
            for sock in crowd:
                sock.sendall(HEAD[:30])
            assert 200 == http.get("/").status_code
            assert all(is_closed(sock) for sock in crowd[:17])
            assert len(server_of(emulator).connections) <= 3

    def test_E5_who_is_being_answered_keeps_its_place_and_a_newcomer_is_told_why(
        self, emulator: Emulator, exchange_bytes: ExchangeBytes
    ) -> None:
        server_of(emulator).most = 2
        emulator.fault("/rest/*", "latency", seconds=1.5, times=None)
        with connected(emulator.url) as first, connected(emulator.url) as second:
            first.sendall(HEAD)
            second.sendall(HEAD)
            until(lambda: 2 == happened(emulator))
            for _ in range(5):
                received = exchange_bytes(emulator, HEAD)
                assert received.startswith(b"HTTP/1.1 503 ")
                assert b"no response of Procore's" in received
            assert first.recv(65_536).startswith(b"HTTP/1.1 401 ")
            assert second.recv(65_536).startswith(b"HTTP/1.1 401 ")

    def test_E5_a_client_that_does_not_read_makes_room(self, emulator: Emulator) -> None:
        server_of(emulator).most = 1
        emulator.fault("/rest/*", "huge", bytes=20_000_000)
        with connected(emulator.url) as silent:
            silent.sendall(HEAD)
            until(lambda: emulator.requests and server_of(emulator).waiting)
            with connected(emulator.url) as other:
                other.sendall(HEAD)
                assert other.recv(65_536).startswith(b"HTTP/1.1 401 ")

    def test_E5_a_client_that_does_not_read_the_end_makes_room_too(
        self, emulator: Emulator
    ) -> None:
        server = server_of(emulator)
        server.most = 1
        for size in (2_600_000, 3_000_000, 5_000_000, 6_000_000):
            emulator.fault("/rest/*", "huge", bytes=size)
            with connected(emulator.url) as silent:
                silent.sendall(HEAD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
                until(lambda: emulator.requests and (server.waiting or not server.connections))
                with connected(emulator.url) as other:
                    other.sendall(HEAD)
                    assert other.recv(65_536).startswith(b"HTTP/1.1 401 ")
            emulator.reset()

    def test_E5_many_long_bodies_at_once_leave_room_for_ordinary_ones(
        self, emulator: Emulator, http: httpx2.Client
    ) -> None:
        bodies(emulator)._held = 64 * 1_048_576
        form = {"content-type": "application/x-www-form-urlencoded"}
        assert 401 == http.post("/oauth/token", content=b"a=b", headers=form).status_code
        long = http.post("/oauth/token", content=b"a=" + b"b" * 900_000, headers=form)
        assert 503 == long.status_code
        assert 64 * 1_048_576 == bodies(emulator)._held


SERVING = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from procore_signin.emulator import Emulator
from procore_signin._emulator.process import serve
def fill():
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return held
def command():
    serve(port=0, announce=lambda url: print(url, flush=True))
def in_process():
    with Emulator.started() as emulator:
        print(emulator.url, flush=True)
        sys.stdin.readline()
        held = fill()
        print("full", flush=True)
        sys.stdin.readline()
        for one in held:
            os.close(one)
        sys.stdin.readline()
{way}()
"""


@contextmanager
def serving(way: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run an emulator with 64 descriptors in a process of its own, which must not complain."""
    program = SERVING.replace("{way}", way)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.terminate()
            _, complaints = process.communicate(timeout=10)
        assert "" == complaints


class TestUnderAnotherServer:
    @pytest.fixture
    def procore(self) -> LocalProcore:
        return LocalProcore()

    @pytest.fixture
    def app(self, procore: LocalProcore) -> EmulatorApp:
        return EmulatorApp(procore)

    @pytest.fixture
    def server(self, app: EmulatorApp) -> Iterator[uvicorn.Server]:
        mounted = Starlette(routes=[Mount("/procore", app)])
        server = uvicorn.Server(uvicorn.Config(mounted, port=0, lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run)
        thread.start()
        until(lambda: server.started)
        yield server
        server.force_exit = server.should_exit = True
        thread.join()

    @pytest.fixture
    def url(self, server: uvicorn.Server) -> str:
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    def test_E5_a_client_that_gives_up_is_forgotten(
        self, procore: LocalProcore, server: uvicorn.Server, url: str, caplog: LogCaptureFixture
    ) -> None:
        caplog.set_level("WARNING")
        procore.faults.add("/rest/*", "latency", seconds=0.2, times=None)
        procore.faults.add("/login", "drip", interval=0.01, times=None)
        procore.faults.add("/oauth/*", "drip", interval=3600, times=None)
        for path in (b"/rest/v1.0/me", b"/login", b"/oauth/token/info"):
            with connected(url) as sock:
                sock.sendall(b"GET /procore%b HTTP/1.1\r\nhost: localhost\r\n\r\n" % path)
                until(lambda: server.server_state.tasks)
        until(lambda: not server.server_state.connections and not server.server_state.tasks)
        assert "" == caplog.text

    def test_E5_a_body_that_breaks_off_or_crawls_does_nothing(
        self,
        procore: LocalProcore,
        app: EmulatorApp,
        server: uvicorn.Server,
        url: str,
        caplog: LogCaptureFixture,
    ) -> None:
        caplog.set_level("WARNING")
        head = b"POST /procore/oauth/token HTTP/1.1\r\n" + FORM + b"content-length: 9\r\n\r\nx"
        with connected(url) as sock:
            sock.sendall(head)
        until(lambda: not server.server_state.connections and not server.server_state.tasks)
        app.bodies.deadline = 0.05
        with connected(url) as sock:
            sock.sendall(head)
            assert all_of(sock).startswith(b"HTTP/1.1 408 ")
        assert [] == procore.journal.exchanges()
        assert "" == caplog.text

    def test_E5_what_is_refused_anyway_is_refused_before_its_body(self, url: str) -> None:
        head = b"POST /procore/oauth/token HTTP/1.1\r\n" + FORM + b"content-length: 2000000\r\n\r\n"
        with connected(url) as sock:
            sock.sendall(head)
            assert all_of(sock).startswith(b"HTTP/1.1 413 ")


class TestDescriptors:
    @pytest.mark.parametrize("way", ["command", "in_process"])
    def test_E5_with_64_descriptors_it_answers_beside_300_silent_clients(self, way: str) -> None:
        with serving(way) as (process, url), ExitStack() as still_open:
            for number in range(300):
                silent = still_open.enter_context(connected(url))
                silent.sendall(HEAD[: number % 40])
            assert 200 == httpx2.get(url, trust_env=False).status_code
            assert process.poll() is None

    def test_E5_after_time_without_any_descriptor_it_answers_again(self) -> None:
        with serving("in_process") as (process, url):
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            assert "full\n" == process.stdout.readline()
            with connected(url) as sock:
                sock.sendall(HEAD)
                process.stdin.write("\n")
                process.stdin.flush()
                assert sock.recv(65_536).startswith(b"HTTP/1.1 401 ")
