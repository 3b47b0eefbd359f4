"""Sign up and sign in with Procore, and keep each user's access alive.

Names are loaded on first use: code that needs only the emulator or an error class does not load the
database library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from procore_signin._client import AsyncProcoreSignIn, ProcoreSignIn
    from procore_signin._flow.hooks import Candidate, Hooks, Occasion, only_connected
    from procore_signin._flow.refresh import FreshToken
    from procore_signin._flow.users import AccessEnded
    from procore_signin._protocol.companies import Company
    from procore_signin._protocol.me import Me
    from procore_signin._protocol.secret import Secret
    from procore_signin._store.keys.keyring import KeyRing
    from procore_signin._store.records import Session, User
    from procore_signin._web.embedded.login import Login
    from procore_signin._web.options import Look, Options
    from procore_signin.environments import FEDERAL, MONTHLY, PRODUCTION, SANDBOX, Environment
    from procore_signin.errors import (
        AlreadyLinked,
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

    __version__: str

_HOMES: Final = {
    "AccessEnded": "_flow.users",
    "AlreadyLinked": "errors",
    "AsyncProcoreSignIn": "_client",
    "AttemptInvalid": "errors",
    "Candidate": "_flow.hooks",
    "ClientMisconfigured": "errors",
    "Company": "_protocol.companies",
    "Environment": "environments",
    "FEDERAL": "environments",
    "FreshToken": "_flow.refresh",
    "GrantLost": "errors",
    "Hooks": "_flow.hooks",
    "KeyRing": "_store.keys.keyring",
    "Login": "_web.embedded.login",
    "Look": "_web.options",
    "MONTHLY": "environments",
    "Me": "_protocol.me",
    "Occasion": "_flow.hooks",
    "Options": "_web.options",
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
    "only_connected": "_flow.hooks",
}

__all__ = [
    "FEDERAL",
    "MONTHLY",
    "PRODUCTION",
    "SANDBOX",
    "AccessEnded",
    "AlreadyLinked",
    "AsyncProcoreSignIn",
    "AttemptInvalid",
    "Candidate",
    "ClientMisconfigured",
    "Company",
    "Environment",
    "FreshToken",
    "GrantLost",
    "Hooks",
    "KeyRing",
    "Login",
    "Look",
    "Me",
    "Occasion",
    "Options",
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
    "only_connected",
]


def __getattr__(name: str) -> object:
    """Load a public name from its room (PEP 562)."""
    value: object
    if name == "__version__":
        value = import_module("importlib.metadata").version("procore-signin")
    elif name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Show the public names, loaded or not (PEP 562)."""
    dunder = {name for name in globals() if name.startswith("__")}
    return sorted({*__all__, *dunder, "__version__"})
