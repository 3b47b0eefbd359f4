"""What every process of one run has in common: how large, where, and what time it is."""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from procore_signin import environments
from procore_signin._client import ProcoreSignIn
from procore_signin._protocol.secret import Secret
from procore_signin._transport.contract import Transport
from procore_signin._transport.pyreqwest import PyreqwestTransport

LONG: Final = os.environ.get("PROCORE_SIGNIN_SOAK") == "long"
CLIENT_ID: Final = "emulator-client-id"
CLIENT_SECRET: Final = Secret("emulator-client-secret", "client secret")
REDIRECT_URI: Final = "http://localhost:4567/callback"
KEYS: Final = Secret("fake1:" + "A" * 43, "keys")


def size(short: int, long: int) -> int:
    """Return how often to do something: `PROCORE_SIGNIN_SOAK=long` asks for the full number."""
    return long if LONG else short


class SharedClock:
    """This machine's time plus what a run let pass: the same in every process that opens `file`.

    Args:
        file: Holds the seconds that were let pass.
        skew: Seconds by which this one is wrong.
    """

    def __init__(self, file: Path, skew: float = 0.0) -> None:
        if not file.exists():
            file.write_bytes(struct.pack("d", 0.0))
        with file.open("r+b") as opened:
            self._ahead = mmap.mmap(opened.fileno(), 8)
        self._skew = skew

    def __call__(self) -> float:
        """Return now, in UTC seconds."""
        return time.time() + self._passed() + self._skew

    def advance(self, seconds: float) -> None:
        """Let time pass, in every process."""
        self._ahead[:] = struct.pack("d", self._passed() + seconds)

    def _passed(self) -> float:
        seconds: float = struct.unpack("d", self._ahead)[0]
        return seconds


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run happens, as one process tells it to another.

    Attributes:
        database_url: The database that all processes share.
        emulator_url: The Procore that all processes ask.
        clock_file: See `SharedClock`.
        skew: Seconds by which the clock of the process that is told is wrong.
    """

    database_url: str
    emulator_url: str
    clock_file: str
    skew: float = 0.0

    def arguments(self) -> dict[str, Any]:
        """Return what both front doors are opened with."""
        return {
            "environment": environments.emulator(self.emulator_url),
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uri": REDIRECT_URI,
            "keys": KEYS,
            "database_url": self.database_url,
            "clock": SharedClock(Path(self.clock_file), self.skew),
            "random_bytes": signed_bytes,
        }

    def door(self, wrapped: Callable[[Transport], Transport] = lambda same: same) -> ProcoreSignIn:
        """Return a front door on this place; `wrapped` may stand between it and the network."""
        return ProcoreSignIn(**self.arguments(), transport=wrapped(PyreqwestTransport()))


def signed_bytes(count: int) -> bytes:
    """Return random bytes that begin with the number of this process.

    They become the name of a lease's owner, so that a run can tell whose lease it is.
    """
    return (os.getpid().to_bytes(4, "big") + os.urandom(count))[:count]
