"""Sessions: rows S1, S4 to S6, I5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from doing import MeJson

from procore_signin._store import CompletedSignIn, NewSession, Session, Store
from procore_signin._store.sessions import (
    EndSessionOf,
    EndSessions,
    SessionOf,
    SessionsOf,
    TouchSession,
)

NOW = 1_800_000_000
HOUR = 3600
DAY = 86_400
Sql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]
Look = Callable[..., Session | None]


@pytest.fixture
def look(store: Store, hashed: Callable[[str], str]) -> Look:
    """Looks a cookie's session up: `look("cookie", at=NOW)`."""

    def run(cookie: str = "cookie", *, at: int = NOW, environment: str = "emulator") -> Any:
        return store.ask(SessionOf(hashed(cookie), environment=environment, now=at))

    return run


def opened(look: Look, cookie: str = "cookie") -> Session:
    session = look(cookie)
    assert session is not None
    return session


def test_a_cookie_finds_its_session_and_person(
    sign_in: SignIn, look: Look, new_session: Callable[..., NewSession], store: Store
) -> None:
    done = sign_in(session=new_session("cookie", me_json='{"id":1}', user_agent="Browser/1"))
    session = opened(look)
    assert session == Session(
        session.id,
        done.user,
        created_at=NOW,
        last_seen_at=NOW,
        idle_expires_at=NOW + HOUR,
        absolute_expires_at=NOW + DAY,
        user_agent="Browser/1",
    )
    assert store.ask(MeJson(session.id)) == '{"id":1}'


def test_a_cookie_that_nobody_got_finds_nothing(sign_in: SignIn, look: Look) -> None:
    sign_in()
    assert look("unknown") is None


def test_V7_a_session_of_another_environment_is_none(sign_in: SignIn, look: Look) -> None:
    sign_in(environment="production")
    assert look(environment="monthly") is None
    assert look(environment="production") is not None


def test_S1_neither_the_cookie_nor_its_person_is_found_by_the_cookies_value(
    sign_in: SignIn, everything_stored: Callable[[], bytes], store: Store, hashed: Any
) -> None:
    cookie = "canary-cookie-value-0123456789abcdef"
    sign_in(cookie=cookie)
    stored = everything_stored()
    assert hashed(cookie).encode() in stored
    assert cookie.encode() not in stored
    assert store.ask(SessionOf(hashed(hashed(cookie)), environment="emulator", now=NOW)) is None


@pytest.mark.parametrize("value", ["", "cookie", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_S1_a_session_is_not_made_under_anything_but_a_hash(value: str) -> None:
    with pytest.raises(ValueError, match="SHA-256") as refusal:
        NewSession(value, "{}", None, NOW, NOW)
    assert not value or value not in str(refusal.value)


def test_S5_an_idle_session_ends(sign_in: SignIn, look: Look) -> None:
    sign_in()
    assert look(at=NOW + HOUR - 1) is not None
    assert look(at=NOW + HOUR) is None


def test_S5_use_puts_the_idle_end_off(sign_in: SignIn, look: Look, store: Store) -> None:
    sign_in()
    session = opened(look)
    assert store.do(TouchSession(session.id, now=NOW + 60, idle_expires_at=NOW + 60 + HOUR))
    touched = look(at=NOW + HOUR + 59)
    assert touched == replace(session, last_seen_at=NOW + 60, idle_expires_at=NOW + 60 + HOUR)
    assert look(at=NOW + HOUR + 60) is None


def test_S5_no_use_puts_the_absolute_end_off(sign_in: SignIn, look: Look, store: Store) -> None:
    sign_in()
    session = opened(look)
    store.do(TouchSession(session.id, now=NOW + 1, idle_expires_at=NOW + 10 * DAY))
    assert look(at=NOW + DAY - 1) is not None
    assert look(at=NOW + DAY) is None
    assert not store.do(TouchSession(session.id, now=NOW + DAY, idle_expires_at=NOW + 10 * DAY))


def test_S5_a_session_is_never_idle_for_longer_than_it_lives(
    sign_in: SignIn, look: Look, hashed: Any
) -> None:
    sign_in(session=NewSession(hashed("cookie"), "{}", None, NOW + DAY, NOW + HOUR))
    assert opened(look).idle_expires_at == NOW + HOUR


def test_S4_use_brings_no_session_back(sign_in: SignIn, look: Look, store: Store) -> None:
    user = sign_in().user
    session = opened(look)
    late = {"now": NOW + HOUR, "idle_expires_at": NOW + 2 * HOUR}
    assert not store.do(TouchSession(session.id, **late))
    assert look(at=NOW + HOUR) is None
    assert store.do(EndSessionOf(user.id, session.id))
    assert not store.do(TouchSession(session.id, now=NOW, idle_expires_at=NOW + HOUR))
    assert look() is None


def test_a_late_note_of_an_earlier_use_changes_nothing(
    sign_in: SignIn, look: Look, store: Store
) -> None:
    sign_in()
    session = opened(look)
    assert store.do(TouchSession(session.id, now=NOW + 120, idle_expires_at=NOW + 120 + HOUR))
    assert not store.do(TouchSession(session.id, now=NOW + 60, idle_expires_at=NOW + 60 + HOUR))
    assert opened(look).idle_expires_at == NOW + 120 + HOUR


def test_the_same_use_noted_twice_in_one_second_is_found_both_times(
    sign_in: SignIn, look: Look, store: Store
) -> None:
    # MariaDB counts changed rows unless told to count found ones.
    sign_in()
    session = opened(look)
    for _ in range(2):
        assert store.do(TouchSession(session.id, now=NOW + 60, idle_expires_at=NOW + HOUR))


def test_S3_an_ended_session_is_gone_for_every_store(
    sign_in: SignIn, look: Look, store: Store, new_store: Callable[..., Store], hashed: Any
) -> None:
    user = sign_in().user
    session = opened(look)
    other = new_store()
    assert other.ask(SessionOf(hashed("cookie"), environment="emulator", now=NOW)) == session
    assert store.do(EndSessionOf(user.id, session.id))
    assert other.ask(SessionOf(hashed("cookie"), environment="emulator", now=NOW)) is None
    assert look() is None
    assert not store.do(EndSessionOf(user.id, session.id))


def test_what_me_answered_is_null_once_the_session_ended(
    sign_in: SignIn, look: Look, store: Store
) -> None:
    user = sign_in().user
    session = opened(look)
    store.do(EndSessionOf(user.id, session.id))
    assert store.ask(MeJson(session.id)) == "null"


def test_the_number_of_an_ended_session_is_never_given_again(
    sign_in: SignIn, look: Look, store: Store
) -> None:
    """A late request that still holds the number must not read another person's `/me`."""
    user = sign_in(1, cookie="first").user
    ended = opened(look, "first")
    store.do(EndSessionOf(user.id, ended.id))
    sign_in(2, cookie="second")
    assert opened(look, "second").id > ended.id


def test_S6_a_person_ends_one_session_of_the_list_and_nobody_elses(
    sign_in: SignIn, look: Look, store: Store
) -> None:
    mine = sign_in(1, cookie="mine").user
    sign_in(2, cookie="theirs")
    theirs = opened(look, "theirs")
    assert not store.do(EndSessionOf(mine.id, theirs.id))
    assert look("theirs") is not None
    assert store.do(EndSessionOf(mine.id, opened(look, "mine").id))
    assert look("mine") is None


def test_S6_all_sessions_of_a_person_end_at_once(sign_in: SignIn, look: Look, store: Store) -> None:
    user = sign_in(1, cookie="a").user
    sign_in(1, cookie="b")
    sign_in(1, cookie="c")
    sign_in(2, cookie="theirs")
    assert store.do(EndSessions(user.id)) == 3
    assert [None] * 3 == [look(cookie) for cookie in "abc"]
    assert look("theirs") is not None
    assert store.do(EndSessions(user.id)) == 0


def test_the_list_shows_a_persons_open_sessions_the_last_used_first(
    sign_in: SignIn, look: Look, store: Store, hashed: Any
) -> None:
    user = sign_in(1, cookie="a").user
    sign_in(1, cookie="b")
    sign_in(1, cookie="c", session=NewSession(hashed("c"), "{}", None, NOW + 5, NOW + 5))
    sign_in(2, cookie="theirs")
    store.do(TouchSession(opened(look, "a").id, now=NOW + 9, idle_expires_at=NOW + HOUR))
    listed = store.ask(SessionsOf(user.id, NOW + 10))
    assert [look("a", at=NOW + 10), look("b", at=NOW + 10)] == listed


def test_I5_disabling_a_person_ends_every_session_at_the_next_look(
    sign_in: SignIn, look: Look, store: Store, sql: Sql
) -> None:
    user = sign_in().user
    assert look() is not None
    sql("UPDATE users SET disabled_at = :now", now=NOW)
    assert look() is None
    assert store.ask(SessionsOf(user.id, NOW)) == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, None),
        ("", ""),
        ("Browser/1 (Ünïx; 👷)", "Browser/1 (Ünïx; 👷)"),
        ("a\x00b\r\nc\x7fd\x9be\ud800f\u202eg", "abcdefg"),
        ("x" * 1_000_000, "x" * 255),
    ],
)
def test_I6_a_browsers_name_is_kept_without_what_no_column_holds(
    sign_in: SignIn,
    look: Look,
    new_session: Callable[..., NewSession],
    sent: str | None,
    kept: str | None,
) -> None:
    sign_in(session=new_session("cookie", user_agent=sent))
    assert kept == opened(look).user_agent
