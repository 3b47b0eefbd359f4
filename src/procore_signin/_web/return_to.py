"""Where to land after signing in: only ever a path of this application (row A8)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

LONGEST: Final = 512

# One slash, then visible ASCII. Browsers read a backslash as a slash and drop tabs and newlines,
# so none of those may appear; `//host` and `/\host` would name another origin.
_PATH: Final = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", re.ASCII)


def safe_return_to(wanted: str | None, *, default: str) -> str:
    """Return `wanted` when it is a path of this origin, else `default`.

    Args:
        wanted: What the request asked for: untrusted.
        default: A path of this application.

    Returns:
        A path with an optional query, at most 512 characters, in visible ASCII.
    """
    if wanted is None or len(wanted) > LONGEST or not _PATH.fullmatch(wanted):
        return default
    path = wanted.partition("?")[0].partition("#")[0]
    # A proxy in front may decode before it routes: `/%2fevil.example` must not become `//evil…`.
    decoded = unquote(unquote(path))
    if decoded.startswith(("//", "/\\")) or any(c < " " or c in "\\\x7f" for c in decoded):
        return default
    return wanted
