"""Sessions that end, and what the application and the log are told of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mortal import PostponingRunner
from scripted import NOW, Clock, ScriptedProcore, front_door, sign_in

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.attempt import OwnLogin
from procore_signin._flow.hooks import Hooks, Occasion
from procore_signin._flow.sessions import (
    TOUCH_SECONDS,
    Browser,
    belongs_to,
    check_browser,
    current_session,
    end_others,
    end_session,
    sign_out,
    sign_out_everywhere,
)
from procore_signin._store.linking.links import Link
from procore_signin._store.records import NewLink, Session, User
from procore_signin._store.sessions import SessionsOf
from procore_signin.errors import SignInRefused
from procore_signin.events import Event, Field

pytestmark = pytest.mark.usefixtures("one_thread")

Told = list[tuple[Event, Mapping[str, Field]]]


def sessions_of(door: ProcoreSignIn, user: User) -> list[Session]:
    return door.store.ask(SessionsOf(user.id, now=door.context.now()))


@pytest.fixture
def three(door: ProcoreSignIn, told: Told) -> list[Session]:
    """Three sessions of one user, of whose sign-ins nothing is told any more."""
    first, *_ = [sign_in(door) for _ in range(3)]
    told.clear()
    return sessions_of(door, first.user)


def test_a_user_who_signs_out_is_told_of(
    door: ProcoreSignIn, three: list[Session], told: Told
) -> None:
    door.run(sign_out(door.context, three[0]))
    assert told == [(Event.SIGNED_OUT, {"user": three[0].user.id})]


def test_one_session_that_the_user_ends_is_told_of(
    door: ProcoreSignIn, three: list[Session], told: Told
) -> None:
    assert door.run(end_session(three[0], three[1].id))
    assert not door.run(end_session(three[0], three[1].id))
    assert told == [(Event.SESSION_ENDED, {"user": three[0].user.id})]


def test_the_other_sessions_that_the_user_ends_are_told_of_with_their_number(
    door: ProcoreSignIn, three: list[Session], told: Told
) -> None:
    door.run(end_others(three[0]))
    assert told == [(Event.SESSION_ENDED, {"user": three[0].user.id, "sessions": 2})]
    assert [each.id for each in sessions_of(door, three[0].user)] == [three[0].id]


def test_a_user_who_signs_out_everywhere_is_told_of_with_the_number_of_sessions(
    door: ProcoreSignIn, three: list[Session], told: Told
) -> None:
    assert door.run(sign_out_everywhere(door.context, three[0])) == 3
    assert told == [(Event.SIGNED_OUT_EVERYWHERE, {"user": three[0].user.id, "sessions": 3})]


def test_L1_a_session_that_ends_with_the_applications_own_login_is_told_of(
    door: ProcoreSignIn, three: list[Session], told: Told
) -> None:
    first, second, _ = three
    assert door.run(belongs_to(first, OwnLogin("own-1", "a" * 64)))
    [first] = [each for each in sessions_of(door, first.user) if each.id == first.id]
    assert not door.run(belongs_to(first, OwnLogin("own-2", "b" * 64)))
    assert told == [(Event.SESSION_ENDED, {"user": first.user.id, "reason": "own_login"})]
    assert second in sessions_of(door, first.user)


@pytest.mark.parametrize("leave", [sign_out, sign_out_everywhere])
def test_the_application_hears_who_signs_out_and_in_which_request(
    procore: ScriptedProcore, clock: Clock, tmp_path: Path, leave: Any
) -> None:
    heard: list[tuple[int, Occasion]] = []

    def on_sign_out(user: User, occasion: Occasion) -> None:
        heard.append((user.id, occasion))

    occasion = Occasion("the framework's request", reference="own-1")
    with front_door(tmp_path, procore, clock, hooks=Hooks(on_sign_out=on_sign_out)) as door:
        user = sign_in(door).user
        door.run(leave(door.context, sessions_of(door, user)[0], occasion))
    assert heard == [(user.id, occasion)]


def test_L8_each_user_of_the_application_is_asked_about_and_those_who_may_log_in_are_named(
    door: ProcoreSignIn,
) -> None:
    user = sign_in(door).user
    for reference in ("own-1", "own-2", "own-3"):
        link = NewLink(reference, several_references=True)
        door.store.do(Link(user.id, link, now=NOW))
    asked: list[tuple[object, str]] = []

    def is_active(request: object, reference: str) -> bool:
        asked.append((request, reference))
        return reference != "own-2"

    browser = Browser(None, None, request="the framework's request", is_active=is_active)
    admitted = door.run(check_browser(door.context, user.procore_id, browser))
    assert admitted == ["own-1", "own-3"]
    assert asked == [("the framework's request", f"own-{number}") for number in (1, 2, 3)]
    none = replace(browser, is_active=lambda _request, _reference: False)
    with pytest.raises(SignInRefused):
        door.run(check_browser(door.context, user.procore_id, none))


def test_the_use_of_a_session_that_many_requests_bring_waits_once_to_be_written_down(
    door: ProcoreSignIn, procore: ScriptedProcore, clock: Clock
) -> None:
    one, another = (sign_in(door).session_token.reveal() for _ in range(2))
    clock.advance(TOUCH_SECONDS)
    runner = PostponingRunner(door.store, procore)
    for token in (one, one, another):
        runner.run(current_session(door.context, token))
    first, again, other = runner.keys
    assert first == again
    assert other not in {first, None}
