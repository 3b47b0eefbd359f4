"""Clear up after processes that died between an exchange and its commit, and drop old rows."""

from __future__ import annotations

from typing import Final

from procore_signin._flow.context import Context
from procore_signin._flow.revocation import Revocation, withdraw
from procore_signin._flow.steps import Flow, ask, do, shield
from procore_signin._store.ledger import EscrowedIn, FailAttempt, PurgeAttempts, PutOff
from procore_signin._store.records import Escrow
from procore_signin._store.sessions import PurgeSessions
from procore_signin.events import Event, emit

ORPHANED_AFTER: Final = 300
"""Seconds after which tokens in escrow belong to no one: a sign-in takes ten at the longest."""

REVOKED_AT_ONCE: Final = 100
FAILURES_AT_ONCE: Final = 100
"""After so many that Procore did not confirm it is the next sweep's turn: it may be away."""

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
    revoked = failed = sealed = 0
    unconfirmed: list[Escrow] = []
    page = yield from _page(context, now, None)
    while page and revoked < REVOKED_AT_ONCE and failed < FAILURES_AT_ONCE:
        for escrow in page:
            if escrow.tokens is None:
                sealed += 1
                continue
            confirmed = (yield from give_back(context, escrow)) == "confirmed"
            revoked += confirmed
            if not confirmed:
                failed += 1
                unconfirmed.append(escrow)
        page = yield from _page(context, now, page[-1])
    if failed >= FAILURES_AT_ONCE:  # or what Procore never confirms keeps all others waiting
        last_in_line = now - ORPHANED_AFTER - 1
        yield from do(PutOff(unconfirmed, now=last_in_line))
    if sealed:
        environment = context.environment.name
        emit(Event.TOKENS_SEALED, environment=environment, place="escrow", count=sealed)
    yield from do(PurgeSessions(now, ROWS_AT_ONCE))
    yield from do(PurgeAttempts(now, ROWS_AT_ONCE))
    return revoked


def _page(context: Context, now: int, after: Escrow | None) -> Flow[list[Escrow]]:
    environment, before = context.environment.name, now - ORPHANED_AFTER
    return (yield from ask(EscrowedIn(environment, before, after=after)))


def give_back(context: Context, escrow: Escrow) -> Flow[Revocation]:
    """Revoke tokens in escrow. The attempt fails first, so that it cannot complete meanwhile.

    A caller that is interrupted does not take along a pair that trying the refresh token brought.
    """
    return (yield from shield(_give_back(context, escrow)))


def _give_back(context: Context, escrow: Escrow) -> Flow[Revocation]:
    yield from do(FailAttempt(escrow.state_hash, "orphaned", now=context.now()))
    return (yield from withdraw(context, escrow))
