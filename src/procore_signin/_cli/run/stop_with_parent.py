"""Stop with the parent process, however it ended."""

from __future__ import annotations

import os
import signal
import sys
import threading


def stop_when_standard_input_ends() -> None:
    """Ask this process to stop (SIGTERM) once its standard input is closed.

    The parent holds the other end of a pipe. The system closes it even if the parent is killed, so
    no child outlives it. The descriptor is read without Python's file object, whose lock a forked
    worker would inherit.
    """
    pipe = os.dup(sys.stdin.fileno())

    def watch() -> None:
        while os.read(pipe, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
