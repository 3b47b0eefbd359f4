"""People, companies, projects and clients as the JSON of the control API and the seed file.

What the API of Procore shows of them is in `resources.py`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from procore_signin._emulator.files.members import (
    flag,
    number,
    only,
    optional_numbers,
    optional_text,
    text,
    texts,
)
from procore_signin._emulator.world.clients import Client
from procore_signin._emulator.world.companies import Company, Project
from procore_signin._emulator.world.people import DEMO_PASSWORD, Person


def person_of(members: object) -> Person:
    """Return a person from `{"id", "login", "name", "password", "job_title"}`.

    Raises:
        ValueError: A member is missing, unknown or wrong.
    """
    found = only(members, "id", "login", "name", "password", "job_title")
    return Person(
        id=number(found, "id"),
        login=text(found, "login"),
        name=optional_text(found, "name"),
        password=text(found, "password", DEMO_PASSWORD),
        job_title=optional_text(found, "job_title"),
    )


def company_of(members: object) -> Company:
    """Return a company from `{"id", "name", "zone", "connected", "is_active", "members"}`.

    Raises:
        ValueError: A member is missing, unknown or wrong.
    """
    found = only(members, "id", "name", "zone", "connected", "is_active", "members")
    return Company(
        id=number(found, "id"),
        name=text(found, "name"),
        zone=text(found, "zone", "us01"),
        connected=flag(found, "connected", default=True),
        is_active=flag(found, "is_active", default=True),
        members=optional_numbers(found, "members"),
    )


def project_of(members: object) -> Project:
    """Return a project from `{"id", "company_id", "name", "project_number", "active", "stage"}`.

    Raises:
        ValueError: A member is missing, unknown or wrong.
    """
    found = only(members, "id", "company_id", "name", "project_number", "active", "stage")
    return Project(
        id=number(found, "id"),
        company_id=number(found, "company_id"),
        name=text(found, "name"),
        project_number=optional_text(found, "project_number"),
        active=flag(found, "active", default=True),
        stage=text(found, "stage", "Course of Construction"),
    )


def client_of(members: object) -> Client:
    """Return a client from the names of its members, `redirect_uris` a list.

    Raises:
        ValueError: A member is missing, unknown or wrong, or a redirect URI leaves this machine.
    """
    found = only(
        members, "client_id", "client_secret", "redirect_uris", "name", "client_credentials"
    )
    return Client(
        client_id=text(found, "client_id"),
        client_secret=text(found, "client_secret"),
        redirect_uris=texts(found, "redirect_uris"),
        name=text(found, "name", "Your Application"),
        client_credentials=flag(found, "client_credentials", default=True),
    )


def person_json(person: Person) -> dict[str, Any]:
    """Return a person without the password."""
    shown = asdict(person)
    del shown["password"]
    return shown


def company_json(company: Company) -> dict[str, Any]:
    """Return a company, `members` as a list or null for everyone."""
    members = None if company.members is None else sorted(company.members)
    return {**asdict(company), "members": members}


def project_json(project: Project) -> dict[str, Any]:
    """Return a project."""
    return asdict(project)


def client_json(client: Client) -> dict[str, Any]:
    """Return a client without its secret."""
    shown = asdict(client)
    del shown["client_secret"]
    return {**shown, "redirect_uris": list(client.redirect_uris)}
