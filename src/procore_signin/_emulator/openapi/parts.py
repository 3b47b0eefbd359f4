"""Pieces of an OpenAPI 3.1 document, so that the documents read as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from procore_signin._emulator.world.people import MAX_ID

Part = dict[str, Any]

JSON: Final = "application/json"
HTML: Final = "text/html"
TEXT: Final = "text/plain"
FORM: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"

STRING: Final[Part] = {"type": "string"}
TEXT_OR_NULL: Final[Part] = {"type": ["string", "null"]}
BOOLEAN: Final[Part] = {"type": "boolean"}
ID: Final[Part] = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID}
UNIX_SECONDS: Final[Part] = {"type": "integer", "description": "UTC unix seconds"}
TIME: Final[Part] = {"type": "string", "format": "date-time"}


def document(title: str, description: str, url: str, paths: Part, schemas: Part) -> Part:
    """Return a whole document, `url` being where the paths begin."""
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": description},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def ref(name: str) -> Part:
    """Return a reference to the schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Part) -> Part:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def described(schema: Part, description: str) -> Part:
    """Return a schema with a description."""
    return {**schema, "description": description}


def record(required: Mapping[str, Part], optional: Mapping[str, Part] | None = None) -> Part:
    """Return the schema of an object that has these members and no other."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def body(*content_types: str, schema: Part, required: bool = True) -> Part:
    """Return a request body that may come as any of these content types."""
    return {"required": required, "content": {one: {"schema": schema} for one in content_types}}


def answer(
    description: str,
    schema: Part | None = None,
    *,
    content_type: str = JSON,
    headers: Mapping[str, Part] | None = None,
) -> Part:
    """Return a response; without a schema it has no body."""
    part: Part = {"description": description}
    if schema is not None:
        part["content"] = {content_type: {"schema": schema}}
    if headers:
        part["headers"] = {name: {"schema": one, "required": True} for name, one in headers.items()}
    return part


def example(schema: Part, value: Any) -> Part:
    """Return a schema with an example, which works with what is there at the start."""
    return {**schema, "examples": [value]}


def query(name: str, schema: Part, *, required: bool = False) -> Part:
    """Return a parameter of the query."""
    return _parameter("query", name, schema, required=required)


def header(name: str, schema: Part) -> Part:
    """Return a parameter that is a header and may be left out."""
    return _parameter("header", name, schema, required=False)


def path(name: str, schema: Part) -> Part:
    """Return a parameter of the path."""
    return _parameter("path", name, schema, required=True)


def _parameter(place: str, name: str, schema: Part, *, required: bool) -> Part:
    return {"name": name, "in": place, "required": required, "schema": schema}
