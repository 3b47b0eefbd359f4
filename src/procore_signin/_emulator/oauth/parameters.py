"""The parameters of an OAuth request: urlencoded form, multipart form or JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from procore_signin._emulator.wire.messages import Request

_Value = TypeVar("_Value")

_MAX_PARAMETERS: Final = 100
_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;",]{1,70}))', re.IGNORECASE)
_DISPOSITION: Final = re.compile(
    rb"^content-disposition:[ \t]*form-data[ \t]*(?=;)", re.IGNORECASE | re.MULTILINE
)
_PARAMETER: Final = re.compile(
    rb';[ \t]*+([^\s=;"]++)[ \t]*+=[ \t]*+(?:"([^"\r\n]*+)"|([^\s;"]++))'
)


class Malformed(Exception):
    """The parameters cannot be read. The text says why and repeats none of them."""


def query_parameters(query: str) -> dict[str, str]:
    """Return the parameters of a query.

    Raises:
        Malformed: It is not UTF-8, or a parameter occurs twice (RFC 6749 §3.1).
    """
    return _unique(_urlencoded(query))


def request_parameters(request: Request) -> dict[str, str]:
    """Return the parameters of a request's query and body; of a name in both, the body's.

    An older page of Procore's documentation sends a token request in the query, as Rails takes it.
    RFC 6749 §2.3.1 forbids it, and new code must not do so.

    Raises:
        Malformed: See `query_parameters` and `body_parameters`.
    """
    if not request.query:
        return body_parameters(request)
    return {**query_parameters(request.query), **body_parameters(request)}


def body_parameters(request: Request) -> dict[str, str]:
    """Return the parameters of a request's body, by its content type.

    Procore's documentation posts multipart forms (`curl -F`) and urlencoded ones, its OpenAPI and
    JavaScript SDK post JSON: all three work.

    Raises:
        Malformed: The body is not what its content type says, or a parameter occurs twice
            (RFC 6749 §3.2).
    """
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if not request.body:
        return {}
    if kind == "application/json":
        return _json(request.body)
    if kind == "multipart/form-data":
        return _unique(_multipart(request.body, content_type))
    if kind == "application/x-www-form-urlencoded":
        try:
            return _unique(_urlencoded(request.body.decode()))
        except UnicodeDecodeError:
            raise Malformed("The form is not UTF-8") from None
    raise Malformed(
        "The content-type must be application/x-www-form-urlencoded, multipart/form-data "
        "or application/json"
    )


def _urlencoded(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except UnicodeDecodeError:
        raise Malformed("A parameter is not UTF-8") from None
    except ValueError:
        raise Malformed(f"There are more than {_MAX_PARAMETERS} parameters") from None


def _json(body: bytes) -> dict[str, str]:
    try:
        value = json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise Malformed("The body is not JSON") from None
    if not isinstance(value, dict):
        raise Malformed("The JSON body is not an object")
    return {name: _text(member) for name, member in value.items()}


def _text(member: object) -> str:
    if isinstance(member, str):
        return member
    if member is None:
        return ""
    if isinstance(member, int | float) and not isinstance(member, bool):
        return str(member)
    raise Malformed("A member of the JSON body is neither text nor a number")


def _multipart(body: bytes, content_type: str) -> list[tuple[str, str]]:
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise Malformed("The multipart content-type has no boundary")
    delimiter = b"--" + (found[1] or found[2]).encode("latin-1")
    first, *parts = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if len(parts) > _MAX_PARAMETERS:
        raise Malformed(f"There are more than {_MAX_PARAMETERS} parameters")
    if first or not parts or not parts[-1].startswith(b"--"):
        raise Malformed("The multipart body does not end with its boundary")
    fields = []
    for part in parts[:-1]:
        head, blank_line, value = part.partition(b"\r\n\r\n")
        name = _field_name(head)
        if not blank_line or name is None:
            raise Malformed("A part of the multipart body has no field name")
        try:
            fields.append((name, value.decode()))
        except UnicodeDecodeError:
            raise Malformed("A field of the multipart body is not UTF-8") from None
    return fields


def _field_name(head: bytes) -> str | None:
    """Return the name in a part's `content-disposition` (RFC 7578 §4.2), or None."""
    disposition = _DISPOSITION.search(head)
    if disposition is None:
        return None
    end = head.find(b"\r\n", disposition.end())
    line = head[disposition.end() : end if end >= 0 else len(head)]
    for parameter in _PARAMETER.finditer(line):
        if parameter[1].lower() == b"name":
            written: bytes = parameter[3] if parameter[2] is None else parameter[2]
            return written.decode("latin-1")
    return None


def _unique(pairs: Iterable[tuple[str, _Value]]) -> dict[str, _Value]:
    parameters: dict[str, _Value] = {}
    for name, value in pairs:
        if name in parameters:
            raise Malformed("A parameter occurs twice")
        parameters[name] = value
    return parameters
