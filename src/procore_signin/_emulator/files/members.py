"""Members of a JSON object that someone wrote by hand: each with its type, none misspelt.

The control API and the seed file read with these alike. Every refusal names the member.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from procore_signin._emulator.errors import EmulatorRefused
from procore_signin._emulator.json_depth import is_deeper

Members = Mapping[str, Any]

_DEEPEST: Final = 64
"""Levels of nesting: more would overflow the stack when it is written again."""


def parse(body: bytes) -> object:
    """Return what a JSON text holds.

    Raises:
        EmulatorRefused: It is not JSON in UTF-8, names a member twice, is nested too deep, or
            spells half of a character, which could not be sent again.
    """
    try:
        value: object = json.loads(body, object_pairs_hook=_once)
    except EmulatorRefused:
        raise
    except (ValueError, RecursionError):
        raise EmulatorRefused("This is not JSON") from None
    if is_deeper(value, _DEEPEST):
        raise EmulatorRefused(f"The JSON is nested deeper than {_DEEPEST} levels")
    if not _is_unicode(json.dumps(value, ensure_ascii=False)):
        raise EmulatorRefused("The JSON has half of a character: a lone surrogate")
    return value


def only(members: object, *known: str) -> Members:
    """Return the object when it is one and has no member beside the `known` ones.

    Raises:
        EmulatorRefused: It is not an object, or a name is unknown: a misspelt one must not pass
            unnoticed.
    """
    if not isinstance(members, dict):
        raise EmulatorRefused(f"An object is wanted, with {', '.join(known)}")
    unknown = sorted(str(name) for name in set(members).difference(known))
    if unknown:
        raise EmulatorRefused(f"Unknown: {', '.join(unknown)}. Known: {', '.join(known)}")
    return members


def number(members: Members, name: str) -> int:
    """Return a whole number; 7.0 is one, since JSON knows no difference.

    Raises:
        EmulatorRefused: It is missing or something else.
    """
    value = members.get(name)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise EmulatorRefused(f"{name} is a whole number")
    return value


def optional_numbers(members: Members, name: str) -> frozenset[int] | None:
    """Return a list of whole numbers, or None when it is missing or null.

    Raises:
        EmulatorRefused: It is something else.
    """
    values = members.get(name)
    if values is None:
        return None
    if not isinstance(values, list):
        raise EmulatorRefused(f"{name} is a list of whole numbers")
    return frozenset(number({name: value}, name) for value in values)


def text(members: Members, name: str, default: str | None = None) -> str:
    """Return a text, or `default` when it is missing.

    Raises:
        EmulatorRefused: It is something else, or missing without a default.
    """
    value = members.get(name, default)
    if not isinstance(value, str) or not _is_unicode(value):
        raise EmulatorRefused(f"{name} is text")
    return value


def optional_text(members: Members, name: str) -> str | None:
    """Return a text, or None when it is missing or null.

    Raises:
        EmulatorRefused: It is something else.
    """
    return None if members.get(name) is None else text(members, name)


def texts(members: Members, name: str) -> tuple[str, ...]:
    """Return a list of texts, empty when it is missing.

    Raises:
        EmulatorRefused: It is something else.
    """
    values = members.get(name, [])
    if not isinstance(values, list):
        raise EmulatorRefused(f"{name} is a list of texts")
    return tuple(text({name: value}, name) for value in values)


def flag(members: Members, name: str, *, default: bool) -> bool:
    """Return true or false, or `default` when it is missing.

    Raises:
        EmulatorRefused: It is something else.
    """
    value = members.get(name, default)
    if not isinstance(value, bool):
        raise EmulatorRefused(f"{name} is true or false")
    return value


def _once(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise EmulatorRefused(f"The member {name!r} occurs twice")
        found[name] = value
    return found


def _is_unicode(value: str) -> bool:
    """Say whether a text can be sent: JSON can spell half of a character, a lone surrogate."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
