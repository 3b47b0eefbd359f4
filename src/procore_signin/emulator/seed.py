"""What is there when the emulator starts: the tutorial's person and the sandbox's seed data."""

from __future__ import annotations

from typing import Final

from procore_signin.emulator.companies import Company, Project
from procore_signin.emulator.directory import Directory
from procore_signin.emulator.people import Person

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


def fill(directory: Directory) -> None:
    """Put the seed into an empty directory."""
    for person in PEOPLE:
        directory.put_person(person)
    for company in COMPANIES:
        directory.put_company(company)
    for project in PROJECTS:
        directory.put_project(project)
