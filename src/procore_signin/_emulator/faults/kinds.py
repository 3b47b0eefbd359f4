"""The effects of a fault on one exchange: before the work, on its reply, and on the wire."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from procore_signin._emulator.wire.messages import Headers, Reply, json_reply

Delivery = Literal["whole", "drip", "truncate", "drop"]
Change = Callable[[Reply, float], Reply]
Settings = Mapping[str, Any]


class BadFault(ValueError):
    """A fault's kind or settings are wrong. The message gives the cure."""

    __module__ = "procore_signin.emulator"
    code = "emulator_bad_fault"


@dataclass(frozen=True, slots=True)
class Effect:
    """What one fault does.

    Attributes:
        delay: Seconds to wait before the work is done.
        delay_after: Seconds to wait between the work and its response.
        commit: False when the work must not be done.
        stubs: Whether it replaces an endpoint: an endpoint of the API then still requires a valid
            token.
        change: Changes the reply of the work, given the time; without work, a bare 200.
        delivery: `whole`; `drip`: `amount` bytes every `interval` seconds; `truncate`: `amount`
            bytes of the body, then the connection closes; `drop`: it closes at once.
        amount: Bytes, for `drip` and `truncate`.
        interval: Seconds, for `drip`.
        reset: Close with a TCP reset instead of an orderly end.
        content_length: Declare this length instead of the true one.
        unsized: Declare none; the body comes in chunks.
        refuse_for: Seconds during which further connections are refused, or None.
    """

    delay: float = 0.0
    delay_after: float = 0.0
    commit: bool = True
    stubs: bool = False
    change: Change | None = None
    delivery: Delivery = "whole"
    amount: int = 0
    interval: float = 0.0
    reset: bool = False
    content_length: int | None = None
    unsized: bool = False
    refuse_for: float | None = None


def effect(kind: str, settings: Settings) -> Effect:
    """Return the effect of a fault of that kind.

    Raises:
        BadFault: There is no such kind, or a setting is unknown, missing or wrong.
    """
    made = KINDS.get(kind)
    if made is None:
        raise BadFault(f"There is no fault {kind!r}: choose one of {', '.join(sorted(KINDS))}")
    reader = _Reader(kind, settings)
    result = made(reader)
    reader.done()
    return result


class _Reader:
    """Takes settings one by one, so that a misspelt one is refused."""

    def __init__(self, kind: str, settings: Settings) -> None:
        self._kind = kind
        self._left = dict(settings)

    def seconds(self, name: str, default: float) -> float:
        value = self._left.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 3600:  # noqa: PLR2004 - an hour
            raise BadFault(f"{self._kind}: {name} is a number of seconds from 0 to 3600")
        return float(value)

    def seconds_or_flag(self, name: str) -> float | bool:
        if isinstance(self._left.get(name, False), bool):
            return self.flag(name, default=False)
        return self.seconds(name, 0.0)

    def number(self, name: str, default: int, *, low: int, high: int) -> int:
        value = self._left.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BadFault(f"{self._kind}: {name} is a whole number from {low} to {high}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._left.pop(name, default)
        if not isinstance(value, bool):
            raise BadFault(f"{self._kind}: {name} is true or false")
        return value

    def text(self, name: str, default: str) -> str:
        value = self._left.pop(name, default)
        if not isinstance(value, str):
            raise BadFault(f"{self._kind}: {name} is text")
        return value

    def printable(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if not value.isascii() or not value.isprintable():
            raise BadFault(f"{self._kind}: {name} is printable ASCII")
        return value

    def members(self, name: str) -> dict[str, Any]:
        value = self._left.pop(name, {})
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise BadFault(f"{self._kind}: {name} is an object with names and values")
        return value

    def names(self, name: str) -> list[str]:
        value = self._left.pop(name, [])
        if not isinstance(value, list) or not all(isinstance(member, str) for member in value):
            raise BadFault(f"{self._kind}: {name} is a list of names")
        return value

    def headers(self) -> Headers:
        members = self.members("headers")
        for name, value in members.items():
            sendable = str(value).isascii() and str(value).isprintable()
            if not sendable or not re.fullmatch(r"[A-Za-z0-9-]+", name):
                raise BadFault(f"{self._kind}: the header {name!r} cannot be sent")
        return tuple((name.lower(), str(value)) for name, value in members.items())

    def done(self) -> None:
        if self._left:
            raise BadFault(f"{self._kind}: there is no setting {', '.join(sorted(self._left))}")


def _latency(read: _Reader) -> Effect:
    seconds = read.seconds("seconds", 1.0)
    if read.flag("after_commit", default=False):
        return Effect(delay_after=seconds)
    return Effect(delay=seconds)


def _status(read: _Reader) -> Effect:
    status = read.number("status", 503, low=200, high=599)
    headers, body = read.headers(), read.text("body", "")
    kind = ("content-type", read.printable("content_type", "text/plain; charset=utf-8"))
    reply = Reply(status, (kind, *headers), body.encode())
    commit = read.flag("commit", default=False)
    stubs = not commit and status < 300  # noqa: PLR2004 - the class of successes
    return Effect(commit=commit, stubs=stubs, change=lambda _, __: reply)


def _rate_limit(read: _Reader) -> Effect:
    """429 whose reset is in the past, far away, garbage, or a number of seconds from now."""
    reset = read.text("reset", "soon")
    seconds = read.seconds("seconds", 5.0)
    if reset not in {"soon", "past", "far", "garbage"}:
        raise BadFault("rate-limit: reset is soon, past, far or garbage")
    retry_after = read.seconds_or_flag("retry_after")

    def change(_: Reply, now: float) -> Reply:
        at = {
            "soon": str(int(now + seconds)),
            "past": str(int(now - 86_400)),
            "far": str(int(now + 10 * 365 * 86_400)),
            "garbage": "soon, perhaps",
        }[reset]
        headers: list[tuple[str, str]] = [
            ("x-rate-limit-limit", "25"),
            ("x-rate-limit-remaining", "0"),
            ("x-rate-limit-reset", at),
        ]
        if retry_after is True:
            headers.append(("retry-after", str(int(seconds)) if reset == "soon" else at))
        elif retry_after is not False:
            headers.append(("retry-after", str(int(retry_after))))
        message = (
            "You have surpassed the max number of requests for your rate limit. "
            "Please wait until your limit resets."
        )
        return json_reply(429, {"errors": message}, *headers)

    return Effect(commit=False, change=change)


def _html(read: _Reader) -> Effect:
    status = read.number("status", 200, low=200, high=599)
    page = (
        "<!DOCTYPE html><html><body><h1>We're sorry, but something went wrong.</h1></body></html>"
    )
    reply = Reply(status, (("content-type", "text/html; charset=utf-8"),), page.encode())
    return Effect(commit=read.flag("commit", default=True), change=lambda _, __: reply)


def _malformed_json(read: _Reader) -> Effect:
    commit = read.flag("commit", default=True)
    return Effect(commit=commit, change=lambda reply, _: _with_body(reply, _broken(reply.body)))


def _override(read: _Reader) -> Effect:
    """Replace `members` of the reply's JSON object, and take away those named in `remove`.

    For a redirect, it changes the parameters of the URL: a wrong `iss`, a missing `state`.
    """
    members = read.members("members")
    removed = read.names("remove")

    def change(reply: Reply, _: float) -> Reply:
        location = reply.header("location")
        if location is not None:
            return _with_location(reply, _readdressed(location, members, removed))
        try:
            body = json.loads(reply.body)
        except ValueError:  # a page, or nothing
            body = {}
        kept = body if isinstance(body, dict) else {}
        left = {name: value for name, value in kept.items() if name not in removed}
        return _with_body(reply, json.dumps({**left, **members}).encode())

    return Effect(change=change)


def _body(read: _Reader) -> Effect:
    """Exactly these bytes as the body: duplicate members, NaN, deep nesting, a bare list."""
    body = read.text("body", "").encode("latin-1", "replace")
    commit = read.flag("commit", default=True)
    return Effect(commit=commit, change=lambda reply, _: _with_body(reply, body))


def _huge(read: _Reader) -> Effect:
    """A JSON object of many bytes; `gzip` packs it small, `chunked` does not tell its size."""
    size = read.number("bytes", 50_000_000, low=1, high=500_000_000)
    packed = read.flag("gzip", default=False)

    def change(reply: Reply, _: float) -> Reply:
        body = b'{"a":"' + b"a" * size + b'"}'
        if not packed:
            return _with_body(reply, body)
        compressed = _with_body(reply, gzip.compress(body, compresslevel=1))
        return compressed.with_headers(("content-encoding", "gzip"))

    return Effect(change=change, unsized=read.flag("chunked", default=False))


def _drip(read: _Reader) -> Effect:
    return Effect(
        delivery="drip",
        amount=read.number("bytes", 1, low=1, high=1_000_000),
        interval=read.seconds("interval", 0.5),
    )


def _truncate(read: _Reader) -> Effect:
    return Effect(delivery="truncate", amount=read.number("keep", 20, low=0, high=1_000_000))


def _drop_before(read: _Reader) -> Effect:
    reset = read.flag("reset", default=False)
    return Effect(commit=False, delivery="drop", reset=reset)


def _drop_after(read: _Reader) -> Effect:
    return Effect(delivery="drop", reset=read.flag("reset", default=False))


def _refuse(read: _Reader) -> Effect:
    """A server that is down: this connection is reset, and new ones are refused for a while."""
    return Effect(
        commit=False, delivery="drop", reset=True, refuse_for=read.seconds("seconds", 1.0)
    )


def _redirect(read: _Reader) -> Effect:
    location = read.printable("location", "https://elsewhere.invalid/")
    status = read.number("status", 302, low=300, high=399)
    reply = Reply(status, (("location", location),))
    commit = read.flag("commit", default=False)
    return Effect(commit=commit, change=lambda _, __: reply)


def _link(read: _Reader) -> Effect:
    """A poisoned `Link`: the next page is somewhere else."""
    url = read.printable("url", "https://elsewhere.invalid/rest/v1.0/companies?page=2")

    def change(reply: Reply, _: float) -> Reply:
        headers = tuple((name, value) for name, value in reply.headers if name != "link")
        link = ("link", f'<{url}>; rel="next"')
        return Reply(reply.status, (*headers, link), reply.body, reply.note)

    return Effect(change=change)


def _content_length(read: _Reader) -> Effect:
    return Effect(content_length=read.number("length", 1_000_000, low=0, high=1_000_000_000))


KINDS: Final[dict[str, Callable[[_Reader], Effect]]] = {
    "body": _body,
    "content-length": _content_length,
    "drip": _drip,
    "drop-after-commit": _drop_after,
    "drop-before-commit": _drop_before,
    "html": _html,
    "huge": _huge,
    "latency": _latency,
    "link": _link,
    "malformed-json": _malformed_json,
    "override": _override,
    "rate-limit": _rate_limit,
    "redirect": _redirect,
    "refuse": _refuse,
    "status": _status,
    "truncate": _truncate,
}


def _with_location(reply: Reply, location: str) -> Reply:
    headers = ((name, location if name == "location" else value) for name, value in reply.headers)
    return replace(reply, headers=tuple(headers))


def _readdressed(location: str, members: Settings, removed: list[str]) -> str:
    """Return the address with other parameters: in the fragment if it has them there."""
    parts = urlsplit(location)
    place = "query" if parts.query or not parts.fragment else "fragment"
    pairs = parse_qsl(getattr(parts, place), keep_blank_values=True)
    changed: dict[str, Any] = {name: value for name, value in pairs if name not in removed}
    changed.update(members)
    return urlunsplit(parts._replace(**{place: urlencode(changed, doseq=True)}))


def _with_body(reply: Reply, body: bytes) -> Reply:
    return Reply(reply.status, reply.headers, body, reply.note)


def _broken(body: bytes) -> bytes:
    """Return JSON cut off in the middle, which no parser accepts."""
    return body[: max(1, len(body) // 2)] if len(body) > 2 else b'{"'  # noqa: PLR2004 - `{}` halves to `{`
