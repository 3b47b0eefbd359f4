"""Loads pyreqwest on a thread that lives as long as the process (row T11).

pyreqwest includes its own allocator, mimalloc 3.3, which takes the thread that loads it for the
main thread. If that thread ends and the system gives its stack to a new one, the first use of
pyreqwest there is a segmentation fault (mimalloc issue 1287, fixed in 3.4.1). Decision 32 says when
this can go.
"""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Final

_LIBRARY: Final = "pyreqwest.client"


def _load() -> bool:
    """Load pyreqwest; return whether that started a thread, which a forked child would lack."""
    if _LIBRARY in sys.modules:
        return False
    if threading.current_thread() is threading.main_thread():
        importlib.import_module(_LIBRARY)
        return False
    loaded = threading.Event()
    threading.Thread(target=_load_and_stay, args=(loaded,), name="pyreqwest", daemon=True).start()
    loaded.wait()
    return True


def _load_and_stay(loaded: threading.Event) -> None:
    try:
        importlib.import_module(_LIBRARY)
    finally:
        loaded.set()  # the waiting thread imports it too, and gets the error
    threading.Event().wait()


ON_A_THREAD: Final = _load()
