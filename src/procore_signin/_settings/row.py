"""The description of one setting: a row of the table `Settings`.

The rows provide the settings' defaults, parsing and problems, `.env.example`, the findings of
`doctor`, the names in Django's settings, and docs/reference/settings.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

PREFIX: Final = "PROCORE_"
ROW: Final = "row"

T = TypeVar("T")
Values = Mapping[str, str]
"""The text of each setting that is set, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Generic[T]):
    """One setting.

    Attributes:
        name: Its name in the environment and in `.env`.
        parse: Returns its value, or raises `WrongError`. The other settings are passed for
            comparison. The text is empty if an optional setting is not set.
        meaning: Its purpose, in one sentence.
        accepts: The accepted values.
        needed_by: Who has to set it.
        example: An exact example. Empty if it could be mistaken for a usable secret.
        default: The value if it is not set. Empty for none.
        emulators: The value in that case with the local emulator. Empty for the same.
        missing: The cure if it is not set and there is no default. Empty if it may be left out.
        misspelt: The cure if it is not set but a name like it is: then its default, if it has one,
            does not stand for it. Empty where such a name is taken for the application's own.
        expected: Whether every `.env` is expected to have it.
        secret: Whether it is never shown.
        outer_blanks: Whether blanks around it are ignored, as around the parts of a list.
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
    misspelt: str = ""
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
