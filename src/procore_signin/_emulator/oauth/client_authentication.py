"""Who is calling the token or revocation endpoint: RFC 6749 §2.3.1."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from procore_signin._emulator.world.clients import Client
from procore_signin._emulator.world.directory import Directory


class TwoMethods(Exception):
    """The client authenticated twice, or named itself differently twice (RFC 6749 §2.3)."""


def authenticate(
    directory: Directory, headers: Mapping[str, str], parameters: Mapping[str, str]
) -> Client | None:
    """Return the client whose id and secret were sent, in HTTP Basic or in the body, or None.

    Raises:
        TwoMethods: Credentials came both ways.
    """
    client_id, client_secret = parameters.get("client_id"), parameters.get("client_secret")
    basic = _basic(headers.get("authorization", ""))
    if basic is not None:
        if client_secret or (client_id and client_id != basic[0]):
            raise TwoMethods
        client_id, client_secret = basic
    client = directory.clients.get(client_id or "")
    if client is None or not client_secret or not client.proves(client_secret):
        return None
    return client


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (user, password) if colon else ("", "")
