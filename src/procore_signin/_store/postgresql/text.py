"""Statements, values and rows as libpq has them, and several look-ups as one statement."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGresult

from procore_signin._store.engine.statement import Row, Statement
from procore_signin._store.postgresql.loop_connection import Told

_WHICH: Final = re.compile(r"\$(\d+)(?:::([A-Z]+))?")
_LOADS: Final[dict[int, Callable[[bytes], Any]]] = {
    16: lambda value: value == b"t",
    20: int,
    21: int,
    23: int,
}
"""How to read columns that are no text, by the number of their type: booleans and integers."""


class Prepared:
    """What this process keeps of one statement; nothing of it is kept at the server.

    Args:
        text: With PostgreSQL's own places for values.
        arguments: Puts values into their order.
    """

    __slots__ = ("_arguments", "_batch", "_loads", "_text")

    def __init__(self, text: str, arguments: Callable[[Any], Sequence[object]]) -> None:
        self._text: Final = text.encode()
        self._arguments: Final = arguments
        self._loads: Sequence[Callable[[bytes], Any]] | None = None
        self._batch: Prepared | None = None

    @classmethod
    def of(cls, statement: Statement) -> Prepared:
        """Return it, the same each time."""
        known = statement.memo
        if known is None:
            known = statement.memo = cls(statement.text, statement.arguments)
        prepared: Prepared = known
        return prepared

    def told(self, values: Any) -> Told:
        """Return the statement with its values."""
        return self._text, [_encoded(value) for value in self._arguments(values)]

    def told_together(self, several: Sequence[Any]) -> Told:
        """Return one statement for several sets of values: each row begins with which it is for.

        It finds one row for each at most.
        """
        if self._batch is None:
            self._batch = Prepared(_for_several(self._text.decode()), _arrays)
        return self._batch.told(zip(*map(self._arguments, several), strict=True))

    def rows_together(self, result: PGresult, count: int) -> list[Sequence[Row]]:
        """Return the rows for each of `count` sets of values."""
        found: list[Sequence[Row]] = [()] * count
        assert self._batch is not None  # noqa: S101  # it was sent
        for number, *row in self._batch.rows(result):
            found[number - 1] = (tuple(row),)
        return found

    def rows(self, result: PGresult) -> list[Row]:
        """Return the rows of a result."""
        loads = self._loads
        if loads is None:
            types = [result.ftype(number) for number in range(result.nfields)]
            loads = self._loads = [_LOADS.get(each, bytes.decode) for each in types]
        value, rows = result.get_value, list[Row]()
        for row in range(result.ntuples):
            cells = [value(row, column) for column in range(len(loads))]
            rows.append(
                tuple(
                    [
                        None if cell is None else load(cell)
                        for cell, load in zip(cells, loads, strict=True)
                    ]
                )
            )
        return rows


def _for_several(text: str) -> str:
    """Return the text that looks up each element of arrays, the first one being number 1."""
    types: dict[int, str] = {}
    for place, kind in _WHICH.findall(text):
        types[int(place)] = types.get(int(place)) or kind
    places = sorted(types)
    arrays = ", ".join(f"${place}::{types[place]}[]" for place in places)
    names = ", ".join(f"p{place}" for place in places)
    inner = _WHICH.sub(lambda found: f"asked.p{found[1]}", text)
    # `OFFSET 0` has each element looked up by itself, in the index. Without it PostgreSQL reads the
    # whole table where that seems to cost less, and pages of thousands of users take a second.
    return (
        f"SELECT asked.number, found.* FROM unnest({arrays})"  # noqa: S608  # all of it is ours
        f" WITH ORDINALITY AS asked({names}, number) CROSS JOIN LATERAL ({inner} OFFSET 0) AS found"
    )


def _arrays(columns: Iterable[Sequence[object]]) -> list[str]:
    return ["{" + ",".join(map(_element, values)) + "}" for values in columns]


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _encoded(value: object) -> bytes | None:
    if value is None:
        return None
    encoded = str(value).encode()
    if b"\0" in encoded:  # libpq would take what stands before it
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return encoded


def error_in(results: Sequence[PGresult]) -> psycopg.Error | None:
    """Return what the first statement that failed was told."""
    for result in results:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            return psycopg.errors.error_from_result(result)
    return None
