"""A PostgreSQL server of a test's own: it can be stopped, limited and broken."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ports import free_port

REQUIRED = "PROCORE_SIGNIN_REQUIRE_DATABASES"


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: each.parent.name)
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    if initdb is not None:
        return Path(initdb).parent
    problem = "PostgreSQL's server programs are missing"
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{problem}, and {REQUIRED}=1 demands them")
    pytest.skip(f"{problem}: a database that stands still is NOT tested")


def _as_postgres() -> dict[str, Any]:
    """Return how to run a program that refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class OwnPostgres:
    """A running server.

    Attributes:
        folder: Where everything of it is.
        port: Where it listens, at 127.0.0.1.
        url: Its database `postgres`, as the superuser.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = self.address()
        self._programs = _programs()
        self._data = folder / "data"

    def address(self, name: str = "postgres", user: str = "postgres", options: str = "") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{name}{options}"

    def run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [self._programs / program, *map(str, arguments)],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=60,
            **_as_postgres(),
        )

    def start(self) -> None:
        options = (
            f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
            " -c shared_buffers=16MB -c max_connections=60"
        )
        self.run(
            *("pg_ctl", "-D", self._data, "-w", "-t", "40", "-l", self.folder / "log"),
            *("-o", options, "start"),
        )

    def stop(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self.signal(signal.SIGCONT)
            self.run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and every process of it."""
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for process in (first, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let it say nothing more for as long as a block runs, without closing a connection."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def sql(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.address(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def admit(self, *lines: str) -> None:
        """Put `lines` in front of pg_hba.conf, whose next lines let everyone in from here."""
        path = self._data / "pg_hba.conf"
        everyone = "host all all 127.0.0.1/32 trust"
        path.write_text("\n".join([*lines, everyone, ""]), encoding="utf-8")
        self.sql("SELECT pg_reload_conf()")


@contextlib.contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """Make a server, and remove it when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="own-postgres-"))  # short, for its socket
    server = OwnPostgres(folder)
    if os.geteuid() == 0:
        folder.chmod(0o755)
        shutil.chown(folder, "postgres")
    try:
        server.run("initdb", "-D", folder / "data", "-U", "postgres", "--auth=trust", "-N")
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
