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


Place = tuple[CodeType, int]


class SoftLimitError(Exception):
    """What the handler raises."""


@cache
def _points(code: CodeType) -> frozenset[int]:
    instructions = list(dis.get_instructions(code))
    return frozenset(
        after.offset for before, after in pairwise(instructions) if before.opname in _LOOKS
    )


class _Interrupt:
    """Raises at one point of what the thread runs.

    Args:
        at: At which, counted from its beginning.
        inside: Only points in files whose paths have this in them count.
        known: Instead: at the first that is not in here, which comes in here then.
    """

    def __init__(self, at: int, inside: str, known: set[Place] | None) -> None:
        self._left = at
        self._inside = inside
        self._known = known
        self.place: str | None = None

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            if self._inside not in frame.f_code.co_filename:
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode" and self._is_it(frame):
            self.place = f"{frame.f_code.co_qualname} ({frame.f_lineno})"
            sys.settrace(None)
            raise SoftLimitError
        return self

    def _is_it(self, frame: FrameType) -> bool:
        if frame.f_lasti not in _points(frame.f_code):
            return False
        if self._known is None:
            self._left -= 1
            return not self._left
        point = frame.f_code, frame.f_lasti
        if point in self._known:
            return False
        self._known.add(point)
        return True


def interrupted_everywhere(
    work: Callable[[], object], *, most: int, inside: str = "", known: set[Place] | None = None
) -> Iterator[str]:
    """Run `work` again and again, interrupted at its first point, its second, and so on.

    Ends after a run that came to its end before its point. Yields the place after each other run.

    Args:
        work: What a caller does.
        most: How many points there are at most; a loop that polls may have any number.
        inside: Only at points in files whose paths have this in them.
        known: At no place in the code that is in here, and at each other one once, which comes in
            here: for long runs.
    """
    for at in range(1, most + 1):
        interrupt, tracing = _Interrupt(at, inside, known), sys.gettrace()
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
