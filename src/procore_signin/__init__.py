"""Sign up and sign in with Procore, and keep each person's access alive.

The names are loaded when they are first used: who only wants the emulator or an error class does
not wait for the database library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from procore_signin._client import AsyncProcoreSignIn, ProcoreSignIn
    from procore_signin._flow.users import AccessEnded
    from procore_signin._protocol.secret import Secret
    from procore_signin._store.records import Session, User
    from procore_signin.environments import (
        FEDERAL,
        MONTHLY,
        PRODUCTION,
        SANDBOX,
        Environment,
    )
    from procore_signin.errors import (
        AttemptInvalid,
        ClientMisconfigured,
        GrantLost,
        Problem,
        ProcoreSignInError,
        ProcoreUnavailable,
        SettingsInvalid,
        SignInRefused,
        StoreUnavailable,
        UnexpectedResponse,
        VaultSealed,
    )

_HOMES: Final = {
    "AccessEnded": "_flow.users",
    "AsyncProcoreSignIn": "_client",
    "AttemptInvalid": "errors",
    "ClientMisconfigured": "errors",
    "Environment": "environments",
    "FEDERAL": "environments",
    "GrantLost": "errors",
    "MONTHLY": "environments",
    "PRODUCTION": "environments",
    "Problem": "errors",
    "ProcoreSignIn": "_client",
    "ProcoreSignInError": "errors",
    "ProcoreUnavailable": "errors",
    "SANDBOX": "environments",
    "Secret": "_protocol.secret",
    "Session": "_store.records",
    "SettingsInvalid": "errors",
    "SignInRefused": "errors",
    "StoreUnavailable": "errors",
    "UnexpectedResponse": "errors",
    "User": "_store.records",
    "VaultSealed": "errors",
}

__all__ = [
    "FEDERAL",
    "MONTHLY",
    "PRODUCTION",
    "SANDBOX",
    "AccessEnded",
    "AsyncProcoreSignIn",
    "AttemptInvalid",
    "ClientMisconfigured",
    "Environment",
    "GrantLost",
    "Problem",
    "ProcoreSignIn",
    "ProcoreSignInError",
    "ProcoreUnavailable",
    "Secret",
    "Session",
    "SettingsInvalid",
    "SignInRefused",
    "StoreUnavailable",
    "UnexpectedResponse",
    "User",
    "VaultSealed",
]


def __getattr__(name: str) -> object:
    """Load a public name from its room (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
