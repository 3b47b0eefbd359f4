"""The file `.env`: names and values, and whatever in it cannot be read."""

from __future__ import annotations

import io
from pathlib import Path

from dotenv.parser import parse_stream

from procore_signin.errors import Problem


def read_env_file(path: Path) -> tuple[dict[str, str], list[Problem]]:
    """Read the file at `path`.

    Values are taken as they stand: `$` means nothing, because secrets may contain it. A name
    without a value counts as not set.

    Args:
        path: Where the file is. One that is not there reads as empty.

    Returns:
        The values by name, and a problem for a file or line that cannot be read and for each
        setting of ours that stands there twice. No problem quotes the file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}, []
    except UnicodeDecodeError:
        return {}, [Problem(path.name, "is not UTF-8 text", "Save it again as UTF-8.")]
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        return {}, [Problem(path.name, what, "Let the application read it, or remove it.")]
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems = []
    for binding in parse_stream(io.StringIO(text)):
        # The parser counts a statement from the end of the one before; blank lines belong to it.
        blank = binding.original.string[: -len(binding.original.string.lstrip()) or None]
        line = binding.original.line + blank.count("\n")
        if binding.error:
            what = f"cannot be read at line {line}"
            problems.append(Problem(path.name, what, "Write NAME=value, and close every quote."))
        elif binding.key and binding.value:
            if binding.key in lines and binding.key.startswith("PROCORE_"):
                what = f"stands in {path.name} twice, at lines {lines[binding.key]} and {line}"
                problems.append(Problem(binding.key, what, "Keep one of them."))
            lines[binding.key] = line
            values[binding.key] = binding.value
    return values, problems
