"""Which names are this machine's."""

from __future__ import annotations

from procore_signin.environments import LOOPBACK_HOSTS


def is_this_machine(host: str | None) -> bool:
    """Say whether a host in lower case is this machine: `localhost`, a name under it, an address.

    Names under `.localhost` are this machine's by RFC 6761 §6.3; they cannot be registered.
    """
    return host is not None and (host in LOOPBACK_HOSTS or host.endswith(".localhost"))
