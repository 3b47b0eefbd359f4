"""Read the tokens in a damaged response that cannot be requested again (row T9).

`strict_json` refuses JSON that two parsers could read differently, because refusing costs only one
more request. Here it would cost the tokens. So this accepts another charset, a compressed body, a
form instead of JSON, names in another spelling (`accessToken`), and a body that is cut off or
damaged outside the tokens. It never guesses within a token: a token must stand between its two
quotes, under its own name; in a form it must have ended.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus

from procore_signin._protocol.http_message import LARGEST_KEPT
from procore_signin._protocol.strict_json import MAX_INTEGER_DIGITS, JsonValue


@dataclass(frozen=True, slots=True)
class Salvaged:
    """The members that were found.

    Attributes:
        members: The members by name; at least one of them is a token. Empty if none was found.
        whole: True if they come from a complete JSON object or form, so that a missing name was not
            sent.
    """

    members: dict[str, JsonValue] = field(repr=False)
    whole: bool


def salvage(body: bytes, *, complete: bool = True) -> Salvaged:
    """Return the members of a token response that RFC 6749 §5.1 names.

    If an object has a name twice, the last one counts, as in most parsers (RFC 8259 §4).

    Args:
        body: As it was received.
        complete: False if more was to come.
    """
    for text in _texts(body):
        for found in (_read(text), _form(text, complete=complete), _read(_respelled(text))):
            if not _TOKENS.isdisjoint(found.members):
                return found
    return Salvaged({}, whole=False)


_TOKENS: Final = frozenset({"access_token", "refresh_token"})
_ENCODINGS: Final = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_DEFLATE: Final = -zlib.MAX_WBITS  # some servers send this as `deflate`


def _texts(body: bytes) -> Iterator[str]:
    """Yield each possible decoding of `body`, the likeliest first, whatever the headers say."""
    yield from _decoded(body)
    for format_ in (_GZIP_OR_ZLIB, _DEFLATE):
        yield from _decoded(_inflated(body, format_))


def _decoded(body: bytes) -> Iterator[str]:
    # Tokens are ASCII, which is the same in every single-byte charset.
    text = body.decode("utf-8", "replace")
    yield text
    if text.lstrip("\ufeff \t\r\n").startswith(
        '"'
    ):  # JSON inside a JSON string, as some gateways send it
        with suppress(ValueError):
            yield str(_DECODER.raw_decode(text, text.index('"'))[0])
    if b"\0" in body:
        for encoding in _ENCODINGS:
            yield body.decode(encoding, "replace")


def _inflated(body: bytes, format_: int) -> bytes:
    """Return `body` decompressed, up to the first error or the cap."""
    inflater = zlib.decompressobj(format_)
    inflated = bytearray()
    with suppress(zlib.error):
        # Byte by byte: an error discards the output of its call.
        for index in range(len(body)):
            inflated += inflater.decompress(body[index : index + 1], LARGEST_KEPT - len(inflated))
            if inflater.eof or len(inflated) >= LARGEST_KEPT:
                break
    return bytes(inflated)


def _read(text: str) -> Salvaged:
    start = text.find("{")
    if start >= 0:
        with suppress(ValueError, RecursionError):
            members, _ = _DECODER.raw_decode(text, start)
            members = _by_their_names(members)
            if "access_token" in members:
                if "refresh_token" not in members:  # after an extra brace, or nested
                    members |= {k: v for k, v in _scan(text).items() if k == "refresh_token"}
                return Salvaged(members, whole=True)
    return Salvaged(_scan(text), whole=False)


def _form(text: str, *, complete: bool) -> Salvaged:
    """Read `text` as `application/x-www-form-urlencoded`, as some servers send it."""
    text = text.strip("\ufeff \t\r\n")
    if not _FORM.fullmatch(text):
        return Salvaged({}, whole=False)
    pairs = text.split("&")
    if not complete:  # the last value may go on
        del pairs[-1]
    members: dict[str, JsonValue] = {}
    for name, _, value in (pair.partition("=") for pair in pairs):
        members[name] = unquote_plus(value)
    return Salvaged(_by_their_names(members), whole=complete)


def _by_their_names(members: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return `members` with names spelled as RFC 6749 does, and with those that they came under.

    A name that also stands there as it should keeps its meaning.
    """
    return {_name_of(name): value for name, value in members.items()} | members


def _name_of(name: str) -> str:
    """Return the name that `name` is in another spelling, or with one wrong character."""
    for token in _TOKENS:
        if len(name) == len(token):
            wrong = sum(its != ours for its, ours in zip(name.lower(), token, strict=True))
            if wrong <= 1:
                return token
    return _NAMES.get(_folded(name), name)


def _folded(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _respelled(text: str) -> str:
    """Return `text` with names such as `accessToken` spelled as RFC 6749 does.

    A name that also stands there as it should keeps its meaning.
    """
    absent = {name for name in _NAMES.values() if f'"{name}"' not in text}

    def respelled(match: re.Match[str]) -> str:
        name = _NAMES[_folded(match[1])]
        return f'"{name}"' if name in absent else match[0]

    return _OTHER_SPELLING.sub(respelled, text)


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= MAX_INTEGER_DIGITS else None


_NAMES: Final = {
    name.replace("_", ""): name
    for name in ("access_token", "refresh_token", "token_type", "expires_in")
}
_OTHER_SPELLING: Final = re.compile(
    r'"((?:access|refresh)[-_]?token|token[-_]?type|expires[-_]?in)"(?=\s*+:)', re.IGNORECASE
)
_FORM: Final = re.compile(r"[^\s<>{}\"&=]++=[^\s<>{}\"&]*+(?:&[^\s<>{}\"&=]++=[^\s<>{}\"&]*+)*+")
_DECODER: Final = json.JSONDecoder(parse_int=_integer, strict=False)

# The value is matched but not consumed: if a quote is missing, the value of one member seems to
# reach into the next name. A token may stand behind a damaged colon, or none, but not behind what
# would make its name a value.
_MEMBER: Final = re.compile(
    r'"((?:access|refresh)_token(?="\s*+[^\s",}\]]?\s*+")|'
    r'(?:access_token|refresh_token|token_type|expires_in|error)(?="\s*+:))'
    r'"\s*+[^\s"]?\s*+(?=("(?:[^"\\]++|\\.)*+"|[^\s,:{}\[\]"]++))',
    re.DOTALL,
)

_UNENDED: Final = re.compile(r',\s*+"\Z')
"""Its own quote is damaged: this one begins the next name."""


def _scan(text: str) -> dict[str, JsonValue]:
    """Return the members that can be found in damaged JSON; the first of each name."""
    members: dict[str, JsonValue] = {}
    for name, spelled in _MEMBER.findall(text):
        with suppress(ValueError):  # an invalid escape or literal
            value = _DECODER.decode(spelled)
            if not _UNENDED.search(spelled):
                members.setdefault(name, value)
    return members
