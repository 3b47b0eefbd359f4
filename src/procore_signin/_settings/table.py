"""What is known of one setting: a row of the table that `Settings` is.

From the rows come the settings' defaults, their reading and their problems, `.env.example`, what
`doctor` says, the names in Django's settings, and docs/reference/settings.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

PREFIX: Final = "PROCORE_"
ROW: Final = "row"

T = TypeVar("T")
Values = Mapping[str, str]
"""The text of each setting that has one, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Generic[T]):
    """One setting.

    Attributes:
        name: Its name in the environment and in `.env`.
        parse: Returns what its text stands for, or raises `WrongError`. The other settings are
            there to be compared with. The text is empty where it is not set and need not be.
        meaning: What it is for, in one sentence.
        accepts: What may be written.
        needed_by: Who has to think about it.
        example: What may be written, to the letter. Empty where an example could be taken for a
            secret to use.
        default: What holds when it is not set. Empty for nothing.
        emulators: What holds then with the local emulator. Empty for the same.
        missing: The cure when it is not set and there is no default. Empty where it may be left
            out.
        expected: Whether every `.env` is expected to have it.
        secret: Whether it is never shown.
        outer_blanks: Whether blanks around it mean nothing, as around the parts of a list.
    """

    name: str
    parse: Callable[[str, Values], T]
    meaning: str
    accepts: str
    needed_by: str
    example: str = ""
    default: str = ""
    emulators: str = ""
    missing: str = ""
    expected: bool = False
    secret: bool = False
    outer_blanks: bool = False

    @property
    def key(self) -> str:
        """Its name in Django's settings."""
        return self.name.removeprefix(PREFIX)


def setting(row: Row[T]) -> T:
    """Declare a field of `Settings` by its row."""
    declared: Any = field(repr=not row.secret, metadata={ROW: row})
    return declared  # type: ignore[no-any-return]  # a field, as `dataclass` wants it
