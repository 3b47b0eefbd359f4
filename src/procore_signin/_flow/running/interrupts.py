"""Whether an exception can come up in the middle of an event loop, at any line of it.

A signal handler that raises does that on the main thread, and job queues set exceptions on threads
that they have started. On the main thread of a web server neither is there: its handlers only take
note of the signal (row R13, decision 39). uvicorn's is no such place: at the second Ctrl-C it puts
back the handlers that were there before, and the third raises.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has only the module that wraps it
import signal
import threading
from typing import Any, Final

_SIGNALS: Final = tuple(map(int, signal.valid_signals()))
_ONLY_NOTE: Final = frozenset(
    {
        # What `loop.add_signal_handler` installs:
        "asyncio.unix_events._sighandler_noop",
        "uvloop.loop.Loop.__sighandler",
        # Those of servers; also what a worker inherits from the process that forked it:
        "granian.server.common.AbstractServer.signal_handler_reload",
        "gunicorn.arbiter.Arbiter.signal",
        "gunicorn.workers.base.Worker.handle_usr1",
        "procore_signin._app.server._tell_of_the_stop.<locals>.stop",
    }
)
"""Handlers that never raise. One that is missing here costs time, and no grant."""


def can_be_interrupted() -> bool:
    """Return whether an exception could be raised on this thread by what it does not call itself.

    It is asked in each sign-in, and takes some microseconds: `signal.getsignal` makes members of an
    enumeration, which takes twenty times as long.
    """
    if threading.current_thread() is not threading.main_thread():
        return True
    for handler in map(_signal.getsignal, _SIGNALS):
        # A number says that the system does what it does by default, or nothing; None, that another
        # library's handler is there. No Python is called then.
        if handler is not None and not isinstance(handler, int) and not _only_notes(handler):
            return True
    return False


def _only_notes(handler: Any) -> bool:
    if hasattr(handler, "__wrapped__"):  # it bears the name of another one
        return False
    name = f"{getattr(handler, '__module__', '')}.{getattr(handler, '__qualname__', '')}"
    return name in _ONLY_NOTE
