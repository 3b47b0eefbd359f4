"""Time and size: what a server cannot make a caller wait for, or hold in memory."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
import zlib
from typing import Any

import httpx2
import pytest
from tests.api.conftest import Answering, MakeAnswer, Serve
from tests.api.server import Server
from tests.api.world import ME, World

from procore_signin._api.http.body import Gunzip
from procore_signin._transport.deadline import Wait, waits
from procore_signin.api import (
    ApiOptions,
    ApiUnavailable,
    ApiUnreachable,
    UnexpectedAnswer,
)
from procore_signin.errors import ProcoreUnavailable

DEADLINE = 0.4
SHORT = ApiOptions(deadline=DEADLINE, timeout=0.3)
MUCH_LATER = 3.0
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n"


def drip(data: bytes) -> Any:
    """Return a behaviour that sends `data` a byte each 20 ms, and then bytes forever."""

    def behave(sock: socket.socket, server: Server) -> None:
        server.read(sock)
        for byte in data + b"x" * 10_000:
            if server.stopping.wait(0.02):
                return
            sock.sendall(bytes([byte]))

    return behave


def silent(sock: socket.socket, server: Server) -> None:
    server.read(sock)
    server.stopping.wait(30)


@pytest.mark.parametrize(
    "sent",
    [HEAD + b"\r\n", HEAD + b"x-long: ", b""],
    ids=["in the body", "in a header", "in the status line"],
)
def test_P5_a_dripping_answer_ends_at_the_deadline(world: World, serve: Serve, sent: bytes) -> None:
    def behave(sock: socket.socket, server: Server) -> None:
        server.read(sock)
        sock.sendall(sent)
        for _ in range(10_000):
            if server.stopping.wait(0.02):
                return
            sock.sendall(b"x")

    server = serve(behave)
    client = world.client(at=server.origin, options=SHORT)
    began = time.monotonic()

    with pytest.raises(ApiUnreachable, match="the time is up") as raised:
        client.get(ME)
    took = time.monotonic() - began
    assert DEADLINE <= took < MUCH_LATER
    assert raised.value.ambiguous


def test_P5_the_emulators_drip_ends_at_the_deadline(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "drip", bytes=1, interval=0.05)
    began = time.monotonic()

    with pytest.raises(ApiUnreachable):
        world.client(options=SHORT).get(ME)
    assert time.monotonic() - began < MUCH_LATER


def test_P5_the_deadline_holds_also_for_who_reads_the_parts(world: World, serve: Serve) -> None:
    server = serve(drip(HEAD + b"\r\n"))
    began = time.monotonic()

    with pytest.raises(ApiUnreachable):
        list(world.client(at=server.origin, options=SHORT).read_parts(ME))
    assert time.monotonic() - began < MUCH_LATER


def test_P5_silence_ends_before_the_deadline(world: World, serve: Serve) -> None:
    server = serve(silent)
    options = ApiOptions(deadline=20, timeout=0.2)
    began = time.monotonic()

    with pytest.raises(ApiUnreachable):
        world.client(at=server.origin, options=options).get(ME)
    assert time.monotonic() - began < MUCH_LATER


def test_P5_a_calls_own_timeout_stands_in_place_of_the_clients(world: World, serve: Serve) -> None:
    server = serve(silent)
    began = time.monotonic()

    with pytest.raises(ApiUnreachable):
        world.client(at=server.origin).get(ME, timeout=0.2)
    assert time.monotonic() - began < MUCH_LATER


@pytest.mark.parametrize("own", [None, 60])
def test_P5_no_timeout_of_a_call_outlasts_the_deadline(
    world: World, serve: Serve, own: float | None
) -> None:
    server = serve(silent)
    began = time.monotonic()

    with pytest.raises(ApiUnreachable):
        world.client(at=server.origin, options=SHORT).get(ME, timeout=own)
    assert time.monotonic() - began < MUCH_LATER


def test_P5_a_server_that_does_not_read_ends_at_the_deadline(world: World, serve: Serve) -> None:
    read_slowly = threading.Event()

    def behave(_: socket.socket, server: Server) -> None:
        read_slowly.set()
        server.stopping.wait(30)

    server = serve(behave)
    began = time.monotonic()

    with pytest.raises(ApiUnreachable) as raised:
        world.client(at=server.origin, options=SHORT).request("POST", ME, content=b"x" * 50_000_000)
    assert read_slowly.is_set()
    assert time.monotonic() - began < MUCH_LATER
    assert raised.value.ambiguous


def test_P5_a_tls_handshake_that_never_ends_ends_at_the_deadline(
    world: World, serve: Serve
) -> None:
    server = serve(drip(b""))
    client = world.client(
        at=f"https://127.0.0.1:{server.port}", options=SHORT, tls=ssl.create_default_context()
    )
    began = time.monotonic()

    with pytest.raises(ApiUnreachable, match="was not sent") as raised:
        client.get(ME)
    assert time.monotonic() - began < MUCH_LATER
    assert not raised.value.ambiguous


def test_P5_a_connection_is_not_used_again_after_a_deadline(
    world: World, serve: Serve, answer: MakeAnswer
) -> None:
    first = threading.Event()

    def behave(sock: socket.socket, server: Server) -> None:
        while server.read(sock):
            if first.is_set():
                sock.sendall(answer(200, b"[2]"))
            else:
                first.set()
                sock.sendall(HEAD + b"\r\n")
                server.stopping.wait(1)
                return

    server = serve(behave)
    client = world.client(at=server.origin, options=SHORT)

    with pytest.raises(ApiUnreachable):
        client.get(ME)
    assert [2] == client.get(ME).json()
    assert server.connections == 2


def test_connections_are_kept_and_shared_by_the_clients_of_a_front_door(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    server = answering(answer(200, b"[]"))
    for _ in range(3):
        world.client(at=server.origin).get(ME)

    assert (1, 3) == (server.connections, len(server.requests))


def test_P5_an_answer_that_is_too_large_is_refused(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "huge", bytes=2_000_000)

    with pytest.raises(UnexpectedAnswer, match="larger than 1000000 bytes") as raised:
        world.client(options=ApiOptions(max_body=1_000_000)).get(ME)
    assert (200, "GET", ME) == (raised.value.status, raised.value.method, raised.value.path)


@pytest.mark.parametrize("declared", [True, False])
def test_P5_a_body_without_an_end_is_cut_off(world: World, serve: Serve, *, declared: bool) -> None:
    sent = 0

    def behave(sock: socket.socket, server: Server) -> None:
        nonlocal sent
        server.read(sock)
        length = b"content-length: 900000000000\r\n" if declared else b""
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
        while not server.stopping.is_set() and sent < 1 << 30:
            sock.sendall(b"x" * 65_536)
            sent += 65_536

    server = serve(behave)

    with pytest.raises(UnexpectedAnswer, match="larger than"):
        world.client(at=server.origin, options=ApiOptions(max_body=100_000)).get(ME)
    assert sent < 64 * 1024 * 1024  # what fits into the buffers of the system


def test_a_body_of_exactly_the_limit_is_taken(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    server = answering(answer(200, b"x" * 1000))
    options = ApiOptions(max_body=1000)

    assert world.client(at=server.origin, options=options).get(ME).content == b"x" * 1000


def test_a_head_request_may_tell_of_a_large_body(world: World, serve: Serve) -> None:
    def behave(sock: socket.socket, server: Server) -> None:
        server.read(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n")

    client = world.client(at=serve(behave).origin, options=ApiOptions(max_body=10))

    assert client.request("HEAD", ME).headers["content-length"] == "5000"


def test_lists_travel_compressed(world: World, answering: Answering, answer: MakeAnswer) -> None:
    body = b"[" + b"1," * 50_000 + b"1]"
    server = answering(answer(200, gzip.compress(body), content_encoding="gzip"))
    response = world.client(at=server.origin).get(ME)

    assert body == response.content
    assert "content-encoding" not in response.headers
    assert b"accept-encoding: gzip\r\n" in server.requests[0].lower()


def test_P5_a_compressed_bomb_is_cut_off_at_what_it_becomes(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    bomb = gzip.compress(bytes(200_000_000))
    assert len(bomb) < 1_000_000
    server = answering(answer(200, bomb, content_encoding="gzip"))

    with pytest.raises(UnexpectedAnswer, match="larger than 1000000 bytes"):
        world.client(at=server.origin, options=ApiOptions(max_body=1_000_000)).get(ME)


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "x"])
def test_P5_an_encoding_that_nobody_asked_for_is_refused(
    world: World, answering: Answering, answer: MakeAnswer, encoding: str
) -> None:
    server = answering(answer(200, b"x", content_encoding=encoding))

    with pytest.raises(UnexpectedAnswer, match="was not asked for"):
        world.client(at=server.origin).get(ME, headers={"accept-encoding": encoding})


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"x" * 1000, mtime=0)[:-9]])
def test_P5_a_compressed_body_that_is_damaged_is_refused(
    world: World, answering: Answering, answer: MakeAnswer, body: bytes
) -> None:
    server = answering(answer(200, body, content_encoding="gzip"))

    with pytest.raises(UnexpectedAnswer, match=r"not gzip|cut off"):
        world.client(at=server.origin).get(ME)


def test_a_compressed_body_may_come_in_any_pieces_and_members() -> None:
    plain = bytes(range(256)) * 20_000
    packed = gzip.compress(plain[:3_000_000]) + gzip.compress(plain[3_000_000:])
    for size in (1, 977, len(packed)):
        gunzip = Gunzip()
        pieces = [
            piece
            for start in range(0, len(packed), size)
            for piece in gunzip.take(packed[start : start + size])
        ]
        assert plain == b"".join(pieces)
        assert gunzip.whole
        assert max(map(len, pieces)) <= 1024 * 1024


def test_nothing_is_missing_from_a_body_that_never_began() -> None:
    assert Gunzip().whole


def test_what_is_no_gzip_is_noticed() -> None:
    with pytest.raises(zlib.error):
        list(Gunzip().take(b"plain"))


def test_P5_an_answer_that_breaks_off_is_noticed(world: World) -> None:
    world.emulator.fault(f"GET {ME}", "truncate", keep=10)

    with pytest.raises(ApiUnreachable, match="did not come, or only part of it") as raised:
        world.client().get(ME)
    assert raised.value.ambiguous


@pytest.mark.parametrize("reset", [True, False])
def test_P5_a_connection_that_is_cut_is_ambiguous(world: World, *, reset: bool) -> None:
    world.emulator.fault(f"POST {ME}", "drop-after-commit", reset=reset)

    with pytest.raises(ApiUnreachable) as raised:
        world.client().request("POST", ME)
    assert raised.value.ambiguous
    assert 2 == len(world.asked(ME))  # the sign-in's own, and one


def test_O1_no_error_of_the_library_is_behind_one_of_ours(world: World) -> None:
    """A traceback would show what it knows of the request."""
    world.emulator.fault(f"GET {ME}", "drop-after-commit")

    with pytest.raises(ApiUnreachable) as raised:
        world.client().get(ME)
    assert (raised.value.__context__, raised.value.__cause__) == (None, None)


def test_a_server_that_is_down_is_not_ambiguous(world: World, free_port: Any) -> None:
    client = world.client(at=f"http://127.0.0.1:{free_port()}")

    with pytest.raises(ApiUnreachable, match="was not sent") as raised:
        client.get(ME)
    assert not raised.value.ambiguous
    assert isinstance(raised.value, ProcoreUnavailable | ApiUnavailable)


def test_who_knows_httpx2_only_can_catch_it_too(world: World, free_port: Any) -> None:
    client = world.client(at=f"http://127.0.0.1:{free_port()}")

    with pytest.raises(httpx2.TransportError) as raised:
        client.get(ME)
    assert raised.value.request.url.path == ME


@pytest.mark.parametrize("sent", [b"SSH-2.0-fake\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 200_000])
def test_P5_an_answer_that_is_not_http_is_refused(world: World, serve: Serve, sent: bytes) -> None:
    def behave(sock: socket.socket, server: Server) -> None:
        server.read(sock)
        sock.sendall(sent)

    with pytest.raises(ApiUnreachable):
        world.client(at=serve(behave).origin).get(ME)


def test_P5_no_more_connections_than_the_limit(
    world: World, serve: Serve, answer: MakeAnswer
) -> None:
    """A hundred and twenty callers, none answered before a hundred have come."""
    barrier = threading.Barrier(100, timeout=20)
    served = 0
    lock = threading.Lock()

    def behave(sock: socket.socket, server: Server) -> None:
        nonlocal served
        while server.read(sock):
            with lock:
                served += 1
                turn = served
            if 1 < turn <= 101:
                barrier.wait()
            sock.sendall(answer(200, b"[]"))

    server = serve(behave)
    client = world.client(at=server.origin)
    client.get(ME)
    responses = client.together(120, ME)

    assert [200] * 120 == [response.status_code for response in responses]
    assert server.connections <= 100


@pytest.mark.parametrize(
    "wrong",
    [
        {"deadline": 0},
        {"timeout": -1},
        {"max_body": 0},
        {"patience": -1},
        {"retries": -1},
        {"deadline": float("nan")},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ApiOptions(**wrong)  # type: ignore[arg-type]


def test_a_wait_shrinks_as_the_deadline_comes_closer() -> None:
    now = [100.0]
    wait = waits({"read": 5.0}, 12.0, lambda: now[0])["read"]

    assert 5.0 == wait.left() == float(wait)
    now[0] = 109.0
    assert 3.0 == wait.left()
    now[0] = 113.0
    assert -1.0 == wait.left()


def test_a_wait_without_a_limit_of_its_own_has_that_of_the_deadline() -> None:
    assert 12.0 == Wait(None, 112.0, lambda: 100.0).left()


def test_F1_an_answer_that_came_before_it_was_asked_for_is_nobodys(
    world: World, answering: Answering, answer: MakeAnswer
) -> None:
    """Two answers to one request would shift all that follow on the connection by one."""
    server = answering(answer(200, b"one") + answer(200, b"of no one"), answer(200, b"two"))
    client = world.client(at=server.origin)

    assert client.get(ME).text == "one"
    with pytest.raises(ApiUnreachable, match="was there before the request was sent") as raised:
        client.get(ME)
    assert raised.value.ambiguous
    assert client.get(ME).text == "two"
    assert server.connections == 2
