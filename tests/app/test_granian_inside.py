"""The names inside Granian that `_app/listeners.py` replaces.

`tests/cli/test_localhost.py` shows over real sockets that it works. Here a name that is gone or no
longer used fails by that name.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

import pytest
from granian.server import MPServer

CHANGED = (
    f"Granian {version('granian')} is another one inside: see _app/listeners.py, then raise the "
    "upper bound in pyproject.toml"
)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("granian._granian", "SocketHolder"),
        ("granian._signals", "WorkerSignal"),
        ("granian.server.mp", "ASGIWorker"),
    ],
)
def test_granian_has_the_names(module: str, name: str) -> None:
    assert hasattr(import_module(module), name), CHANGED


def test_a_worker_makes_its_server_and_its_signal_by_these_names() -> None:
    spawn: Any = MPServer._spawn_asgi_worker
    signals: Any = import_module("granian._signals")
    assert "ASGIWorker" in spawn.__wrapped__.__code__.co_names, CHANGED
    assert "WorkerSignal" in signals.set_loop_signals.__code__.co_names, CHANGED


def test_the_server_opens_and_closes_its_sockets_by_these_names() -> None:
    startup: Any = MPServer.startup
    shutdown: Any = MPServer.shutdown
    spawn: Any = MPServer._spawn_worker
    assert "_init_shared_socket" in startup.__code__.co_names, CHANGED
    assert "_drop_shared_socket" in shutdown.__code__.co_names, CHANGED
    assert {"_ssp", "_shd", "_sso"} <= set(spawn.__code__.co_names), CHANGED
