"""A rate limit for each address: a bucket that refills, in bounded memory (A11)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

ADDRESSES: Final = 4096
"""The most addresses remembered. The least recently seen is forgotten first."""

_SUBSCRIBER_BITS: Final = 64  # RFC 6177: a subscriber has at least this much
_NAT64: Final = 0x64FF9B << 96  # RFC 6052 §2.1: 64:ff9b::/96, an IPv4 address in the last 32 bits
_IPV4_BITS: Final = 32


def network_of(address: str) -> str:
    """Return what `address` counts as: an IPv4 address itself, an IPv6 one its /64.

    One subscriber has a whole /64, so its addresses count as one. An IPv4 address that is written
    as IPv6 (RFC 4291 §2.5.5.2, RFC 6052) counts as IPv4. Other text, such as the name of a socket,
    counts as itself.
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
    """Admits `per_minute` requests a minute for each address, and at most that many at once.

    Addresses are grouped by `network_of`.

    It counts only in this process: it keeps one address from filling logs and ledger, and does not
    replace the limits of a proxy in front.

    Args:
        per_minute: Requests; 0 admits everything.
        clock: Returns seconds; only differences matter.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, address: str) -> bool:
        """Count a request from `address` and return whether it is within the limit."""
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
