from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.run.ports import choose_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_is_taken_as_wished(free_port: object) -> None:
    port = free_port()  # type: ignore[operator]  # typed in tests/conftest.py

    assert choose_port("127.0.0.1", port, option="--port") == port


def test_zero_finds_a_free_port() -> None:
    port = choose_port("127.0.0.1", 0, option="--port")

    with socket.create_server(("127.0.0.1", port)) as server:
        assert server.getsockname()[1] == port


def test_a_taken_port_is_refused_with_the_option_that_changes_it(taken: int) -> None:
    with pytest.raises(CommandFailed) as refused:
        choose_port("127.0.0.1", taken, option="demo --emulator-port")

    assert refused.value.what == f"Port {taken} is taken."
    assert "demo --emulator-port 8080" in refused.value.cure


def test_a_server_that_shares_its_port_is_seen_too() -> None:
    with socket.socket() as sharing:
        sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sharing.bind(("127.0.0.1", 0))
        sharing.listen()

        with pytest.raises(CommandFailed, match="is taken"):
            choose_port("127.0.0.1", sharing.getsockname()[1], option="--port")


def test_a_port_taken_on_the_other_loopback_address_is_taken() -> None:
    """A browser that opens `localhost` may try IPv6 first, and meet that other program."""
    try:
        other = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with other, pytest.raises(CommandFailed, match="is taken"):
        choose_port("127.0.0.1", other.getsockname()[1], option="--port")


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CommandFailed, match=r"cannot listen at 192\.0\.2\.1"):
        choose_port("192.0.2.1", 0, option="--port")
