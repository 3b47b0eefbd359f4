"""Names and values read out of an exchange, for the inspector to tell what it was.

Lenient on purpose: whatever a client sent is to be shown, so nothing here raises; what cannot be
read is simply absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl

from procore_signin._emulator.journal import Exchange, Headers

Fields = Mapping[str, str]

NO_RESPONSE: Final = 0
"""The status of an exchange whose connection ended without a response."""

_MOST_FIELDS: Final = 200


def path(target: str) -> str:
    """Return the path of a request target, without a trailing slash (`/` stays)."""
    return target.partition("?")[0].rstrip("/") or "/"


def header(headers: Headers, name: str) -> str | None:
    """Return the first value of the header called `name` (lower case), or None."""
    return next((value for key, value in headers if key.lower() == name), None)


def query(address: str) -> Fields:
    """Return the fields of an address's query and fragment, the first of each name."""
    before, _, fragment = address.partition("#")
    return _first([*_pairs(before.partition("?")[2]), *_pairs(fragment)])


def request_fields(exchange: Exchange) -> Fields:
    """Return the fields of the request's body (form, multipart or JSON), the first of each name."""
    text = exchange.request_body.decode(errors="replace")
    if text.lstrip()[:1] == "{":
        return json_fields(exchange.request_body)
    content_type = header(exchange.request_headers, "content-type") or ""
    if content_type.lower().startswith("multipart/"):
        return _first(_parts(text))
    return _first(_pairs(text))


def json_fields(body: bytes) -> Fields:
    """Return the members of a JSON object as text, nested ones as JSON; empty when it is none."""
    try:
        parsed = json.loads(body)
        if not isinstance(parsed, dict):
            return {}
        return {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in parsed.items()
        }
    except (ValueError, RecursionError):
        return {}


def location(exchange: Exchange) -> str | None:
    """Return where the response redirects to, or None when it does not."""
    if not 300 <= exchange.status < 400:  # noqa: PLR2004 - the class of redirects
        return None
    return header(exchange.response_headers, "location")


def kind(headers: Headers) -> str:
    """Return what a body is, for a label: ` JSON`, ` page` or nothing."""
    content_type = (header(headers, "content-type") or "").lower()
    if "json" in content_type:
        return " JSON"
    return " page" if content_type.startswith("text/html") else ""


def failed(exchange: Exchange) -> bool:
    """Say whether the response is an error, or there was none."""
    return exchange.status == NO_RESPONSE or exchange.status >= 400  # noqa: PLR2004 - the classes


def bearer(exchange: Exchange) -> str | None:
    """Return the bearer token of the request, or None."""
    scheme, _, token = (header(exchange.request_headers, "authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def address_without_query(address: str) -> str:
    """Return `host:port/path` of an absolute address or the path of a relative one, for a label."""
    bare = address.partition("#")[0].partition("?")[0]
    return bare.partition("://")[2] or bare


def path_of(address: str) -> str:
    """Return the path of an absolute address."""
    return "/" + address_without_query(address).partition("/")[2]


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return []


def _parts(text: str) -> Iterable[tuple[str, str]]:
    boundary = text.lstrip().partition("\n")[0].rstrip("\r")
    for part in text.replace("\r\n", "\n").split(boundary) if boundary else ():
        head, _, value = part.partition("\n\n")
        _, found, name = head.partition('name="')
        if found:
            yield name.partition('"')[0], value.removesuffix("\n")


def _first(pairs: Iterable[tuple[str, str]]) -> Fields:
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields
