"""The browsers that are logged in to the emulator, and their persons."""

from __future__ import annotations

from typing import Final

from procore_signin._emulator.world.random_values import RandomValues

COOKIE: Final = "procore_emulator_login"


class Logins:
    """Log-ins by the value of their cookie. They last until log-out or reset."""

    __slots__ = ("_mint", "_people")

    def __init__(self, random_values: RandomValues) -> None:
        self._mint = random_values
        self._people: dict[str, int] = {}

    def open(self, person_id: int) -> str:
        """Log a person in; returns the cookie's value."""
        value = self._mint.hexadecimal()
        self._people[value] = person_id
        return value

    def person_id(self, value: str | None) -> int | None:
        """Return who is logged in with this cookie, or None."""
        return None if value is None else self._people.get(value)

    def close(self, value: str | None) -> None:
        """Log out; harmless when no one is logged in."""
        if value is not None:
            self._people.pop(value, None)

    def all(self) -> dict[str, int]:
        """Return who is logged in, by the value of their cookie."""
        return dict(self._people)

    def put(self, people: dict[str, int]) -> None:
        """Take the log-ins of an earlier run."""
        self._people.update(people)

    def clear(self) -> None:
        """Log everyone out."""
        self._people.clear()
