"""What operators ask: who is there, and to end an access. Rows I5, R10, S6, O6, V4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from doing import clear_escrow, purge, purge_grants
from pairs import pair

from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import CompletedSignIn, KeyRing, NewSession, Store
from procore_signin._store.access import (
    DeleteUser,
    DisableUser,
    EnableUser,
    EscrowsOf,
)
from procore_signin._store.ledger import AttemptOf, Escrowed
from procore_signin._store.records import Escrow, TokenRow
from procore_signin._store.refresh import (
    CommitRefresh,
    EndGrant,
    ReleaseLease,
    TakeLease,
    TokenRowOf,
)
from procore_signin._store.sessions import EndSomeSessions, OpenSessions, SessionOf, SessionsOf
from procore_signin._store.sign_in import JoinSignIn
from procore_signin._store.tokens import TokensOf, TokenState, TokenStates
from procore_signin._store.users import FindUsers, UserOf
from procore_signin._store.withdrawal import FinishEscrow, HoldEscrow, ReplaceEscrow
from procore_signin.errors import AttemptInvalid, SignInRefused, VaultSealed

NOW = 1_800_000_000
Sql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]
Tokens = Callable[..., TokenSet]
AtOnce = Callable[..., list[Any]]
OTHER_KEY = KeyRing.parse(Secret("other:" + "C" * 42 + "E", "keys"))


def row_of(store: Store, user_id: int, *, now: int = NOW) -> TokenRow:
    row = store.ask(TokenRowOf(user_id, "emulator", now=now))
    assert row is not None
    return row


@pytest.fixture
def people(sign_in: SignIn) -> list[int]:
    """Three people, the last one in another environment with the first one's number."""
    return [
        sign_in(1, cookie="1", tag="1", login="Ann@example.com").user.id,
        sign_in(2, cookie="2", tag="2", login="bob@example.com").user.id,
        sign_in(1, cookie="3", tag="3", login="ann@EXAMPLE.com", environment="monthly").user.id,
    ]


def test_people_are_listed_in_order_and_page_by_page(store: Store, people: list[int]) -> None:
    first = store.ask(FindUsers(limit=2))
    assert [user.id for user in first] == people[:2]
    assert [user.id for user in store.ask(FindUsers(after=first[-1].id))] == people[2:]
    assert store.ask(FindUsers(after=people[2])) == []


def test_people_are_found_by_environment_and_number(store: Store, people: list[int]) -> None:
    assert [user.id for user in store.ask(FindUsers(environment="monthly"))] == people[2:]
    assert [user.id for user in store.ask(FindUsers(procore_id=1))] == [people[0], people[2]]
    assert [user.id for user in store.ask(FindUsers(procore_id=1, environment="emulator"))] == [
        people[0]
    ]


def test_I2_an_email_finds_everybody_who_has_it(store: Store, people: list[int]) -> None:
    found = store.ask(FindUsers(email="ann@example.com"))
    assert [user.id for user in found] == [people[0], people[2]]
    assert store.ask(FindUsers(email="%@example.com")) == []


def test_the_state_of_a_token_set_is_told_without_opening_it(
    new_store: Callable[..., Store], sign_in: SignIn, sql: Sql
) -> None:
    user = sign_in(now=NOW).user
    sql("UPDATE token_sets SET access_token = 'garbage', ambiguous = 2, status = 'lost'")
    keyless = new_store(keys=OTHER_KEY)
    (state,) = keyless.ask(TokenStates(user.id, now=NOW))
    assert 5340 < state.expires_in <= 5400
    assert state == TokenState(
        environment="emulator",
        status="lost",
        generation=1,
        expires_in=state.expires_in,
        refreshable=True,
        leased_for=0,
        retry_in=0,
        ambiguous=2,
        key_ids=(None, "fake1"),
        created_at=state.updated_at,
        updated_at=state.updated_at,
    )
    assert keyless.ask(TokenStates(user.id + 1, now=NOW)) == []


def test_a_lease_and_a_pause_are_told_apart(store: Store, sign_in: SignIn) -> None:
    user = sign_in().user
    taken = store.do(TakeLease(row_of(store, user.id), owner="me", seconds=30, now=NOW))
    assert taken is not None
    (leased,) = store.ask(TokenStates(user.id, now=NOW))
    assert (28 <= leased.leased_for <= 30, leased.retry_in) == (True, 0)
    store.do(ReleaseLease(taken, owner="me", retry_in=20, now=NOW))
    (paused,) = store.ask(TokenStates(user.id, now=NOW))
    assert (paused.leased_for, 18 <= paused.retry_in <= 20) == (0, True)


def test_I5_disabling_ends_everything_in_one_transaction(
    store: Store, sign_in: SignIn, tokens: Tokens, hashed: Any
) -> None:
    user = sign_in().user
    sign_in(cookie="2", tag="2", now=NOW + 1)
    other = sign_in(2, cookie="other", tag="other").user
    ended = store.do(DisableUser(user.id, now=NOW + 5))
    assert ended is not None
    assert (ended.sessions, ended.withdrawn, ended.lost) == (2, 1, False)
    assert (ended.sealed, ended.leased, ended.user.disabled_at) == (False, False, NOW + 5)
    assert store.ask(SessionOf(hashed("cookie"), environment="emulator", now=NOW)) is None
    assert store.ask(TokensOf(user.id, "emulator")) is None
    assert row_of(store, user.id).status == "revoked"
    assert pair(tokens("2")) in [pair(each.tokens) for each in store.ask(EscrowsOf(user))]
    assert store.ask(SessionOf(hashed("other"), environment="emulator", now=NOW)) is not None
    assert pair(tokens("other")) == pair(store.ask(TokensOf(other.id, "emulator")))


def test_I5_disabling_again_is_harmless(store: Store, sign_in: SignIn) -> None:
    user = sign_in().user
    store.do(DisableUser(user.id, now=NOW + 5))
    escrows = store.ask(EscrowsOf(user))
    again = store.do(DisableUser(user.id, now=NOW + 9))
    assert again is not None
    assert (again.user.disabled_at, again.sessions, again.withdrawn) == (NOW + 5, 0, 0)
    assert store.ask(EscrowsOf(user)) == escrows


def test_nobody_of_that_number_is_told(store: Store) -> None:
    assert store.do(DisableUser(999, now=NOW)) is None
    assert store.do(EnableUser(999)) is None
    assert store.do(DeleteUser(999, now=NOW)) is None


def test_I5_a_person_who_is_enabled_again_has_to_sign_in(
    store: Store, sign_in: SignIn, hashed: Any, tokens: Tokens
) -> None:
    user = sign_in().user
    store.do(DisableUser(user.id, now=NOW))
    with pytest.raises(SignInRefused):
        sign_in(cookie="2", tag="2")
    enabled = store.do(EnableUser(user.id))
    assert enabled is not None
    assert enabled.disabled_at is None
    assert store.ask(SessionOf(hashed("cookie"), environment="emulator", now=NOW)) is None
    assert store.ask(TokensOf(user.id, "emulator")) is None
    sign_in(cookie="3", tag="3")
    assert pair(tokens("3")) == pair(store.ask(TokensOf(user.id, "emulator")))


def test_R10_a_refresh_under_way_loses_against_disabling_and_against_enabling_after_it(
    store: Store, sign_in: SignIn, tokens: Tokens
) -> None:
    user = sign_in().user
    taken = store.do(TakeLease(row_of(store, user.id), owner="me", seconds=30, now=NOW))
    assert taken is not None
    ended = store.do(DisableUser(user.id, now=NOW))
    assert ended is not None
    assert ended.leased
    assert store.do(CommitRefresh(taken, tokens("new"), now=NOW)) is None
    store.do(EnableUser(user.id))
    assert store.do(CommitRefresh(taken, tokens("new"), now=NOW)) is None
    assert store.do(EndGrant(taken, owner="me", now=NOW)) is None
    assert store.do(TakeLease(row_of(store, user.id), owner="me", seconds=30, now=NOW)) is None
    assert [pair(each.tokens) for each in store.ask(EscrowsOf(user))] == [pair(tokens())]


@pytest.mark.parametrize("round_", range(5))
def test_R10_a_commit_and_a_disabling_at_once_leave_nothing_usable(
    new_store: Callable[..., Store],
    sign_in: SignIn,
    tokens: Tokens,
    at_once: AtOnce,
    round_: int,
) -> None:
    """Whichever is first: the pair is either refused to the refresher, or it is in escrow."""
    store = new_store(lock_timeout=30.0)
    user = sign_in(round_ + 1).user
    taken = store.do(TakeLease(row_of(store, user.id), owner="me", seconds=30, now=NOW))
    assert taken is not None

    def act(what: str) -> Any:
        if what == "disable":
            return store.do(DisableUser(user.id, now=NOW))
        return store.do(CommitRefresh(taken, tokens("new"), now=NOW))

    _, committed = at_once(act, ["disable", "commit"])
    kept = [pair(each.tokens) for each in store.ask(EscrowsOf(user))]
    wanted = [tokens()] if committed is None else [tokens(), tokens("new")]
    assert len(kept) == len(wanted)
    assert all(pair(each) in kept for each in wanted)
    assert store.ask(TokensOf(user.id, "emulator")) is None


def test_I5_a_session_that_is_being_opened_does_not_outlive_the_disabling(
    new_store: Callable[..., Store],
    sign_in: SignIn,
    new_session: Callable[..., NewSession],
    hashed: Callable[[str], str],
    at_once: AtOnce,
    sql: Sql,
) -> None:
    """Not even hidden, to come back with the person."""
    store = new_store(lock_timeout=30.0)
    user = sign_in().user
    state = hashed("state for cookie 1")

    def act(number: int) -> None:
        if number == 0:
            store.do(DisableUser(user.id, now=NOW))
            return
        try:
            late = new_session(f"late {number}")
            store.do(JoinSignIn(state, session=late, replaces=None, now=NOW))
        except (SignInRefused, AttemptInvalid):
            return

    at_once(act, list(range(6)))
    assert sql("SELECT count(*) FROM sessions") == [(0,)]


def test_I5_people_disabled_at_once_by_several_operators_are_disabled_once(
    new_store: Callable[..., Store], sign_in: SignIn, at_once: AtOnce
) -> None:
    store = new_store(lock_timeout=30.0)
    user = sign_in().user
    ended = at_once(lambda at: store.do(DisableUser(user.id, now=NOW + at)), [1, 2, 3, 4])
    assert sum(each.withdrawn for each in ended) == 1
    assert len({each.user.disabled_at for each in ended}) == 1
    assert len(store.ask(EscrowsOf(user))) == 1


def test_V4_tokens_that_cannot_be_opened_stay_and_the_person_is_disabled(
    store: Store, new_store: Callable[..., Store], sign_in: SignIn, tokens: Tokens, sql: Sql
) -> None:
    user = sign_in().user
    before = sql("SELECT access_token, refresh_token, generation FROM token_sets")
    ended = new_store(keys=OTHER_KEY).do(DisableUser(user.id, now=NOW))
    assert ended is not None
    assert (ended.sealed, ended.withdrawn, ended.sessions) == (True, 0, 1)
    assert sql("SELECT access_token, refresh_token, generation FROM token_sets") == before
    repaired = store.do(DisableUser(user.id, now=NOW))
    assert repaired is not None
    assert (repaired.sealed, repaired.withdrawn) == (False, 1)
    assert [pair(each.tokens) for each in store.ask(EscrowsOf(user))] == [pair(tokens())]


def test_a_grant_that_was_lost_before_is_told(store: Store, sign_in: SignIn, sql: Sql) -> None:
    user = sign_in().user
    sql("UPDATE token_sets SET status = 'lost'")
    ended = store.do(DisableUser(user.id, now=NOW))
    assert ended is not None
    assert (ended.lost, ended.withdrawn) == (True, 0)


def test_deleting_erases_the_person_and_keeps_the_tokens_to_be_revoked(
    store: Store, sign_in: SignIn, tokens: Tokens, sql: Sql
) -> None:
    user = sign_in().user
    other = sign_in(2, cookie="2", tag="2").user
    ended = store.do(DeleteUser(user.id, now=NOW))
    assert ended is not None
    assert (ended.sessions, ended.withdrawn) == (1, 1)
    assert store.ask(UserOf(user.id)) is None
    assert store.ask(UserOf(other.id)) == other
    for table in ("sessions", "token_sets"):
        assert sql(f"SELECT user_id FROM {table}") == [(other.id,)]
    assert [pair(each.tokens) for each in store.ask(Escrowed(NOW + 1))] == [pair(tokens())]
    assert sql("SELECT count(*) FROM sign_in_ledger WHERE user_id = :user", user=user.id) == [(0,)]


def test_a_deleted_person_who_signs_in_is_a_new_person(store: Store, sign_in: SignIn) -> None:
    user = sign_in().user
    store.do(DeleteUser(user.id, now=NOW))
    again = sign_in(cookie="2", tag="2")
    assert (again.created, again.user.id > user.id) == (True, True)


def test_V4_tokens_that_cannot_be_opened_are_deleted_only_if_that_is_said(
    new_store: Callable[..., Store], sign_in: SignIn, sql: Sql
) -> None:
    user = sign_in().user
    keyless = new_store(keys=OTHER_KEY)
    with pytest.raises(VaultSealed, match="cannot be opened, and so not revoked"):
        keyless.do(DeleteUser(user.id, now=NOW))
    assert sql("SELECT disabled_at FROM users") == [(None,)]
    assert sql("SELECT count(*) FROM token_sets") == [(1,)]
    ended = keyless.do(DeleteUser(user.id, now=NOW, even_sealed=True))
    assert ended is not None
    assert sql("SELECT count(*) FROM token_sets") == [(0,)]


def test_a_newer_pair_takes_the_place_of_the_one_in_escrow(
    store: Store, sign_in: SignIn, tokens: Tokens
) -> None:
    user = sign_in().user
    store.do(DisableUser(user.id, now=NOW))
    (escrow,) = store.ask(EscrowsOf(user))
    newer = replace(escrow, tokens=tokens("newer"))
    store.do(HoldEscrow(escrow.state_hash, holder="a", now=NOW))
    store.do(ReplaceEscrow(newer, outcome="unanswered", now=NOW + 1, holder="a"))
    entry = store.ask(AttemptOf(escrow.state_hash))
    assert entry is not None
    assert entry.outcome == "unanswered"
    assert store.ask(Escrowed(NOW + 1)) == []
    assert [each.tokens for each in store.ask(EscrowsOf(user))] == [tokens("newer")]
    store.do(FinishEscrow(escrow.state_hash, holder="a", outcome=None, now=NOW + 2))
    late = replace(escrow, tokens=tokens("late"))
    store.do(ReplaceEscrow(late, outcome=None, now=NOW + 2, holder="a"))
    assert store.ask(EscrowsOf(user)) == []


def test_an_escrow_cannot_be_replaced_by_nothing() -> None:
    with pytest.raises(ValueError, match="no tokens"):
        ReplaceEscrow(Escrow("0" * 64, "emulator", None), outcome=None, now=NOW, holder="a")


def test_O6_the_row_that_kept_withdrawn_tokens_goes_with_the_next_purge(
    store: Store, sign_in: SignIn
) -> None:
    user = sign_in().user
    store.do(DisableUser(user.id, now=NOW))
    assert purge(store, NOW).attempts == 0
    (escrow,) = store.ask(EscrowsOf(user))
    clear_escrow(store, escrow.state_hash)
    assert purge(store, NOW).attempts == 1


def test_S6_everybodys_sessions_are_listed_page_by_page(
    store: Store, sign_in: SignIn, people: list[int], sql: Sql
) -> None:
    sign_in(2, cookie="2b", tag="2b")
    pages = [store.ask(OpenSessions(now=NOW, limit=3))]
    pages.append(store.ask(OpenSessions(now=NOW, after=pages[0][-1].id, limit=3)))
    assert [len(page) for page in pages] == [3, 1]
    assert [each.user.id for page in pages for each in page] == [*people, people[1]]
    assert pages[0][0].user == store.ask(UserOf(people[0]))
    assert pages[0][0] in store.ask(SessionsOf(people[0], now=NOW))
    sql("UPDATE users SET disabled_at = 1 WHERE id = :user", user=people[1])
    assert {each.user.id for each in store.ask(OpenSessions(now=NOW))} == {people[0], people[2]}
    assert store.ask(OpenSessions(now=NOW + 3600)) == []


def test_S6_everybody_is_signed_out_in_batches(
    store: Store, people: list[int], hashed: Any
) -> None:
    assert len(people) == 3
    assert [store.do(EndSomeSessions(limit=2)) for _ in range(3)] == [2, 1, 0]
    assert store.ask(SessionOf(hashed("1"), environment="emulator", now=NOW)) is None


def test_O6_only_grants_that_are_over_and_old_are_purged(
    store: Store, sign_in: SignIn, sql: Sql
) -> None:
    ages = {"lost": 100, "revoked": 100, "ok": 100, "lost and new": 0}
    ids = {}
    for number, (status, age) in enumerate(ages.items(), start=1):
        ids[status] = sign_in(number, cookie=status, tag=status).user.id
        sql(
            "UPDATE token_sets SET status = :status, updated_at = :at WHERE user_id = :user",
            status=status.split()[0],
            at=NOW - age,
            user=ids[status],
        )
    deleted, last = purge_grants(store, before=NOW, limit=1)
    assert deleted == 1
    assert purge_grants(store, before=NOW, after=last, limit=2) == (1, 0)
    assert purge_grants(store, before=NOW) == (0, 0)
    left = {user_id for (user_id,) in sql("SELECT user_id FROM token_sets")}
    assert left == {ids["ok"], ids["lost and new"]}


def test_V6_no_token_shows_in_what_an_operator_gets(
    store: Store, sign_in: SignIn, people: list[int]
) -> None:
    user = sign_in(2, cookie="2b", tag="2b", login="canary@example.com").user
    shown = repr(
        (
            store.ask(FindUsers()),
            store.ask(TokenStates(people[1], now=NOW)),
            store.do(DisableUser(people[1], now=NOW)),
            store.ask(EscrowsOf(user)),
            store.ask(OpenSessions(now=NOW)),
        )
    )
    assert "canary" not in shown


def test_I5_a_disabling_waits_for_a_sign_in_and_ends_it(
    new_store: Callable[..., Store], sign_in: SignIn, at_once: AtOnce, sql: Sql
) -> None:
    store = new_store(lock_timeout=30.0)
    user = sign_in().user

    def act(what: str) -> None:
        if what == "disable":
            store.do(DisableUser(user.id, now=NOW))
            return
        try:
            sign_in(cookie="2", tag="2", through=store)
        except SignInRefused:
            return

    at_once(act, ["disable", "sign in"])
    assert sql("SELECT count(*) FROM sessions") == [(0,)]
    assert store.ask(TokensOf(user.id, "emulator")) is None
