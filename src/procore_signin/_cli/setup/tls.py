"""The TLS of a server: whether its certificate verifies, until when, and the version."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from procore_signin._forks import OPENSSL


@dataclass(frozen=True, slots=True)
class Handshake:
    """A TLS handshake that succeeded.

    Attributes:
        version: Such as `TLSv1.3`.
        expires_at: When the certificate expires: UTC, seconds since 1970.
    """

    version: str
    expires_at: float


def handshake(origin: str, *, context: ssl.SSLContext | None = None) -> Handshake:
    """Connect to `origin` and return the handshake's result.

    Args:
        origin: Such as `https://login.procore.com`.
        context: The trusted authorities and versions; by default Python's own, from TLS 1.2 on.

    Raises:
        OSError: No connection was made; `ssl.SSLError` if the handshake failed.
    """
    parts = urlsplit(origin)
    host, port = parts.hostname or "", parts.port or 443
    with (
        OPENSSL.block(),
        socket.create_connection((host, port), timeout=10) as plain,
        (context or ssl.create_default_context()).wrap_socket(
            plain, server_hostname=host
        ) as encrypted,
    ):
        certificate = encrypted.getpeercert() or {}
        ends = str(certificate.get("notAfter", ""))
        return Handshake(encrypted.version() or "", float(ssl.cert_time_to_seconds(ends)))
