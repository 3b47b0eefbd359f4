"""The people who can log in to the emulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

DEMO_PASSWORD: Final = "procore"  # noqa: S105 - printed on the log-in page; it guards nothing
MAX_ID: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Person:
    """One Procore user.

    Attributes:
        id: Unique across companies, up to 63 bits.
        login: The e-mail address they log in with; it can change, `id` cannot.
        name: Full name, or None: `/me` then has no `name`.
        password: The password for the log-in panel.
        job_title: Shown by `/companies/{id}/me`, or None.
    """

    id: int
    login: str
    name: str | None = None
    password: str = field(default=DEMO_PASSWORD, repr=False)
    job_title: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.id, bool) or not 1 <= self.id <= MAX_ID:
            raise ValueError(f"A person's id is a whole number from 1 to {MAX_ID}")
        if not self.login or not self.login.isprintable():
            raise ValueError("A person's login is their e-mail address: printable, not empty")

    @property
    def first_name(self) -> str:
        """The name up to the first space, or nothing."""
        return (self.name or "").partition(" ")[0]

    @property
    def last_name(self) -> str:
        """The name after the first space, or nothing."""
        return (self.name or "").partition(" ")[2]
