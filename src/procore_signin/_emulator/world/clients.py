"""The applications registered with the emulator, and the redirect URIs they may register."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from procore_signin._emulator.world.hosts import is_this_machine

OUT_OF_BAND: Final = "urn:ietf:wg:oauth:2.0:oob"
"""Redirect URI of an application without a callback: the code is shown on a page instead."""


@dataclass(frozen=True, slots=True)
class Client:
    """One application, as on its page in the developer portal.

    Attributes:
        client_id: As sent on the wire.
        client_secret: As sent on the wire.
        redirect_uris: The registered ones; an authorization request must name one exactly.
        name: Shown on the consent dialog.
        client_credentials: True when it may use the client credentials grant (DMSA).
    """

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: tuple[str, ...] = ()
    name: str = "Your Application"
    client_credentials: bool = True

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_secret:
            raise ValueError("A client needs a client_id and a client_secret, neither empty")
        for redirect_uri in self.redirect_uris:
            check_redirect_uri(redirect_uri)

    def proves(self, client_secret: str) -> bool:
        """Say whether this is the client's secret."""
        return hmac.compare_digest(self.client_secret.encode(), client_secret.encode())


def check_redirect_uri(redirect_uri: str) -> None:
    """Accept a redirect URI on this machine or the out-of-band one (security row E1).

    The emulator sends codes to whatever is registered, so nothing registered may leave the machine.

    Raises:
        ValueError: It is not absolute, has a fragment or user name, or names another machine.
    """
    if redirect_uri == OUT_OF_BAND:
        return
    try:
        parts = urlsplit(redirect_uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if (
        not is_this_machine(host)
        or parts.scheme not in {"http", "https"}
        or parts.username is not None
        or "#" in redirect_uri
        or not redirect_uri.isascii()
        or not redirect_uri.isprintable()
        or " " in redirect_uri
    ):
        raise ValueError(
            f"The emulator refuses the redirect URI {redirect_uri!r}: it must be http or https on "
            "localhost, a name that ends in .localhost, 127.0.0.1 or [::1], without a fragment, or "
            f"{OUT_OF_BAND}. Example: http://localhost:4567/callback"
        )
