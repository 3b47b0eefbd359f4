"""Procore's API for a user or a service account, through httpx2 clients.

Get a client from a front door, `procore.api(user, company_id=…)`. It always sends a fresh token,
only to the API origin of the environment, and limits the time and the size of each response.
"""

from __future__ import annotations

from procore_signin._api.clients import (
    aclose,
    async_client_for,
    async_service_client_for,
    client_for,
    close,
    service_client_for,
)
from procore_signin._api.downloads import afollow_download, follow_download
from procore_signin._api.errors import (
    ApiError,
    ApiUnavailable,
    ApiUnreachable,
    Conflict,
    Forbidden,
    Invalid,
    NotConnected,
    NotFound,
    NotSent,
    RateLimited,
    Unauthorized,
    UnexpectedAnswer,
)
from procore_signin._api.failures import raise_for_procore
from procore_signin._api.http.wire import AsyncWire, Wire
from procore_signin._api.options import ApiOptions
from procore_signin._api.pagination import apaginate, paginate

__all__ = [
    "ApiError",
    "ApiOptions",
    "ApiUnavailable",
    "ApiUnreachable",
    "AsyncWire",
    "Conflict",
    "Forbidden",
    "Invalid",
    "NotConnected",
    "NotFound",
    "NotSent",
    "RateLimited",
    "Unauthorized",
    "UnexpectedAnswer",
    "Wire",
    "aclose",
    "afollow_download",
    "apaginate",
    "async_client_for",
    "async_service_client_for",
    "client_for",
    "close",
    "follow_download",
    "paginate",
    "raise_for_procore",
    "service_client_for",
]


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
