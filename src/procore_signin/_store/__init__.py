"""Users, sessions, sealed tokens and the ledger of sign-ins, in a database."""

from procore_signin._store.keys.keyring import KeyRing
from procore_signin._store.keys.seal import Seal
from procore_signin._store.records import (
    CompletedSignIn,
    Escrow,
    LedgerEntry,
    NewSession,
    Session,
    User,
)
from procore_signin._store.store import Store

__all__ = [
    "CompletedSignIn",
    "Escrow",
    "KeyRing",
    "LedgerEntry",
    "NewSession",
    "Seal",
    "Session",
    "Store",
    "User",
]
