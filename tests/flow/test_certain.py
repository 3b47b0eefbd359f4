"""`certain` is true only where it is certain, in both rotations (I7), and `unsure` only where an
answer was lost (I5)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from doing import meet
from granted import Rotation, approved, at_the_emulator, pass_time
from mortal import Killed
from scripted import NOW, Clock, ScriptedProcore, front_door, reply, sign_in, tokens

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.attempt import new_attempt
from procore_signin._flow.janitor import FAILURES_AT_ONCE, ORPHANED_AFTER, sweep
from procore_signin._flow.users import LONGEST_SIGN_IN_SECONDS, AccessEnded
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import Store
from procore_signin._store.access import DisconnectUser, EscrowsOf
from procore_signin._store.escrows import GiveUpTokens
from procore_signin._store.ledger import EscrowTokens, FailAttempt, TakeAttempt
from procore_signin._store.records import User
from procore_signin._store.refresh import CommitRefresh, TokenRowOf
from procore_signin.emulator import Emulator
from procore_signin.errors import GrantLost, ProcoreUnavailable, SignInRefused, StoreUnavailable

pytestmark = pytest.mark.usefixtures("one_thread")
BOTH_LINES = pytest.mark.parametrize("doorkeeper", [4, 5])
BOTH_ROTATIONS = pytest.mark.parametrize("rotation", ["immediate", "grace"])
INFO = "GET /oauth/token/info"
TOKEN = "POST /oauth/token"  # a route
ENDS: dict[str, Callable[[ProcoreSignIn, User], AccessEnded | None]] = {
    "disable": lambda door, user: door.disable(user),
    "disconnect": lambda door, user: door.disconnect(user),
    "delete": lambda door, user: door.delete(user),
}


@pytest.fixture
def user(door: ProcoreSignIn) -> User:
    return sign_in(door).user


def refreshable(emulator: Emulator) -> int:
    return sum(grant.refreshable for grant in emulator.live_grants())


def refresh(emulator: Emulator, door: ProcoreSignIn, clock: Clock, user: User, times: int) -> None:
    """Refresh so often, each time after the access token has expired, and use no token."""
    for _ in range(times):
        pass_time(emulator, clock, 6000)
        door.fresh_tokens(user)


@BOTH_LINES
@BOTH_ROTATIONS
@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("age", [0, 6000])
def test_I7_certain_means_that_procore_honours_nothing_however_many_refreshes_nobody_used(
    tmp_path: Path, doorkeeper: int, rotation: Rotation, times: int, age: int, *, seen: bool
) -> None:
    """Also where Procore did not answer when the new access tokens were presented."""
    with at_the_emulator(tmp_path, doorkeeper=doorkeeper, rotation=rotation) as it:
        emulator, door, clock, user = it
        if not seen:
            emulator.fault(INFO, "status", status=503, times=times)
        refresh(emulator, door, clock, user, times)
        if seen:
            assert refreshable(emulator) == 1
        pass_time(emulator, clock, age)
        ended = door.disable(user)
        assert ended is not None
        assert ended.certain
        assert refreshable(emulator) == 0


@BOTH_LINES
@BOTH_ROTATIONS
@pytest.mark.parametrize("how", ENDS)
def test_I7_nothing_is_certain_while_a_pair_before_is_alive(
    tmp_path: Path, doorkeeper: int, rotation: Rotation, how: str
) -> None:
    with at_the_emulator(tmp_path, doorkeeper=doorkeeper, rotation=rotation) as it:
        emulator, door, clock, user = it
        emulator.fault(INFO, "status", status=503, times=2)
        refresh(emulator, door, clock, user, 2)
        emulator.fault("POST /oauth/revoke", "status", status=503, times=2)
        ended = ENDS[how](door, user)
        assert ended is not None
        assert (ended.revocation, ended.certain) == ("pending", False)
        pass_time(emulator, clock, ORPHANED_AFTER + 1)
        while door.run(sweep(door.context)):
            continue
        assert refreshable(emulator) == 0


@BOTH_LINES
@BOTH_ROTATIONS
def test_I7_ending_an_older_pair_never_ends_the_one_in_use(
    tmp_path: Path, doorkeeper: int, rotation: Rotation
) -> None:
    with at_the_emulator(tmp_path, doorkeeper=doorkeeper, rotation=rotation) as it:
        emulator, door, clock, user = it
        emulator.fault(INFO, "status", status=503, times=3)
        refresh(emulator, door, clock, user, 3)
        pass_time(emulator, clock, ORPHANED_AFTER + 1)
        while door.run(sweep(door.context)):
            continue
        generation = door.fresh_tokens(user).generation
        assert door.fresh_tokens(user, rejected=generation).generation == generation + 1
        pass_time(emulator, clock, ORPHANED_AFTER + 1)  # the last that no one saw replaced
        assert door.run(sweep(door.context)) == 1
        assert refreshable(emulator) == 1
        assert door.fresh_tokens(user, rejected=generation + 1).generation == generation + 2


@BOTH_ROTATIONS
def test_R11_a_sign_in_anew_ends_the_whole_of_the_grant_before(
    tmp_path: Path, rotation: Rotation
) -> None:
    with at_the_emulator(tmp_path, rotation=rotation) as it:
        emulator, door, clock, user = it
        emulator.fault(INFO, "status", status=503, times=2)
        refresh(emulator, door, clock, user, 2)
        approved(emulator, door)
        pass_time(emulator, clock, ORPHANED_AFTER + 1)
        while door.run(sweep(door.context)):
            continue
        assert refreshable(emulator) == 1
        assert door.fresh_tokens(user).generation == 4


@BOTH_LINES
def test_I7_under_grace_an_answer_that_was_lost_leaves_a_pair_that_nobody_knows(
    tmp_path: Path, doorkeeper: int
) -> None:
    with at_the_emulator(tmp_path, doorkeeper=doorkeeper, rotation="grace") as it:
        emulator, door, clock, user = it
        pass_time(emulator, clock, 6000)
        emulator.fault(TOKEN, "drop-after-commit")
        door.fresh_tokens(user)
        refresh(emulator, door, clock, user, 1)
        for _ in range(2):
            ended = door.disable(user)
            assert ended is not None
            assert (ended.revocation, ended.certain) == ("unsure", False)
        assert refreshable(emulator) == 1


def test_I7_a_grant_that_was_lost_is_not_forgotten_with_the_next_sign_in(tmp_path: Path) -> None:
    with at_the_emulator(tmp_path, rotation="immediate") as it:
        emulator, door, clock, user = it
        pass_time(emulator, clock, 6000)
        emulator.fault(TOKEN, "drop-after-commit")
        with pytest.raises(GrantLost):
            door.fresh_tokens(user)
        approved(emulator, door)
        ended = door.disable(user)
        assert ended is not None
        assert (ended.certain, refreshable(emulator)) == (False, 1)


def test_I7_what_was_unsure_once_is_not_certain_when_it_is_asked_again(tmp_path: Path) -> None:
    with at_the_emulator(tmp_path, rotation="immediate") as it:
        emulator, door, clock, user = it
        pass_time(emulator, clock, 6000)
        emulator.fault(TOKEN, "drop-after-commit")
        told = [door.disable(user) for _ in range(4)]
        assert [each and each.revocation for each in told] == ["pending", *["unsure"] * 3]
        assert not any(each and each.certain for each in told)


def test_I7_settling_costs_one_request_and_a_failure_harms_nobody(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    user = sign_in(door).user
    clock.advance(5400)
    procore.requests.clear()
    procore.next("/oauth/token/info", ProcoreUnavailable("no", ambiguous=False))
    assert door.fresh_tokens(user).generation == 2
    assert [request.url.rpartition("/oauth")[2] for request in procore.requests] == [
        "/token",
        "/token/info",
    ]
    row = door.store.ask(TokenRowOf(user.id, "emulator", now=int(clock.now)))
    assert row is not None
    assert not row.settled


@pytest.mark.parametrize("rounds", range(3))
@pytest.mark.parametrize("age", [0, 6000])
@BOTH_ROTATIONS
def test_I5_withdrawals_that_overlap_take_nothing_for_lost(
    tmp_path: Path, rotation: Rotation, age: int, rounds: int
) -> None:
    """Two operators and two janitors, in processes of their own, at the same moment."""
    assert rounds >= 0
    with at_the_emulator(tmp_path, rotation=rotation) as it:
        emulator, door, clock, user = it
        with emulator.refusing():
            door.disable(user)
        pass_time(emulator, clock, max(age, ORPHANED_AFTER + 1))
        emulator.fault("*", "latency", seconds=0.02, times=None)
        start = threading.Barrier(4)

        def act(what: str) -> str:
            start.wait(10)
            if what == "sweep":
                door.run(sweep(door.context))
                return "swept"
            ended = door.disable(user)
            assert ended is not None
            return ended.revocation

        with ThreadPoolExecutor(4) as threads:
            told = list(threads.map(act, ["disable", "sweep", "disable", "sweep"]))
        assert set(told) <= {"confirmed", "none", "swept"}
        assert refreshable(emulator) == 0
        assert door.store.ask(EscrowsOf(user)) == []


@pytest.mark.parametrize("how", ENDS)
def test_I5_who_withdrew_the_tokens_hears_what_another_one_made_of_them(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock, how: str, monkeypatch: Any
) -> None:
    """Someone else revokes them between our transaction and our first look."""
    with (
        front_door(tmp_path, procore, clock) as door,
        front_door(tmp_path, procore, clock) as other,
    ):
        user = sign_in(door).user

        def later(usual: Callable[[], object], _: EscrowsOf) -> object:
            other.disable(user)
            return usual()

        meet(monkeypatch, door.store, EscrowsOf, later)
        ended = ENDS[how](door, user)
        assert ended is not None
        assert (ended.revocation, ended.certain) == ("confirmed", True)


def test_I5_who_withdrew_the_tokens_hears_of_another_ones_doubt(
    tmp_path: Path, procore: ScriptedProcore, clock: Clock, monkeypatch: Any
) -> None:
    expired = reply(401, {"error": "invalid_request"})
    lost = ProcoreUnavailable("The connection was reset", ambiguous=True)
    with (
        front_door(tmp_path, procore, clock) as door,
        front_door(tmp_path, procore, clock) as other,
    ):
        user = sign_in(door).user

        def later(usual: Callable[[], object], _mine: EscrowsOf) -> object:
            procore.next("/oauth/token/info", expired, expired)
            procore.next("/oauth/token", lost)
            for _ in range(2):
                other.disable(user)
            return usual()

        meet(monkeypatch, door.store, EscrowsOf, later)
        ended = door.disable(user)
        assert ended is not None
        assert (ended.revocation, ended.certain) == ("unsure", False)


def test_I5_somebody_who_holds_the_tokens_is_waited_for_and_then_it_is_pending(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, tmp_path: Path
) -> None:
    user = sign_in(door).user
    asked, go_on = threading.Event(), threading.Event()

    def slow(_request: HttpRequest) -> HttpResponse:
        asked.set()
        go_on.wait(10)
        return reply(200, {})

    procore.next("/oauth/revoke", slow)
    with front_door(tmp_path, procore, clock) as other, ThreadPoolExecutor(2) as threads:
        first = threads.submit(other.disable, user)
        assert asked.wait(10)
        runner = door._runner
        polls = []

        def poll(seconds: float) -> None:
            polls.append(seconds)
            if len(polls) == 3:
                go_on.set()
                first.result(10)

        runner._sleep = poll
        second = door.disable(user)
        assert second is not None
        assert (second.revocation, len(polls)) == ("confirmed", 3)
        held = first.result()
        assert held is not None
        assert held.revocation == "confirmed"


@BOTH_LINES
@BOTH_ROTATIONS
@pytest.mark.parametrize("age", [0, 6000])
@pytest.mark.parametrize("sent", [True, False])
def test_I7_a_refresher_that_was_killed_leaves_a_doubt_only_where_something_may_be_lost(
    tmp_path: Path,
    doorkeeper: int,
    rotation: Rotation,
    age: int,
    monkeypatch: pytest.MonkeyPatch,
    *,
    sent: bool,
) -> None:
    """Before it asked, or after Procore answered: the row looks the same."""

    def die(*_: object, **_more: object) -> None:
        raise Killed

    with at_the_emulator(tmp_path, doorkeeper=doorkeeper, rotation=rotation) as it:
        emulator, door, clock, user = it
        pass_time(emulator, clock, age)
        with monkeypatch.context() as patched:
            if sent:
                meet(patched, door.store, CommitRefresh, die)
            else:
                patched.setattr(door._transport, "send", die)
            with pytest.raises(Killed):
                door.fresh_tokens(user, rejected=1)
        pass_time(emulator, clock, 31)  # its lease is over
        ended = door.disable(user)
        assert ended is not None
        assert ended.certain == (rotation == "immediate" and not sent)
        assert refreshable(emulator) == int(sent)


@pytest.mark.parametrize("how", ["disable", "disconnect"])
def test_I7_nothing_is_certain_while_a_pair_of_a_sign_in_that_failed_is_alive(
    door: ProcoreSignIn, procore: ScriptedProcore, how: str
) -> None:
    user = sign_in(door).user
    door.disable(user)
    procore.next("/oauth/revoke", *[reply(503, b"")] * 2)
    with pytest.raises(SignInRefused):
        sign_in(door)
    ended = ENDS[how](door, user)
    assert ended is not None
    assert (ended.revocation, ended.certain) == ("pending", False)
    ended = ENDS[how](door, user)
    assert ended is not None
    assert ended.certain


def test_R14_what_a_clock_that_was_set_back_put_away_is_swept_all_the_same(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    user = sign_in(door).user
    clock.advance(10_800)
    procore.next("/oauth/revoke", reply(503, b""))
    door.disable(user)
    clock.advance(-10_800)
    assert door.run(sweep(door.context)) == 1


@BOTH_LINES
@BOTH_ROTATIONS
def test_I7_a_pair_that_a_withdrawal_brought_and_nobody_presented_hides_none_before_it(
    tmp_path: Path, doorkeeper: int, rotation: Rotation
) -> None:
    """Procore was away in the middle of the withdrawal, until the new pair had expired too."""
    with at_the_emulator(tmp_path, doorkeeper=doorkeeper, rotation=rotation) as it:
        emulator, door, clock, user = it
        pass_time(emulator, clock, 6000)
        asked = door._transport.send

        def away(request: HttpRequest, *rest: Any, **more: Any) -> HttpResponse:
            if request.url.endswith("/oauth/token"):
                emulator.fault(INFO, "status", status=503)
            return asked(request, *rest, **more)

        door._transport.send = away  # type: ignore[method-assign]
        ended = door.disable(user)
        door._transport.send = asked  # type: ignore[method-assign]
        assert ended is not None
        # The newer line ends an expired pair at the first word.
        assert ended.revocation == ("pending" if doorkeeper == 4 else "confirmed")
        pass_time(emulator, clock, 6000)
        for _ in range(3):
            ended = door.disable(user)
        assert ended is not None
        assert ended.certain
        assert refreshable(emulator) == 0


@pytest.mark.parametrize("how", ENDS)
def test_I7_nothing_is_certain_while_a_grant_lives_that_they_had_before_they_were_deleted(
    door: ProcoreSignIn, procore: ScriptedProcore, how: str
) -> None:
    """The user who signs in again is a new one, and Procore has not ended the old grant yet."""

    def not_the_old_one(request: HttpRequest) -> HttpResponse:
        return reply(503, b"") if b"fake-access-1" in request.body else reply(200, {})

    procore.next("/oauth/revoke", *[not_the_old_one] * 20)
    before = sign_in(door).user
    deleted = door.delete(before)
    assert deleted is not None
    assert (deleted.revocation, deleted.certain) == ("pending", False)
    again = sign_in(door).user
    assert (again.id == before.id, again.procore_id) == (False, before.procore_id)
    ended = ENDS[how](door, again)
    assert ended is not None
    assert (ended.revocation, ended.certain) == ("pending", False)
    assert "fake-refresh-2" in procore.revoked
    procore.forget("/oauth/revoke")
    again = sign_in(door).user if how == "delete" else again
    ended = ENDS[how](door, again)
    assert ended is not None
    assert (ended.revocation, ended.certain) == ("confirmed", True)
    assert "fake-refresh-1" in procore.revoked


def test_I7_nothing_is_certain_after_a_withdrawn_token_was_sent_again_without_an_answer(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    """Trying it tells nothing then: that it is refused may be the doing of the second request."""
    user = sign_in(door).user

    def withdrawn_meanwhile(_: HttpRequest) -> HttpResponse:
        door.store.do(DisconnectUser(user.id, now=NOW))
        raise ProcoreUnavailable("The connection was reset", ambiguous=True)

    token = TOKEN.removeprefix("POST ")
    procore.next(token, withdrawn_meanwhile, tokens(2))
    with pytest.raises(GrantLost):
        door.fresh_tokens(user, rejected=1)
    again = sign_in(door).user
    procore.next(token, tokens(3), reply(400, {"error": "invalid_grant"}))
    ended = door.disable(again)
    assert ended is not None
    assert (ended.revocation, ended.certain) == ("unsure", False)


@pytest.mark.parametrize("under_way", ["refresh_under_way", "sign_in_under_way"])
def test_I7_nothing_is_certain_while_something_is_under_way(user: User, under_way: str) -> None:
    nothing = {"refresh_under_way": False, "sign_in_under_way": False}
    assert AccessEnded(user, 0, "confirmed", **nothing).certain
    assert not AccessEnded(user, 0, "confirmed", **nothing | {under_way: True}).certain


def test_I7_nothing_is_certain_while_somebody_is_signing_in_whom_nobody_can_name(
    door: ProcoreSignIn, clock: Clock, user: User
) -> None:
    """It may be this person: the ledger knows no more of a process that was killed there."""
    attempt = new_attempt(door.context, return_to="/")
    now = door.context.now()
    door.store.do(
        TakeAttempt(
            attempt.state_hash,
            environment="emulator",
            now=now,
            expires_at=now + 600,
            code_hash=None,
        )
    )
    ended = door.disable(user)
    assert ended is not None
    assert (ended.revocation, ended.sign_in_under_way, ended.certain) == ("confirmed", True, False)
    clock.advance(LONGEST_SIGN_IN_SECONDS)  # it brought nothing, or no one will ever know
    ended = door.disable(user)
    assert ended is not None
    assert (ended.sign_in_under_way, ended.certain) == (False, True)


def test_I7_nothing_is_certain_eight_seconds_after_a_code_was_taken(
    door: ProcoreSignIn, clock: Clock, user: User
) -> None:
    """The exchange may still be under way."""
    attempt = new_attempt(door.context, return_to="/")
    now = door.context.now()
    door.store.do(
        TakeAttempt(
            attempt.state_hash,
            environment="emulator",
            now=now,
            expires_at=now + 600,
            code_hash=None,
        )
    )
    clock.advance(8)
    ended = door.disable(user)
    assert ended is not None
    assert (ended.revocation, ended.sign_in_under_way, ended.certain) == ("confirmed", True, False)


def test_I7_a_token_is_not_tried_eight_seconds_after_its_refresh_began(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, user: User, tmp_path: Path
) -> None:
    """Of the trial and the refresh, one would be taken for the other."""
    told: list[tuple[str, bool]] = []

    def slow(_: HttpRequest) -> HttpResponse:
        for seconds in (0, 8):
            clock.advance(seconds)
            ended = door.disable(user)
            assert ended is not None
            told.append((ended.revocation, ended.certain))
        return tokens(2)

    clock.advance(5400)
    procore.requests.clear()
    procore.next(TOKEN.removeprefix("POST "), slow)
    with front_door(tmp_path, procore, clock) as other, pytest.raises(SignInRefused):
        other.fresh_tokens(user)
    assert told == [("pending", False)] * 2
    assert len(procore.exchanges) == 1


def test_I7_tokens_of_a_sign_in_that_was_killed_keep_everybody_uncertain_until_they_are_swept(
    door: ProcoreSignIn, clock: Clock, user: User
) -> None:
    attempt = new_attempt(door.context, return_to="/")
    now = door.context.now()
    door.store.do(
        TakeAttempt(
            attempt.state_hash,
            environment="emulator",
            now=now,
            expires_at=now + 600,
            code_hash=None,
        )
    )
    left = TokenSet(Secret("fake-access-9", "t"), Secret("fake-refresh-9", "t"), now + 5400)
    door.store.do(EscrowTokens(attempt.state_hash, left, environment="emulator", now=now))
    clock.advance(ORPHANED_AFTER + 1)
    ended = door.disable(user)
    assert ended is not None
    assert not ended.certain
    door.run(sweep(door.context))
    ended = door.disable(user)
    assert ended is not None
    assert ended.certain


def test_I7_tokens_that_could_not_be_put_into_escrow_are_never_unknown_to_everybody(
    door: ProcoreSignIn, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not between the end of their attempt and the moment in which they are written down."""
    seen: list[tuple[type, bool]] = []

    def away(*_: object) -> None:
        raise StoreUnavailable("down")

    def end_access(usual: Callable[[], Any], command: object) -> Any:
        ended = door.disable(user)
        assert ended is not None
        seen.append((type(command), ended.certain))
        return usual()

    meet(monkeypatch, Store, EscrowTokens, away)
    for command in (FailAttempt, GiveUpTokens):
        meet(monkeypatch, Store, command, end_access)
    with pytest.raises(StoreUnavailable):
        sign_in(door)
    assert seen == [(GiveUpTokens, False), (FailAttempt, True)]


def test_O6_what_procore_never_confirms_keeps_nobody_else_waiting(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    for number in range(FAILURES_AT_ONCE + 1):
        pair = TokenSet(
            Secret(f"fake-access-x{number}", "t"), Secret(f"fake-refresh-x{number}", "t"), 2**40
        )
        door.store.do(
            GiveUpTokens(
                pair,
                state_hash=f"{number:064x}",
                environment="emulator",
                procore_id=None,
                refreshed=None,
                now=int(clock.now) + number // FAILURES_AT_ONCE,  # the last one a second later
            )
        )
    clock.advance(ORPHANED_AFTER + 2)
    procore.next("/oauth/revoke", *[reply(403, {"error": "unauthorized_client"})] * 100)
    door.run(sweep(door.context))
    last = f"fake-access-x{FAILURES_AT_ONCE}"
    assert last not in procore.revoked
    procore.next("/oauth/revoke", reply(200, {}), reply(200, {}))
    procore.next("/oauth/revoke", *[reply(403, {"error": "unauthorized_client"})] * 100)
    clock.advance(1)
    door.run(sweep(door.context))
    assert last in procore.revoked


@pytest.mark.parametrize(
    "paths", [("/oauth/revoke",), ("/oauth/token/info",), ("/oauth/revoke", "/oauth/token/info")]
)
def test_I7_pages_of_a_gateway_end_nothing(
    door: ProcoreSignIn, procore: ScriptedProcore, paths: tuple[str, ...]
) -> None:
    user = sign_in(door).user
    page = reply(200, b"<html>Down for maintenance</html>", **{"content-type": "text/html"})
    for path in paths:
        procore.next(path, *[page] * 8)
    ended = door.disconnect(user)
    assert ended is not None
    assert (ended.revocation, ended.certain) == ("pending", False)
