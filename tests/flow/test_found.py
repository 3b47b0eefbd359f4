"""What the simulator found (`tests/simulation`): each was red before it was mended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from doing import away, meet
from scripted import AWAY, LOST, Clock, ScriptedProcore, front_door, reply, sign_in, tokens

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.janitor import ORPHANED_AFTER, sweep
from procore_signin._flow.lease import LEASE_SECONDS, live_row
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._store import Store
from procore_signin._store.access import EscrowsOf
from procore_signin._store.ledger import Escrowed
from procore_signin._store.records import User
from procore_signin._store.refresh import NoteAmbiguous, TakeLease, TokenRowOf
from procore_signin._store.tokens import TokenStates
from procore_signin._store.withdrawal import FinishEscrow, HoldEscrow, KeepRenewed
from procore_signin.errors import (
    ProcoreSignInError,
    ProcoreUnavailable,
    StoreUnavailable,
)

EXPIRED = reply(401, {"error": "invalid_token"})


@pytest.fixture
def user(door: ProcoreSignIn) -> User:
    return sign_in(door).user


def waiting(door: ProcoreSignIn) -> list[str]:
    """Return the access tokens in the ledger."""
    return [
        each.tokens.access_token.reveal()
        for each in door.store.ask(Escrowed(older_than=2**40))
        if each.tokens is not None
    ]


def test_I5_the_tokens_of_someone_who_is_deleted_meanwhile_are_still_pending(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their row names no one any more when the other one looks for it."""
    with (
        front_door(tmp_path, procore, clock) as door,
        front_door(tmp_path, procore, clock) as other,
    ):
        user = sign_in(door).user
        procore.next("/oauth/token/info", AWAY, AWAY, AWAY)
        other.disable(user)

        def deleted(usual: Callable[[], object], _: EscrowsOf) -> object:
            other.delete(user)
            return usual()

        meet(monkeypatch, door.store, EscrowsOf, deleted)
        ended = door.disable(user)

        assert ended is not None
        assert (ended.revocation, ended.certain) == ("pending", False)


def test_I7_a_sign_in_that_failed_and_left_tokens_may_be_the_ended_users(
    door: ProcoreSignIn, procore: ScriptedProcore, user: User
) -> None:
    procore.next("/rest/v1.0/me", reply(200, {"id": "no number"}))
    procore.next("/oauth/token/info", AWAY)
    with pytest.raises(ProcoreSignInError):
        sign_in(door)
    assert waiting(door) == ["fake-access-2"]

    ended = door.disable(user)

    assert ended is not None
    assert (ended.sign_in_under_way, ended.certain) == (True, False)


def test_I7_a_request_without_a_response_is_noted_also_when_the_database_was_away_just_then(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token", LOST)
    away(monkeypatch, NoteAmbiguous, 2)

    with pytest.raises(StoreUnavailable):
        door.fresh_tokens(user)
    door._runner.settle()

    [state] = door.store.ask(TokenStates(user.id, now=door.context.now()))
    assert (state.ambiguous, state.leased_for) == (1, 0)


def test_C14_a_pair_that_a_trial_brought_waits_for_the_database(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token/info", EXPIRED, AWAY)
    procore.next("/oauth/token", tokens(7))
    away(monkeypatch, KeepRenewed, 2)

    with pytest.raises(StoreUnavailable):
        door.disable(user)
    door._runner.settle()

    assert "fake-access-7" in waiting(door)


def test_C14_a_second_pair_that_a_trial_brought_is_in_the_ledger_until_it_is_dead(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    clock.advance(5400)
    procore.next("/oauth/token", LOST, AWAY)
    with pytest.raises(ProcoreUnavailable):
        door.fresh_tokens(user)
    procore.next("/oauth/token", tokens(7), tokens(8))
    procore.next("/oauth/token/info", AWAY, AWAY)
    procore.next("/oauth/revoke", AWAY)

    door.disable(user)
    door._runner.settle()

    assert "fake-access-8" in waiting(door)
    clock.advance(ORPHANED_AFTER + 60)
    procore.forget("/oauth/revoke")
    door.run(sweep(door.context))
    assert "fake-access-8" in procore.revoked


def test_C14_R13_a_janitor_who_is_interrupted_does_not_take_along_the_pair_that_a_trial_brought(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User
) -> None:
    procore.next("/oauth/token/info", AWAY)
    door.disable(user)
    clock.advance(5400)
    caller, gone = threading.get_ident(), threading.Event()

    def interrupting(_: HttpRequest) -> HttpResponse:
        signal.pthread_kill(caller, signal.SIGINT)
        gone.wait(20)
        return tokens(7)

    procore.next("/oauth/token/info", EXPIRED)
    procore.next("/oauth/token", interrupting)
    with pytest.raises(KeyboardInterrupt):
        door.run(sweep(door.context))
    gone.set()
    door._runner.settle()

    assert "fake-access-7" in procore.revoked
    assert waiting(door) == []


def test_C14_a_revoker_who_had_to_wait_for_the_database_leaves_the_escrow_to_who_holds_it(
    tmp_path: Path,
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the waiting one's time the hold ends too late; that is no clock that was set back."""
    procore.next("/oauth/token/info", AWAY)
    door.disable(user)
    clock.advance(ORPHANED_AFTER + 1)
    places: list[str] = []
    other = front_door(tmp_path, procore, clock)

    def waited(usual: Callable[[], object], late: HoldEscrow) -> object:
        clock.advance(1)
        places.append(late.state_hash)
        hold = HoldEscrow(late.state_hash, holder="other", now=door.context.now())
        assert other.store.do(hold).state == "ours"
        return usual()

    with other, monkeypatch.context() as patch:
        meet(patch, door.store, HoldEscrow, waited)
        door.run(sweep(door.context))

        [place] = places
        finish = FinishEscrow(place, holder="other", outcome=None, now=door.context.now())
        assert other.store.do(finish)


def test_I7_a_refresh_that_was_refused_at_its_second_request_leaves_the_doubt_of_its_first(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock
) -> None:
    """The access is ended in between: what the refresher says then is of the second alone."""
    with (
        front_door(tmp_path, procore, clock) as door,
        front_door(tmp_path, procore, clock) as other,
    ):
        user = sign_in(door).user
        clock.advance(5400)

        def refused(_: HttpRequest) -> HttpResponse:
            other.disconnect(user)
            return reply(400, {"error": "invalid_grant"})

        procore.next("/oauth/token", LOST, refused)
        with pytest.raises(ProcoreSignInError):
            door.fresh_tokens(user)

        ended = other.disable(user)

        assert ended is not None
        assert (ended.revocation, ended.certain) == ("unsure", False)


def test_R1_a_process_that_slept_before_it_read_a_lease_does_not_take_it_for_misdated(
    door: ProcoreSignIn, clock: Clock, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.advance(5400)
    row = door.store.ask(TokenRowOf(user.id, "emulator", now=door.context.now()))
    assert row is not None

    def slept(usual: Callable[[], object], _: TokenRowOf) -> object:
        clock.advance(LEASE_SECONDS + 1)
        taken = TakeLease(row, owner="other", seconds=LEASE_SECONDS, now=door.context.now())
        assert door.store.do(taken) is not None
        return usual()

    with monkeypatch.context() as patch:
        meet(patch, Store, TokenRowOf, slept)
        door.run(live_row(door.context, user.id))

    [state] = door.store.ask(TokenStates(user.id, now=door.context.now()))
    assert state.leased_for == LEASE_SECONDS
