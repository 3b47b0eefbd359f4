"""Give public classes the module that users import them from, not the private one.

So a traceback, a pickle and a Celery result name what a user can import, and a later version can
read what this one pickled even if the private module has moved.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import get_annotations
from typing import TypeVar

T = TypeVar("T", bound=type)


def public_in(module: str) -> Callable[[T], T]:
    """Return a decorator that gives a class its public module; `@dataclass` goes above it."""

    def move(kind: T) -> T:
        # Resolve now: later they would be looked up in the public module, which has few names.
        kind.__annotations__ = get_annotations(kind, eval_str=True)
        kind.__module__ = module
        return kind

    return move
