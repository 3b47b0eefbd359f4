"""What each thing that can happen to a request tells the caller to do."""

from __future__ import annotations

import gzip
import socket
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin.errors import ProcoreSignInError, ProcoreUnavailable, UnexpectedResponse

OK = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(bytes(50_000_000))
"""50 kB that were to become 50 MB."""


def post(url: str) -> HttpRequest:
    return HttpRequest("POST", url, (("accept", "application/json"),), b"grant_type=fake")


def answering(data: bytes) -> Callable[[Any], None]:
    """Read the request, send `data`, close the connection."""

    def behave(connection: Any) -> None:
        connection.read_request()
        connection.send(data)

    return behave


def then(verb: str, data: bytes = b"") -> Callable[[Any], None]:
    """Read the request, send `data`, give it time to arrive, do `verb`."""

    def behave(connection: Any) -> None:
        connection.read_request()
        connection.send(data)
        time.sleep(0.05)  # a reset overtakes data that was not yet read
        getattr(connection, verb)()

    return behave


def test_T3_nothing_was_sent_when_the_connection_is_refused(new_transport: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # no one else can have this port, and no one listens
        port = taken.getsockname()[1]
        with pytest.raises(ProcoreUnavailable, match="was not sent: Connection refused") as failure:
            new_transport().send(post(f"http://127.0.0.1:{port}/"))
    assert failure.value.ambiguous is False
    assert failure.value.hint is not None


def test_T3_nothing_was_sent_when_the_name_does_not_resolve(new_transport: Any) -> None:
    with pytest.raises(ProcoreUnavailable, match="was not sent") as failure:
        new_transport().send(post("http://nowhere.invalid/"))
    assert failure.value.ambiguous is False


def test_T3_nothing_was_sent_when_connecting_takes_too_long(new_transport: Any) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        # Fill the queue of connections that no one accepts. The first has its place for certain.
        waiting = [socket.create_connection(address), *(socket.socket() for _ in range(3))]
        for each in waiting[1:]:
            each.setblocking(False)  # noqa: FBT003 (the standard library's signature)
            each.connect_ex(address)
        with pytest.raises(ProcoreUnavailable, match="was not sent") as failure:
            new_transport(deadline=0.5).send(post(f"http://127.0.0.1:{address[1]}/"))
        for each in waiting:
            each.close()
    assert failure.value.ambiguous is False


def test_T3_nothing_was_sent_when_the_server_does_not_speak_TLS(
    new_transport: Any, serve: Any
) -> None:
    server = serve(lambda connection: connection.stay_silent())
    with pytest.raises(ProcoreUnavailable, match="was not sent") as failure:
        new_transport(deadline=2.0).send(post(server.url.replace("http:", "https:")))
    assert failure.value.ambiguous is False


PERHAPS_CARRIED_OUT = {
    "closed before the response": answering(b""),
    "closed within the status line": answering(b"HTTP/1.1 2"),
    "closed within the head": answering(OK + b"content-len"),
    "reset before the response": then("reset"),
    "reset within the head": then("reset", OK),
    "closed within the body": answering(OK + b"content-length: 200\r\n\r\n{}"),
    "half closed within the body": then("half_close", OK + b"content-length: 200\r\n\r\n{}"),
    "reset within the body": then("reset", OK + b"content-length: 200\r\n\r\n{}"),
    "reset within a body of no length": then("reset", OK + b"\r\n{}"),
    "closed within a chunk": answering(OK + b"transfer-encoding: chunked\r\n\r\n5\r\n{}"),
    "closed after a chunk": answering(OK + b"transfer-encoding: chunked\r\n\r\n2\r\n{}"),
    "closed before the last chunk": answering(
        OK + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"
    ),
    "closed within a chunk's size": answering(OK + b"transfer-encoding: chunked\r\n\r\n5"),
}


@pytest.mark.parametrize("case", PERHAPS_CARRIED_OUT)
def test_T3_a_request_whose_answer_was_lost_may_have_been_carried_out(
    case: str, new_transport: Any, serve: Any
) -> None:
    with pytest.raises(ProcoreUnavailable) as failure:
        new_transport().send(post(serve(PERHAPS_CARRIED_OUT[case]).url))
    assert failure.value.ambiguous is True
    assert failure.value.hint is not None


@pytest.mark.parametrize("data", [b"", OK + b"\r\n{}", OK + b"content-length: 9\r\n\r\n{}"])
def test_T3_a_TLS_connection_without_a_goodbye_may_have_lost_the_rest(
    data: bytes, new_transport: Any, serve: Any, authority: Any, loopback_tls: Any
) -> None:
    server = serve(then("cut", data), loopback_tls)
    transport = new_transport(root_certificates=authority.cert_pem.bytes())
    with pytest.raises(ProcoreUnavailable) as failure:
        transport.send(post(server.url))
    assert failure.value.ambiguous is True


def dripping_head(connection: Any) -> None:
    connection.read_request()
    connection.drip(OK + b"x-a: " + b"y" * 1000)


def dripping_body(connection: Any) -> None:
    connection.read_request()
    connection.send(OK + b"content-length: 1000\r\n\r\n")
    connection.drip(b"x" * 1000)


def endless_interim_answers(connection: Any) -> None:
    connection.read_request()
    for _ in range(1000):
        connection.drip(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize(
    "behaviour",
    [
        then("stay_silent"),
        then("stay_silent", OK),
        then("stay_silent", OK + b"content-length: 9\r\n\r\n{}"),
        dripping_head,
        dripping_body,
        endless_interim_answers,
    ],
)
def test_T3_a_slow_or_dripping_answer_ends_at_the_deadline(
    behaviour: Any, new_transport: Any, serve: Any
) -> None:
    url = serve(behaviour).url
    transport = new_transport(deadline=0.2)
    started = time.monotonic()
    with pytest.raises(ProcoreUnavailable, match="in time") as failure:
        transport.send(post(url))
    assert 0.15 < time.monotonic() - started < 1.5
    assert failure.value.ambiguous is True


NOT_HTTP = {
    "another protocol": b"220 mail.example ESMTP\r\n",
    "no status line": b"hello",
    "a version of its own": b"HTP/9 200\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 99 Odd\r\n\r\n",
    "a status in words": b"HTTP/1.1 OK\r\n\r\n",
    "a NUL in a header": OK + b"content-length: 0\r\nx-a: \x00\r\n\r\n",
    "a header without a colon": OK + b"content-length\r\n\r\n",
    "two lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
    "a length in words": OK + b"content-length: two\r\n\r\n{}",
    "a length below nothing": OK + b"content-length: -2\r\n\r\n{}",
    "a chunk size in words": OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}",
    "a chunk without an end": OK + b"transfer-encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n",
    "ten thousand headers": OK + b"x-a: y\r\n" * 10_000 + b"\r\n",
}
CHUNK_BEYOND_ALL = OK + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n{}"


@pytest.mark.parametrize("case", NOT_HTTP)
def test_T7_an_answer_that_is_not_HTTP_is_unexpected(
    case: str, new_transport: Any, serve: Any
) -> None:
    with pytest.raises(UnexpectedResponse, match="is not HTTP") as refusal:
        new_transport().send(post(serve(answering(NOT_HTTP[case])).url))
    assert refusal.value.hint is not None


@pytest.mark.parametrize("value", [b"\xe9", "\u00e9".encode(), b"a\x80b", b"\xff" * 300])
def test_T9_a_header_that_is_not_ASCII_is_left_out_and_harms_no_answer(
    value: bytes, new_transport: Any, serve: Any
) -> None:
    data = OK + b"content-length: 2\r\nx-a: " + value + b"\r\nX-B: 1\r\nx-b: 2\r\n\r\n{}"
    expected = HttpResponse(200, {"content-length": "2", "x-b": "2"}, b"{}")
    assert expected == new_transport().send(post(serve(answering(data)).url))


def test_T9_a_header_of_two_lines_harms_no_answer(new_transport: Any, serve: Any) -> None:
    data = OK + b"content-length: 2\r\nx-a: one\r\n two\r\nx-b: 1\r\n\r\n{}"
    answer = new_transport().send(post(serve(answering(data)).url))
    assert (answer.status, answer.headers["x-b"], answer.body) == (200, "1", b"{}")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_T7_a_chunk_beyond_all_is_unexpected(new_transport: Any, serve: Any) -> None:
    with pytest.raises(UnexpectedResponse, match="is not HTTP"):
        new_transport().send(post(serve(answering(CHUNK_BEYOND_ALL)).url))


@pytest.mark.parametrize("kind", ["sync, after a fork", "async, after a fork"])
def test_T7_F2_a_chunk_beyond_all_is_one_that_was_cut_off(new_transport: Any, serve: Any) -> None:
    with pytest.raises(ProcoreUnavailable) as failure:
        new_transport().send(post(serve(answering(CHUNK_BEYOND_ALL)).url))
    assert failure.value.ambiguous is True


@pytest.mark.parametrize("kind", ["sync, after a fork", "async, after a fork"])
def test_F2_a_header_beyond_ascii_costs_no_answer(new_transport: Any, serve: Any) -> None:
    data = OK + b"content-length: 2\r\nx-a: \xe9\r\n\r\n{}"
    answer = new_transport().send(post(serve(answering(data)).url))
    assert HttpResponse(200, {"content-length": "2"}, b"{}") == answer


def test_T3_a_head_without_an_end_is_refused_early(new_transport: Any, serve: Any) -> None:
    def behave(connection: Any) -> None:
        connection.read_request()
        connection.send(OK)
        connection.send_endlessly(b"x-a: " + b"y" * 8000 + b"\r\n")

    server = serve(behave)
    with pytest.raises(UnexpectedResponse, match="is not HTTP"):
        new_transport().send(post(server.url))
    server.stop()
    assert server.bytes_sent < 20_000_000


@pytest.mark.parametrize(
    ("head", "data", "rule"),
    [
        (b"", b"x" * 65_536, "is larger than 65536 bytes"),
        (b"content-length: 1073741824\r\n", b"x" * 65_536, "is larger than 65536 bytes"),
        (
            b"transfer-encoding: chunked\r\n",
            b"ffff\r\n" + b"x" * 65_535 + b"\r\n",
            "is larger than 65536 bytes",
        ),
        (b"content-encoding: gzip\r\n", BOMB, "is encoded"),
    ],
    ids=["no length", "a gigabyte", "chunks", "gzip"],
)
def test_T3_a_body_without_an_end_is_refused_early(
    head: bytes, data: bytes, rule: str, new_transport: Any, serve: Any
) -> None:
    def behave(connection: Any) -> None:
        connection.read_request()
        connection.send(OK + head + b"\r\n")
        connection.send_endlessly(data)

    server = serve(behave)
    with pytest.raises(UnexpectedResponse, match=rule):
        new_transport().send(post(server.url))
    server.stop()
    # What was never received cannot fill the memory. This counts the system's buffers as well.
    assert server.bytes_sent < 20_000_000


@pytest.mark.parametrize("head", [b"", b"content-length: %d\r\n"])
def test_T3_a_body_of_the_cap_is_read_and_one_byte_more_is_refused(
    head: bytes, new_transport: Any, serve: Any
) -> None:
    def body_of(size: int) -> Any:
        length = head % size if head else b""
        return serve(answering(OK + length + b"\r\n" + b"x" * size)).url

    transport = new_transport(max_body=1000)
    assert transport.send(post(body_of(1000))).body == b"x" * 1000
    with pytest.raises(UnexpectedResponse, match="is larger than 1000 bytes"):
        transport.send(post(body_of(1001)))


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "zstd", "deflate", "x", "gzip, gzip"])
def test_T3_an_encoded_body_is_refused_and_never_decoded(
    encoding: str, new_transport: Any, serve: Any
) -> None:
    data = OK + f"content-encoding: {encoding}\r\ncontent-length: {len(BOMB)}\r\n\r\n".encode()
    with pytest.raises(UnexpectedResponse, match="is encoded") as refusal:
        new_transport().send(post(serve(answering(data + BOMB)).url))
    assert refusal.value.hint is not None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (OK + b"content-length: 2\r\n\r\n{}", HttpResponse(200, {"content-length": "2"}, b"{}")),
        (OK + b"\r\n{}", HttpResponse(200, {}, b"{}")),
        (b"HTTP/1.0 200\r\n\r\n{}", HttpResponse(200, {}, b"{}")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", HttpResponse(204, {}, b"")),
        (
            OK + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            HttpResponse(200, {"transfer-encoding": "chunked"}, b"{}"),
        ),
        (
            OK + b"X-A: 1\r\nx-a: 2\r\nContent-Encoding: Identity\r\n\r\n",
            HttpResponse(200, {"x-a": "2", "content-encoding": "Identity"}, b""),
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 2\r\n\r\n{}",
            HttpResponse(200, {"content-length": "2"}, b"{}"),
        ),
        (
            b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\ncontent-length: 0\r\n\r\n",
            HttpResponse(503, {"retry-after": "7", "content-length": "0"}, b""),
        ),
        (b"HTTP/1.1 999 Odd\r\n\r\nx", HttpResponse(999, {}, b"x")),
    ],
)
def test_every_whole_answer_is_returned_whatever_its_status(
    data: bytes, expected: HttpResponse, new_transport: Any, serve: Any
) -> None:
    assert expected == new_transport().send(post(serve(answering(data)).url))


@pytest.mark.parametrize(
    "behaviour",
    [
        then("reset"),
        then("reset", OK + b"content-length: 999\r\n\r\nc4n4ry"),
        answering(b"c4n4ry"),
        answering(OK + b"x-a: \x00c4n4ry\r\n\r\n"),
        answering(OK + b"content-encoding: gzip\r\nset-cookie: c4n4ry\r\n\r\nc4n4ry"),
        answering(OK + b"set-cookie: c4n4ry\r\n\r\n" + b"c4n4ry" * 20_000),
    ],
)
def test_O1_no_failure_shows_what_was_sent_or_received(
    behaviour: Any, new_transport: Any, serve: Any
) -> None:
    request = HttpRequest(
        "POST",
        f"{serve(behaviour).url}oauth/token?code=c4n4ry",
        (("authorization", "Bearer c4n4ry"),),
        b"client_secret=c4n4ry",
    )
    transport = new_transport()
    del serve, behaviour
    with pytest.raises(ProcoreSignInError) as failure:
        transport.send(request)
    error = failure.value
    shown = "".join(
        traceback.TracebackException.from_exception(error, capture_locals=True).format()
    ) + repr((error.args, vars(error), error.__context__))
    assert "/oauth/token" in shown
    assert "c4n4ry" not in shown
