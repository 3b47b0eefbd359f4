"""What leaves this machine: what was asked for, where it was asked to go, and nothing else."""

from __future__ import annotations

import ssl
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from procore_signin._protocol.http_message import HttpRequest
from procore_signin._transport import limits
from procore_signin.errors import ProcoreUnavailable

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def get(url: str) -> HttpRequest:
    return HttpRequest("GET", url)


def answering(data: bytes = ANSWER) -> Callable[[Any], None]:
    """Answer every request of a connection with `data`."""

    def behave(connection: Any) -> None:
        while connection.read_request():
            connection.send(data)

    return behave


def test_T1_T3_a_request_is_sent_as_it_is_and_asks_for_no_encoding(
    new_transport: Any, serve: Any
) -> None:
    server = serve(answering())
    new_transport().send(
        HttpRequest(
            "POST",
            f"{server.url}oauth/token?a=%20b",
            (("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")),
            b"grant_type=refresh_token",
        )
    )
    [request] = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    assert first == b"POST /oauth/token?a=%20b HTTP/1.1"
    assert {
        b"accept: application/json",
        b"accept-encoding: identity",
        b"content-length: 24",
        b"content-type: application/x-www-form-urlencoded",
        b"host: 127.0.0.1:%d" % server.port,
        b"user-agent: procore-signin",
    } == {line.lower() for line in headers}
    assert body == b"grant_type=refresh_token"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_T2_P3_a_redirect_is_returned_and_its_target_hears_nothing(
    status: int, new_transport: Any, serve: Any
) -> None:
    target = serve(answering())
    location = f"{target.url}stolen"
    server = serve(
        answering(
            b"HTTP/1.1 %d Moved\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n"
            % (status, location.encode())
        )
    )
    response = new_transport().send(
        HttpRequest("POST", server.url, (("authorization", "Bearer fake"),), b"code=fake")
    )
    assert (status, location) == (response.status, response.headers["location"])
    assert (server.connections, target.connections) == (1, 0)


def test_T2_proxies_and_netrc_of_the_environment_are_ignored(
    new_transport: Any, serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy, server = serve(answering()), serve(answering())
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv(name.upper(), proxy.url)
    for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text("machine 127.0.0.1 login fake password fake\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    new_transport().send(get(server.url))
    assert (proxy.connections, server.connections) == (0, 1)
    assert b"authorization" not in server.requests[0].lower()


def test_T2_cookies_of_the_server_are_forgotten(new_transport: Any, serve: Any) -> None:
    server = serve(
        answering(b"HTTP/1.1 200 OK\r\nset-cookie: a=b; path=/\r\ncontent-length: 0\r\n\r\n")
    )
    transport = new_transport()
    transport.send(get(server.url))
    transport.send(get(server.url))
    assert len(server.requests) == 2
    assert b"cookie" not in b"".join(server.requests).lower()


def test_T2_a_certificate_of_an_unknown_authority_is_refused_before_anything_is_sent(
    new_transport: Any, serve: Any, loopback_tls: ssl.SSLContext
) -> None:
    server = serve(answering(), loopback_tls)
    with pytest.raises(ProcoreUnavailable, match=r"was not sent.*certificate") as failure:
        new_transport().send(get(server.url))
    assert failure.value.ambiguous is False
    assert server.requests == []


def tls_for(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_T2_a_certificate_for_another_name_is_refused_before_anything_is_sent(
    new_transport: Any, serve: Any, authority: trustme.CA
) -> None:
    server = serve(answering(), tls_for(authority, "login.procore.example"))
    with pytest.raises(ProcoreUnavailable, match=r"was not sent.*certificate") as failure:
        new_transport(root_certificates=authority.cert_pem.bytes()).send(get(server.url))
    assert failure.value.ambiguous is False
    assert server.requests == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_T2_TLS_of_today_under_a_trusted_authority_is_used(
    version: ssl.TLSVersion, new_transport: Any, serve: Any, authority: trustme.CA
) -> None:
    context = tls_for(authority, "127.0.0.1")
    context.minimum_version = context.maximum_version = version
    server = serve(answering(), context)
    transport = new_transport(root_certificates=authority.cert_pem.bytes())
    assert transport.send(get(server.url)).body == b"{}"


def test_T2_TLS_1_1_is_refused_before_anything_is_sent(
    new_transport: Any, serve: Any, authority: trustme.CA
) -> None:
    context = tls_for(authority, "127.0.0.1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is deprecated is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    server = serve(answering(), context)
    with pytest.raises(ProcoreUnavailable, match="was not sent") as failure:
        new_transport(root_certificates=authority.cert_pem.bytes()).send(get(server.url))
    assert failure.value.ambiguous is False
    assert server.requests == []


def test_a_bundle_of_authorities_is_trusted_whole(
    new_transport: Any, serve: Any, authority: trustme.CA, loopback_tls: ssl.SSLContext
) -> None:
    bundle = trustme.CA().cert_pem.bytes() + authority.cert_pem.bytes()
    server = serve(answering(), loopback_tls)
    assert new_transport(root_certificates=bundle).send(get(server.url)).status == 200


@pytest.mark.parametrize("kind", ["sync", "async"])  # OpenSSL says it for https only
def test_T2_a_machine_without_authorities_is_told_what_it_lacks(
    new_transport: Any, serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    server = serve(answering())
    with pytest.raises(ProcoreUnavailable, match="CA certificates") as failure:
        new_transport().send(get(server.url))
    assert failure.value.ambiguous is False
    assert failure.value.hint is not None
    assert "certificate authorities" in failure.value.hint


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_connections_are_used_again(new_transport: Any, serve: Any) -> None:
    server = serve(answering())
    transport = new_transport()
    for _ in range(5):
        transport.send(get(server.url))
    assert (server.connections, len(server.requests)) == (1, 5)


@pytest.mark.parametrize("kind", ["sync, after a fork", "async, after a fork"])
def test_F1_bytes_after_an_answer_are_no_part_of_the_next(new_transport: Any, serve: Any) -> None:
    server = serve(answering(ANSWER + ANSWER.replace(b"{}", b"[]")))
    transport = new_transport()
    assert [transport.send(get(server.url)).body for _ in range(3)] == [b"{}"] * 3
    assert server.connections == 3


@pytest.mark.parametrize("kind", ["sync", "async"])  # the others use none again
def test_R5_a_connection_that_was_idle_is_not_used_again(
    new_transport: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEEP_IDLE", timedelta(milliseconds=20))
    server = serve(answering())
    transport = new_transport()
    transport.send(get(server.url))
    time.sleep(0.05)  # the library has a clock of its own
    transport.send(get(server.url))
    assert server.connections == 2


@pytest.mark.parametrize("url", ["", "/oauth/token", "nonsense", "http://"])
def test_an_address_that_is_none_is_a_mistake_of_the_program(url: str, new_transport: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the library's words)
        new_transport().send(get(url))
