"""`procore-signin purge`: delete what has expired, in batches (row O6)."""

from __future__ import annotations

import time
from typing import Final

import typer

from procore_signin._cli.operator.open_store import load_settings, open_door
from procore_signin._cli.output import counted, print_json
from procore_signin._cli.progress import Progress, give_way
from procore_signin._client import ProcoreSignIn
from procore_signin._flow.janitor import ORPHANED_AFTER, sweep
from procore_signin._store import Store

_BATCH: Final = 1000
_DAY: Final = 86_400


def run(*, grants_older_than: int | None, revoke_orphans: bool, as_json: bool) -> None:
    """Delete expired sessions and ledger entries, and what the options add.

    Args:
        grants_older_than: Also delete token sets that are `lost` or `revoked` and were last written
            more than this many days ago.
        revoke_orphans: Then revoke unused tokens at Procore.
        as_json: Print JSON.
    """
    now = int(time.time())
    counts: dict[str, int] = {}
    with open_door(load_settings()) as door:
        counts |= _expired(door.store, now)
        if grants_older_than is not None:
            before = now - grants_older_than * _DAY
            counts["token_sets"] = _grants(door.store, before)
        if revoke_orphans:
            counts |= _revoke(door, now)
    if as_json:
        print_json(counts)
        return
    typer.echo(
        f"{counted(counts['sessions'], 'session')} and "
        f"{counted(counts['attempts'], 'sign-in attempt')} had expired and are deleted."
    )
    if "token_sets" in counts:
        typer.echo(
            f"{counted(counts['token_sets'], 'token set')} deleted that were lost or revoked."
        )
    if revoke_orphans:
        typer.echo(f"{counted(counts['orphans_revoked'], 'orphaned token set')} revoked.")
        if counts["orphans_left"]:
            typer.echo(
                f"{counts['orphans_left']} not: Procore did not confirm it, the environment is "
                "another one, or they cannot be opened. See the log above.",
                err=True,
            )


def _revoke(door: ProcoreSignIn, now: int) -> dict[str, int]:
    revoked = 0
    with Progress("Revoking orphaned tokens") as progress:
        while count := door.run(sweep(door.context)):
            revoked += count
            progress.advance(count)
    left = len(door.store.escrowed(now - ORPHANED_AFTER, limit=_BATCH))
    return {"orphans_revoked": revoked, "orphans_left": left}


def _expired(store: Store, now: int) -> dict[str, int]:
    sessions = attempts = 0
    with Progress("Deleting what expired") as progress:
        while True:
            began = time.monotonic()
            purged = store.purge(now, _BATCH)
            sessions += purged.sessions
            attempts += purged.attempts
            progress.advance(purged.sessions + purged.attempts)
            if max(purged.sessions, purged.attempts) < _BATCH:
                return {"sessions": sessions, "attempts": attempts}
            give_way(store, time.monotonic() - began)


def _grants(store: Store, before: int) -> int:
    deleted, after = 0, 0
    with Progress("Deleting lost and revoked token sets") as progress:
        while True:
            began = time.monotonic()
            count, after = store.purge_grants(before=before, after=after, limit=_BATCH)
            deleted += count
            progress.advance(count)
            if not after:
                return deleted
            give_way(store, time.monotonic() - began)
