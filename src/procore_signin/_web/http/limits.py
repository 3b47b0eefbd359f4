"""How often one address may begin a sign-in: a bucket that refills, in bounded memory (A11)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

ADDRESSES: Final = 4096
"""How many addresses are remembered. The one unseen for longest is forgotten first."""

_SUBSCRIBER_BITS: Final = 64  # RFC 6177: no one gets less, and every subscriber has all of it
_NAT64: Final = 0x64FF9B << 96  # RFC 6052 §2.1: 64:ff9b::/96, an IPv4 address in the last 32 bits
_IPV4_BITS: Final = 32


def network_of(address: str) -> str:
    """Return what `address` counts as: an IPv4 address itself, an IPv6 one its /64.

    One subscriber has a whole /64, so that the addresses in it are as good as one. An IPv4 address
    that is written as IPv6 (RFC 4291 §2.5.5.2, RFC 6052) counts as IPv4. What is no address, such
    as the name of a socket, counts as itself.
    """
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address.partition("%")[0])
    except AddressValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    number = int(found)
    if number >> _IPV4_BITS == _NAT64 >> _IPV4_BITS:
        return str(IPv4Address(number & 0xFFFFFFFF))
    return f"{IPv6Address(number >> _SUBSCRIBER_BITS << _SUBSCRIBER_BITS)}/{_SUBSCRIBER_BITS}"


class RateLimit:
    """Admits `per_minute` calls a minute for each address, with that many at once at most.

    Addresses count as `network_of` says.

    It counts in this process alone: it keeps one address from filling logs and ledger, and is no
    replacement for what a proxy in front can do.

    Args:
        per_minute: Calls; 0 admits everything.
        clock: Returns seconds; only differences matter.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, address: str) -> bool:
        """Count a call from `address` and say whether it is within the limit."""
        if self._per_minute == 0:
            return True
        address = network_of(address)
        now = self._clock()
        left, seen = self._buckets.pop(address, (float(self._per_minute), now))
        left = min(left + (now - seen) * self._per_minute / 60, float(self._per_minute))
        admitted = left >= 1
        self._buckets[address] = (left - 1 if admitted else left, now)
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return admitted
