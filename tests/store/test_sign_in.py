"""Who a sign-in makes, finds and changes (rows I1 to I6, S2, R10, R11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from doing import MeJson, clear_escrow
from pairs import pair

from procore_signin._protocol.me import Me
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import CompletedSignIn, NewSession, Store, User
from procore_signin._store.ledger import AttemptOf, Escrowed, FailAttempt, TakeAttempt
from procore_signin._store.refresh import CommitRefresh, TokenRowOf
from procore_signin._store.sessions import SessionOf
from procore_signin._store.sign_in import CompleteSignIn
from procore_signin._store.tokens import TokensOf
from procore_signin._store.users import UserOf
from procore_signin.errors import AttemptInvalid, SignInRefused

NOW = 1_800_000_000
Sql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]
Tables = ("users", "sessions", "token_sets")


def counts(sql: Sql) -> list[int]:
    return [sql(f"SELECT count(*) FROM {table}")[0][0] for table in Tables]


def test_the_first_sign_in_makes_the_person(store: Store, sign_in: SignIn) -> None:
    done = sign_in(11_111, login="joecontractor@procore.com", name=None)
    assert done == CompletedSignIn(
        User(
            done.user.id,
            11_111,
            "joecontractor@procore.com",
            None,
            "emulator",
            created_at=NOW,
            last_signed_in_at=NOW,
            disabled_at=None,
        ),
        created=True,
        replaced_tokens=None,
    )
    assert done.user == store.ask(UserOf(done.user.id))


def test_the_next_sign_in_finds_the_person_and_takes_over_name_and_login(
    store: Store, sign_in: SignIn
) -> None:
    first = sign_in(name=None)
    second = sign_in(cookie="2", login="joe@new.example", name="Joe C.", now=NOW + 9)
    assert (False, first.user.id) == (second.created, second.user.id)
    stored = store.ask(UserOf(first.user.id))
    assert second.user == stored
    assert stored is not None
    assert ("joe@new.example", "Joe C.") == (stored.email, stored.name)
    assert (NOW, NOW + 9) == (stored.created_at, stored.last_signed_in_at)


def test_a_person_that_is_not_there_is_none(store: Store) -> None:
    assert store.ask(UserOf(1)) is None


def test_I1_one_number_in_two_environments_is_two_people(store: Store, sign_in: SignIn) -> None:
    production = sign_in(7, cookie="p", environment="production").user
    monthly = sign_in(7, cookie="m", environment="monthly").user
    assert production.id != monthly.id
    assert store.ask(UserOf(production.id)) == production
    assert store.ask(UserOf(monthly.id)) == monthly


@pytest.mark.parametrize(
    "login",
    ["joe@procore.com", "JOE@procore.com", "joe@procore.com ", "ﬀ@procore.com", "joe＠procore.com"],
)
def test_I2_an_email_finds_links_and_merges_nobody(
    store: Store, sign_in: SignIn, login: str
) -> None:
    first = sign_in(1, cookie="1", login="joe@procore.com").user
    second = sign_in(2, cookie="2", login=login).user
    assert first.id != second.id
    assert [first, second] == [store.ask(UserOf(first.id)), store.ask(UserOf(second.id))]
    assert second.email == login


def test_I2_two_people_may_swap_their_emails(store: Store, sign_in: SignIn) -> None:
    first = sign_in(1, cookie="1", login="a@procore.com").user
    second = sign_in(2, cookie="2", login="b@procore.com").user
    sign_in(1, cookie="3", login="b@procore.com")
    sign_in(2, cookie="4", login="a@procore.com")
    found = [store.ask(UserOf(each.id)) for each in (first, second)]
    assert [each and each.email for each in found] == ["b@procore.com", "a@procore.com"]


@pytest.mark.parametrize("number", [1, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1])
def test_I3_every_number_of_procore_comes_back_unchanged(
    store: Store, sign_in: SignIn, number: int
) -> None:
    user = sign_in(number).user
    found = store.ask(UserOf(user.id))
    assert found is not None
    assert number == found.procore_id
    assert not sign_in(number, cookie="again").created


def test_I3_two_numbers_that_a_float_would_confuse_are_two_people(sign_in: SignIn) -> None:
    assert sign_in(2**53, cookie="1").user.id != sign_in(2**53 + 1, cookie="2").user.id


def test_I4_fifty_first_sign_ins_at_once_make_one_person(
    new_store: Callable[..., Store],
    sign_in: SignIn,
    sql: Sql,
    at_once: Callable[..., list[Any]],
) -> None:
    store = new_store(lock_timeout=30.0)
    done = at_once(
        lambda number: sign_in(11_111, cookie=f"c{number}", tag=f"t{number}", through=store),
        list(range(50)),
    )
    assert len({each.user.id for each in done}) == 1
    assert sorted(each.created for each in done) == [False] * 49 + [True]
    assert counts(sql) == [1, 50, 1]
    assert sql("SELECT generation FROM token_sets") == [(50,)]


def test_I4_fifty_different_people_at_once_all_get_in(
    new_store: Callable[..., Store],
    sign_in: SignIn,
    sql: Sql,
    at_once: Callable[..., list[Any]],
) -> None:
    store = new_store(lock_timeout=30.0)
    at_once(lambda number: sign_in(number, cookie=f"c{number}", through=store), list(range(1, 51)))
    assert counts(sql) == [50, 50, 50]


HOSTILE = [
    "'; DROP TABLE users; --",
    '"quoted" `ticked` \\back%s %(id)s :now ?',
    "<script>alert(1)</script>",
    "\u202egnp.exe\u2066",
    "👷🏽‍♀️ строитель 建設 é́",
    "x" * 255,
    "👷" * 255,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_I6_hostile_names_are_kept_as_they_are(store: Store, sign_in: SignIn, text: str) -> None:
    user = sign_in(name=text, login=text).user
    stored = store.ask(UserOf(user.id))
    assert stored is not None
    assert (text, text) == (stored.name, stored.email)


def test_I6_the_largest_answer_of_me_is_kept(
    store: Store, sign_in: SignIn, new_session: Callable[..., NewSession], hashed: Any
) -> None:
    answer = '{"name":"' + "👷" * 16_381 + '"}'
    assert len(answer.encode()) == 65_535
    answer += " "
    sign_in(session=new_session("large", me_json=answer))
    session = store.ask(SessionOf(hashed("large"), environment="emulator", now=NOW))
    assert session is not None
    assert answer == store.ask(MeJson(session.id))


def test_S2_the_session_that_the_browser_had_ends_whoever_it_was(
    store: Store, sign_in: SignIn, hashed: Any
) -> None:
    sign_in(1, cookie="planted")
    done = sign_in(2, cookie="new", replaces=hashed("planted"))
    assert store.ask(SessionOf(hashed("planted"), environment="emulator", now=NOW)) is None
    session = store.ask(SessionOf(hashed("new"), environment="emulator", now=NOW))
    assert session is not None
    assert session.user == done.user


def test_S2_a_cookie_of_no_session_replaces_nothing(
    store: Store, sign_in: SignIn, hashed: Any
) -> None:
    sign_in(1, cookie="other")
    sign_in(2, cookie="new", replaces=hashed("unknown"))
    assert store.ask(SessionOf(hashed("other"), environment="emulator", now=NOW)) is not None


def test_R10_a_new_sign_in_takes_the_row_from_a_refresh_under_way(
    store: Store, sign_in: SignIn, sql: Sql, tokens: Callable[..., TokenSet]
) -> None:
    user = sign_in(tag="old").user
    sql(
        "UPDATE token_sets SET status = 'lost', lease_owner = 'worker', lease_until = :until,"
        " ambiguous = 1",
        until=NOW + 30,
    )
    assert store.ask(TokensOf(user.id, "emulator")) is None
    sign_in(cookie="2", tag="new")
    assert pair(tokens("new")) == pair(store.ask(TokensOf(user.id, "emulator")))
    row = sql("SELECT generation, status, lease_owner, lease_until, ambiguous FROM token_sets")
    assert row == [(2, "ok", None, None, 0)]


def test_R11_the_tokens_that_are_replaced_are_handed_back_to_be_revoked(
    store: Store, sign_in: SignIn, tokens: Callable[..., TokenSet]
) -> None:
    user = sign_in(tag="old").user
    done = sign_in(cookie="2", tag="new")
    assert pair(tokens("old")) == pair(done.replaced_tokens)
    assert pair(tokens("new")) == pair(store.ask(TokensOf(user.id, "emulator")))


def test_R11_replaced_tokens_wait_in_escrow_until_they_are_revoked(
    store: Store, sign_in: SignIn, tokens: Callable[..., TokenSet]
) -> None:
    sign_in(tag="old")
    sign_in(cookie="2", tag="new")
    (kept,) = store.ask(Escrowed(NOW + 1))
    assert ("emulator", pair(tokens("old"))) == (kept.environment, pair(kept.tokens))
    assert not store.do(FailAttempt(kept.state_hash, "orphaned", now=NOW))
    clear_escrow(store, kept.state_hash)
    assert store.ask(Escrowed(NOW + 1)) == []


@pytest.mark.parametrize("same", ["access_token", "refresh_token"])
def test_R11_tokens_that_procore_gave_again_are_not_handed_back(
    sign_in: SignIn, tokens: Callable[..., TokenSet], store: Store, same: str
) -> None:
    old, new = tokens("old"), tokens("new")
    mixed = (
        TokenSet(old.access_token, new.refresh_token, NOW)
        if same == "access_token"
        else TokenSet(new.access_token, old.refresh_token, NOW)
    )
    sign_in(tag="old")
    assert sign_in(cookie="2", tokens=mixed).replaced_tokens is None
    assert store.ask(Escrowed(NOW + 1)) == []


def test_tokens_without_a_refresh_token_are_kept_and_replaced(
    store: Store, sign_in: SignIn, tokens: Callable[..., TokenSet]
) -> None:
    bare = tokens("bare", refreshable=False)
    user = sign_in(tokens=bare).user
    assert pair(bare) == pair(store.ask(TokensOf(user.id, "emulator")))
    also_bare = tokens("next", refreshable=False)
    replaced = sign_in(cookie="2", tokens=also_bare).replaced_tokens
    assert pair(bare) == pair(replaced)


def test_I5_a_disabled_person_does_not_get_in_and_nothing_but_the_ledger_changes(
    store: Store, sign_in: SignIn, sql: Sql, hashed: Any, tokens: Callable[..., TokenSet]
) -> None:
    user = sign_in(tag="before", login="joe@procore.com").user
    sql("UPDATE users SET disabled_at = :now", now=NOW)
    with pytest.raises(SignInRefused, match="may not sign in here any more"):
        sign_in(cookie="2", tag="after", login="changed@procore.com", now=NOW + 5)
    assert counts(sql) == [1, 1, 1]
    assert sql("SELECT email, last_signed_in_at FROM users") == [("joe@procore.com", NOW)]
    assert pair(tokens("before")) == pair(store.ask(TokensOf(user.id, "emulator")))
    entry = store.ask(AttemptOf(hashed("state for 2 after")))
    assert entry is not None
    assert ("failed", "user_disabled", NOW + 5) == (
        entry.status,
        entry.outcome,
        entry.finished_at,
    )


@pytest.mark.parametrize("end", ["failed", "done", "forgotten"])
def test_C12_a_sign_in_whose_attempt_has_ended_leaves_nothing_behind(
    store: Store,
    sql: Sql,
    hashed: Any,
    tokens: Callable[..., TokenSet],
    new_session: Callable[..., NewSession],
    end: str,
) -> None:
    state_hash = hashed("state")
    if end != "forgotten":
        store.do(TakeAttempt(state_hash, environment="emulator", now=NOW, expires_at=NOW + 1800))
        sql("UPDATE sign_in_ledger SET status = :end", end=end)
    before = sql("SELECT * FROM sign_in_ledger")
    with pytest.raises(AttemptInvalid) as refusal:
        store.do(
            CompleteSignIn(
                state_hash,
                me=Me(1, "joe@procore.com", None, "{}"),
                environment="emulator",
                tokens=tokens(),
                session=new_session("cookie"),
                replaces=None,
                now=NOW,
            )
        )
    assert refusal.value.reason == "used"
    assert counts(sql) == [0, 0, 0]
    assert before == sql("SELECT * FROM sign_in_ledger")


def test_the_number_of_a_deleted_person_is_never_given_again(sign_in: SignIn, sql: Sql) -> None:
    user = sign_in(1, cookie="1").user
    sql("DELETE FROM token_sets")
    sql("DELETE FROM users")
    assert sql("SELECT count(*) FROM sessions") == [(0,)]
    assert user.id < sign_in(1, cookie="2").user.id


def test_a_person_with_tokens_cannot_be_deleted_before_they_are_revoked(
    sign_in: SignIn, sql: Sql
) -> None:
    sign_in()
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        sql("DELETE FROM users")


@pytest.mark.parametrize("wrong", [-600, 600])
def test_T6_a_lifetime_counts_by_the_clock_that_all_share_and_not_by_this_hosts(
    store: Store, sign_in: SignIn, tokens: Callable[..., TokenSet], wrong: int
) -> None:
    """SQLite has no clock of its own: there, this host's is the one that all share."""
    granted = tokens("1")
    user = sign_in(tokens=replace(granted, expires_at=NOW + wrong + 5400), now=NOW + wrong).user
    row = store.ask(TokenRowOf(user.id, "emulator", now=NOW + wrong))
    assert row is not None
    assert 5340 < row.expires_in <= row.lifetime == 5400


@pytest.mark.parametrize("wrong", [-600, 600])
def test_T6_the_lifetime_of_a_refreshed_token_counts_by_the_clock_that_all_share_as_well(
    store: Store, sign_in: SignIn, tokens: Callable[..., TokenSet], wrong: int
) -> None:
    user = sign_in().user
    row = store.ask(TokenRowOf(user.id, "emulator", now=NOW))
    assert row is not None
    renewed = replace(tokens("2"), expires_at=NOW + wrong + 5400)
    store.do(CommitRefresh(row, renewed, now=NOW + wrong))
    row = store.ask(TokenRowOf(user.id, "emulator", now=NOW + wrong))
    assert row is not None
    assert row.generation == 2
    assert 5340 < row.expires_in <= row.lifetime == 5400


def test_R3_a_commit_whose_answer_was_lost_is_recognised_when_it_is_repeated(
    store: Store, sign_in: SignIn, tokens: Callable[..., TokenSet]
) -> None:
    user = sign_in().user
    row = store.ask(TokenRowOf(user.id, "emulator", now=NOW))
    assert row is not None
    committed = store.do(CommitRefresh(row, tokens("2"), now=NOW))
    again = store.do(CommitRefresh(row, tokens("2"), now=NOW))
    assert committed is not None
    assert again is not None
    assert (again.generation, pair(again.tokens)) == (2, pair(tokens("2")))
    assert store.do(CommitRefresh(row, tokens("of someone else"), now=NOW)) is None
    assert store.do(CommitRefresh(again, tokens("3"), now=NOW)) is not None
    assert store.do(CommitRefresh(row, tokens("2"), now=NOW)) is None
