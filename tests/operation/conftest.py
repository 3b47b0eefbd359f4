"""A PostgreSQL server and a PgBouncer of their own, and an address that swallows packets."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from own_postgres import OwnPostgres, own_postgres
from ports import free_port
from sqlalchemy import create_engine, text

from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store, migrate
from procore_signin._store.engine.address import parse_address

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


class Relay:
    """Passes bytes on to a server on this machine, until it is told to keep them.

    Attributes:
        port: Where it listens.
        passing: While it is not set, nothing goes on; no connection is closed.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        self.passing = threading.Event()
        self.passing.set()
        self._run(self._accept)

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._open += [client, server]
                self._run(self._pass_on, client, server)
                self._run(self._pass_on, server, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65_536):
                self.passing.wait()
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.passing.set()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def mariadb() -> Iterator[tuple[Relay, str]]:
    """A relay before MariaDB, and the address of a database with our tables through it."""
    direct = "mariadb://root@127.0.0.1:3306"
    name = f"procore_signin_test_{secrets.token_hex(6)}"
    admin = create_engine(parse_address(f"{direct}/mysql").url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    relay = Relay(3306)
    try:
        migrate.upgrade(f"{direct}/{name}")
        yield relay, f"mariadb://root@127.0.0.1:{relay.port}/{name}"
    finally:
        relay.close()
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        admin.dispose()


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
