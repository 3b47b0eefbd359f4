"""A signal handler that raises, at each point where the interpreter could call one (row R13)."""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

# After these the interpreter looks for signals.
_LOOKS = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD"})


class SoftLimitError(Exception):
    """What the handler raises."""


@cache
def _points(code: CodeType) -> frozenset[int]:
    instructions = list(dis.get_instructions(code))
    return frozenset(
        after.offset for before, after in pairwise(instructions) if before.opname in _LOOKS
    )


class _Interrupt:
    """Raises at one point of what the thread runs, counted from its beginning."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.place: str | None = None

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode" and frame.f_lasti in _points(frame.f_code):
            self._left -= 1
            if not self._left:
                self.place = f"{frame.f_code.co_qualname} ({frame.f_lineno})"
                sys.settrace(None)
                raise SoftLimitError
        return self


def interrupted_everywhere(work: Callable[[], object], *, most: int) -> Iterator[str]:
    """Run `work` again and again, interrupted at its first point, its second, and so on.

    Ends after a run that came to its end before its point. Yields the place after each other run.

    Args:
        work: What a caller does.
        most: How many points there are at most; a loop that polls may have any number.
    """
    for at in range(1, most + 1):
        interrupt, tracing = _Interrupt(at), sys.gettrace()
        sys.settrace(interrupt)
        try:
            work()
        except SoftLimitError:
            pass
        finally:
            sys.settrace(tracing)
        if interrupt.place is None:
            return
        yield interrupt.place


def ends_on_another_thread(work: Callable[[], object], *, seconds: float = 10) -> bool:
    """Whether another thread can do `work` now."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
