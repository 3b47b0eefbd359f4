"""Which ports are free on this machine."""

from __future__ import annotations

import errno
import os
import socket

from procore_signin._cli.failure import CommandFailed
from procore_signin.environments import LOOPBACK_HOSTS

_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}
_TRIES = 20
_EVERY_IPV4 = "0.0.0.0"  # noqa: S104  # a name for it


def addresses_of_localhost(host: str) -> tuple[str, ...]:
    """Return the addresses to hold, so that no other program gets requests to `localhost`.

    Args:
        host: The requested address. It comes first.
    """
    if host == _EVERY_IPV4:
        return (host, "::1")
    return _both_loopbacks(host)  # `::` already includes both


def addresses_to_hold(host: str, named: str) -> tuple[str, ...]:
    """Return the addresses to hold, so that no other program gets requests to `named`.

    Args:
        host: The requested address. It comes first.
        named: The loopback name in the redirect URI.
    """
    if named == "localhost":
        return addresses_of_localhost(host)
    at_ipv4 = host in {_EVERY_IPV4, "127.0.0.1", "localhost"}
    if (named == "::1" and at_ipv4) or (named == "127.0.0.1" and host == "::1"):
        return (host, named)
    return (host,)


def whoever_answers_at_localhost(host: str) -> str | None:
    """Return a warning if listening at `host` holds neither address of `localhost`."""
    if host in LOOPBACK_HOSTS or host in {_EVERY_IPV4, "::"}:
        return None
    return (
        f"  Browsers are sent to localhost, which is not held: only {host} is. On a machine where "
        "other programs may listen there, use --host 127.0.0.1."
    )


def choose_port(host: str, port: int, *, option: str, localhost: bool = False) -> int:
    """Return `port`, or a free port when it is 0.

    A browser may try IPv6 first for `localhost`, and a server that shares its port (`SO_REUSEPORT`)
    would start although another one is there. So this checks both loopback addresses before the
    start.

    Args:
        host: The address to listen at.
        port: The requested port; 0 for any.
        option: The option that changes it, named in the cure.
        localhost: Whether browsers open `localhost`, whatever `host` is.

    Raises:
        CommandFailed: Another program listens there, or this one may not.
    """
    addresses = addresses_of_localhost(host) if localhost else _both_loopbacks(host)
    if port:
        for address in addresses:
            _look(address, port, option)
        return port
    for _ in range(_TRIES):
        found = _look(addresses[0], 0, option)
        if all(_is_free(address, found) for address in addresses[1:]):
            return found
    raise CommandFailed(
        "No free port was found.",
        why=f"{_TRIES} ports in a row were taken on one of {', '.join(addresses)}.",
        cure=f"Name one: {option} 8080",
    )


def _both_loopbacks(host: str) -> tuple[str, ...]:
    if host not in LOOPBACK_HOSTS:
        return (host,)
    first = "::1" if host == "::1" else "127.0.0.1"
    return (first, "127.0.0.1" if first == "::1" else "::1")


def _is_free(host: str, port: int) -> bool:
    try:
        _bind(host, port)
    except OSError as error:
        return error.errno in _NO_SUCH_ADDRESS
    return True


def _look(host: str, port: int, option: str) -> int:
    try:
        return _bind(host, port)
    except OSError as error:
        if error.errno in _NO_SUCH_ADDRESS and host == "::1" and port:
            return port  # a machine without IPv6: no program can listen there
        raise not_listening(error, host, port, option) from None


def not_listening(error: OSError, host: str, port: int, option: str) -> CommandFailed:
    """Return the error for when the system refuses `port` at `host`."""
    if error.errno == errno.EADDRINUSE:
        shown = f"[{host}]" if ":" in host else host
        return CommandFailed(
            f"Port {port} is taken.",
            why=f"Another program listens at {shown}:{port}, perhaps an earlier start of this one.",
            cure=f"Stop it, or choose another port: {option} 8080 (0 finds a free one).",
        )
    if error.errno == errno.EACCES:
        return CommandFailed(
            f"Port {port} may not be used.",
            why="Ports below 1024 belong to the administrator.",
            cure=f"Choose a higher one: {option} 8080 (0 finds a free one).",
        )
    return CommandFailed(
        f"This machine cannot listen at {host}.",
        why=f"The system said: {os.strerror(error.errno or 0)}.",
        cure="Use an address of this machine, such as --host 127.0.0.1.",
    )


def _bind(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # elsewhere this option would let two servers share the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        found: int = probe.getsockname()[1]
        return found
