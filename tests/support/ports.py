"""Ports for servers of tests: each is given away once, whichever process asks.

A port that the system picks, and that a test closes again, may go to another server before the one
that it is for has begun to listen. Servers that share their port (`SO_REUSEPORT`) even start then,
and a test asks another one's server. So the tests of all processes count on, in a range from which
the system gives no port to a connection.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile
from pathlib import Path

FIRST, COUNT = 20_000, 12_000
LAST_GIVEN = Path(tempfile.gettempdir()) / f"procore-signin-tests-{os.getuid()}.port"


def free_port() -> int:
    """Return a port of this machine that no other test gets, and that nothing listens at."""
    for _ in range(COUNT):
        port = FIRST + _next_number() % COUNT
        if all(_is_free(address, port) for address in ("127.0.0.1", "::1")):
            return port
    raise OSError(errno.EADDRINUSE, f"All ports from {FIRST} on are in use")


def _next_number() -> int:
    with LAST_GIVEN.open("a+") as numbers:
        fcntl.flock(numbers, fcntl.LOCK_EX)
        numbers.seek(0)
        number = int(numbers.read() or 0) + 1
        numbers.truncate(0)
        numbers.write(str(number))
    return number


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((address, port))
    except OSError as error:
        return error.errno != errno.EADDRINUSE  # a machine without IPv6 has no such address
    return True
