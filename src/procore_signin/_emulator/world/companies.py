"""The companies and projects in the emulator's API."""

from __future__ import annotations

from dataclasses import dataclass

from procore_signin._emulator.world.people import MAX_ID


@dataclass(frozen=True, slots=True)
class Company:
    """One Procore company.

    Attributes:
        id: Up to 63 bits: in newer zones ids exceed 32 bits.
        name: As shown.
        zone: Where its data lives, such as `us01`.
        connected: False when the application is not installed in it: its resources return 403.
        is_active: As in the list of companies.
        members: Ids of the people in its directory, or None for everyone.
    """

    id: int
    name: str
    zone: str = "us01"
    connected: bool = True
    is_active: bool = True
    members: frozenset[int] | None = None

    def __post_init__(self) -> None:
        _check("company", self.id, self.name)
        for member in self.members or ():
            _check("member", member, self.name)

    def has(self, person_id: int) -> bool:
        """Say whether the person is in this company's directory."""
        return self.members is None or person_id in self.members


@dataclass(frozen=True, slots=True)
class Project:
    """One project of a company.

    Attributes:
        id: Up to 63 bits.
        company_id: The company it belongs to.
        name: Without the number.
        project_number: Shown before the name, or None.
        active: False once it is closed.
        stage: Such as `Course of Construction`.
    """

    id: int
    company_id: int
    name: str
    project_number: str | None = None
    active: bool = True
    stage: str = "Course of Construction"

    def __post_init__(self) -> None:
        _check("project", self.id, self.name)

    @property
    def display_name(self) -> str:
        """Number and name, as Procore shows them."""
        return f"{self.project_number} - {self.name}" if self.project_number else self.name


def _check(what: str, number: int, name: str) -> None:
    if isinstance(number, bool) or not 1 <= number <= MAX_ID:
        raise ValueError(f"A {what}'s id is a whole number from 1 to {MAX_ID}")
    if not name:
        raise ValueError(f"A {what} needs a name")
