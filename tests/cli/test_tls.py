from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trustme

from procore_signin._cli.setup.tls import handshake


@contextmanager
def serving(authority: trustme.CA, identity: str, version: ssl.TLSVersion) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    authority.issue_cert(identity).configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            plain, _ = listener.accept()
            with (
                plain,
                suppress(OSError),
                context.wrap_socket(plain, server_side=True) as encrypted,
            ):
                encrypted.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}"
        thread.join()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize(
    ("version", "name"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
def test_the_version_and_the_end_of_the_certificate_are_told(
    authority: trustme.CA, version: ssl.TLSVersion, name: str
) -> None:
    with serving(authority, "localhost", version) as origin:
        agreed = handshake(origin, context=trusting(authority))

    assert (agreed.version, agreed.expires_at > time.time()) == (name, True)


def test_T2_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    with (
        serving(authority, "localhost", ssl.TLSVersion.TLSv1_3) as origin,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        handshake(origin)


def test_T2_a_certificate_of_another_host_is_refused(authority: trustme.CA) -> None:
    with (
        serving(authority, "other.example", ssl.TLSVersion.TLSv1_3) as origin,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        handshake(origin, context=trusting(authority))
