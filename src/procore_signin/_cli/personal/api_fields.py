"""The query parameters, headers and bodies of `procore-signin api`, from options."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import typer

Value: TypeAlias = str | int | bool | None
Field: TypeAlias = tuple[str, Value]

_KEY: Final = re.compile(r"([^\[\]=]+)((?:\[[^\[\]=]*\])*)")
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_WORDS: Final[dict[str, Value]] = {"true": True, "false": False, "null": None}
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)")
_RESERVED: Final = {
    "authorization": "The token is added automatically",
    "host": "It is always Procore's",
    "accept-encoding": "Responses are decompressed automatically",
    "content-length": "It is set automatically",
    "transfer-encoding": "It is chosen automatically",
    "procore-company-id": "Name the company with --company",
}


def fields_of(typed: Sequence[str], raw: Sequence[str]) -> list[Field]:
    """Return names and values of `-F` and `-f` options.

    Args:
        typed: `name=value`, where `true`, `false`, `null` and whole numbers become JSON values.
        raw: `name=value`, where every value is text.

    Raises:
        typer.BadParameter: One has no name or no `=`.
    """
    fields: list[Field] = []
    for text in typed:
        name, value = _split(text)
        number = int(value) if _INTEGER.fullmatch(value) else value
        fields.append((name, _WORDS.get(value, number)))
    fields += [_split(text) for text in raw]
    return fields


def query_of(fields: Sequence[Field]) -> dict[str, list[str]]:
    """Return query parameters; a repeated name has several values."""
    query: dict[str, list[str]] = {}
    for name, value in fields:
        words = {True: "true", False: "false", None: ""}
        text = words[value] if value is None or isinstance(value, bool) else str(value)
        query.setdefault(name, []).append(text)
    return query


def body_of(fields: Sequence[Field]) -> dict[str, Any]:
    """Return the JSON object of the fields.

    `project[name]=x` makes a nested object, `ids[]=1` adds to a list.

    Raises:
        typer.BadParameter: A name has another form, or two fields conflict.
    """
    body: dict[str, Any] = {}
    for name, value in fields:
        found = _KEY.fullmatch(name)
        inner = re.findall(r"\[([^\[\]]*)\]", found[2]) if found else []
        if found is None or "" in inner[:-1]:
            raise typer.BadParameter(
                f"{name!r} is not a field name: write name, name[inner] or name[]. For any "
                "other body use --input."
            )
        _put(body, [found[1], *inner], value, name)
    return body


def headers_of(options: Sequence[str]) -> dict[str, str]:
    """Return the headers of `-H` options.

    Raises:
        typer.BadParameter: An option is not a header, or names one that the user may not set (row
            P1).
    """
    headers: dict[str, str] = {}
    for text in options:
        found = _HEADER.fullmatch(text)
        if found is None:
            raise typer.BadParameter("A header is written name:value, in visible ASCII characters.")
        reason = _RESERVED.get(found[1].lower())
        if reason is not None:
            raise typer.BadParameter(f"The header {found[1]} cannot be set. {reason}.")
        headers[found[1]] = found[2].strip()
    return headers


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not a field: write name=value.")
    return name, value


def _put(body: dict[str, Any], keys: list[str], value: Value, name: str) -> None:
    place: Any = body
    for key, following in itertools.pairwise(keys):
        empty: Any = [] if following == "" else {}
        place = place.setdefault(key, empty)
        if type(place) is not type(empty):
            raise typer.BadParameter(f"{name!r} conflicts with an earlier field.")
    if isinstance(place, list):
        place.append(value)
    elif keys[-1] in place:
        raise typer.BadParameter(f"{name!r} conflicts with an earlier field.")
    else:
        place[keys[-1]] = value
