"""R7: while Procore answers no one, it is seldom asked, however many people there are."""

import contextlib
import itertools
import logging
from collections.abc import Mapping

import pytest
from scripted import Clock, ScriptedProcore, reply, sign_in

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.outage import (
    FAILURES,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PROBE_SECONDS,
    Outage,
)
from procore_signin._store.records import User
from procore_signin.errors import GrantLost, ProcoreUnavailable
from procore_signin.events import Event, Field

PEOPLE = 40
USERS = itertools.count()
TEN_MINUTES = 600
DOWN = ProcoreUnavailable("The connection was refused", ambiguous=False)
REFUSED = reply(400, {"error": "invalid_grant"})


@pytest.fixture
def people(door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock) -> list[User]:
    """Many people whose access tokens have all run out."""
    for number in range(1, PEOPLE + 1):
        me = {"id": number, "login": f"person-{number}@example.com", "name": "Somebody"}
        procore.next("/rest/v1.0/me", reply(200, me))
    signed_in = [sign_in(door).user for _ in range(PEOPLE)]
    clock.advance(5400)
    procore.requests.clear()
    return signed_in


def served(door: ProcoreSignIn, people: list[User]) -> int:
    """Ask for everyone's token, and return how many got one."""
    count = 0
    for user in people:
        with contextlib.suppress(ProcoreUnavailable):
            door.fresh_tokens(user)
            count += 1
    return count


def fail(outage: Outage, times: int, *, now: float = 0.0, chance: float = 1.0) -> None:
    for _ in range(times):
        outage.failed(now, chance, user_id=next(USERS), environment="emulator")


def test_R7_ten_minutes_without_procore_lose_none_of_many_people_and_ask_seldom(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, people: list[User]
) -> None:
    procore.next("/oauth/token", *[DOWN] * 10_000)
    for _ in range(TEN_MINUTES):
        assert served(door, people) == 0
        clock.advance(1)
    # Without a limit for all of them it would be one request a person each five seconds: 4,800.
    assert len(procore.exchanges) <= FAILURES + TEN_MINUTES / (LONGEST_PAUSE_SECONDS / 2) + 3

    procore.forget("/oauth/token")
    clock.advance(int(LONGEST_PAUSE_SECONDS))

    served(door, people)  # one of them finds out that it is over
    clock.advance(int(LONGEST_PAUSE_SECONDS))
    assert served(door, people) == PEOPLE


def test_R7_whoever_comes_too_early_is_told_when_to_try_again(
    door: ProcoreSignIn, procore: ScriptedProcore, people: list[User]
) -> None:
    procore.next("/oauth/token", *[DOWN] * FAILURES)
    assert served(door, people[:FAILURES]) == 0
    with pytest.raises(ProcoreUnavailable, match="too early to ask again") as caught:
        door.fresh_tokens(people[FAILURES])
    assert caught.value.retry_after in range(1, 6)
    assert not caught.value.ambiguous
    assert len(procore.exchanges) == FAILURES


def test_R7_an_outage_is_told_once_and_so_is_its_end(
    door: ProcoreSignIn,
    procore: ScriptedProcore,
    clock: Clock,
    people: list[User],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "procore_signin")
    procore.next("/oauth/token", *[DOWN] * (FAILURES + 2))
    for _ in range(TEN_MINUTES):
        served(door, people)
        clock.advance(1)
    told = [line.split()[0] for line in caplog.messages if "outage" in line]
    assert told == ["tokens.outage_began", "tokens.outage_ended"]


def test_R7_people_whose_grants_are_lost_are_no_outage(
    door: ProcoreSignIn, procore: ScriptedProcore, people: list[User]
) -> None:
    lost = people[: 2 * FAILURES]
    procore.next("/oauth/token", *[REFUSED] * len(lost))
    for user in lost:
        with pytest.raises(GrantLost):
            door.fresh_tokens(user)
    assert served(door, people[len(lost) :]) == PEOPLE - len(lost)


def test_R7_a_few_failures_between_answers_stop_nobody(
    door: ProcoreSignIn, procore: ScriptedProcore, people: list[User]
) -> None:
    for number in range(PEOPLE):
        if number % FAILURES:
            procore.next("/oauth/token", DOWN)
            with pytest.raises(ProcoreUnavailable):
                door.fresh_tokens(people[number])
        else:
            door.fresh_tokens(people[number])
    assert len(procore.exchanges) == PEOPLE


def test_R7_a_user_whom_procore_fails_alone_holds_nobody_else_up(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, people: list[User]
) -> None:
    """Others, whose tokens have run out as well, ask now and then; this one asks all the time."""
    for _ in range(3 * FAILURES):
        procore.next("/oauth/token", DOWN)
        with pytest.raises(ProcoreUnavailable):
            door.fresh_tokens(people[0])
        clock.advance(60)
    assert served(door, people[1:]) == PEOPLE - 1


def test_R7_another_user_is_asked_for_right_after_ten_failures_of_one(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, people: list[User]
) -> None:
    procore.next("/oauth/token", *[DOWN] * 2 * FAILURES)
    for _ in range(2 * FAILURES):
        clock.advance(60)
        with pytest.raises(ProcoreUnavailable):
            door.fresh_tokens(people[0])
    assert len(procore.exchanges) == 2 * FAILURES
    assert served(door, people[1:2]) == 1


def test_R7_an_outage_is_over_when_procore_refuses_a_token(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock, people: list[User]
) -> None:
    """It answers: nobody else has to wait."""
    procore.next("/oauth/token", *[DOWN] * FAILURES, REFUSED)
    assert served(door, people[:FAILURES]) == 0
    assert served(door, people[FAILURES:]) == 0
    clock.advance(int(FIRST_PAUSE_SECONDS))
    with pytest.raises(GrantLost):
        door.fresh_tokens(people[FAILURES])
    assert served(door, people[FAILURES + 1 :]) == PEOPLE - FAILURES - 1


def test_R7_who_found_an_outage_still_there_lets_others_look_first() -> None:
    outage = Outage()
    fail(outage, FAILURES)
    assert outage.claim(5.0, user_id=-1) == 0.0
    outage.failed(5.0, 1.0, user_id=-1, environment="emulator")  # for ten seconds more
    assert outage.claim(15.0, user_id=-1) == FIRST_PAUSE_SECONDS
    assert outage.claim(15.0, user_id=-2) == 0.0


def test_R7_in_each_pause_one_caller_asks_and_the_others_wait_for_what_comes_of_it() -> None:
    outage = Outage()
    fail(outage, FAILURES)
    assert outage.claim(4.0, user_id=-9) == 1.0
    assert outage.claim(5.0, user_id=-9) == 0.0
    assert outage.claim(5.0, user_id=-9) == PROBE_SECONDS
    outage.answered(environment="emulator")
    assert [outage.claim(5.0, user_id=-9) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_R7_a_caller_that_never_came_back_stops_nobody_for_good() -> None:
    outage = Outage()
    fail(outage, FAILURES)
    assert outage.claim(5.0, user_id=-9) == 0.0
    assert outage.claim(5.0 + PROBE_SECONDS, user_id=-9) == 0.0


def test_R7_pauses_grow_to_their_longest_and_processes_do_not_come_back_all_at_once() -> None:
    outage = Outage()
    fail(outage, FAILURES - 1)
    assert outage.claim(0.0, user_id=-9) == 0.0
    pauses = []
    for _ in range(6):
        fail(outage, 1)
        pauses.append(outage.claim(0.0, user_id=-9))
    assert pauses == [5.0, 10.0, 20.0, 30.0, 30.0, 30.0]
    fail(outage, 1, chance=0.0)
    assert outage.claim(0.0, user_id=-9) == LONGEST_PAUSE_SECONDS / 2


def test_R7_an_outage_begins_with_the_fifth_user_and_a_second_one_is_told_and_paused_as_the_first(
    told: list[tuple[Event, Mapping[str, Field]]],
) -> None:
    here = {"environment": "emulator"}
    outage = Outage()
    for _ in range(2):
        fail(outage, FAILURES - 1)
        assert told == []
        fail(outage, 1)
        assert told == [(Event.OUTAGE_BEGAN, here)]
        assert outage.claim(0.0, user_id=-9) == FIRST_PAUSE_SECONDS
        outage.answered(environment="emulator")
        assert told.pop() == (Event.OUTAGE_ENDED, here)
        told.clear()
