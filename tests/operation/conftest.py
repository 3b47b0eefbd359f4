"""A PostgreSQL server and a PgBouncer of their own, and an address that swallows packets."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from own_postgres import OwnPostgres, own_postgres
from running import free_port

from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store, migrate

KEYS = KeyRing.parse(Secret("k1:" + "A" * 43, "keys"))
REQUIRED = "PROCORE_SIGNIN_REQUIRE_PROXIES"
NewStore = Callable[..., Store]


@pytest.fixture(scope="module")
def running_server() -> Iterator[OwnPostgres]:
    with own_postgres() as server:
        yield server


@pytest.fixture
def server(running_server: OwnPostgres) -> OwnPostgres:
    """A server whose database `signin` has our tables, empty."""
    running_server.sql("DROP DATABASE IF EXISTS signin WITH (FORCE)")
    running_server.sql("CREATE DATABASE signin")
    migrate.upgrade(running_server.address("signin"))
    return running_server


@pytest.fixture
def new_store() -> Iterator[NewStore]:
    """Makes stores: `new_store(url, timeout=…)`."""
    made: list[Store] = []

    def make(url: str, **options: float) -> Store:
        made.append(Store(url, KEYS, **options))  # type: ignore[arg-type]  # a number each
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port of this machine at which connections are neither taken nor refused."""
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):  # what the queue holds; the next ones get no response to their SYN
            filler = fillers.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(address)
        yield address[1]


@pytest.fixture
def pooler(server: OwnPostgres) -> Iterator[str]:
    """The address of the database behind PgBouncer in transaction mode."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        problem = "there is no program pgbouncer"
        if "pgbouncer" in os.environ.get(REQUIRED, "").split():
            pytest.fail(f"{problem}, and {REQUIRED} demands it")
        pytest.skip(f"{problem}: a pooler is NOT tested")
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="pooler-"))
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\nsignin = host=127.0.0.1 port={server.port} dbname=signin user=postgres\n"
        f"[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\nauth_type=any\n"
        f"pool_mode=transaction\ndefault_pool_size=3\nmax_client_conn=200\nunix_socket_dir=\n"
        f"pidfile={folder}/pid\nlogfile={folder}/log\n"
    )
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    with subprocess.Popen(
        [program, settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None,
    ) as process:
        try:
            _wait_for(port)
            yield f"postgresql://postgres@127.0.0.1:{port}/signin"
        finally:
            process.terminate()
            process.wait(timeout=20)
            shutil.rmtree(folder)


def _wait_for(port: int) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < until, "it does not listen"
            time.sleep(0.05)
        else:
            return
