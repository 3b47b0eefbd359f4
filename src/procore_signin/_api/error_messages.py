"""What Procore says in the body of a refusal. There are many shapes of it, and none is documented.

Strings, lists and objects under `errors`, `error` or `message`, sometimes one within the other,
plain text, and pages of HTML from whatever stands before the API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MAX_WORDS: Final = 300
MAX_FIELDS: Final = 50
_MAX_DEPTH: Final = 5
_READ: Final = 64 * 1024

# Tokens have 64 characters and more. An identifier that is worth showing, such as a UUID, has 36.
_AS_LONG_AS_A_TOKEN: Final = re.compile(r"[^\s\"'<>()\[\]{},;]{40,}")
_SPACE: Final = re.compile(r"\s+")
_MEMBERS: Final = ("errors", "error", "message", "error_description", "reason", "details")
_NOT_FIELDS: Final = frozenset({"code", "source", "status", *_MEMBERS})


@dataclass(frozen=True, slots=True)
class Words:
    """What was said.

    Attributes:
        text: One line, cleaned and bounded; empty when there was nothing to read.
        fields: What was said of each field that was named.
    """

    text: str = ""
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def words_of(body: bytes, content_type: str) -> Words:
    """Return what a refusal says.

    Args:
        body: Of the response.
        content_type: Of the response; only a page of HTML is told by it.
    """
    text = body[:_READ].decode("utf-8", "replace").strip()
    if "html" in content_type.lower() or text[:1] == "<":
        return Words()
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return Words(clean(text))
    said: dict[str, None] = {}  # in order, each once
    fields: dict[str, list[str]] = {}
    for name, sentence in _sentences(parsed, None, _MAX_DEPTH):
        if name is not None and (name in fields or len(fields) < MAX_FIELDS):
            fields.setdefault(name, []).append(sentence)
        said[sentence if name is None else f"{name} {sentence}"] = None
    return Words(clean("; ".join(said)), {name: tuple(texts) for name, texts in fields.items()})


def clean(text: str) -> str:
    """Return `text` on one line, bounded, and without anything that is as long as a token."""
    one_line = _SPACE.sub(" ", "".join(c if c.isprintable() else " " for c in text)).strip()
    short = _AS_LONG_AS_A_TOKEN.sub("…", one_line)
    return short if len(short) <= MAX_WORDS else f"{short[: MAX_WORDS - 1]}…"


def _sentences(value: Any, name: str | None, depth: int) -> Iterator[tuple[str | None, str]]:
    """Yield each text in `value` with the field it belongs to, if it is said of one."""
    if isinstance(value, str):
        sentence = clean(value)
        if sentence:
            yield name, sentence
    elif depth > 0 and isinstance(value, list):
        for member in value[:MAX_FIELDS]:
            yield from _sentences(member, name, depth - 1)
    elif depth > 0 and isinstance(value, dict):
        envelope = any(member in value for member in _MEMBERS)
        for key, member in list(value.items())[:MAX_FIELDS]:
            if key in _MEMBERS:
                yield from _sentences(member, name, depth - 1)
            elif key == "fields" or not (envelope or key in _NOT_FIELDS):
                inner = name if key == "fields" else clean(key)
                yield from _sentences(member, inner, depth - 1)
