"""The client's address behind proxies: `X-Forwarded-For`, as far as it can be trusted.

Anyone can send the header. Each proxy appends the address of its peer. So only the entries of our
own proxies count: read from the right, the first address that is not one of them is the client (row
O4).

Nothing else is taken from a forwarding header: this application's origin comes from the redirect
URI in the settings (row A10).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HEADER: Final = b"x-forwarded-for"
UNIX: Final = "unix"
MOST_HOPS: Final = 32
"""The most entries that are read; no real chain is longer."""

_WITH_PORT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


class TrustedProxies:
    """The addresses of our own proxies.

    Args:
        networks: Single addresses are networks of one.
        unix: Whether a peer without an address is one of them: it came over a unix socket, which
            only those can open whom the file system lets.

    Attributes:
        some: Whether there are any.
    """

    __slots__ = ("_networks", "_unix", "some")

    def __init__(self, networks: Sequence[Network] = (), *, unix: bool = False) -> None:
        self._networks: Final = tuple(networks)
        self._unix: Final = unix
        self.some: Final = bool(networks) or unix

    @classmethod
    def parse(cls, text: str) -> TrustedProxies:
        """Read the setting `PROCORE_TRUSTED_PROXIES`.

        Args:
            text: Addresses and networks such as `10.0.0.0/8` or `::1`, and the word `unix` for a
                unix socket, separated by commas; empty for none.

        Raises:
            ValueError: An entry is neither, or a network of all addresses. The message names the
                rule.
        """
        networks: list[Network] = []
        entries = [part.strip() for part in text.split(",")]
        for entry in entries:
            if entry in {"", UNIX}:
                continue
            try:
                network = ip_network(entry)
            except ValueError:
                raise ValueError("has an entry that is neither an address nor a network") from None
            if network.prefixlen == 0:
                raise ValueError("trusts all addresses, so that anyone could claim any address")
            networks.append(network)
        return cls(networks, unix=UNIX in entries)

    def client_address(self, peer: str, forwarded: Iterable[bytes]) -> str:
        """Return the address of the client.

        Args:
            peer: The address of the connection, from the server.
            forwarded: The values of the header `X-Forwarded-For`, in the order in which they came.

        Returns:
            `peer`, unless it is one of ours: then the right-most address that is not one of ours.
            If an entry cannot be read, the entries to its left are unknown: then the proxy that
            passed it on.
        """
        client = _address(peer)
        if not self.includes(peer):
            return peer
        hops = b",".join(forwarded).decode("latin-1").split(",")
        for hop in reversed(hops[-MOST_HOPS:]):
            before = _address(hop.strip(" \t"))
            if before is None:
                break
            client = before
            if not self._trusts(client):
                break
        return peer if client is None else str(client)

    def includes(self, peer: str) -> bool:
        """Return whether `peer`, an address from the system, is one of ours."""
        address = _address(peer)
        if address is None:
            return self._unix and (not peer or peer.startswith(("/", "unix:")))
        return self._trusts(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def __bool__(self) -> bool:
        return self.some

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrustedProxies) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash((self._networks, self._unix))

    def __repr__(self) -> str:
        names = [*map(str, self._networks), *([UNIX] if self._unix else [])]
        return f"<trusted proxies: {', '.join(names) or 'none'}>"


def _address(text: str) -> Address | None:
    """Return the address in `text`, which may have a port, or None if it is not an address."""
    found = _WITH_PORT.fullmatch(text)
    text = text if found is None else found[1] or found[2]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
