"""`--query`: JMESPath, as in `aws` and `az`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError, LexerError, ParseError
from jmespath.functions import Functions

Query = Callable[[Any], Any]


class QueryInvalid(ValueError):
    """The query is not JMESPath. The message gives the error and its position."""


class QueryFailed(Exception):
    """The query does not fit the value: a function got an argument of a wrong type."""


def compile_query(text: str) -> Query:
    """Return a function that returns what the query `text` finds in a JSON value.

    A missing value is None. The function raises `QueryFailed` if the value does not fit.

    Raises:
        QueryInvalid: `text` is not JMESPath, or calls a function wrongly.
    """
    try:
        query = jmespath.compile(text)
    except ParseError as error:
        raise QueryInvalid(_reason(error)) from None
    except JMESPathError:
        raise QueryInvalid("it is empty") from None
    _check_calls(query.parsed)

    def search(value: Any) -> Any:
        try:
            found = query.search(value)
            # `&name` finds an expression, and to_number('inf') a number that JSON does not have.
            json.dumps(found, allow_nan=False)
        except JMESPathTypeError as error:  # its own message shows the value, however long
            wanted = " or ".join(error.expected_types)
            raise QueryFailed(
                f"{error.function_name}() gets {error.actual_type} and takes {wanted}"
            ) from None
        except (ValueError, TypeError, OverflowError) as error:
            raise QueryFailed(str(error)) from None
        return found

    return search


def _reason(error: ParseError) -> str:
    place = f"at character {error.lex_position + 1}"
    if isinstance(error, LexerError):
        return f"{error.message} {place}"
    if not error.token_value:
        return f"it ends too early, {place}"
    return f"{str(error.token_value)!r} is not expected {place}"


def _check_calls(node: dict[str, Any]) -> None:
    """Refuse calls that must fail, which the library notices only when it evaluates them."""
    arguments = node["children"]
    if node["type"] == "function_expression":
        name = node["value"]
        if name not in Functions.FUNCTION_TABLE:
            raise QueryInvalid(f"there is no function {name}()")
        takes = Functions.FUNCTION_TABLE[name]["signature"]
        more = takes[-1].get("variadic", False)
        if len(arguments) < len(takes) or (len(arguments) > len(takes) and not more):
            least = "at least " if more else ""
            raise QueryInvalid(f"{name}() takes {least}{len(takes)}, and gets {len(arguments)}")
    for child in arguments:
        if isinstance(child, dict):
            _check_calls(child)
