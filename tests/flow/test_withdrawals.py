"""What a withdrawal leaves behind, and what it says: whose, why, when next, and in which words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doing import away, meet
from mortal import Killed
from scripted import (
    AWAY,
    INVALID_GRANT,
    LOST,
    UNWELL,
    Clock,
    ScriptedProcore,
    front_door,
    reply,
    sign_in,
    tokens,
)

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.hooks import Hooks
from procore_signin._flow.janitor import ORPHANED_AFTER, sweep
from procore_signin._flow.revocation import (
    ENDING_SECONDS,
    POLL_SECONDS,
    REFRESH_ENDS_WITHIN,
    SELDOM_SECONDS,
    give_up,
    withdraw,
)
from procore_signin._flow.running.runner import Runner
from procore_signin._flow.users import disable
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import Store
from procore_signin._store.access import EscrowsOf
from procore_signin._store.escrows import HOLD_SECONDS, GiveUpTokens
from procore_signin._store.ledger import AttemptOf, Escrowed, TakeAttempt
from procore_signin._store.records import Escrow, User
from procore_signin._store.refresh import CommitRefresh, TakeLease, TokenRowOf
from procore_signin._store.withdrawal import HoldEscrow, KeepRenewed
from procore_signin.errors import (
    ProcoreUnavailable,
    SignInRefused,
    StoreUnavailable,
    UnexpectedResponse,
)
from procore_signin.events import Event, Field

pytestmark = pytest.mark.usefixtures("one_thread")
LATE = ["fake-access-50", "fake-refresh-50"]
TOKENS = TokenSet(Secret(LATE[0], "t"), Secret(LATE[1], "t"), 2_000_000_000)
EXPIRED = reply(401, {"error": "invalid_request"})


NO_COMPANIES = reply(200, [])
COMPANIES = "/rest/v1.0/companies"


def die(*_: object) -> Any:
    raise Killed


def refuse(*_: object) -> str:
    return "not here"


@pytest.fixture
def user(door: ProcoreSignIn) -> User:
    return sign_in(door).user


def attempts_taken(patch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the key of each attempt in the ledger."""
    attempts: list[str] = []

    def take(usual: Callable[[], Any], command: TakeAttempt) -> Any:
        attempts.append(command.state_hash)
        return usual()

    meet(patch, Store, TakeAttempt, take)
    return attempts


def refresh_that_is_too_late(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, folder: Path, user: User
) -> None:
    """Have another process refresh, and the user disabled here before its response is there."""

    def disabled_meanwhile(_request: HttpRequest) -> HttpResponse:
        ended = door.disable(user)
        assert ended is not None
        assert ended.refresh_under_way
        return tokens(50)

    clock.advance(5400)
    procore.next("/oauth/token", disabled_meanwhile)
    with front_door(folder, procore, clock) as other, pytest.raises(SignInRefused):
        other.fresh_tokens(user)


def test_the_tries_to_write_a_pair_down_follow_soon_and_then_each_second(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(seconds)

    away(monkeypatch, GiveUpTokens, 7)
    procore.next("/oauth/revoke", *[UNWELL] * 20)
    assert Runner(door.store, procore, sleep=sleep).run(give_up(door.context, TOKENS)) == "pending"
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_procore_is_asked_at_once_and_then_ever_more_seldom_while_the_database_is_away(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, asked = clock.now, []

    def unwell(_request: HttpRequest) -> HttpResponse:
        asked.append(round(clock.now - began, 1))
        return UNWELL

    away(monkeypatch, GiveUpTokens, 200)
    procore.next("/oauth/token/info", *[unwell] * 200)
    Runner(door.store, procore, sleep=clock.advance).run(give_up(door.context, TOKENS))
    assert asked[:5] == [0.0, 0.1, 0.7, 2.5, 7.5]
    assert asked[-2] - asked[-3] == SELDOM_SECONDS  # the last is asked from the ledger


def test_a_pair_that_is_dead_is_written_down_all_the_same_where_a_refresh_is_waited_for(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    tmp_path: Path,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away(monkeypatch, GiveUpTokens, 3)
    refresh_that_is_too_late(door, procore, clock, tmp_path, user)
    assert procore.revoked.count(LATE[0]) == 2  # once without the database, once from the ledger
    again = door.disable(user)
    assert again is not None
    assert (again.revocation, again.certain) == ("confirmed", True)


def test_ending_an_access_anew_ends_the_pair_too_that_a_late_refresh_left(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, tmp_path: Path, user: User
) -> None:
    procore.next("/oauth/token/info", UNWELL)
    refresh_that_is_too_late(door, procore, clock, tmp_path, user)
    kept = [each.tokens for each in door.store.ask(EscrowsOf(user))]
    assert LATE[0] in [each.access_token.reveal() for each in kept if each is not None]
    door.disable(user)
    assert set(procore.revoked) > set(LATE)


@pytest.mark.parametrize("database", ["there", "away for a moment"])
def test_ending_an_access_ends_the_pair_too_of_a_sign_in_that_was_refused(
    procore: ScriptedProcore,
    clock: Clock,
    tmp_path: Path,
    user: User,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away(monkeypatch, GiveUpTokens, 0 if database == "there" else 1)
    with front_door(tmp_path, procore, clock, hooks=Hooks(may_sign_in=refuse)) as door:
        procore.next(COMPANIES, NO_COMPANIES)
        procore.next("/oauth/token/info", *[UNWELL] * (1 if database == "there" else 2))
        with pytest.raises(SignInRefused):
            sign_in(door)
        assert procore.revoked == []
        ended = door.disable(user)
        assert ended is not None
        assert ended.certain
        assert "fake-refresh-2" in procore.revoked


@pytest.mark.parametrize("database", ["there", "away for a moment"])
def test_the_ledger_says_why_a_sign_in_ended_also_once_its_pair_is_dead(
    procore: ScriptedProcore,
    clock: Clock,
    tmp_path: Path,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts = attempts_taken(monkeypatch)
    away(monkeypatch, GiveUpTokens, 0 if database == "there" else 1)
    procore.next("/rest/v1.0/me", reply(200, b"<html>"))
    if database != "there":
        procore.next("/oauth/token/info", UNWELL)
    with front_door(tmp_path, procore, clock) as door:
        with pytest.raises(UnexpectedResponse):
            sign_in(door)
        entry = door.store.ask(AttemptOf(attempts[0]))
        assert entry is not None
        assert (entry.status, entry.outcome) == ("failed", "UnexpectedResponse")
        assert door.store.ask(Escrowed(2_000_000_000)) == []


def test_a_refused_user_is_told_so_also_where_the_database_goes_away_before_the_revocation(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away(monkeypatch, HoldEscrow, 1)
    procore.next(COMPANIES, NO_COMPANIES)
    with front_door(tmp_path, procore, clock, hooks=Hooks(may_sign_in=refuse)) as door:
        with pytest.raises(SignInRefused, match="does not admit"):
            sign_in(door)
        [left] = door.store.ask(Escrowed(2_000_000_000))
        assert left.tokens is not None
        assert left.tokens.access_token.reveal() == "fake-access-1"


def test_a_pair_without_a_row_of_its_own_gets_a_place_that_fits_the_column(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    procore.next("/oauth/token/info", UNWELL)
    assert door.run(give_up(door.context, TOKENS)) == "pending"
    [left] = door.store.ask(Escrowed(2_000_000_000))
    assert len(left.state_hash) == 64


def test_a_pair_is_dated_by_when_it_was_written_down_not_by_when_it_came(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the janitor would take it, after an outage, from the process that has just begun."""
    away(monkeypatch, GiveUpTokens, 1000)
    procore.next("/oauth/token/info", *[UNWELL] * 1000)
    began = clock.now
    Runner(door.store, procore, sleep=clock.advance).run(give_up(door.context, TOKENS))
    assert clock.now - began > 900
    [left] = door.store.ask(Escrowed(2_000_000_000))
    assert left.escrowed_at == int(clock.now)


def test_a_process_that_ends_without_the_database_tells_that_it_leaves_a_pair(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    told: list[tuple[Event, Mapping[str, Field]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away(monkeypatch, GiveUpTokens, 1000)
    procore.next("/oauth/token/info", UNWELL)
    runner = Runner(door.store, procore, sleep=lambda _: None)
    monkeypatch.setattr(runner._background, "ending", lambda: ENDING_SECONDS + 1)
    assert runner.run(give_up(door.context, TOKENS)) == "unsure"
    facts = {"environment": "emulator", "reason": "StoreUnavailable", "error": None}
    assert told == [(Event.REVOCATION_FAILED, facts)]


def test_a_pair_that_is_revoked_without_the_database_is_told_of(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    told: list[tuple[Event, Mapping[str, Field]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away(monkeypatch, GiveUpTokens, 1)
    runner = Runner(door.store, procore, sleep=lambda _: None)
    assert runner.run(give_up(door.context, TOKENS)) == "confirmed"
    assert told == [(Event.TOKENS_REVOKED, {"environment": "emulator"})]


def test_what_another_process_could_not_make_certain_is_not_certain_for_who_comes_after_it(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    tmp_path: Path,
    user: User,
    told: list[tuple[Event, Mapping[str, Field]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    escrows: list[Escrow] = []

    def disabled_meanwhile(_request: HttpRequest) -> HttpResponse:
        door.disable(user)
        found = door.store.ask(EscrowsOf(user))
        escrows.extend(found)
        meet(monkeypatch, Store, CommitRefresh, die)
        return tokens(50)

    clock.advance(5400)
    procore.next("/oauth/token", disabled_meanwhile)
    with front_door(tmp_path, procore, clock) as other, pytest.raises(Killed):
        other.fresh_tokens(user)
    clock.advance(REFRESH_ENDS_WITHIN)
    procore.next("/oauth/token", INVALID_GRANT)
    [escrow] = escrows
    told.clear()
    for _ in ("who ends it", "who finds it empty"):
        assert door.run(withdraw(door.context, escrow)) == "unsure"
    facts = {"environment": "emulator", "reason": "unanswered", "error": None}
    assert told == [(Event.REVOCATION_FAILED, facts)]


TRIALS: dict[str, list[HttpResponse | Exception]] = {
    "is refused": [INVALID_GRANT],
    "is not sent": [ProcoreUnavailable("refused", ambiguous=False), INVALID_GRANT],
    "is not ours to make": [reply(401, {"error": "invalid_client"}), INVALID_GRANT],
    "brings a pair": [tokens(7)],
}


@pytest.mark.parametrize("trial", TRIALS)
def test_the_ledger_goes_on_saying_why_a_sign_in_ended_while_its_refresh_token_is_tried(
    procore: ScriptedProcore,
    clock: Clock,
    tmp_path: Path,
    trial: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts = attempts_taken(monkeypatch)
    procore.next("/rest/v1.0/me", reply(200, b"<html>"))
    procore.next("/oauth/token/info", EXPIRED)
    procore.next("/oauth/token", tokens(1), *TRIALS[trial])
    with front_door(tmp_path, procore, clock) as door:
        with pytest.raises(UnexpectedResponse):
            sign_in(door)
        entry = door.store.ask(AttemptOf(attempts[0]))
        assert entry is not None
        assert (entry.status, entry.outcome) == ("failed", "UnexpectedResponse")
        waiting = len(TRIALS[trial]) > 1
        assert len(door.store.ask(Escrowed(2_000_000_000))) == waiting


def test_a_pair_that_a_trial_brought_and_procore_does_not_accept_ends_nothing(
    door: ProcoreSignIn, procore: ScriptedProcore, user: User
) -> None:
    """Then the pair before it may live: both stay in the ledger."""
    procore.next("/oauth/token/info", EXPIRED, EXPIRED)
    procore.next("/oauth/token", tokens(7))
    ended = door.disable(user)
    assert ended is not None
    assert ended.revocation == "pending"
    kept = {
        each.tokens.access_token.reveal() for each in door.store.ask(Escrowed(2**40)) if each.tokens
    }
    assert kept == {"fake-access-1", "fake-access-7"}


def test_a_pair_of_a_trial_that_is_dead_is_written_down_all_the_same_or_a_doubt_would_stay(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away(monkeypatch, KeepRenewed, 2)
    procore.next("/oauth/token/info", EXPIRED)
    procore.next("/oauth/token", tokens(7))
    with pytest.raises(StoreUnavailable):
        door.disable(user)
    assert procore.revoked[-1] == "fake-refresh-7"
    clock.advance(HOLD_SECONDS)
    again = door.disable(user)
    assert again is not None
    assert (again.revocation, again.certain) == ("confirmed", True)


def test_a_trial_that_brings_no_refresh_token_leaves_the_one_that_it_was_made_with(
    door: ProcoreSignIn, procore: ScriptedProcore, user: User
) -> None:
    procore.next("/oauth/token/info", EXPIRED)
    procore.next("/oauth/token", tokens(7, refresh_token=None))
    door.disable(user)
    first = ["fake-access-1", "fake-refresh-1"]
    assert procore.revoked == [*first, "fake-access-7", "fake-refresh-1"]


@pytest.mark.parametrize("path", ["/oauth/token/info", "/oauth/revoke"])
def test_a_revocation_is_pending_where_procore_names_a_date_to_come_back(
    door: ProcoreSignIn, procore: ScriptedProcore, user: User, path: str
) -> None:
    later = {"retry-after": "Fri, 15 Jan 2027 09:00:00 GMT"}
    procore.next(path, reply(503, b"", **later))
    ended = door.disable(user)
    assert ended is not None
    assert ended.revocation == "pending"


FAILED = Event.REVOCATION_FAILED
OUTCOMES: dict[str, tuple[dict[str, list[HttpResponse]], Event, dict[str, Field]]] = {
    "done": ({}, Event.TOKENS_REVOKED, {}),
    "procore is unwell": (
        {"/oauth/token/info": [UNWELL]},
        FAILED,
        {"reason": "ProcoreUnavailable", "error": None},
    ),
    "procore refuses our client": (
        {"/oauth/revoke": [reply(401, {"error": "invalid_client"})]},
        FAILED,
        {"reason": "ClientMisconfigured", "error": "invalid_client"},
    ),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_came_of_a_revocation_is_told_with_the_reason_and_the_error_of_procore(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    user: User,
    told: list[tuple[Event, Mapping[str, Field]]],
    outcome: str,
) -> None:
    scripts, event, facts = OUTCOMES[outcome]
    for path, replies in scripts.items():
        procore.next(path, *replies)
    door.disable(user)
    [_, last] = told
    assert last == (event, {"environment": "emulator", **facts})


@pytest.fixture
def doubtful(door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock) -> User:
    """Someone whose refresh token may have been spent by a request without a response."""
    user = sign_in(door).user
    clock.advance(5400)
    procore.next("/oauth/token", LOST, AWAY)
    with pytest.raises(ProcoreUnavailable):
        door.fresh_tokens(user)
    procore.requests.clear()
    return user


def test_a_doubtful_pair_whose_refresh_token_still_works_once_is_certainly_ended(
    door: ProcoreSignIn, procore: ScriptedProcore, doubtful: User
) -> None:
    procore.next("/oauth/token", tokens(7), INVALID_GRANT)
    for _ in ("who ends it", "who asks again"):
        ended = door.disable(doubtful)
        assert ended is not None
        assert ended.certain
    assert door.store.ask(Escrowed(2**40)) == []


def test_a_doubtful_pair_is_pending_where_procore_does_not_accept_what_it_brought(
    door: ProcoreSignIn, procore: ScriptedProcore, doubtful: User
) -> None:
    procore.next("/oauth/token", tokens(7), INVALID_GRANT)
    procore.next("/oauth/token/info", EXPIRED)
    ended = door.disable(doubtful)
    assert ended is not None
    assert ended.revocation == "pending"


@pytest.mark.parametrize("accepted", [reply(200, {}), EXPIRED], ids=["accepted", "expired"])
def test_a_doubt_stays_where_procore_does_not_rotate_refresh_tokens(
    door: ProcoreSignIn, procore: ScriptedProcore, doubtful: User, accepted: HttpResponse
) -> None:
    """There a refresh token that is refused the second time was not refused because it was used."""
    procore.next("/oauth/token", tokens(7, refresh_token=None), INVALID_GRANT)
    procore.next("/oauth/token/info", accepted)
    ended = door.disable(doubtful)
    assert ended is not None
    assert (ended.revocation, ended.certain) == ("unsure", False)


def test_a_refresh_token_that_brings_a_pair_each_time_is_revoked_with_what_it_brought(
    door: ProcoreSignIn, procore: ScriptedProcore, doubtful: User
) -> None:
    procore.next("/oauth/token", tokens(7), tokens(8, refresh_token=None))
    ended = door.disable(doubtful)
    assert ended is not None
    assert ended.revocation == "unsure"
    brought = {"fake-access-7", "fake-refresh-7", "fake-access-8"}
    assert set(procore.revoked) == {*brought, "fake-refresh-1"}


def test_a_doubt_stays_where_the_process_dies_between_two_trials(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, doubtful: User
) -> None:
    procore.next("/oauth/token", tokens(7), die)
    with pytest.raises(Killed):
        door.disable(doubtful)
    kept = [each.tokens for each in door.store.ask(Escrowed(2**40))]
    assert {each.access_token.reveal() for each in kept if each} == {
        "fake-access-1",
        "fake-access-7",
    }
    clock.advance(HOLD_SECONDS)
    procore.next("/oauth/token", INVALID_GRANT)
    again = door.disable(doubtful)
    assert again is not None
    assert (again.revocation, again.certain) == ("unsure", False)


def test_a_doubt_about_a_grant_without_a_refresh_token_stays_and_its_access_token_is_revoked(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    """A process died that had taken the lease to end it."""
    procore.next("/oauth/token", tokens(1, refresh_token=None))
    user = sign_in(door).user
    clock.advance(5400)
    row = door.store.ask(TokenRowOf(user.id, "emulator", now=door.context.now()))
    assert row is not None
    door.store.do(TakeLease(row, owner="dead", seconds=30, now=door.context.now()))
    clock.advance(31)
    ended = door.disable(user)
    assert ended is not None
    assert ended.revocation == "unsure"
    assert procore.revoked == ["fake-access-1"]


def test_a_doubt_about_someone_who_was_deleted_is_purged(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, tmp_path: Path, user: User
) -> None:
    def deleted_meanwhile(_request: HttpRequest) -> HttpResponse:
        door.delete(user)
        raise Killed

    clock.advance(5400)
    procore.next("/oauth/token", deleted_meanwhile)
    with front_door(tmp_path, procore, clock) as other, pytest.raises(Killed):
        other.fresh_tokens(user)
    [left] = door.store.ask(Escrowed(2**40))
    clock.advance(ORPHANED_AFTER + 1)
    procore.next("/oauth/token", INVALID_GRANT)
    door.run(sweep(door.context))
    assert door.store.ask(Escrowed(2**40)) == []
    clock.advance(1)
    door.run(sweep(door.context))
    assert door.store.ask(AttemptOf(left.state_hash)) is None


@pytest.fixture
def kept(door: ProcoreSignIn, procore: ScriptedProcore) -> Escrow:
    """A pair in the ledger that no one holds."""
    procore.next("/oauth/token/info", UNWELL)
    door.run(give_up(door.context, TOKENS))
    procore.requests.clear()
    [escrow] = door.store.ask(Escrowed(2**40))
    return escrow


def hold(door: ProcoreSignIn, escrow: Escrow) -> str:
    """Have another process hold an escrow, and tell whether it could."""
    command = HoldEscrow(escrow.state_hash, holder="other", now=door.context.now())
    return door.store.do(command).state


@pytest.mark.parametrize("known", [True, False], ids=["known", "not known"])
def test_a_pair_that_no_key_opens_is_sealed_and_no_one_goes_on_holding_it(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    tmp_path: Path,
    kept: Escrow,
    *,
    known: bool,
) -> None:
    """Also where that is known only once it is held: its key was given up just then."""
    keys = Secret("k2:" + "E" * 43, "keys")
    with front_door(tmp_path, procore, clock, keys=keys) as other:
        escrow = replace(kept, tokens=None) if known else kept
        assert other.run(withdraw(other.context, escrow)) == "sealed"
    assert procore.requests == []
    assert hold(door, kept) == "ours"


@pytest.mark.parametrize("patience", [0.0, 1.0, 5.0])
def test_a_pair_that_another_process_revokes_is_waited_for_as_long_as_someone_has_patience(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, kept: Escrow, patience: float
) -> None:
    hold(door, kept)
    began = clock.now
    runner = Runner(door.store, procore, sleep=clock.advance)
    assert runner.run(withdraw(door.context, kept, patience=patience)) == "pending"
    assert clock.now - began == pytest.approx(patience, abs=2 * POLL_SECONDS)
    assert procore.requests == []


def test_a_process_that_ends_does_not_wait_for_another_one_that_revokes_the_same_pair(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    kept: Escrow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hold(door, kept)
    began = clock.now
    runner = Runner(door.store, procore, sleep=clock.advance)
    monkeypatch.setattr(type(runner._background), "closing", True)
    assert runner.run(withdraw(door.context, kept, patience=5.0)) == "pending"
    assert clock.now - began == pytest.approx(POLL_SECONDS)


def test_the_ledger_says_why_a_sign_in_ended_also_where_the_process_dies_after_a_trial(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = attempts_taken(monkeypatch)
    procore.next("/rest/v1.0/me", reply(200, b"<html>"))
    procore.next("/oauth/token/info", EXPIRED, die)
    procore.next("/oauth/token", tokens(1), tokens(7))
    with front_door(tmp_path, procore, clock) as door:
        with pytest.raises(Killed):
            sign_in(door)
        entry = door.store.ask(AttemptOf(attempts[0]))
        assert entry is not None
        assert (entry.status, entry.outcome) == ("failed", "UnexpectedResponse")


def test_a_pair_of_a_trial_is_dated_by_when_it_was_written_down_not_by_when_it_came(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away(monkeypatch, KeepRenewed, 100)
    procore.next("/oauth/token/info", EXPIRED, *[UNWELL] * 100)
    procore.next("/oauth/token", tokens(7))
    began = clock.now
    runner = Runner(door.store, procore, sleep=clock.advance)
    with pytest.raises(StoreUnavailable):
        runner.run(disable(door.context, user.id))
    runner.settle()
    assert clock.now - began > 90
    assert [each.escrowed_at for each in door.store.ask(Escrowed(2**40))] == [int(clock.now)] * 2


def test_an_access_token_that_procore_describes_is_accepted(
    door: ProcoreSignIn, procore: ScriptedProcore, user: User
) -> None:
    """Then it is alive, and its revocation is believed: its refresh token is not tried."""
    described = {
        "resource_owner_id": 11111,
        "scopes": [],
        "expires_in_seconds": 5400,
        "application": {"uid": "fake-client-id"},
        "created_at": 1_800_000_000,
    }
    procore.next("/oauth/token/info", reply(200, described))
    ended = door.disable(user)
    assert ended is not None
    assert ended.certain
    assert len(procore.exchanges) == 1


def test_who_stood_still_at_the_last_request_of_a_revocation_says_that_it_is_pending(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, kept: Escrow
) -> None:
    def stand_still(_request: HttpRequest) -> HttpResponse:
        clock.advance(HOLD_SECONDS)
        assert hold(door, kept) == "ours"
        return reply(200, {})

    procore.next("/oauth/revoke", stand_still)
    assert door.run(withdraw(door.context, kept)) == "pending"
