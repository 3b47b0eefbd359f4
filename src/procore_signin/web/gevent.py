"""A front door for gevent: other greenlets run while Procore is asked."""

from __future__ import annotations

import sys
from typing import Any, Final

from procore_signin.client import ProcoreSignIn


class GeventProcoreSignIn(ProcoreSignIn):
    """As `ProcoreSignIn`, for processes that run on gevent.

    Requests to Procore are made by a library written in Rust, which gevent cannot patch: a request
    would stop every greenlet of the process until Procore answers. So each is sent from a thread
    of gevent's own pool, while the greenlet that asked waits as greenlets do.
    """

    def _new_transport(self) -> Any:
        return _OffTheHub(super()._new_transport())


def front_door_kind() -> type[ProcoreSignIn]:
    """Return the front door that suits this process: gevent's where gevent has patched sockets."""
    monkey = sys.modules.get("gevent.monkey")
    patched = monkey is not None and monkey.is_module_patched("socket")
    return GeventProcoreSignIn if patched else ProcoreSignIn


class _OffTheHub:
    """A transport whose requests wait in native threads."""

    def __init__(self, inside: Any) -> None:
        self._inside: Final = inside

    def send(self, request: Any) -> Any:
        # Not imported: who uses this class has loaded gevent.
        return sys.modules["gevent"].get_hub().threadpool.apply(self._inside.send, (request,))

    def close(self) -> None:
        self._inside.close()
