"""A sync front door for gevent: other greenlets run during requests to Procore."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.running.background import Background
from procore_signin._flow.running.runner import Runner
from procore_signin._forks import Made

__all__ = [
    "GeventProcoreSignIn",
]


class GeventProcoreSignIn(ProcoreSignIn):
    """A `ProcoreSignIn` that also works well where gevent has patched the process.

    A library written in Rust sends the requests to Procore, and gevent cannot patch it: a request
    would block every greenlet of the process until Procore responds. So each is sent from a thread
    of gevent's own pool, while only the calling greenlet waits. Async hooks run there too, because
    a thread has one event loop at a time, whatever its greenlets do. Without gevent, both run on
    the calling thread.
    """

    def _new_transport(self) -> Any:
        return _OffTheHub(super()._new_transport())

    @Made
    def _runner(self) -> Runner:
        return Runner(
            self.store,
            self._transport,
            complete=partial(_off_the_hub, asyncio.run),
            background=self._new_background(),
        )

    def _new_background(self) -> Background:
        return Background()


class _OffTheHub:
    """A transport that sends requests from native threads, if there is a hub to keep free."""

    def __init__(self, inside: Any) -> None:
        self._inside: Final = inside

    def send(self, request: Any) -> Any:
        return _off_the_hub(self._inside.send, request)

    def close(self) -> None:
        self._inside.close()


def _off_the_hub(function: Callable[[Any], Any], argument: Any) -> Any:
    # Not imported, and not checked earlier: a server may load the application first and patch
    # later.
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("socket"):
        return function(argument)
    return sys.modules["gevent"].get_hub().threadpool.apply(function, (argument,))


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
