"""Where things are, on which core they run, and the ports that are free."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Final

BENCH: Final = Path(__file__).resolve().parent.parent
ROOT: Final = BENCH.parent
APPLICATION_PYTHON: Final = os.environ.get(
    "BENCH_APPLICATION_PYTHON", str(ROOT / ".venv" / "bin" / "python")
)
PEER_PYTHON: Final = str(BENCH / ".venv" / "bin" / "python")

_CORES: Final = sorted(os.sched_getaffinity(0))
MEASURED_CORE: Final = _CORES[0]
OTHER_CORE: Final = _CORES[-1]
"""The load generator and the stub Procore run here. With one core alone it is the same one."""


def on_core(*cores: int) -> list[str]:
    """Return the words that make a command run on these cores alone."""
    return [program("taskset"), "--cpu-list", ",".join(str(core) for core in cores)]


def program(name: str) -> str:
    """Return the path of a program.

    Raises:
        SystemExit: It is not installed; the message names what to install.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        package = {"nginx": "nginx (nginx-light is enough)", "taskset": "util-linux"}.get(name)
        raise SystemExit(f"The benchmark needs {name}. Install {package or name} and try again.")
    return found


def free_port() -> int:
    """Return a port that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
