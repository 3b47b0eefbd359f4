"""Public classes say where users import them from, not in which private module they are written.

So a traceback, a pickle and a result of Celery name what a user can import, and what was pickled by
one version can be read by the next, in which the private module may be another.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import get_annotations
from typing import TypeVar

T = TypeVar("T", bound=type)


def public_in(module: str) -> Callable[[T], T]:
    """Return a decorator that gives a class its public module; `@dataclass` goes above it."""

    def move(kind: T) -> T:
        # Now, because later they would be looked for in the public module, which has few names.
        kind.__annotations__ = get_annotations(kind, eval_str=True)
        kind.__module__ = module
        return kind

    return move
