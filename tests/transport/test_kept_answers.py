"""What comes back of a response that cannot be asked for again: all that came."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from procore_signin._protocol.http_message import LARGEST_KEPT, HttpRequest, HttpResponse
from procore_signin.errors import ProcoreUnavailable, UnexpectedResponse

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
BODY = b'{"access_token":"fake-access","refresh_token":"fake-refresh"}'


def spending(url: str) -> HttpRequest:
    return HttpRequest("POST", url, (), b"grant_type=fake", repeatable=False)


def answering(data: bytes, then: str | None = None) -> Callable[[Any], None]:
    """Read the request, send `data`, and do `then` or close the connection."""

    def behave(connection: Any) -> None:
        connection.read_request()
        connection.send(data)
        if then is not None:
            getattr(connection, then)()

    return behave


BROKEN_OFF = {
    "closed before the end": answering(OK + b"content-length: 900\r\n\r\n" + BODY),
    "half closed": answering(OK + b"content-length: 900\r\n\r\n" + BODY, "half_close"),
    "silent before the end": answering(OK + b"content-length: 900\r\n\r\n" + BODY, "stay_silent"),
    "silent without a length": answering(OK + b"\r\n" + BODY, "stay_silent"),
    "closed within a chunk": answering(OK + CHUNKED + b"ff\r\n" + BODY),
    "closed after a chunk": answering(OK + CHUNKED + b"%x\r\n" % len(BODY) + BODY + b"\r\n"),
    "a chunk that is none": answering(OK + CHUNKED + b"%x\r\n" % len(BODY) + BODY + b"\r\nzz\r\n"),
}


@pytest.mark.parametrize("case", BROKEN_OFF)
def test_T9_a_success_that_breaks_off_is_brought_back_as_far_as_it_came(
    case: str, new_transport: Any, serve: Any
) -> None:
    response = new_transport(deadline=0.5).send(spending(serve(BROKEN_OFF[case]).url))
    assert (response.status, response.body, response.whole) == (200, BODY, False)


@pytest.mark.parametrize("case", BROKEN_OFF)
def test_T3_an_answer_that_can_be_asked_for_again_is_whole_or_none(
    case: str, new_transport: Any, serve: Any
) -> None:
    request = replace(spending(serve(BROKEN_OFF[case]).url), repeatable=True)
    with pytest.raises((ProcoreUnavailable, UnexpectedResponse)):
        new_transport(deadline=0.5).send(request)


def test_T9_a_success_of_which_nothing_came_is_ambiguous(new_transport: Any, serve: Any) -> None:
    server = serve(answering(OK + b"content-length: 9\r\n\r\n"))
    with pytest.raises(ProcoreUnavailable) as failure:
        new_transport().send(spending(server.url))
    assert failure.value.ambiguous is True


@pytest.mark.parametrize("status", [b"400 No", b"503 Busy"])
def test_T9_no_other_status_is_brought_back_in_part(
    status: bytes, new_transport: Any, serve: Any
) -> None:
    data = b"HTTP/1.1 " + status + b"\r\ncontent-length: 900\r\n\r\n" + BODY
    with pytest.raises(ProcoreUnavailable) as failure:
        new_transport().send(spending(serve(answering(data)).url))
    assert failure.value.ambiguous is True


@pytest.mark.parametrize("size", [65_537, 300_000])
@pytest.mark.parametrize("head", [b"", b"content-length: %d\r\n"])
def test_T9_a_success_larger_than_others_may_be_is_whole(
    size: int, head: bytes, new_transport: Any, serve: Any
) -> None:
    body = BODY + b" " * (size - len(BODY))
    data = OK + (head % size if head else b"") + b"\r\n" + body
    response = new_transport().send(spending(serve(answering(data)).url))
    assert (response.body, response.whole) == (body, True)


def test_T9_a_success_without_an_end_is_cut_and_the_rest_is_not_waited_for(
    new_transport: Any, serve: Any
) -> None:
    def behave(connection: Any) -> None:
        connection.read_request()
        connection.send(OK + b"\r\n" + BODY)
        connection.send_endlessly(b" " * 65_536)

    server = serve(behave)
    began = time.monotonic()
    response = new_transport().send(spending(server.url))
    assert time.monotonic() - began < 4
    assert (len(response.body), response.whole) == (LARGEST_KEPT, False)
    assert response.body.startswith(BODY)
    server.stop()
    assert server.bytes_sent < 20_000_000


@pytest.mark.parametrize("kind", ["sync", "async"])  # after a fork each has one of its own
def test_a_connection_is_kept_for_the_next_request(new_transport: Any, serve: Any) -> None:
    def behave(connection: Any) -> None:
        while connection.read_request():
            connection.send(OK + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)

    server, transport = serve(behave), new_transport()
    for _ in range(3):
        assert transport.send(spending(server.url)).body == BODY
    assert server.connections == 1


def test_T9_a_length_beside_chunks_cuts_nothing(new_transport: Any, serve: Any) -> None:
    chunks = b"content-length: 5\r\n" + CHUNKED + b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"
    assert new_transport().send(spending(serve(answering(OK + chunks)).url)).body == BODY


@pytest.mark.parametrize("encoding", ["gzip", "br", "x", "gzip, gzip"])
@pytest.mark.parametrize("body", [gzip.compress(BODY, mtime=0), BODY], ids=["packed", "plain"])
def test_T9_an_encoded_success_is_brought_back_as_it_is(
    encoding: str, body: bytes, new_transport: Any, serve: Any
) -> None:
    head = f"content-encoding: {encoding}\r\ncontent-length: {len(body)}\r\n\r\n"
    server = serve(answering(OK + head.encode() + body))
    named = {"content-encoding": encoding, "content-length": str(len(body))}
    assert HttpResponse(200, named, body) == new_transport().send(spending(server.url))


def test_T3_an_encoded_refusal_is_refused(new_transport: Any, serve: Any) -> None:
    data = b"HTTP/1.1 400 No\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}"
    with pytest.raises(UnexpectedResponse, match="is encoded"):
        new_transport().send(spending(serve(answering(data)).url))


def test_T9_a_length_that_is_too_short_cuts_this_answer_and_harms_no_other(
    new_transport: Any, serve: Any
) -> None:
    short = answering(OK + b"content-length: %d\r\n\r\n" % (len(BODY) - 1) + BODY, "stay_silent")
    server, transport = serve(short), new_transport()
    for _ in range(2):
        assert transport.send(spending(server.url)).body == BODY[:-1]
    assert server.connections == 2
