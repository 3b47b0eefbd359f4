"""What can still be read of a response that cannot be asked for again (row T9).

`strict_json` refuses what two readers could understand differently, because refusing costs one more
request. Here it would cost the tokens. So this reads what it can: another charset, a compressed
body, a body that is cut off or damaged beside the tokens. It never guesses within a token: one
counts only between its two quotes, under its own name.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from procore_signin._protocol.strict_json import MAX_INTEGER_DIGITS, JsonValue
from procore_signin._protocol.wire import LARGEST_KEPT


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was found.

    Attributes:
        members: By name; at least one of them is a token. Empty where none was found.
        whole: True where they are the members of a JSON object that was read to its end, so that
            a name that is not among them was not sent.
    """

    members: dict[str, JsonValue] = field(repr=False)
    whole: bool


def salvage(body: bytes) -> Salvaged:
    """Return what a token response has under the names that RFC 6749 §5.1 gives.

    Of a name that comes twice in an object the last counts, as for most readers (RFC 8259 §4).
    """
    for text in _texts(body):
        found = _read(text)
        if not _TOKENS.isdisjoint(found.members):
            return found
    return Salvaged({}, whole=False)


_TOKENS: Final = frozenset({"access_token", "refresh_token"})
_ENCODINGS: Final = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_DEFLATE: Final = -zlib.MAX_WBITS  # what some servers mean by `deflate`


def _texts(body: bytes) -> Iterator[str]:
    """Yield what `body` could be meant as, the likeliest first, whatever the headers call it."""
    yield from _decoded(body)
    for format_ in (_GZIP_OR_ZLIB, _DEFLATE):
        yield from _decoded(_inflated(body, format_))


def _decoded(body: bytes) -> Iterator[str]:
    # Tokens are ASCII: in any other charset of bytes they read the same.
    text = body.decode("utf-8", "replace")
    yield text
    if text.lstrip("\ufeff \t\r\n").startswith('"'):  # JSON as a string of JSON, as gateways do
        with suppress(ValueError):
            yield str(_DECODER.raw_decode(text, text.index('"'))[0])
    if b"\0" in body:
        for encoding in _ENCODINGS:
            yield body.decode(encoding, "replace")


def _inflated(body: bytes, format_: int) -> bytes:
    """Return what `body` becomes up to the first fault or the cap."""
    inflater = zlib.decompressobj(format_)
    inflated = bytearray()
    with suppress(zlib.error):
        # Byte by byte: a fault takes away what the same call would have brought.
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
            if "access_token" in members:
                if "refresh_token" not in members:  # behind a brace too many, or further inside
                    members |= {k: v for k, v in _scan(text).items() if k == "refresh_token"}
                return Salvaged(members, whole=True)
    return Salvaged(_scan(text), whole=False)


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= MAX_INTEGER_DIGITS else None


_DECODER: Final = json.JSONDecoder(parse_int=_integer, strict=False)

# The value is looked at and not consumed: where a quote was lost, the value of one member seems to
# reach into the next name.
_MEMBER: Final = re.compile(
    r'"(access_token|refresh_token|token_type|expires_in|error)"\s*+:\s*+'
    r'(?=("(?:[^"\\]++|\\.)*+"|[^\s,:{}\[\]"]++))',
    re.DOTALL,
)


def _scan(text: str) -> dict[str, JsonValue]:
    """Return the members that can be told from the ruins around them; the first of a name."""
    members: dict[str, JsonValue] = {}
    for name, spelled in _MEMBER.findall(text):
        with suppress(ValueError):  # an escape or a word that JSON does not have
            value = _DECODER.decode(spelled)
            members.setdefault(name, value)
    return members
