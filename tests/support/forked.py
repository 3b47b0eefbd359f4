"""Work done in a forked child of the test's own process, and what came of it."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import traceback
import warnings
from collections.abc import Callable
from typing import Any

PATIENCE = 30.0
"""Seconds after which a child hangs: far above what any of them takes."""


class Child:
    """A forked child that does `work` at once, and ends.

    Attributes:
        pid: Its number.
    """

    def __init__(self, work: Callable[..., Any], *arguments: Any) -> None:
        self._reading, writing = os.pipe()
        with warnings.catch_warnings():
            # That this process has threads is the point.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reading)
            _work_and_exit(writing, work, arguments)
        os.close(writing)

    def outcome(self, seconds: float = PATIENCE) -> Any:
        """Return what the work returned.

        Raises:
            AssertionError: It raised, or it hangs; then the child is killed.
        """
        received = b""
        try:
            while select.select([self._reading], [], [], seconds)[0]:
                piece = os.read(self._reading, 65_536)
                if not piece:
                    break
                received += piece
            else:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError("the child hangs")
        finally:
            os.close(self._reading)
            os.waitpid(self.pid, 0)
        assert received, "the child died without a word"
        good, value = pickle.loads(received)  # noqa: S301  # of our own child
        assert good, value
        return value


def _work_and_exit(writing: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    outcome: tuple[bool, Any] = (False, "it did not end")
    with contextlib.suppress(BaseException):  # nothing of the test runner may run in the child
        try:
            outcome = (True, work(*arguments))
        except BaseException:  # noqa: BLE001  # whatever it is, the parent shows it
            outcome = (False, traceback.format_exc())
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(outcome, pipe)
    os._exit(0)


def in_child(work: Callable[..., Any], *arguments: Any, seconds: float = PATIENCE) -> Any:
    """Do `work` in a forked child, and return what it returned; see `Child`."""
    return Child(work, *arguments).outcome(seconds)
