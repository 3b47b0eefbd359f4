"""Reads gettext catalogues: the `.po` files of translators, of which the pages need a small part.

An entry is a text and its translation. Plural forms and contexts are refused: no text of ours has
them. Entries that are marked fuzzy, obsolete or not translated yet count as missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_LINE: Final = re.compile(r'(?:(msgid|msgstr) +)?"((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPED: Final = {"n": "\n", "t": "\t"}
PLACEHOLDER: Final = re.compile(r"%\(([a-z_]+)\)s")
_TAG: Final = re.compile(r"</?[a-z]+>")


class WrongCatalogueError(Exception):
    """A catalogue cannot be used. The message names the line."""


@dataclass(slots=True)
class _Entry:
    line: int = 0
    is_fuzzy: bool = False
    parts: dict[str, str] = field(default_factory=dict)


def translations_in(text: str) -> dict[str, str]:
    """Return each text of a catalogue with its translation.

    Raises:
        WrongCatalogueError: A line is not understood, or a translation has other placeholders or
            tags than its text.
    """
    found: dict[str, str] = {}
    for entry in _entries(text):
        source, translation = entry.parts.get("msgid", ""), entry.parts.get("msgstr", "")
        if not source or not translation or entry.is_fuzzy:
            continue
        for what, pattern in (("placeholders", PLACEHOLDER), ("tags", _TAG)):
            if sorted(pattern.findall(source)) != sorted(pattern.findall(translation)):
                raise WrongCatalogueError(
                    f"line {entry.line}: the translation of {source!r} has other {what}"
                )
        found[source] = translation
    return found


def _meant(escape: re.Match[str]) -> str:
    return _ESCAPED.get(escape[1], escape[1])


def _entries(text: str) -> Iterator[_Entry]:
    entry, current = _Entry(), None
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            if entry.parts:
                yield entry
                entry, current = _Entry(), None
            entry.is_fuzzy |= line.startswith("#,") and "fuzzy" in line
            continue
        matched = _LINE.fullmatch(line)
        keyword = matched[1] if matched else None
        current = keyword or current
        if matched is None or current is None:
            raise WrongCatalogueError(f"line {number} is not understood: {line}")
        if keyword == "msgid" and entry.parts:
            yield entry
            entry = _Entry()
        entry.line = entry.line or number
        entry.parts[current] = entry.parts.get(current, "") + _ESCAPE.sub(_meant, matched[2])
    if entry.parts:
        yield entry
