"""The file `.env`: read it, complete it without losing a line, and write it for its owner only.

Nothing here needs the database library: `demo` reads the file before it decides what to start.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dotenv.parser import Binding, parse_stream

from procore_signin._settings.row import PREFIX
from procore_signin.errors import Problem

_BARE: Final = re.compile(r"[A-Za-z0-9_./:@%+,=~-]+")
_DRAFT_SECONDS: Final = 60
"""The age in seconds of an abandoned draft; writing takes an instant."""
_SINGLE_QUOTED: Final = str.maketrans({"\\": "\\\\", "'": "\\'"})


class EnvFileUnusable(Exception):
    """A file cannot be read or completed. No attribute quotes it.

    Attributes:
        what: What happened, as a sentence.
        why: The reason, as a sentence.
        cure: What to do about it, as a sentence.
    """

    def __init__(self, what: str, *, why: str, cure: str) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Completed:
    """The result of `complete`.

    Attributes:
        text: The whole new text. It holds secrets.
        written: Names that got a new value, in the order given.
        kept: Names that already had a value and were left unchanged.
    """

    text: str
    written: tuple[str, ...]
    kept: tuple[str, ...]


def read(path: Path) -> dict[str, str]:
    """Return the names with a value in the file at `path`; none if there is no such file.

    Lines that cannot be read are left out: `read_and_check` names them.

    Raises:
        EnvFileUnusable: It is not UTF-8.
        OSError: The file cannot be read.
    """
    return values_of(text_of(path))


def read_and_check(path: Path) -> tuple[dict[str, str], list[Problem]]:
    """Read the file at `path`, and return its problems instead of raising them.

    Returns:
        The values by name, and a problem for a file or line that cannot be read and for each
        setting of ours that occurs twice. No problem quotes the file.
    """
    try:
        text = text_of(path)
    except EnvFileUnusable:
        return {}, [Problem(path.name, "is not UTF-8 text", "Save it again as UTF-8.")]
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        return {}, [Problem(path.name, what, "Let the application read it, or remove it.")]
    return values_of(text), list(_problems(text, path.name))


def where_looked_for(path: Path | None) -> str | None:
    """Return a sentence that says which file was looked for, and whether it is there.

    Args:
        path: The file, or None if none was looked for.
    """
    if path is None:
        return None
    place = _place(path)
    if path.exists():
        return f"The file that was read is {place}."
    return f"There is no file {place}, which would have been read: start in the folder that has it."


def _place(path: Path) -> str:
    try:
        return str(path.absolute())
    except FileNotFoundError:
        return f"{path} in the working directory, which was deleted"


def _problems(text: str, file: str) -> Iterator[Problem]:
    lines: dict[str, int] = {}
    for binding in _bindings(text):
        # The parser starts a statement at the end of the previous one, including blank lines.
        blank = binding.original.string[: -len(binding.original.string.lstrip()) or None]
        line = binding.original.line + blank.count("\n")
        if binding.error:
            what = f"cannot be read at line {line}"
            yield Problem(file, what, "Write NAME=value, and close every quote.")
        elif binding.key and binding.value:
            if binding.key in lines and binding.key.startswith(PREFIX):
                what = f"occurs in {file} twice, at lines {lines[binding.key]} and {line}"
                yield Problem(binding.key, what, "Keep one of them.")
            lines[binding.key] = line


def text_of(path: Path) -> str:
    """Return the text of the file at `path`, or empty text if there is no such file.

    Raises:
        EnvFileUnusable: It is not UTF-8.
        OSError: The file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise EnvFileUnusable(
            f"{_place(path)} cannot be read.",
            why="It is not UTF-8 text.",
            cure="Save it again as UTF-8.",
        ) from None


def complete(text: str, values: Mapping[str, str], *, force: bool = False) -> Completed:
    """Put `values` into the text of a `.env` file, keeping every other line unchanged.

    A name with an empty value counts as missing and is filled in on its line.

    Args:
        text: The present text; empty for a new file.
        values: Names and values to put in.
        force: Replace existing values.

    Raises:
        EnvFileUnusable: A value would be read back differently, such as one with a line break.
    """
    bindings = _bindings(text)
    present = {b.key: b.value for b in bindings if b.key is not None}
    written = tuple(name for name in values if force or not present.get(name))
    lines = []
    for binding in bindings:
        original = binding.original.string
        if binding.key in written:
            ending = "\n" if original.endswith("\n") else ""
            leading = original[: len(original) - len(original.lstrip())]
            original = f"{leading}{_line(binding.key, values[binding.key])}{ending}"
        lines.append(original)
    new_text = "".join(lines)
    if new_text and not new_text.endswith("\n"):
        new_text += "\n"
    added = [name for name in written if name not in present]
    new_text += "".join(f"{_line(name, values[name])}\n" for name in added)
    _check(new_text, {name: values[name] for name in written})
    return Completed(new_text, written, tuple(name for name in values if name not in written))


def write(path: Path, text: str) -> None:
    """Replace the file at `path` in one step. Only its owner may read it, from the first byte on.

    Ctrl-C or an error leaves no draft, which would contain the secrets. The next write removes
    drafts that SIGTERM, a closed terminal or SIGKILL left.

    Raises:
        OSError: The folder cannot be written to. The old file is then unchanged.
    """
    target = path.resolve()
    _remove_drafts(target)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # a descriptor
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)  # after `replace` it no longer exists


def _remove_drafts(target: Path) -> None:
    """Remove drafts of `target` that killed writers left, but none that is still in use."""
    draft = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}")
    for old in target.parent.iterdir():
        if draft.fullmatch(old.name):
            with contextlib.suppress(OSError):  # another user's, or already gone
                if time.time() - old.stat().st_mtime > _DRAFT_SECONDS:
                    old.unlink()


def _line(name: str, value: str) -> str:
    if not _BARE.fullmatch(value):
        value = f"'{value.translate(_SINGLE_QUOTED)}'"
    return f"{name}={value}"


def values_of(text: str) -> dict[str, str]:
    """Return the names with a value in the text of a `.env` file.

    Values are taken literally: `$` has no meaning, because secrets may contain it.
    """
    return {b.key: b.value for b in _bindings(text) if b.key and b.value}


def _bindings(text: str) -> list[Binding]:
    return list(parse_stream(io.StringIO(text)))


def _check(text: str, values: Mapping[str, str]) -> None:
    found = values_of(text)
    for name, value in values.items():
        if found.get(name) != value:
            raise EnvFileUnusable(
                f"{name} cannot be written to the file.",
                why="It would be read back differently, because of an unclosed quote in the file "
                "or a line break in the value.",
                cure="Check both, or set it in the environment instead of the file.",
            )
