"""Prints which transitions of `_store/states.py` were taken, how often, and which never."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.simulation.transitions import TABLES, Key


def never(taken: Counter[Key]) -> list[Key]:
    """Return the transitions of the tables that were never taken."""
    return [key for key in _keys() if not taken[key]]


def _keys() -> Iterator[Key]:
    for name, table in TABLES.items():
        for each in table:
            yield name, each.state, each.event


def printed(taken: Counter[Key]) -> str:
    """Return a table of all transitions, the frequent ones first."""
    lines = []
    for name, table in TABLES.items():
        keys = [(name, each.state, each.event) for each in table]
        keys.sort(key=lambda key: -taken[key])
        leads = {(each.state, each.event): each.next for each in table}
        total = sum(taken[key] > 0 for key in keys)
        lines.append(f"{name}: {total} of {len(keys)} transitions")
        lines += [
            f"  {taken[key] or 'never':>9}  {key[1].value} -- {key[2].value} -> "
            f"{leads[key[1], key[2]].value}"
            for key in keys
        ]
    return "\n".join(lines)
