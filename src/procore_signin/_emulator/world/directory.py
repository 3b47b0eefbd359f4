"""Who and what exists: people, companies, projects and clients, in memory."""

from __future__ import annotations

from procore_signin._emulator.world.clients import Client
from procore_signin._emulator.world.companies import Company, Project
from procore_signin._emulator.world.people import Person


class Directory:
    """What a Procore knows before anyone signs in.

    Tokens are not here: two environments may share one directory, as production and the monthly
    sandbox share people, while their tokens never cross.
    """

    __slots__ = ("_by_login", "clients", "companies", "people", "projects")

    def __init__(self) -> None:
        self.people: dict[int, Person] = {}
        self.companies: dict[int, Company] = {}
        self.projects: dict[int, Project] = {}
        self.clients: dict[str, Client] = {}
        self._by_login: dict[str, int] = {}

    def put_person(self, person: Person) -> None:
        """Add a person, or replace the one with the same id.

        Raises:
            ValueError: Someone else has that login.
        """
        taken_by = self._by_login.get(person.login.casefold())
        if taken_by is not None and taken_by != person.id:
            raise ValueError(f"The login {person.login!r} belongs to person {taken_by}")
        before = self.people.get(person.id)
        if before is not None:
            del self._by_login[before.login.casefold()]
        self.people[person.id] = person
        self._by_login[person.login.casefold()] = person.id

    def remove_person(self, person_id: int) -> bool:
        """Remove a person; False when there was none."""
        person = self.people.pop(person_id, None)
        if person is None:
            return False
        del self._by_login[person.login.casefold()]
        return True

    def person_by_login(self, login: str) -> Person | None:
        """Return the person with that login, whatever its case, or None."""
        person_id = self._by_login.get(login.casefold())
        return None if person_id is None else self.people[person_id]

    def put_company(self, company: Company) -> None:
        """Add a company, or replace the one with the same id."""
        self.companies[company.id] = company

    def put_project(self, project: Project) -> None:
        """Add a project, or replace the one with the same id.

        Raises:
            ValueError: Its company does not exist.
        """
        if project.company_id not in self.companies:
            raise ValueError(f"There is no company {project.company_id} for this project")
        self.projects[project.id] = project

    def put_client(self, client: Client) -> None:
        """Register a client, or replace the one with the same client id."""
        self.clients[client.client_id] = client

    def companies_of(self, person_id: int) -> list[Company]:
        """Return the companies whose directory lists the person, by id."""
        found = [company for company in self.companies.values() if company.has(person_id)]
        return sorted(found, key=lambda company: company.id)

    def projects_of(self, company_id: int) -> list[Project]:
        """Return the projects of a company, by id."""
        found = [p for p in self.projects.values() if p.company_id == company_id]
        return sorted(found, key=lambda project: project.id)

    def clear(self) -> None:
        """Forget everything."""
        self.people.clear()
        self.companies.clear()
        self.projects.clear()
        self.clients.clear()
        self._by_login.clear()
