"""A strict JSON parser: it refuses JSON that two parsers could read differently.

The standard library accepts more than RFC 8259: NaN, repeated names, half a surrogate pair, and
numbers or nesting of any size. Each of these has let one program read data that another did not
check, or crashed a program (row T4).
"""

from __future__ import annotations

import codecs
import json
import math
import re
from typing import Final, NoReturn, TypeAlias

from procore_signin.errors import UnexpectedResponse

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"

MAX_DEPTH: Final = 32
MAX_INTEGER_DIGITS: Final = 20
"""Enough for every 64-bit number; more would only cost time."""


def parse(body: bytes, *, what: str) -> JsonValue:
    """Return the JSON value in `body`.

    Args:
        body: UTF-8 without a byte order mark. The transport limits its size.
        what: The name of the input in error messages, such as `token response`.

    Raises:
        UnexpectedResponse: `body` breaks a rule of this module. The message names the rule and
            `what`, never the body. Report it.
    """
    try:
        return _decode(body)
    except _BrokenRuleError as broken:
        rule = str(broken)
    # Raised outside the handler and without the body: neither the error's context nor a traceback
    # that prints local variables may show a token.
    del body
    raise UnexpectedResponse(f"The {what} {rule}")


def parse_object(body: bytes, *, what: str) -> dict[str, JsonValue]:
    """Return the members of the JSON object in `body`. Otherwise as `parse`."""
    try:
        return _object(_decode(body))
    except _BrokenRuleError as broken:
        rule = str(broken)
    del body
    raise UnexpectedResponse(f"The {what} {rule}")


class _BrokenRuleError(Exception):
    """A broken rule, as the predicate of a sentence about the body. Never leaves this module."""


def _decode(body: bytes) -> JsonValue:
    if body.startswith(codecs.BOM_UTF8):
        raise _BrokenRuleError("begins with a byte order mark")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _BrokenRuleError("is not UTF-8") from None
    # Before parsing: the parser of the standard library recurses.
    if _depth(text) > MAX_DEPTH:
        raise _BrokenRuleError(f"is nested deeper than {MAX_DEPTH} levels")
    try:
        value: JsonValue = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _BrokenRuleError(f"is not JSON at character {error.pos}") from None
    # Both are possible only as an escape: UTF-8 has no surrogates, and a raw NUL is not JSON.
    if "\\u" in text:
        _check_strings(value)
    return value


def _object(value: JsonValue) -> dict[str, JsonValue]:
    if isinstance(value, dict):
        return value
    raise _BrokenRuleError("is not a JSON object")


_ALL_BUT_BRACKETS: Final = re.compile(r'(?:"(?:[^"\\]++|\\.)*+"?|[^"\[\]{}]++)++', re.DOTALL)


def _depth(text: str) -> int:
    """Return how deep arrays and objects nest, or more if `text` is not JSON."""
    openings = text.count("[") + text.count("{")
    if openings <= MAX_DEPTH:
        return openings
    depth = deepest = 0
    for bracket in _ALL_BUT_BRACKETS.sub("", text):
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _check_strings(value: JsonValue) -> None:
    match value:
        case str():
            if "\0" in value:
                raise _BrokenRuleError("has a NUL character in a string")
            if _SURROGATE.search(value):
                raise _BrokenRuleError("has half a surrogate pair in a string")
        case list():
            for item in value:
                _check_strings(item)
        case dict():
            for name, member in value.items():
                _check_strings(name)
                _check_strings(member)


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _members(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _BrokenRuleError("repeats a name within an object")
    return members


def _integer(digits: str) -> int:
    if len(digits.removeprefix("-")) > MAX_INTEGER_DIGITS:
        raise _BrokenRuleError(f"has an integer of more than {MAX_INTEGER_DIGITS} digits")
    return int(digits)


def _real(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):  # 1e999
        raise _BrokenRuleError("has a number that is too large")
    return number


def _constant(_name: str) -> NoReturn:
    raise _BrokenRuleError("has a number that JSON does not have")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_real, parse_constant=_constant
)
