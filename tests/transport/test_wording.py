"""The sentences of hyper and rustls that `_transport/pyreqwest.py` compares, over real sockets.

pyreqwest has one class, `ConnectError`, for a connection that was never made and for one that was
lost, and one, `BodyDecodeError`, for a body that was cut off and for one that is not HTTP. The
outcomes are tested elsewhere; here a new wording fails by its name.
"""

from __future__ import annotations

import socket
from importlib.metadata import version
from typing import Any

import pytest
from pyreqwest.client import SyncClientBuilder
from pyreqwest.exceptions import BodyDecodeError, ConnectError, DetailedPyreqwestError

from procore_signin._transport import pyreqwest as compared
from procore_signin._transport.limits import MAX_BODY, USER_AGENT

OK = b"HTTP/1.1 200 OK\r\n"
CUT = OK + b"content-length: 9\r\n\r\n{}"


def failure(url: str, certificates: bytes | None = None) -> DetailedPyreqwestError:
    """Return pyreqwest's own error about a request, with our options."""
    rules = compared._Rules(5.0, MAX_BODY, USER_AGENT, certificates)
    with (
        rules.configure(SyncClientBuilder()).build() as client,
        pytest.raises(DetailedPyreqwestError) as failed,
        client.post(url).body_bytes(b"{}").build_streamed() as response,
    ):
        response.body_reader.read(MAX_BODY)
    return failed.value


def causes(error: DetailedPyreqwestError) -> list[str]:
    return [cause["message"] for cause in error.details["causes"] or ()]


def changed(error: DetailedPyreqwestError) -> str:
    """Say what to do when a sentence is another one."""
    return (
        f"pyreqwest {version('pyreqwest')} says {causes(error)}: compare that in "
        "_transport/pyreqwest.py, then raise the upper bound in pyproject.toml"
    )


def answering(data: bytes, end: str) -> Any:
    def behave(connection: Any) -> None:
        connection.read_request()
        connection.send(data)
        getattr(connection, end)()

    return behave


def test_hyper_says_which_connections_were_never_made(serve: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # no one listens
        never = failure(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    lost = failure(serve(answering(b"", "half_close")).url)

    assert {ConnectError} == {type(never), type(lost)}, "there is a typed way now: use it"
    assert compared._NOT_CONNECTED in causes(never), changed(never)
    assert compared._NOT_CONNECTED not in causes(lost), changed(lost)


def test_hyper_says_which_bodies_were_cut_off(serve: Any) -> None:
    cut = failure(serve(answering(CUT, "half_close")).url)
    chunk = OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}"
    odd = failure(serve(answering(chunk, "half_close")).url)

    assert {BodyDecodeError} == {type(cut), type(odd)}, "there is a typed way now: use it"
    assert causes(cut)[-1].startswith(compared._CUT_OFF[0]), changed(cut)
    assert not causes(odd)[-1].startswith(compared._CUT_OFF), changed(odd)


def test_rustls_says_which_connections_ended_without_a_goodbye(
    serve: Any, authority: Any, loopback_tls: Any
) -> None:
    server = serve(answering(OK + b"\r\n{}", "cut"), loopback_tls)
    cut = failure(server.url, authority.cert_pem.bytes())

    assert causes(cut)[-1].startswith(compared._CUT_OFF[1]), changed(cut)
