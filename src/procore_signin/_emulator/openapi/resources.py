"""Schemas of what the emulated API answers, and of its error bodies."""

from __future__ import annotations

from typing import Final

from procore_signin._emulator.openapi.parts import (
    BOOLEAN,
    ID,
    STRING,
    TEXT_OR_NULL,
    TIME,
    Part,
    array,
    record,
)

_NUMBER: Final[Part] = {"type": "number"}
_NULL: Final[Part] = {"type": "null"}
_NAMED: Final = record({"id": ID, "name": STRING})
_DATE: Final[Part] = {"type": "string", "format": "date"}

_PROJECT: Final = {
    "id": ID,
    "active": BOOLEAN,
    "address": STRING,
    "city": STRING,
    "company": _NAMED,
    "completion_date": _DATE,
    "country_code": STRING,
    "county": _NULL,
    "created_at": TIME,
    "display_name": STRING,
    "latitude": _NUMBER,
    "longitude": _NUMBER,
    "name": STRING,
    "origin_code": _NULL,
    "origin_data": _NULL,
    "origin_id": _NULL,
    "phone": _NULL,
    "project_number": TEXT_OR_NULL,
    "start_date": _DATE,
    "state_code": STRING,
    "time_zone": STRING,
    "updated_at": TIME,
    "zip": STRING,
}
_NULL_IN_V1_1: Final = (
    "accounting_project_number",
    "delivery_method",
    "description",
    "designated_market_area",
    "fax",
    "owners_project_id",
    "parent_job_id",
    "photo_id",
    "project_bid_type_id",
    "project_owner_type_id",
    "project_region_id",
    "project_type",
    "sector",
    "square_feet",
    "store_number",
    "work_scope",
)

RESOURCES: Final[Part] = {
    "Me": record({"id": ID, "login": STRING}, {"name": STRING}),
    "Company": record(
        {
            "id": ID,
            "name": STRING,
            "is_active": BOOLEAN,
            "logo_url": TEXT_OR_NULL,
            "pcn_business_experience": BOOLEAN,
            "my_company": BOOLEAN,
        }
    ),
    "CompanyUser": record(
        {
            "id": ID,
            "login": STRING,
            "name": TEXT_OR_NULL,
            "email_address": STRING,
            "first_name": STRING,
            "last_name": STRING,
            "job_title": TEXT_OR_NULL,
            "is_active": BOOLEAN,
            "is_employee": BOOLEAN,
            "vendor": _NAMED,
            "created_at": TIME,
            "updated_at": TIME,
        }
    ),
    "Project": record(
        {**_PROJECT, "stage": STRING, "estimated_value": _NUMBER, "total_value": _NUMBER}
    ),
    "ProjectV11": record(
        {
            **_PROJECT,
            **dict.fromkeys(_NULL_IN_V1_1, _NULL),
            "actual_start_date": _DATE,
            "code": STRING,
            "created_by": record({"id": ID, "login": STRING, "name": STRING}),
            "custom_fields": {"type": "object"},
            "erp_integrated": BOOLEAN,
            "estimated_value": STRING,
            "is_demo": BOOLEAN,
            "project_stage": _NAMED,
            "projected_finish_date": _DATE,
            "total_value": STRING,
        }
    ),
    "CompanyBaseUrl": record({"zone": STRING, "web_base_url": STRING}),
    "BadRequest": record({"error": record({"code": STRING, "message": STRING})}),
    "Unauthorized": record(
        {"code": STRING, "message": STRING, "fields": _NULL, "reason": STRING, "error": STRING}
    ),
    "Forbidden": record({"errors": array(STRING)}),
    "NotFound": record(
        {"code": STRING, "message": STRING, "fields": _NULL, "reason": _NULL, "error": STRING}
    ),
    "Unprocessable": record({"errors": {"type": "object"}}),
    "TooManyRequests": record({"errors": STRING}),
}
