"""The OpenAPI document of the emulated Procore, `/_emulator/openapi-procore.json`."""

from __future__ import annotations

from typing import Final

from procore_signin._emulator.openapi.parts import (
    FORM,
    HTML,
    ID,
    JSON,
    MULTIPART,
    STRING,
    TEXT,
    UNIX_SECONDS,
    Part,
    answer,
    array,
    body,
    described,
    document,
    example,
    header,
    path,
    query,
    record,
    ref,
)
from procore_signin._emulator.openapi.resources import RESOURCES
from procore_signin._emulator.world.people import DEMO_PASSWORD
from procore_signin._emulator.world.seed import DEMO_LOGIN, SANDBOX_COMPANY_ID

_DESCRIPTION: Final = (
    "The part of Procore that this emulator imitates: its authorization server and the calls that "
    "a sign-in and a first look around need. Not published by Procore. Where its behaviour is not "
    "known, both forms are allowed here; docs/explanation/emulator-coverage.md says which is which."
)
_STORED_BY_NOBODY: Final = {"cache-control": STRING, "pragma": STRING}
_LIMITS: Final = {f"x-rate-limit-{name}": STRING for name in ("limit", "remaining", "reset")}
_PAGED: Final = {**_LIMITS, "total": STRING, "per-page": STRING}
_COMPANY_ID: Final = example(ID, SANDBOX_COMPANY_ID)
_ERROR_CODES: Final = [
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_token",
    "unauthorized_client",
    "unsupported_grant_type",
]

_SCHEMAS: Final[Part] = {
    "Tokens": record(
        {
            "access_token": STRING,
            "token_type": {"type": "string", "enum": ["bearer", "Bearer"]},
            "expires_in": {"type": "integer", "minimum": 0},
            "created_at": UNIX_SECONDS,
        },
        {"refresh_token": described(STRING, "not with client credentials")},
    ),
    "TokenInfo": {
        "type": "object",
        "properties": {
            "resource_owner_id": {"type": ["integer", "null"]},
            "scopes": array(STRING),
            "scope": array(STRING),
            "expires_in_seconds": {"type": "integer"},
            "expires_in": {"type": "integer"},
            "application": record({"uid": STRING}),
            "created_at": UNIX_SECONDS,
        },
        "required": ["resource_owner_id", "application", "created_at"],
        "additionalProperties": False,
    },
    "OAuthError": record(
        {"error": {"type": "string", "enum": _ERROR_CODES}, "error_description": STRING},
        {"state": STRING},
    ),
    "Nothing": record({}),
    **RESOURCES,
}


def procore_document(url: str) -> Part:
    """Return the document, `url` being the emulator's own: login and API in one."""
    made = document("Procore, as this emulator knows it", _DESCRIPTION, url, _PATHS, _SCHEMAS)
    made["components"]["securitySchemes"] = {
        scheme: {"type": "http", "scheme": scheme} for scheme in ("basic", "bearer")
    }
    return made


def _token_answers(good: Part) -> Part:
    refused = answer("Refused", ref("OAuthError"), headers=_STORED_BY_NOBODY)
    return {"200": good, "400": refused, "401": refused}


def _page(description: str) -> Part:
    return answer(description, STRING, content_type=HTML)


_SENT_ON: Final = answer("The browser is sent on", headers={"location": STRING})
_WRONG: Final[Part] = {"400": _page("The request is wrong"), "401": _page("The request is wrong")}
_LOGGED_OUT: Final[Part] = {
    "summary": "Log this browser out",
    "responses": {"200": _page("Logged out")},
}
_CLIENT_ID: Final = example(STRING, "emulator-client-id")
_CLIENT: Final[Part] = {
    "client_id": _CLIENT_ID,
    "client_secret": example(STRING, "emulator-client-secret"),
}
_REDIRECT_URI: Final = example(STRING, "http://localhost:4567/callback")
_LOGIN: Final[Part] = {
    "login": example(STRING, DEMO_LOGIN),
    "password": example(STRING, DEMO_PASSWORD),
}

_GRANT: Final = record(
    {"grant_type": example(STRING, "client_credentials")},
    {
        **_CLIENT,
        "code": STRING,
        "redirect_uri": _REDIRECT_URI,
        "code_verifier": STRING,
        "refresh_token": STRING,
        "scope": described(STRING, "Procore has none"),
        "state": STRING,
    },
)
_OAUTH_PATHS: Final[Part] = {
    "/oauth/authorize": {
        "get": {
            "summary": "Ask a person for access (RFC 6749 §4.1.1)",
            "parameters": [
                query("response_type", {"type": "string", "enum": ["code"]}, required=True),
                query("client_id", _CLIENT_ID, required=True),
                query("redirect_uri", _REDIRECT_URI, required=True),
                query("state", STRING),
                query("code_challenge", STRING),
                query("code_challenge_method", STRING),
            ],
            "responses": {
                "200": _page("The consent dialog, or with generation 4 an error"),
                "302": _SENT_ON,
                **_WRONG,
            },
        },
        "post": {
            "summary": "Answer the consent dialog",
            "requestBody": body(FORM, schema=record({"continue_to": STRING, "decision": STRING})),
            "responses": {"200": _page("An error, with generation 4"), "302": _SENT_ON, **_WRONG},
        },
    },
    "/oauth/authorize/{code}": {
        "get": {
            "summary": "Show a code out of band, to the person it is for",
            "parameters": [
                path("code", {"type": "string", "pattern": "^[0-9a-f]{64}$|^native$"}),
                query("code", STRING),
            ],
            "responses": {"200": _page("The code"), "404": _page("No code of this person")},
        }
    },
    "/login": {
        "get": {
            "summary": "The log-in panel",
            "parameters": [query("continue_to", STRING)],
            "responses": {"200": _page("The panel, or an error"), "302": _SENT_ON, **_WRONG},
        },
        "post": {
            "summary": "Log this browser in",
            "requestBody": body(
                FORM,
                schema=record(_LOGIN, {"continue_to": STRING}),
            ),
            "responses": {
                "200": _page("An error, with generation 4"),
                "302": _SENT_ON,
                "422": _page("Login or password is wrong"),
                **_WRONG,
            },
        },
    },
    "/logout": {"get": _LOGGED_OUT, "post": _LOGGED_OUT},
    "/oauth/token": {
        "post": {
            "summary": "Exchange a code, refresh, or client credentials (RFC 6749 §3.2)",
            "security": [{}, {"basic": []}],
            "requestBody": body(FORM, MULTIPART, JSON, schema=_GRANT),
            "responses": _token_answers(
                answer("A token", ref("Tokens"), headers=_STORED_BY_NOBODY)
            ),
        }
    },
    "/oauth/token/info": {
        "get": {
            "summary": "What a token is good for",
            "security": [{"bearer": []}],
            "parameters": [query("access_token", STRING)],
            "responses": {
                "200": answer("Of this token", ref("TokenInfo")),
                "401": answer("Not good", ref("OAuthError")),
            },
        }
    },
    "/oauth/revoke": {
        "post": {
            "summary": "Revoke an access token and the refresh token beside it (RFC 7009)",
            "security": [{}, {"basic": []}],
            "requestBody": body(
                FORM,
                MULTIPART,
                JSON,
                schema=record({"token": STRING}, {**_CLIENT, "token_type_hint": STRING}),
            ),
            "responses": {
                **_token_answers(answer("Revoked, or never issued", ref("Nothing"))),
                "403": answer("Another client's, with generation 5", ref("OAuthError")),
            },
        }
    },
}


def _call(
    summary: str, schema: Part, *parameters: Part, paged: bool = False, company: bool = False
) -> Part:
    """Return one call of the API: `company` when it is about one."""
    refused: Part = {
        "400": {
            "description": "A parameter or the company header is missing or wrong",
            "content": {JSON: {"schema": ref("BadRequest")}, TEXT: {"schema": STRING}},
        },
        "401": answer("The token is not good", ref("Unauthorized")),
        "429": answer("A rate limit is used up", ref("TooManyRequests"), headers=_LIMITS),
    }
    if company:
        refused["403"] = answer("The application is not connected", ref("Forbidden"))
        refused["404"] = answer("No such company for this person", ref("NotFound"))
    if paged:
        refused["422"] = answer("A parameter makes no sense", ref("Unprocessable"))
    pages = {"type": "integer", "minimum": 1, "maximum": 999_999_999}
    listed = [query(name, pages) for name in ("page", "per_page")] if paged else []
    good = answer(summary, schema, headers=_PAGED if paged else _LIMITS)
    return {
        "get": {
            "summary": summary,
            "security": [{"bearer": []}],
            "parameters": [header("procore-company-id", _COMPANY_ID), *parameters, *listed],
            "responses": {"200": good, **refused},
        }
    }


_STATUS: Final[Part] = {"type": "string", "enum": ["All", "Active", "Inactive"]}
_PROJECTS_OF: Final = (
    query("company_id", _COMPANY_ID, required=True),
    query("filters[by_status]", _STATUS),
)

_PATHS: Final[Part] = {
    **_OAUTH_PATHS,
    "/rest/v1.0/me": _call(
        "Who the token acts for",
        ref("Me"),
        query("company_id", _COMPANY_ID),
        query("project_id", ID),
    ),
    "/rest/v1.0/companies": _call("Their companies", array(ref("Company")), paged=True),
    "/rest/v1.0/companies/{id}/me": _call(
        "The person in a company's directory",
        ref("CompanyUser"),
        path("id", _COMPANY_ID),
        company=True,
    ),
    "/rest/v1.0/companies/{id}/users": _call(
        "Everybody in a company's directory",
        array(ref("CompanyUser")),
        path("id", _COMPANY_ID),
        paged=True,
        company=True,
    ),
    "/rest/v1.0/projects": _call(
        "Projects of a company", array(ref("Project")), *_PROJECTS_OF, paged=True, company=True
    ),
    "/rest/v1.1/projects": _call(
        "Projects of a company, in their newer form",
        array(ref("ProjectV11")),
        *_PROJECTS_OF,
        paged=True,
        company=True,
    ),
    "/rest/v1.0/company_base_url": _call("Where a company's data lives", ref("CompanyBaseUrl")),
}
