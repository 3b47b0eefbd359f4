"""On `localhost` no one else answers for us: both of its addresses are held (row K9)."""

from __future__ import annotations

import errno
import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import Command, Running, needs_proc

from procore_signin._app import listeners
from procore_signin._app.listeners import listen
from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.run.demo import Wishes, make_plan

LOOPBACKS = ("127.0.0.1", "::1")
SETTINGS = {"PROCORE_ENVIRONMENT": "emulator", "PROCORE_KEYS": f"k1:{'A' * 43}"}
DEADLINE = 20.0
FreePort = Callable[[], int]


def family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@contextmanager
def listening(host: str, port: int, *options: int) -> Iterator[int]:
    """Another program that listens, with socket options that let it share an address."""
    with socket.socket(family(host)) as other:
        for option in options:
            other.setsockopt(socket.SOL_SOCKET, option, 1)
        other.bind((host, port))
        other.listen()
        yield other.getsockname()[1]


def can_listen(host: str, port: int, *options: int) -> bool:
    try:
        with listening(host, port, *options):
            return True
    except OSError:
        return False


def status(host: str, port: int, path: str = "/healthz") -> int:
    connection = http.client.HTTPConnection(host, port, timeout=DEADLINE)
    try:
        connection.request("GET", path, headers={"Host": f"localhost:{port}"})
        return connection.getresponse().status
    finally:
        connection.close()


def start(
    command: Command, port: int, *arguments: str, uri: str = "http://localhost:{}/callback"
) -> Running:
    uri = uri.format(port)
    options = ("--port", str(port), "--migrate", *arguments)
    running = command.start("serve", *options, PROCORE_REDIRECT_URI=uri, **SETTINGS)
    running.read_until(r"Ctrl-C stops it\.\n")
    return running


SHARING = [
    (),
    (socket.SO_REUSEADDR,),
    (socket.SO_REUSEPORT,),
    (socket.SO_REUSEADDR, socket.SO_REUSEPORT),
]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_K9_both_addresses_of_localhost_answer_and_nobody_else_can_listen_there(
    command: Command, free_port: FreePort, workers: str
) -> None:
    port = free_port()
    start(command, port, "--workers", workers)
    assert {host: status(host, port) for host in LOOPBACKS * 5} == dict.fromkeys(LOOPBACKS, 200)
    for host in LOOPBACKS:
        assert not any(can_listen(host, port, *options) for options in SHARING), host


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_K9_both_addresses_are_free_again_once_it_has_ended(
    command: Command, free_port: FreePort, number: int
) -> None:
    port = free_port()
    running = start(command, port)
    assert {status(host, port) for host in LOOPBACKS} == {200}
    running.process.send_signal(number)
    running.process.wait()
    deadline = time.monotonic() + DEADLINE  # a worker whose server was killed ends by itself
    while not all(can_listen(host, port) for host in LOOPBACKS):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("options", SHARING)
@pytest.mark.parametrize("host", LOOPBACKS)
def test_K9_a_port_that_another_program_has_at_either_address_stops_the_start_by_name(
    command: Command, host: str, options: tuple[int, ...]
) -> None:
    with listening(host, 0, *options) as port:
        uri = f"http://localhost:{port}/callback"
        command("db", "upgrade", **SETTINGS)
        done = command("serve", "--port", str(port), PROCORE_REDIRECT_URI=uri, **SETTINGS)
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    assert done.status == 1
    assert f"Port {port} is taken." in done.err
    assert shown in done.err


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("::1", LOOPBACKS),
        ("0.0.0.0", LOOPBACKS),  # noqa: S104  # what a container listens at
        ("::", LOOPBACKS),
        ("localhost", LOOPBACKS),
    ],
)
def test_K9_whatever_address_is_asked_for_both_are_held(
    command: Command, free_port: FreePort, host: str, answer: tuple[str, ...]
) -> None:
    port = free_port()
    running = start(command, port, "--host", host)
    assert {each: status(each, port) for each in answer} == dict.fromkeys(answer, 200)
    for each in LOOPBACKS:
        assert not any(can_listen(each, port, *options) for options in SHARING), each
    assert "which is not held" not in running.said


@needs_proc  # Linux has more addresses of this machine than one
def test_K9_an_address_that_leaves_localhost_to_others_is_said(
    command: Command, free_port: FreePort
) -> None:
    port = free_port()
    running = start(command, port, "--host", "127.0.0.2")
    assert "Browsers are sent to localhost, which is not held: only 127.0.0.2 is." in running.said
    assert status("127.0.0.2", port) == 200


def test_K9_a_redirect_uri_that_names_one_address_holds_that_one_alone(
    command: Command, free_port: FreePort
) -> None:
    port = free_port()
    start(command, port, uri="http://127.0.0.1:{}/callback")
    assert not any(can_listen("127.0.0.1", port, *options) for options in SHARING)
    assert can_listen("::1", port)


@pytest.mark.parametrize(
    ("named", "host", "address"),
    [
        ("[::1]", "127.0.0.1", "::1"),
        ("[::1]", "localhost", "::1"),
        ("127.0.0.1", "::1", "127.0.0.1"),
    ],
)
def test_K9_the_one_address_that_the_redirect_uri_names_is_held_whatever_the_host(
    named: str, host: str, address: str, command: Command, free_port: FreePort
) -> None:
    port = free_port()
    start(command, port, "--host", host, uri=f"http://{named}:{{}}/callback")
    assert not any(can_listen(address, port, *options) for options in SHARING)
    assert status(address, port) == 200


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_K9_a_machine_without_ipv6_is_served_at_the_other_address_without_a_word(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = listeners._listen

    def no_ipv6(host: str, port: int) -> socket.socket:
        if ":" in host:
            raise OSError(number, "no IPv6 here")
        return real(host, port)

    monkeypatch.setattr(listeners, "_listen", no_ipv6)
    (only,) = listen(LOOPBACKS, 0)
    with only:
        assert only.getsockname()[0] == "127.0.0.1"


def test_K9_where_one_address_is_taken_the_other_is_let_go(free_port: FreePort) -> None:
    port = free_port()
    with listening("::1", port):
        with pytest.raises(OSError, match="in use") as refused:
            listen(LOOPBACKS, port)
        assert refused.value.filename == "::1"
        assert can_listen("127.0.0.1", port)


def test_K9_the_demo_starts_nothing_where_another_program_has_the_other_address(
    tmp_path: Path,
) -> None:
    with listening("::1", 0) as port, pytest.raises(CommandFailed, match="is taken") as refused:
        make_plan(Wishes(port=port, emulator_port=0), {}, folder=tmp_path, environ={})
    assert f"[::1]:{port}" in refused.value.why


def test_K9_the_demo_answers_at_both_addresses(command: Command) -> None:
    running = command.start("demo", "--port", "0", "--emulator-port", "0")
    running.read_until(r"Ctrl-C stops it\.\n")
    port = int(running.read_until(r"Open +http://localhost:(\d+)\n")[1])
    assert {status(host, port) for host in LOOPBACKS} == {200}
    assert not any(can_listen(host, port) for host in LOOPBACKS)


SLOW = """
import asyncio, pathlib, sys
from functools import partial
from granian.constants import Interfaces
from procore_signin._app.listeners import ServerAt, listen

folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                (folder / "down").touch()
                return
    (folder / "asked").touch()
    while not (folder / "go").exists():
        await asyncio.sleep(0.01)
    early = str((folder / "down").exists()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": early})

def load():
    return app

server = ServerAt("", sockets=listen(("127.0.0.1", "::1"), port), interface=Interfaces.ASGI,
                  log_enabled=False, workers_kill_timeout=20)
server.serve(target_loader=server.loading(load), wrap_loader=False)
"""


@pytest.mark.parametrize("host", LOOPBACKS)
def test_C13_a_request_at_either_address_is_finished_while_new_ones_are_refused_at_both(
    tmp_path: Path, free_port: FreePort, host: str
) -> None:
    port = free_port()
    server = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path), str(port)])
    try:
        wait_until(lambda: all(accepts(each, port) for each in LOOPBACKS))
        asking = http.client.HTTPConnection(host, port, timeout=DEADLINE)
        asking.request("GET", "/")
        wait_until((tmp_path / "asked").exists)
        server.send_signal(signal.SIGTERM)
        wait_until(lambda: not any(accepts(each, port) for each in LOOPBACKS))
        (tmp_path / "go").touch()
        assert asking.getresponse().read() == b"False"
        assert server.wait(DEADLINE) == 0
        assert (tmp_path / "down").exists()
    finally:
        server.kill()
        server.wait()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def accepts(host: str, port: int) -> bool:
    with socket.socket(family(host)) as probe:
        return probe.connect_ex((host, port)) == 0
