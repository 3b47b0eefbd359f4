"""The data at the start of the emulator: the tutorial's person and the sandbox's seed data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from procore_signin._emulator.world.clients import Client
from procore_signin._emulator.world.companies import Company, Project
from procore_signin._emulator.world.directory import Directory
from procore_signin._emulator.world.people import Person

DEMO_LOGIN: Final = "joecontractor@procore.com"
"""The person whose sign-in makes the tutorial's `[1, 11111, "joecontractor@procore.com"]`."""

SANDBOX_COMPANY_ID: Final = 8089
WIDE_COMPANY_ID: Final = 562949953434271
"""A company of a newer zone: its id needs more than 32 bits, as the documentation warns."""

PEOPLE: Final = (
    Person(11111, DEMO_LOGIN, "Joe Contractor", job_title="Superintendent"),
    Person(11112, "sandbox+arch@example.com", "Test Architect", job_title="Architect"),
    Person(11113, "sandbox+sub@example.com", "Test Subcontractor", job_title="Foreman"),
    Person(11114, "sandbox+support@example.com", "API Support"),
)
COMPANIES: Final = (
    Company(SANDBOX_COMPANY_ID, "Sandbox Test Company"),
    Company(WIDE_COMPANY_ID, "Wide Ids Construction", zone="us02"),
)
PROJECTS: Final = (
    Project(2783683, SANDBOX_COMPANY_ID, "Sandbox Test Project", project_number="1234"),
    Project(598134325694431, WIDE_COMPANY_ID, "Harbour Bridge", project_number="77"),
)


@dataclass(frozen=True, slots=True)
class Population:
    """The people and data at the start, and after a reset.

    Attributes:
        people: No one may have the id or login of another.
        companies: As a client of the API meets them.
        projects: Each of one of these companies.
        clients: Registered beside the one of the options.
    """

    people: tuple[Person, ...] = PEOPLE
    companies: tuple[Company, ...] = COMPANIES
    projects: tuple[Project, ...] = PROJECTS
    clients: tuple[Client, ...] = ()

    def fill(self, directory: Directory) -> None:
        """Put everything into an empty directory.

        Raises:
            ValueError: Two of a kind have the same id, two people the same login, or a project has
                no company.
        """
        _refuse_twins("people", [person.id for person in self.people])
        _refuse_twins("companies", [company.id for company in self.companies])
        _refuse_twins("projects", [project.id for project in self.projects])
        _refuse_twins("clients", [client.client_id for client in self.clients])
        for person in self.people:
            directory.put_person(person)
        for company in self.companies:
            directory.put_company(company)
        for project in self.projects:
            directory.put_project(project)
        for client in self.clients:
            directory.put_client(client)


def _refuse_twins(kind: str, ids: list[int] | list[str]) -> None:
    for place, one in enumerate(ids):
        if one in ids[:place]:
            raise ValueError(f"{kind}: two have the id {one}")
