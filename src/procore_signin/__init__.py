"""Sign up and sign in with Procore, and keep each person's access alive."""

from procore_signin.client import AsyncProcoreSignIn, ProcoreSignIn
from procore_signin.environments import (
    FEDERAL,
    MONTHLY,
    PRODUCTION,
    SANDBOX,
    Environment,
    emulator,
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
from procore_signin.protocol.secret import Secret
from procore_signin.store.records import Session, User

__all__ = [
    "FEDERAL",
    "MONTHLY",
    "PRODUCTION",
    "SANDBOX",
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
    "emulator",
]
