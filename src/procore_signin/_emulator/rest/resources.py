"""People, companies and projects as the API's JSON shows them."""

from __future__ import annotations

from typing import Any, Final

from procore_signin._emulator.world.companies import Company, Project
from procore_signin._emulator.world.people import Person

_CREATED_AT: Final = "2024-03-20T20:39:39Z"
_UPDATED_AT: Final = "2025-02-21T17:28:35Z"


def me(person: Person, *, with_name: bool) -> dict[str, Any]:
    """Return `/me`: who the token acts for."""
    members: dict[str, Any] = {"id": person.id, "login": person.login}
    if with_name and person.name is not None:
        members["name"] = person.name
    return members


def company(shown: Company, *, my_company: bool) -> dict[str, Any]:
    """Return one row of the list of companies."""
    return {
        "id": shown.id,
        "name": shown.name,
        "is_active": shown.is_active,
        "logo_url": None,
        "pcn_business_experience": True,
        "my_company": my_company,
    }


def company_user(person: Person, shown: Company) -> dict[str, Any]:
    """Return a person as a company's directory knows them."""
    return {
        "id": person.id,
        "login": person.login,
        "name": person.name,
        "email_address": person.login,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "job_title": person.job_title,
        "is_active": True,
        "is_employee": True,
        "vendor": {"id": shown.id, "name": shown.name},
        "created_at": _CREATED_AT,
        "updated_at": _UPDATED_AT,
    }


def project(shown: Project, owner: Company) -> dict[str, Any]:
    """Return a project as version 1.0 shows it: `stage` is text, money is a number."""
    return {
        **_common(shown, owner),
        "stage": shown.stage,
        "estimated_value": 1.0,
        "total_value": 1.0,
    }


def project_v1_1(shown: Project, owner: Company) -> dict[str, Any]:
    """Return a project as version 1.1 shows it: `project_stage` is an object, money is text."""
    return {
        **_common(shown, owner),
        "accounting_project_number": None,
        "actual_start_date": "2024-03-20",
        "code": "",
        "created_by": {"id": 1, "login": "owner@example.com", "name": "Company Owner"},
        "custom_fields": {},
        "delivery_method": None,
        "description": None,
        "designated_market_area": None,
        "erp_integrated": False,
        "estimated_value": "1.0",
        "fax": None,
        "is_demo": True,
        "owners_project_id": None,
        "parent_job_id": None,
        "photo_id": None,
        "project_bid_type_id": None,
        "project_owner_type_id": None,
        "project_region_id": None,
        "project_stage": {"id": 139797, "name": shown.stage},
        "project_type": None,
        "projected_finish_date": "2027-03-31",
        "sector": None,
        "square_feet": None,
        "store_number": None,
        "total_value": "1.0",
        "work_scope": None,
    }


def _common(shown: Project, owner: Company) -> dict[str, Any]:
    return {
        "id": shown.id,
        "active": shown.active,
        "address": "1 Example Street",
        "city": "Anytown",
        "company": {"id": owner.id, "name": owner.name},
        "completion_date": "2027-03-31",
        "country_code": "US",
        "county": None,
        "created_at": _CREATED_AT,
        "display_name": shown.display_name,
        "latitude": 34.385045633646,
        "longitude": -119.490841957738,
        "name": shown.name,
        "origin_code": None,
        "origin_data": None,
        "origin_id": None,
        "phone": None,
        "project_number": shown.project_number,
        "start_date": "2024-03-20",
        "state_code": "CA",
        "time_zone": "US/Pacific",
        "updated_at": _UPDATED_AT,
        "zip": "93013",
    }
