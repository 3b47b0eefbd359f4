"""A look at the TLS of a server: does its certificate verify, until when, which version."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Handshake:
    """A TLS handshake that succeeded.

    Attributes:
        version: Such as `TLSv1.3`.
        expires_at: When the certificate ends: UTC, seconds since 1970.
    """

    version: str
    expires_at: float


def handshake(origin: str, *, context: ssl.SSLContext | None = None) -> Handshake:
    """Connect to `origin` and return what was agreed.

    Args:
        origin: Such as `https://login.procore.com`.
        context: Whom to trust and which versions; by default what this Python trusts, from
            TLS 1.2 on.

    Raises:
        OSError: No connection was made; `ssl.SSLError` when the handshake failed.
    """
    parts = urlsplit(origin)
    host, port = parts.hostname or "", parts.port or 443
    context = context or ssl.create_default_context()
    with (
        socket.create_connection((host, port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as encrypted,
    ):
        certificate = encrypted.getpeercert() or {}
        ends = str(certificate.get("notAfter", ""))
        return Handshake(encrypted.version() or "", float(ssl.cert_time_to_seconds(ends)))
