"""The OpenAPI document of the control API, `/_emulator/openapi.json`."""

from __future__ import annotations

from typing import Final

from procore_signin._emulator.faults.effects import KINDS
from procore_signin._emulator.openapi.parts import (
    BOOLEAN,
    ID,
    JSON,
    STRING,
    TEXT_OR_NULL,
    UNIX_SECONDS,
    Part,
    answer,
    array,
    body,
    described,
    document,
    query,
    record,
    ref,
)
from procore_signin._emulator.world.clock import FURTHEST

_DESCRIPTION: Final = (
    "What a test may do to the emulator: people, companies, projects, clients, time, faults, "
    "consent without a browser, and what came in. No credentials are needed; a request that a "
    "browser sends for another site's page is refused with 403."
)
_TEXT: Final[Part] = {"type": "string", "minLength": 1}
_COUNT: Final[Part] = {"type": "integer", "minimum": 0}
_HEADERS: Final[Part] = array(array(STRING))

_PERSON: Final = {"id": ID, "login": STRING, "name": TEXT_OR_NULL, "job_title": TEXT_OR_NULL}
_CLIENT: Final = {
    "client_id": STRING,
    "redirect_uris": array(STRING),
    "name": STRING,
    "client_credentials": BOOLEAN,
}
_COMPANY: Final = {
    "id": ID,
    "name": STRING,
    "zone": STRING,
    "connected": described(BOOLEAN, "false: the application is not installed, its data is 403"),
    "is_active": BOOLEAN,
    "members": described(
        {"type": ["array", "null"], "items": ID}, "ids of its people; null for everybody"
    ),
}
_PROJECT: Final = {
    "id": ID,
    "company_id": ID,
    "name": STRING,
    "project_number": TEXT_OR_NULL,
    "active": BOOLEAN,
    "stage": STRING,
}
_FAULT_ASKED: Final[Part] = {
    "type": "object",
    "description": "Beside these members, the settings of its kind: "
    "docs/reference/emulator.md lists them.",
    "properties": {
        "route": described(
            {"type": "string", "pattern": r"^([A-Z]+ )?[/*][!-~]*$"},
            "such as `POST /oauth/token`, `/rest/*` or `*`",
        ),
        "kind": {"type": "string", "enum": sorted(KINDS)},
        "times": described(
            {"type": ["integer", "null"], "minimum": 1}, "1 when left out; null for always"
        ),
        "probability": {"type": "number", "minimum": 0, "maximum": 1},
        "seed": {"type": ["integer", "null"]},
    },
    "required": ["route", "kind"],
}

_SCHEMAS: Final[Part] = {
    "Error": record({"error": described(STRING, "what is wrong, and the cure")}),
    "Nothing": record({}),
    "Person": record(_PERSON),
    "Client": record(_CLIENT),
    "Company": record(_COMPANY),
    "Project": record(_PROJECT),
    "Clock": record({"now": described({"type": "number"}, "UTC unix seconds")}),
    "Grant": record(
        {
            "client_id": STRING,
            "login": described(TEXT_OR_NULL, "null: the client's own token"),
            "created_at": UNIX_SECONDS,
            "access_token_expires_at": UNIX_SECONDS,
            "refreshable": BOOLEAN,
        }
    ),
    "Fault": record(
        {
            "number": _COUNT,
            "route": STRING,
            "kind": STRING,
            "settings": {"type": "object"},
            "times": {"type": ["integer", "null"], "minimum": 0},
            "probability": {"type": "number"},
            "happened": _COUNT,
        }
    ),
    "Exchange": record(
        {
            "number": {"type": "integer", "minimum": 1},
            "started_at": described({"type": "number"}, "UTC unix seconds"),
            "took": described({"type": "number"}, "seconds"),
            "method": STRING,
            "target": STRING,
            "request_headers": _HEADERS,
            "request_body": STRING,
            "status": described({"type": "integer"}, "0: the connection ended without an answer"),
            "response_headers": _HEADERS,
            "response_body": STRING,
            "note": TEXT_OR_NULL,
        }
    ),
}


def control_document(url: str) -> Part:
    """Return the document, `url` being the emulator's own."""
    return document("Control API of the Procore emulator", _DESCRIPTION, url, _PATHS, _SCHEMAS)


def _operation(
    summary: str,
    schema: Part,
    *,
    asked: Part | None = None,
    needed: bool = True,
    parameters: tuple[Part, ...] = (),
) -> Part:
    operation: Part = {"summary": summary, "responses": {"200": answer(summary, schema)}}
    if asked is not None or parameters:
        operation["responses"]["400"] = answer("It cannot be done", ref("Error"))
    if asked is not None:
        operation["requestBody"] = body(JSON, schema=asked, required=needed)
    if parameters:
        operation["parameters"] = list(parameters)
    return operation


def _collection(name: str, what: str, asked: Part) -> Part:
    return {
        "get": _operation(f"List the {what}", array(ref(name))),
        "post": _operation(f"Add to the {what}, or replace", ref(name), asked=asked),
    }


_PATHS: Final[Part] = {
    "/_emulator/people": {
        "get": _operation("List the people who can log in", array(ref("Person"))),
        "post": _operation(
            "Add a person, or change what is given of one",
            ref("Person"),
            asked=record(
                {"id": ID},
                {
                    "login": described(TEXT_OR_NULL, "needed for a new person"),
                    "name": TEXT_OR_NULL,
                    "password": TEXT_OR_NULL,
                    "job_title": TEXT_OR_NULL,
                },
            ),
        ),
    },
    "/_emulator/people/remove": {
        "post": _operation("Remove a person", ref("Nothing"), asked=record({"id": ID}))
    },
    "/_emulator/clients": _collection(
        "Client",
        "registered clients",
        record(
            {"client_id": _TEXT, "client_secret": _TEXT},
            {
                "redirect_uris": described(array(STRING), "on this machine, or out of band"),
                "name": STRING,
                "client_credentials": BOOLEAN,
            },
        ),
    ),
    "/_emulator/companies": _collection(
        "Company",
        "companies",
        record(
            {"id": ID, "name": _TEXT},
            {name: _COMPANY[name] for name in ("zone", "connected", "is_active", "members")},
        ),
    ),
    "/_emulator/projects": _collection(
        "Project",
        "projects",
        record(
            {"id": ID, "company_id": ID, "name": _TEXT},
            {name: _PROJECT[name] for name in ("project_number", "active", "stage")},
        ),
    ),
    "/_emulator/clock": {
        "get": _operation("Read the emulator's clock", ref("Clock")),
        "post": _operation(
            "Let time pass",
            ref("Clock"),
            asked=record({"advance": {"type": "number", "minimum": 0, "maximum": FURTHEST}}),
        ),
    },
    "/_emulator/grants": {
        "get": _operation("List the tokens that are not revoked", array(ref("Grant")))
    },
    "/_emulator/requests": {
        "get": _operation(
            "List what came in, the newest thousand, whole and with its secrets",
            array(ref("Exchange")),
            parameters=(query("after", {"type": "integer", "minimum": 0, "maximum": 10**19 - 1}),),
        )
    },
    "/_emulator/faults": {
        "get": _operation("List the faults, also those that are used up", array(ref("Fault"))),
        "post": _operation("Make something go wrong", ref("Fault"), asked=_FAULT_ASKED),
    },
    "/_emulator/faults/clear": {
        "post": _operation("Let nothing go wrong any more", ref("Nothing"))
    },
    "/_emulator/approve": {
        "post": _operation(
            "Log in and press Allow, without a browser",
            record({"location": described(STRING, "where the browser would be sent")}),
            asked=record(
                {"authorize_url": described(STRING, "the authorization request")},
                {"login": described(STRING, "who presses; by default the demo person")},
            ),
        )
    },
    "/_emulator/deny": {
        "post": _operation(
            "Press Deny, without a browser",
            record({"location": described(STRING, "where the browser would be sent")}),
            asked=record({"authorize_url": described(STRING, "the authorization request")}),
        )
    },
    "/_emulator/revoke": {
        "post": _operation(
            "Revoke grants: all of them, or of this person, client or token",
            record({"revoked": _COUNT}),
            asked=record(
                {}, {"login": TEXT_OR_NULL, "client_id": TEXT_OR_NULL, "token": TEXT_OR_NULL}
            ),
            needed=False,
        )
    },
    "/_emulator/reset": {"post": _operation("Return to the start", ref("Nothing"))},
}
