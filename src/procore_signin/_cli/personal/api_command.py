"""`procore-signin api`: one request to Procore's API, or a whole list, as the logged-in user."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import typer

from procore_signin._api.company import HEADER
from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.output import plain
from procore_signin._cli.personal.api_fields import Field, body_of, fields_of, headers_of, query_of
from procore_signin._cli.personal.json_query import Query, QueryFailed, QueryInvalid, compile_query
from procore_signin._cli.personal.profile import Profile
from procore_signin._cli.personal.profile_client import signed_in
from procore_signin.api import (
    ApiError,
    Invalid,
    UnexpectedAnswer,
    client_for,
    paginate,
    raise_for_procore,
)

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
JSON: Final = "application/json"
_READS: Final = ("GET", "HEAD")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# Characters that JSON need not escape may still move a cursor or change the writing direction.
_MOVING: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)
_VERSION_1: Final = re.compile(r"/rest/v1\.[0-9]+/")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command, as given."""

    company: int | None = None
    headers: Sequence[str] = ()
    fields: Sequence[str] = ()
    raw_fields: Sequence[str] = ()
    input: str | None = None
    query: str | None = None
    paginate: bool = False
    include: bool = False
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """The request to Procore.

    Attributes:
        method: In capitals.
        path: Such as `/rest/v1.0/me`, without a query.
        query: The part after the question mark.
        headers: More headers.
        body: The body, or None.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes | None


def run(profile: Profile, words: Sequence[str], options: Options) -> None:
    """Send the request and print the response.

    Raises:
        typer.BadParameter: The options do not form a request, or a query is invalid.
        NotSignedIn: The profile holds no grant.
        ApiError: Procore refused the request. The body of its response is printed first.
        ProcoreSignInError: As in `client_for`.
        CommandFailed: The response does not fit `--query`, or a file cannot be read.
    """
    call = call_of(words, options)
    query = _compiled(options.query)
    with (
        signed_in(profile) as (door, user_id),
        client_for(door, user_id, options.company) as client,
    ):
        client.headers.update(call.headers)
        if options.paginate:
            items = list(paginate(client, call.path, params=call.query))
            _print_value(items, query, as_json=options.as_json)
            return
        response = client.request(call.method, call.path, params=call.query, content=call.body)
    if options.include:
        _print_head(response)
    try:
        raise_for_procore(response)
    except Invalid as error:
        _print_body(response, None, as_json=options.as_json)
        if options.company is None and HEADER.lower() in (error.error_description or "").lower():
            error.hint = "Name the company: --company 8089."
        raise
    except ApiError:
        _print_body(response, None, as_json=options.as_json)
        raise
    _print_body(response, query, as_json=options.as_json)


def call_of(words: Sequence[str], options: Options) -> Call:
    """Return the request that the command line describes.

    Raises:
        typer.BadParameter: It describes no valid request.
        CommandFailed: The file of `--input` cannot be read.
    """
    method, path = _method_and_path(words)
    path, _, in_path = path.partition("?")
    reads = method in _READS
    if options.input is not None and reads:
        raise typer.BadParameter(f"A {method} has no body. Name the method: api POST {path}")
    if options.paginate and (method != "GET" or options.include):
        raise typer.BadParameter("--paginate is for GET, and without --include.")
    fields = fields_of(options.fields, options.raw_fields)
    in_query = reads or options.input is not None
    query = query_of([*_parsed(in_path), *(fields if in_query else ())])
    if reads and options.company is not None and _wants_company(path, query):
        query["company_id"] = [str(options.company)]
    headers = headers_of(options.headers)
    body = None
    if options.input is not None:
        body = _read(options.input)
    elif fields and not in_query:
        body = json.dumps(body_of(fields)).encode()
    if body is not None and "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = JSON
    return Call(method, path, query, headers, body)


def _method_and_path(words: Sequence[str]) -> tuple[str, str]:
    if len(words) > 2:  # noqa: PLR2004  # a method and a path
        raise typer.BadParameter("Give a method and a path: api GET /rest/v1.0/me")
    method, path = ("GET", words[0]) if len(words) == 1 else (words[0].upper(), words[1])
    if method not in METHODS:
        raise typer.BadParameter(f"The method is one of {', '.join(METHODS)}.")
    if not path.startswith("/") or path.startswith("//"):
        raise typer.BadParameter("The path begins with one slash, such as /rest/v1.0/me.")
    return method, path


def _parsed(query: str) -> list[Field]:
    return list(httpx2.QueryParams(query).multi_items())


def _wants_company(path: str, query: dict[str, list[str]]) -> bool:
    """Return whether the query must name the company too, as in Procore's lists of version 1."""
    named = "companies" in path.split("/") or "company_id" in query
    return bool(_VERSION_1.match(path)) and not named


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandFailed(
            "The body cannot be read.",
            why=f"The system said: {os.strerror(error.errno or 0)} ({name}).",
            cure="Name an existing file, or - for standard input.",
        ) from None


def _compiled(text: str | None) -> Query | None:
    try:
        return None if text is None else compile_query(text)
    except QueryInvalid as error:
        raise typer.BadParameter(
            f"--query: {error}. Write JMESPath, as for aws and az, such as [].name; "
            "see https://jmespath.org."
        ) from None


def _print_head(response: httpx2.Response) -> None:
    typer.echo(f"HTTP {response.status_code} {plain(response.reason_phrase or '-')}")
    for name, value in response.headers.items():
        typer.echo(f"{plain(name)}: {plain(value)}")
    typer.echo("")


def _print_body(response: httpx2.Response, query: Query | None, *, as_json: bool) -> None:
    body = response.content
    if not body:
        return
    try:
        value = _json(body)
    except (ValueError, RecursionError):
        if query is not None:
            raise UnexpectedAnswer(
                "The response is not JSON, and --query needs it",
                hint="Leave --query out to see the response.",
                status=response.status_code,
            ) from None
        _print_other(body, response.headers.get("content-type", ""))
        return
    _print_value(value, query, as_json=as_json)


def _json(body: bytes) -> Any:
    return json.loads(body, parse_float=_finite, parse_constant=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("no number of JSON")
    return number


def _print_value(value: Any, query: Query | None, *, as_json: bool) -> None:
    """Print JSON: indented for a person at a terminal, otherwise on one line."""
    if query is not None:
        try:
            value = query(value)
        except QueryFailed as error:
            raise CommandFailed(
                "The query does not fit the response.",
                why=f"{error}.",
                cure="Look at the response without --query.",
            ) from None
    if isinstance(value, str) and query is not None and not as_json:
        typer.echo(_plain_lines(value) if sys.stdout.isatty() else _encodable(value))
    else:
        typer.echo(_as_text(value, pretty=sys.stdout.isatty() and not as_json))


def _as_text(value: Any, *, pretty: bool) -> str:
    ascii_only = (sys.stdout.encoding or "").lower() not in {"utf-8", "utf8"}
    if not pretty:
        shown = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"))
        return _SURROGATE.sub(_escaped, shown)
    shown = json.dumps(value, ensure_ascii=ascii_only, indent=2)
    return _MOVING.sub(_escaped, shown)


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in found[0])


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _plain_lines(text: str) -> str:
    return "\n".join(plain(line) if line else "" for line in text.split("\n"))


def _print_other(body: bytes, content_type: str) -> None:
    """Print a body that is not JSON: to a file or pipe unchanged, to a terminal only text."""
    if not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return
    try:
        text = body.decode()
    except UnicodeDecodeError:
        kind = plain(content_type.partition(";")[0])
        typer.echo(f"{len(body)} bytes of {kind}: send them to a file with > name.", err=True)
        return
    typer.echo(_plain_lines(text))
