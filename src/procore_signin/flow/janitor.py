"""Clear up after processes that died between an exchange and its commit, and drop old rows."""

from __future__ import annotations

from typing import Final

from procore_signin.flow.context import Context
from procore_signin.flow.steps import Flow, read, write
from procore_signin.flow.withdraw import withdraw
from procore_signin.store.records import Escrow

ORPHANED_AFTER: Final = 300
"""Seconds after which tokens in escrow belong to nobody: a sign-in takes ten at the longest."""

ROWS_AT_ONCE: Final = 500


def sweep(context: Context) -> Flow[int]:
    """Revoke tokens that never became a sign-in, and purge what has expired.

    Safe to run in several processes at once: a revocation may be repeated.

    Returns:
        How many orphaned token sets were revoked.

    Raises:
        StoreUnavailable: Nothing is lost; the next sweep finds the same rows.
    """
    now = context.now()
    escrows = yield from read(lambda store: store.escrowed(now - ORPHANED_AFTER))
    revoked = 0
    for escrow in escrows:
        if escrow.environment != context.environment.name or escrow.tokens is None:
            continue
        revoked += yield from _give_back(context, escrow)
    yield from write(lambda store: store.purge(now, ROWS_AT_ONCE))
    return revoked


def _give_back(context: Context, escrow: Escrow) -> Flow[int]:
    """Revoke tokens in escrow. The attempt fails first, so that it cannot complete meanwhile."""
    now = context.now()
    yield from write(lambda store: store.fail_attempt(escrow.state_hash, "orphaned", now=now))
    return int((yield from withdraw(context, escrow)) == "confirmed")
