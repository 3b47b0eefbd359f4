"""The JSON of the sign-in's endpoints, as classes.

FastAPI's OpenAPI names them too. docs/reference/json.md says which endpoint responds with what.
"""

from __future__ import annotations

from procore_signin._web.json.shapes import (
    CompaniesJson,
    CompanyJson,
    CompanyRequest,
    DisconnectedJson,
    EndSessionRequest,
    GoToJson,
    OpenSessionJson,
    ProblemJson,
    SessionJson,
    SessionsJson,
    SignOutRequest,
    StartRequest,
    UserJson,
)

__all__ = [
    "CompaniesJson",
    "CompanyJson",
    "CompanyRequest",
    "DisconnectedJson",
    "EndSessionRequest",
    "GoToJson",
    "OpenSessionJson",
    "ProblemJson",
    "SessionJson",
    "SessionsJson",
    "SignOutRequest",
    "StartRequest",
    "UserJson",
]


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
