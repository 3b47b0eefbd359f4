"""The PostgreSQL of the benchmark: databases that are dropped again, and its own core.

`BENCH_POSTGRESQL` names the server. Where this process may, it holds the server to the core of the
load generator while a part is measured: else the system would move its processes beside the
measured one, whose figures would then tell of both.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness.cpu import tree
from harness.place import MEASURED_CORE, OTHER_CORE

SERVER: Final = os.environ.get("BENCH_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432")
_NAME: Final = "procore_signin_bench"
_FIRST_CHILD: Final = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"


@contextmanager
def database(suffix: str = "") -> Iterator[str | None]:
    """Make a database until the block ends, and yield its URL; None where there is no server."""
    name = f"{_NAME}_{suffix}" if suffix else _NAME
    if _sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)") is None:
        yield None
        return
    _sql(f"CREATE DATABASE {name}")
    try:
        yield f"{SERVER}/{name}"
    finally:
        _sql(f"DROP DATABASE {name} WITH (FORCE)")


def first_process() -> int | None:
    """Return the server's first process, or None if it is not on this machine."""
    child = (_sql(_FIRST_CHILD) or "").strip()
    with contextlib.suppress(OSError, ValueError):
        head, _, rest = Path(f"/proc/{child}/stat").read_text().rpartition(")")
        if head.endswith("(postgres"):
            return int(rest.split()[1])
    return None


@contextmanager
def on_the_other_core(first: int | None) -> Iterator[bool]:
    """Hold the server to the other core until the block ends; yields whether that was possible."""
    if first is None or OTHER_CORE == MEASURED_CORE:
        yield False
        return
    before = os.sched_getaffinity(first)
    try:
        yield _hold(first, {OTHER_CORE})
    finally:
        _hold(first, before)


def _hold(first: int, cores: set[int]) -> bool:
    try:
        for process in tree(first):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process, cores)
    except PermissionError:
        return False
    return True


def _sql(statement: str) -> str | None:
    """Return what a statement printed, or None if there is no server.

    Raises:
        SystemExit: There is one, and it did not carry the statement out.
    """
    psql = shutil.which("psql")
    if psql is None:
        return None
    options = ("--quiet", "--no-align", "--tuples-only", "--command", statement)
    ended = subprocess.run(
        [psql, *options, f"{SERVER}/postgres"],
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    if ended.returncode == 0:
        return ended.stdout
    if "Connection refused" in ended.stderr:
        return None
    raise SystemExit(f"PostgreSQL did not do {statement!r}: {ended.stderr.strip()}")
