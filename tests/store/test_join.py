"""The second of two identical callbacks is let in once (rows A5, C3, S2, I5, S6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from doing import MeJson

from procore_signin._store import CompletedSignIn, NewSession, Store, User
from procore_signin._store.ledger import AttemptOf, EscrowTokens, FailAttempt, TakeAttempt
from procore_signin._store.sessions import EndSessionOf, SessionOf
from procore_signin._store.sign_in import JoinSignIn
from procore_signin.errors import AttemptInvalid, SignInRefused

NOW = 1_800_000_000
HOUR = 3600
Sql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]
Join = Callable[..., User]
Hashed = Callable[[str], str]


@pytest.fixture
def join(store: Store, new_session: Callable[..., NewSession], hashed: Hashed) -> Join:
    """Joins the sign-in that the fixture `sign_in` makes, with the cookie token `cookie`."""

    def run(
        cookie: str = "second",
        *,
        of: str = "cookie 1",
        replaces: str | None = None,
        now: int = NOW + 2,
        through: Store = store,
    ) -> User:
        return through.do(
            JoinSignIn(
                hashed(f"state for {of}"),
                session=new_session(cookie, user_agent="B"),
                replaces=None if replaces is None else hashed(replaces),
                now=now,
            )
        )

    return run


def cookies(sql: Sql, hashed: Hashed, *named: str) -> list[str]:
    there = {row[0] for row in sql("SELECT id_hash FROM sessions")}
    assert len(there) == len([name for name in named if hashed(name) in there])
    return [name for name in named if hashed(name) in there]


def test_C4_a_joined_callback_has_a_session_of_its_own(
    store: Store,
    sign_in: SignIn,
    join: Join,
    hashed: Hashed,
    new_session: Callable[..., NewSession],
) -> None:
    user = sign_in(session=new_session("cookie", me_json='{"id":11111}')).user
    assert join() == user
    session = store.ask(SessionOf(hashed("second"), environment="emulator", now=NOW + 3))
    assert session is not None
    assert (user, NOW + 2, "B") == (session.user, session.created_at, session.user_agent)
    assert store.ask(MeJson(session.id)) == '{"id":11111}'


def test_C3_an_attempt_is_joined_once(
    store: Store, sign_in: SignIn, join: Join, sql: Sql, hashed: Hashed
) -> None:
    sign_in()
    join()
    with pytest.raises(AttemptInvalid) as refused:
        join("third", replaces="second")
    assert refused.value.reason == "used"
    assert cookies(sql, hashed, "cookie", "second", "third") == ["cookie", "second"]
    entry = store.ask(AttemptOf(hashed("state for cookie 1")))
    assert entry is not None
    assert entry.joined_at == NOW + 2


def test_C3_of_twenty_that_join_at_once_one_is_let_in(
    new_store: Callable[..., Store],
    sign_in: SignIn,
    join: Join,
    sql: Sql,
    at_once: Callable[..., list[Any]],
) -> None:
    store = new_store(lock_timeout=30.0)
    sign_in()

    def act(number: int) -> bool:
        try:
            join(f"late {number}", replaces="cookie", through=store)
        except AttemptInvalid:
            return False
        return True

    assert sum(at_once(act, list(range(20)))) == 1
    assert sql("SELECT count(*) FROM sessions") == [(1,)]


def test_S2_a_join_ends_the_session_that_the_browser_holds(
    sign_in: SignIn, join: Join, sql: Sql, hashed: Hashed
) -> None:
    sign_in()
    join(replaces="cookie")
    assert cookies(sql, hashed, "cookie", "second") == ["second"]


def test_S2_a_join_ends_the_held_session_whoevers_it_is(
    sign_in: SignIn, join: Join, sql: Sql, hashed: Hashed
) -> None:
    sign_in(22_222, cookie="others", tag="2")
    sign_in()
    join(replaces="others")
    assert cookies(sql, hashed, "others", "cookie", "second") == ["cookie", "second"]


@pytest.mark.parametrize("how", ["unknown", "taken", "exchanged", "failed"])
def test_C3_what_is_not_done_is_not_joined(
    store: Store, join: Join, sql: Sql, hashed: Hashed, tokens: Any, how: str
) -> None:
    state = hashed("state for cookie 1")
    if how != "unknown":
        store.do(TakeAttempt(state, environment="emulator", now=NOW, expires_at=NOW + 1800))
    if how == "exchanged":
        store.do(EscrowTokens(state, tokens(), environment="emulator", now=NOW))
    if how == "failed":
        store.do(FailAttempt(state, "denied", now=NOW))
    with pytest.raises(AttemptInvalid) as refused:
        join()
    assert refused.value.reason == "used"
    assert sql("SELECT count(*) FROM sessions") == [(0,)]


def test_S6_nobody_who_signed_out_meanwhile_joins_though_signed_in_elsewhere(
    store: Store, sign_in: SignIn, join: Join, sql: Sql, hashed: Hashed
) -> None:
    sign_in(cookie="phone", tag="0", now=NOW - 60)
    user = sign_in().user
    ended = store.ask(SessionOf(hashed("cookie"), environment="emulator", now=NOW))
    assert ended is not None
    store.do(EndSessionOf(user.id, ended.id))
    with pytest.raises(AttemptInvalid) as refused:
        join()
    assert refused.value.reason == "used"
    assert cookies(sql, hashed, "phone", "second") == ["phone"]
    entry = store.ask(AttemptOf(hashed("state for cookie 1")))
    assert entry is not None
    assert entry.joined_at is None


def test_S5_nobody_joins_a_session_that_has_expired(sign_in: SignIn, join: Join) -> None:
    sign_in()
    with pytest.raises(AttemptInvalid):
        join(now=NOW + HOUR)


@pytest.mark.parametrize("why", ["disabled", "deleted"])
def test_I5_nobody_joins_who_is_disabled_or_deleted_meanwhile(
    sign_in: SignIn, join: Join, sql: Sql, hashed: Hashed, why: str
) -> None:
    sign_in()
    if why == "disabled":  # and the session that was there is not gone yet
        sql("UPDATE users SET disabled_at = :now", now=NOW)
    else:
        for table in ("token_sets", "sessions", "users"):
            sql(f"DELETE FROM {table}")
    with pytest.raises((SignInRefused, AttemptInvalid)):
        join()
    assert cookies(sql, hashed, "cookie", "second") == ["cookie"] * (why == "disabled")


def test_V7_a_join_stays_in_its_environment(
    store: Store, sign_in: SignIn, join: Join, hashed: Hashed
) -> None:
    sign_in(environment="monthly")
    join()
    assert store.ask(SessionOf(hashed("second"), environment="emulator", now=NOW + 3)) is None
    assert store.ask(SessionOf(hashed("second"), environment="monthly", now=NOW + 3)) is not None
