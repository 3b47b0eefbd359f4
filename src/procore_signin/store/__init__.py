"""People, sessions, sealed tokens and the ledger of sign-ins, in a database."""

from procore_signin.store.keyring import KeyRing
from procore_signin.store.records import (
    CompletedSignIn,
    Escrow,
    LedgerEntry,
    NewSession,
    Purged,
    Session,
    User,
)
from procore_signin.store.seal import Seal
from procore_signin.store.store import Store

__all__ = [
    "CompletedSignIn",
    "Escrow",
    "KeyRing",
    "LedgerEntry",
    "NewSession",
    "Purged",
    "Seal",
    "Session",
    "Store",
    "User",
]
