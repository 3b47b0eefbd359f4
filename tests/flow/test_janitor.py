"""What one sweep of the janitor does, and what it leaves to the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from doing import meet
from scripted import AWAY, NOW, Clock, ScriptedProcore, front_door, sign_in

from procore_signin._client import ProcoreSignIn
from procore_signin._flow import janitor
from procore_signin._flow.janitor import ORPHANED_AFTER, sweep
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.ledger import (
    AttemptOf,
    EscrowedIn,
    EscrowTokens,
    PurgeAttempts,
    PutOff,
    TakeAttempt,
)
from procore_signin._store.sessions import PurgeSessions
from procore_signin.events import Event, Field

pytestmark = pytest.mark.usefixtures("one_thread")


def strand(door: ProcoreSignIn, number: int) -> None:
    """Leave tokens in escrow, as a process does that dies before it completes a sign-in."""
    state_hash, now = f"{number:064x}", door.context.now()
    tokens = TokenSet(Secret(f"fake-stranded-{number}", "t"), None, now + 5400)
    door.store.do(TakeAttempt(state_hash, environment="emulator", now=now, expires_at=now + 1800))
    door.store.do(EscrowTokens(state_hash, tokens, environment="emulator", now=now))


@pytest.mark.parametrize(("passed", "revoked"), [(0, 0), (ORPHANED_AFTER - 1, 0), (301, 1)])
def test_C13_tokens_of_a_sign_in_that_may_be_under_way_are_left_alone(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, passed: int, revoked: int
) -> None:
    strand(door, 1)
    clock.advance(passed)
    assert door.run(sweep(door.context)) == revoked
    assert procore.revoked == ["fake-stranded-1"] * revoked


def test_the_ledger_says_when_an_attempt_was_given_up(door: ProcoreSignIn, clock: Clock) -> None:
    strand(door, 1)
    clock.advance(ORPHANED_AFTER + 1)
    door.run(sweep(door.context))
    entry = door.store.ask(AttemptOf(f"{1:064x}"))
    assert entry is not None
    assert (entry.outcome, entry.finished_at) == ("orphaned", NOW + ORPHANED_AFTER + 1)


def test_R7_what_procore_did_not_confirm_comes_last_in_the_next_sweep_and_not_later(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "FAILURES_AT_ONCE", 1)
    strand(door, 1)
    clock.advance(1)
    strand(door, 2)
    clock.advance(ORPHANED_AFTER + 1)
    procore.next("/oauth/revoke", AWAY, AWAY)
    assert door.run(sweep(door.context)) == 0
    tried = len(procore.revoked)
    clock.advance(1)
    strand(door, 3)
    assert door.run(sweep(door.context)) == 2
    assert procore.revoked[tried:] == ["fake-stranded-1", "fake-stranded-2"]


@pytest.mark.parametrize(("stranded", "put_off"), [(1, 0), (2, 1), (3, 1)])
def test_R7_what_procore_did_not_confirm_is_put_off_only_where_that_is_much(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    stranded: int,
    put_off: int,
) -> None:
    monkeypatch.setattr(janitor, "FAILURES_AT_ONCE", 2)
    met: list[PutOff] = []
    meet(monkeypatch, door.store, PutOff, lambda _usual, command: met.append(command))
    for number in range(stranded):
        strand(door, number)
    procore.next("/oauth/revoke", *[AWAY] * stranded)
    clock.advance(ORPHANED_AFTER + 1)
    door.run(sweep(door.context))
    assert len(met) == put_off


@pytest.mark.parametrize(
    ("bound", "replies"), [("REVOKED_AT_ONCE", []), ("FAILURES_AT_ONCE", [AWAY] * 3)]
)
def test_a_sweep_that_has_done_enough_leaves_the_rest_to_the_next_one(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    bound: str,
    replies: list[Exception],
) -> None:
    monkeypatch.setattr(janitor, bound, 2)
    monkeypatch.setattr(janitor, "EscrowedIn", partial(EscrowedIn, limit=1))
    for number in range(3):
        strand(door, number)
    procore.next("/oauth/revoke", *replies)
    clock.advance(ORPHANED_AFTER + 1)
    door.run(sweep(door.context))
    assert len(procore.revoked) == 2


def test_V4_tokens_that_cannot_be_opened_are_counted(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    tmp_path: Path,
    told: list[tuple[Event, Mapping[str, Field]]],
) -> None:
    keys = Secret("lost:" + "C" * 42 + "E", "keys")
    with front_door(tmp_path, procore, clock, keys=keys) as lost:
        for number in (1, 2):
            strand(lost, number)
    clock.advance(ORPHANED_AFTER + 1)
    door.run(sweep(door.context))
    sealed = {"environment": "emulator", "place": "escrow", "count": 2}
    assert (Event.TOKENS_SEALED, sealed) in told


@pytest.mark.parametrize("purge", [PurgeSessions, PurgeAttempts])
def test_O6_a_sweep_deletes_what_has_expired_a_batch_at_a_time(
    door: ProcoreSignIn,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    purge: type[PurgeSessions | PurgeAttempts],
) -> None:
    monkeypatch.setattr(janitor, "ROWS_AT_ONCE", 1)
    deleted: list[int] = []
    for _ in range(2):
        sign_in(door)

    def counted(usual: Callable[[], int], _: object) -> int:
        deleted.append(usual())
        return deleted[-1]

    meet(monkeypatch, door.store, purge, counted)
    door.run(sweep(door.context))
    clock.advance(15 * 24 * 3600)
    for _ in range(3):
        door.run(sweep(door.context))
    assert deleted == [0, 1, 1, 0]
