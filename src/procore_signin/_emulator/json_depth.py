"""How deep a JSON value is nested."""

from __future__ import annotations

from collections.abc import Iterable


def is_deeper(value: object, levels: int) -> bool:
    """Say whether a JSON value is nested deeper than so many levels."""
    layer = [value]
    for _ in range(levels):
        layer = [inner for outer in layer for inner in _inside(outer)]
    return bool(layer)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
