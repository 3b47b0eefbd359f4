"""Procore's error messages. Their format varies, and Procore does not document it.

Strings, lists and objects under `errors`, `error` or `message`, sometimes nested, plain text, and
HTML pages from proxies in front of the API.
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

# Tokens have at least 64 characters. An identifier that is worth showing, such as a UUID, has 36.
_AS_LONG_AS_A_TOKEN: Final = re.compile(r"[^\s\"'<>()\[\]{},;]{40,}")
_SPACE: Final = re.compile(r"\s+")
_MEMBERS: Final = ("errors", "error", "message", "error_description", "reason", "details")
_NOT_FIELDS: Final = frozenset({"code", "source", "status", *_MEMBERS})


@dataclass(frozen=True, slots=True)
class Words:
    """The text of an error response.

    Attributes:
        text: One line, cleaned and bounded; empty if the body has none.
        fields: What was said about each field, by field name.
    """

    text: str = ""
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def words_of(body: bytes, content_type: str) -> Words:
    """Return the text of an error response.

    Args:
        body: The response's body.
        content_type: The response's content type; it only tells HTML pages apart.
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
    """Return `text` on one line, bounded, without any word as long as a token."""
    one_line = _SPACE.sub(" ", "".join(c if c.isprintable() else " " for c in text)).strip()
    short = _AS_LONG_AS_A_TOKEN.sub("…", one_line)
    return short if len(short) <= MAX_WORDS else f"{short[: MAX_WORDS - 1]}…"


def _sentences(value: Any, name: str | None, depth: int) -> Iterator[tuple[str | None, str]]:
    """Yield each text in `value`, with the name of its field or None."""
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
