"""An authority that the environment names is trusted by the API client too (row T2)."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from procore_signin._api.http import wire


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


def shake_hands(authority: trustme.CA, trust: ssl.SSLContext) -> None:
    """Connect to a server whose certificate is from `authority`, as the API client does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            context.wrap_socket(theirs, server_side=True).close()
        except OSError:  # the client refused
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        trust.wrap_socket(ours, server_hostname="localhost").close()
    finally:
        ours.close()
        thread.join()


def test_T2_the_api_client_trusts_the_authority_that_ssl_cert_file_names(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(authority, wire._settings(None)["ssl_context"])
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setattr(wire, "_TRUST", wire._Trust(wire._TRUST._read))
    shake_hands(authority, wire._settings(None)["ssl_context"])
