"""A front door for threads and for gevent: other greenlets run while Procore is asked."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.running.runner import Runner
from procore_signin._forks import Made

__all__ = [
    "GeventProcoreSignIn",
]


class GeventProcoreSignIn(ProcoreSignIn):
    """As `ProcoreSignIn`, and as good where gevent has patched the process.

    Requests to Procore are made by a library written in Rust, which gevent cannot patch: a request
    would stop every greenlet of the process until Procore answers. So each is sent from a thread
    of gevent's own pool, while the greenlet that asked waits as greenlets do. An async hook runs
    there too, because a thread has one event loop at a time, whatever its greenlets do. Without
    gevent each happens where it is asked for.
    """

    def _new_transport(self) -> Any:
        return _OffTheHub(super()._new_transport())

    @Made
    def _runner(self) -> Runner:
        return Runner(self.store, self._transport, complete=partial(_off_the_hub, asyncio.run))


class _OffTheHub:
    """A transport whose requests wait in native threads, where there is a hub to keep free."""

    def __init__(self, inside: Any) -> None:
        self._inside: Final = inside

    def send(self, request: Any) -> Any:
        return _off_the_hub(self._inside.send, request)

    def close(self) -> None:
        self._inside.close()


def _off_the_hub(function: Callable[[Any], Any], argument: Any) -> Any:
    # Not imported, and not asked earlier: a server may load the application, and patch later.
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("socket"):
        return function(argument)
    return sys.modules["gevent"].get_hub().threadpool.apply(function, (argument,))


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
