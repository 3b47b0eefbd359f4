"""New people, companies and projects for a test, with ids that no one else has."""

from __future__ import annotations

from collections.abc import Container, Iterable
from itertools import count
from typing import Any, Final

from procore_signin._emulator.control.verbs import Verbs
from procore_signin._emulator.errors import EmulatorRefused
from procore_signin._emulator.procore import LocalProcore
from procore_signin._emulator.world.companies import Company, Project
from procore_signin._emulator.world.people import Person

FIRST_PERSON: Final = 20001
FIRST_COMPANY: Final = 30001
FIRST_PROJECT: Final = 40001
"""Far apart, so that a test that takes one id for another fails."""

Whom = Person | int | str
"""A person, or their id, or their login."""


class Factory:
    """Makes what a test names and numbers what it does not. May be called from any thread."""

    def __init__(self, procore: LocalProcore) -> None:
        self._procore = procore
        self._verbs = Verbs(procore)

    def person(
        self, login: str | None = None, *, name: str | None = "", job_title: str | None = None
    ) -> Person:
        """Add a person.

        Args:
            login: E-mail address; None makes one up.
            name: Full name, or None for a person without one; by default made from the login.
            job_title: As a company's directory shows it, or None.

        Raises:
            ValueError: Someone has that login.
        """
        with self._procore.lock:
            number = _free(FIRST_PERSON, self._procore.state.directory.people)
            login = f"person-{number}@example.com" if login is None else login
            named = _name_in(login) if name == "" else name
            return self._verbs.person(number, login=login, name=named, job_title=job_title)

    def company(
        self,
        name: str | None = None,
        *,
        people: Iterable[Whom] | None = None,
        projects: Iterable[str] = (),
        **more: Any,
    ) -> Company:
        """Add a company.

        Args:
            name: As shown; None makes one up.
            people: Who is in its directory, or None for everyone.
            projects: Names of projects to add to it.
            more: Other fields of `Company`, such as `connected=False`.

        Raises:
            EmulatorRefused: No one has that id or login.
        """
        with self._procore.lock:
            number = _free(FIRST_COMPANY, self._procore.state.directory.companies)
            members = None if people is None else frozenset(map(self._person_id, people))
            company = Company(number, name or f"Company {number}", members=members, **more)
            self._verbs.company(company)
            for project in projects:
                self.project(company, project)
            return company

    def project(self, company: Company | int, name: str | None = None, **more: Any) -> Project:
        """Add a project.

        Args:
            company: Whose it is, or its id.
            name: Without the number; None makes one up.
            more: Other fields of `Project`, such as `active=False`.

        Raises:
            ValueError: There is no such company.
        """
        with self._procore.lock:
            number = _free(FIRST_PROJECT, self._procore.state.directory.projects)
            owner = company if isinstance(company, int) else company.id
            project = Project(number, owner, name or f"Project {number}", **more)
            self._verbs.project(project)
            return project

    def _person_id(self, whom: Whom) -> int:
        directory = self._procore.state.directory
        if isinstance(whom, str):
            found = directory.person_by_login(whom)
            if found is None:
                raise EmulatorRefused(f"No one has the login {whom!r}: add the person first")
            return found.id
        person_id = whom if isinstance(whom, int) else whom.id
        if person_id not in directory.people:
            raise EmulatorRefused(f"There is no person {person_id}: add the person first")
        return person_id


def _free(first: int, taken: Container[int]) -> int:
    return next(number for number in count(first) if number not in taken)


def _name_in(login: str) -> str:
    """Return `Ann Lee` for `ann.lee@example.com`."""
    words = "".join(c if c.isalpha() else " " for c in login.partition("@")[0]).split()
    return " ".join(word.capitalize() for word in words) or login
