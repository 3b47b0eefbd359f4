"""Tokens that no one wants wait in the ledger, one revokes them, and doubts stay (C14, I5, I7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from doing import clear_escrow, purge, purge_grants
from pairs import pair

from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import CompletedSignIn, Escrow, KeyRing, Store
from procore_signin._store.access import (
    DeleteUser,
    DisableUser,
    DisconnectUser,
    EnableUser,
    EscrowsOf,
)
from procore_signin._store.escrows import (
    HOLD_SECONDS,
    LATE,
    NEVER,
    REFRESHING,
    SUPERSEDED,
    UNANSWERED,
    GiveUpTokens,
)
from procore_signin._store.ledger import (
    AttemptOf,
    Escrowed,
    FailAttempt,
    HasSignInUnderWay,
    TakeAttempt,
)
from procore_signin._store.records import TokenRow
from procore_signin._store.refresh import (
    CommitRefresh,
    EndGrant,
    NoteAmbiguous,
    ReleaseLease,
    Settle,
    TakeLease,
    TokenRowOf,
)
from procore_signin._store.rotation.lost_keys import GiveUpLost, Lost, give_up_key
from procore_signin._store.rotation.rewrap import KeyUses, OlderTokenSets, UnknownKeyIds, rewrap
from procore_signin._store.users import UserOf
from procore_signin._store.withdrawal import (
    FinishEscrow,
    HoldEscrow,
    KeepRenewed,
    ReleaseEscrow,
    ReplaceEscrow,
)

NOW = 1_800_000_000
Sql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]
Tokens = Callable[..., TokenSet]
AtOnce = Callable[[Callable[[Any], Any], list[Any]], list[Any]]
PLACE = "a" * 64
OTHER_KEY = KeyRing.parse(Secret("other:" + "C" * 42 + "E", "keys"))


def give_up(store: Store, tokens: TokenSet, **more: Any) -> None:
    values = {"state_hash": PLACE, "environment": "emulator", "procore_id": None, "refreshed": None}
    store.do(GiveUpTokens(tokens, **{**values, "now": NOW, **more}))


def row_of(store: Store, user_id: int) -> TokenRow:
    row = store.ask(TokenRowOf(user_id, "emulator", now=NOW))
    assert row is not None
    return row


def taken(store: Store, user_id: int) -> TokenRow:
    row = store.do(TakeLease(row_of(store, user_id), owner="me", seconds=30, now=NOW))
    assert row is not None
    return row


def refreshed(store: Store, user_id: int, tokens: TokenSet) -> TokenRow:
    row = store.do(CommitRefresh(taken(store, user_id), tokens, now=NOW))
    assert row is not None
    return row


def lost(store: Store, user_id: int) -> bool:
    ended = store.do(DisableUser(user_id, now=NOW))
    assert ended is not None
    return ended.lost


def withdraw(store: Store, sign_in: SignIn, user_id: int, how: str) -> None:
    """Have a user's tokens withdrawn, in one of four ways."""
    match how:
        case "disable":
            store.do(DisableUser(user_id, now=NOW))
        case "delete":
            store.do(DeleteUser(user_id, now=NOW))
        case "disconnect":
            store.do(DisconnectUser(user_id, now=NOW))
        case _:
            sign_in(cookie="2", tag="2")


def escrows(store: Store) -> list[Any]:
    return [pair(each.tokens) for each in store.ask(Escrowed(NEVER))]


def outcome_of(store: Store, state_hash: str) -> str | None:
    entry = store.ask(AttemptOf(state_hash))
    assert entry is not None
    return entry.outcome


def test_C14_tokens_are_given_up_once_however_often_it_is_repeated(
    store: Store, sign_in: SignIn, tokens: Tokens
) -> None:
    user = sign_in().user
    for _ in range(2):
        give_up(store, tokens("late"), procore_id=user.procore_id)
    assert [pair(each.tokens) for each in store.ask(EscrowsOf(user))] == [pair(tokens("late"))]
    assert outcome_of(store, PLACE) == LATE


def test_C14_tokens_of_a_person_who_is_gone_are_kept_without_them(
    store: Store, tokens: Tokens, sql: Sql
) -> None:
    give_up(store, tokens("late"), procore_id=99)
    assert escrows(store) == [pair(tokens("late"))]
    assert sql("SELECT user_id, procore_id FROM sign_in_ledger") == [(None, 99)]


def test_C14_tokens_go_to_the_attempt_that_brought_them(
    store: Store, tokens: Tokens, sql: Sql
) -> None:
    store.do(TakeAttempt(PLACE, environment="emulator", now=NOW, expires_at=NOW + 1800))
    store.do(FailAttempt(PLACE, "GrantLost", now=NOW))
    give_up(store, tokens("late"))
    assert escrows(store) == [pair(tokens("late"))]
    assert sql("SELECT status, outcome FROM sign_in_ledger") == [("failed", "GrantLost")]


def test_I7_a_refresher_speaks_for_no_other_one(store: Store, sign_in: SignIn, sql: Sql) -> None:
    # Its own lease was never granted: the database was away, and it does not know that.
    user = sign_in().user
    before, ours = row_of(store, user.id), taken(store, user.id)
    store.do(DisableUser(user.id, now=NOW))
    store.do(ReleaseLease(before, owner="another", retry_in=1, now=NOW))
    store.do(EndGrant(before, owner="another", now=NOW))
    store.do(NoteAmbiguous(before, now=NOW))
    noted = "SELECT outcome FROM sign_in_ledger WHERE escrow IS NOT NULL"
    assert sql(noted) == [(REFRESHING,)]
    store.do(ReleaseLease(ours, owner="me", retry_in=1, now=NOW))
    assert sql(noted) == [(LATE,)]


def test_C14_giving_up_and_deleting_at_once_lose_nothing(
    new_store: Callable[..., Store], sign_in: SignIn, tokens: Tokens, at_once: AtOnce
) -> None:
    store = new_store(lock_timeout=30.0)
    user = sign_in().user
    row = taken(store, user.id)

    def act(what: str) -> None:
        if what == "delete":
            store.do(DeleteUser(user.id, now=NOW))
        else:
            give_up(store, tokens("late"), procore_id=user.procore_id, refreshed=row)

    at_once(act, ["delete", "give up"])
    assert len(escrows(store)) == 2
    assert store.ask(UserOf(user.id)) is None


def test_I5_of_many_who_want_to_revoke_one_escrow_one_holds_it(
    new_store: Callable[..., Store], tokens: Tokens, at_once: AtOnce
) -> None:
    store = new_store(lock_timeout=30.0)
    give_up(store, tokens())
    names = ["a", "b", "c", "d"]
    held = at_once(lambda name: store.do(HoldEscrow(PLACE, holder=name, now=NOW)), names)
    assert sorted(each.state for each in held) == ["busy", "busy", "busy", "ours"]
    [owner] = [name for name, each in zip(names, held, strict=True) if each.state == "ours"]
    for name in names:
        if name != owner:
            store.do(ReleaseEscrow(PLACE, holder=name))
            assert not store.do(FinishEscrow(PLACE, holder=name, outcome=None, now=NOW))
    assert escrows(store) == [pair(tokens())]
    assert store.do(FinishEscrow(PLACE, holder=owner, outcome=LATE, now=NOW))
    assert store.do(HoldEscrow(PLACE, holder="e", now=NOW)).state == "over"
    assert store.do(HoldEscrow("b" * 64, holder="e", now=NOW)).state == "over"


def test_I5_an_escrow_whose_holder_died_or_gave_it_back_is_free_again(
    store: Store, tokens: Tokens, sql: Sql
) -> None:
    give_up(store, tokens())
    assert store.do(HoldEscrow(PLACE, holder="a", now=NOW)).state == "ours"
    sql("UPDATE sign_in_ledger SET held_until = held_until - :hold", hold=HOLD_SECONDS)
    assert store.do(HoldEscrow(PLACE, holder="b", now=NOW)).state == "ours"
    mine = Escrow(PLACE, "emulator", tokens("mine"))
    assert not store.do(ReplaceEscrow(mine, outcome=None, now=NOW, holder="a"))
    assert store.do(ReplaceEscrow(mine, outcome=None, now=NOW, holder="b"))
    assert store.do(HoldEscrow(PLACE, holder="a", now=NOW)).state == "busy"
    store.do(ReleaseEscrow(PLACE, holder="b"))
    again = store.do(HoldEscrow(PLACE, holder="a", now=NOW))
    assert again.escrow is not None
    assert pair(again.escrow.tokens) == pair(tokens("mine"))


def test_I5_R14_a_clock_that_was_set_back_keeps_nobody_from_an_escrow(
    store: Store, tokens: Tokens, sql: Sql
) -> None:
    give_up(store, tokens())
    assert store.do(HoldEscrow(PLACE, holder="a", now=NOW)).state == "ours"
    sql("UPDATE sign_in_ledger SET held_until = held_until + 10800")
    assert store.do(HoldEscrow(PLACE, holder="b", now=NOW)).state == "ours"


def test_I7_a_doubt_stays_as_long_as_the_person(
    store: Store, sign_in: SignIn, tokens: Tokens, sql: Sql
) -> None:
    user = sign_in().user
    give_up(store, tokens("late"), procore_id=user.procore_id)
    store.do(HoldEscrow(PLACE, holder="a", now=NOW))
    assert store.do(FinishEscrow(PLACE, holder="a", outcome=UNANSWERED, now=NOW))
    assert purge(store, NOW + 10**9).attempts == 1  # the sign-in's own
    assert [lost(store, user.id) for _ in range(2)] == [True, True]
    store.do(EnableUser(user.id))
    sign_in(cookie="2", tag="2")
    assert lost(store, user.id)
    store.do(DeleteUser(user.id, now=NOW))
    assert {user_id for (user_id,) in sql("SELECT user_id FROM sign_in_ledger")} == {None}
    clear_escrow(store, next(each.state_hash for each in store.ask(Escrowed(NEVER))))
    for escrow in store.ask(Escrowed(NEVER)):
        clear_escrow(store, escrow.state_hash)
    purge(store, NOW + 10**9)
    assert store.ask(AttemptOf(PLACE)) is None


WHOSE = "SELECT user_id, procore_id FROM sign_in_ledger WHERE escrow IS NOT NULL ORDER BY 1, 2"


def test_I7_what_deleted_people_left_is_theirs_when_they_sign_in_again_and_no_one_elses(
    store: Store, sign_in: SignIn, sql: Sql
) -> None:
    user, other = sign_in(7).user, sign_in(8, cookie="8").user
    elsewhere = sign_in(7, cookie="7", environment="monthly").user
    store.do(DeleteUser(user.id, now=NOW))
    assert sql(WHOSE) == [(None, 7)]
    again = sign_in(7, cookie="2", tag="2").user
    assert again.id != user.id
    [waiting] = store.ask(EscrowsOf(again))
    assert [store.ask(EscrowsOf(each)) for each in (other, elsewhere)] == [[], []]
    ended = store.do(DisableUser(again.id, now=NOW))
    assert ended is not None
    assert waiting in ended.escrows
    assert len(ended.escrows) == 2
    clear_escrow(store, waiting.state_hash)
    assert sql(WHOSE) == [(again.id, None)]


def test_I7_deleting_writes_the_number_beside_tokens_alone_and_it_goes_with_them(
    store: Store, sign_in: SignIn, sql: Sql
) -> None:
    user = sign_in(7).user
    sql("UPDATE token_sets SET status = 'lost', ambiguous = 1")
    store.do(DisconnectUser(user.id, now=NOW))  # leaves a doubt
    sign_in(7, cookie="2", tag="2")
    numbers = "SELECT status, procore_id FROM sign_in_ledger WHERE procore_id IS NOT NULL"
    store.do(DisableUser(user.id, now=NOW))
    assert sql(numbers) == []
    store.do(DeleteUser(user.id, now=NOW))
    assert sql(numbers) == [("failed", 7)]
    assert sql("SELECT count(*) FROM sign_in_ledger") == [(4,)]
    for escrow in store.ask(Escrowed(NEVER)):
        clear_escrow(store, escrow.state_hash)
    assert sql(numbers) == []


@pytest.mark.parametrize("back", [False, True])
def test_I7_a_late_pair_of_deleted_people_is_theirs(
    store: Store, sign_in: SignIn, tokens: Tokens, sql: Sql, *, back: bool
) -> None:
    row = taken(store, sign_in(7).user.id)
    store.do(DeleteUser(row.user_id, now=NOW))
    user_id = sign_in(7, cookie="2", tag="2").user.id if back else None
    give_up(store, tokens("late"), procore_id=row.procore_id, refreshed=row)
    given_up = sql(f"SELECT user_id, procore_id FROM sign_in_ledger WHERE state_hash = '{PLACE}'")
    assert given_up == [(user_id, None if back else 7)]
    again = sign_in(7, cookie="3", tag="3").user
    assert pair(tokens("late")) in [pair(each.tokens) for each in store.ask(EscrowsOf(again))]


@pytest.mark.parametrize("back", [False, True])
def test_I7_the_pair_that_a_trial_brings_is_of_those_whose_the_one_before_is(
    store: Store, sign_in: SignIn, tokens: Tokens, sql: Sql, *, back: bool
) -> None:
    store.do(DeleteUser(sign_in(7).user.id, now=NOW))
    [waiting] = store.ask(Escrowed(NEVER))
    held = store.do(HoldEscrow(waiting.state_hash, holder="a", now=NOW))
    assert held.procore_id == 7
    user_id = sign_in(7, cookie="2", tag="2").user.id if back else None
    place = store.do(KeepRenewed(waiting, tokens("new"), outcome=None, now=NOW, holder="a"))
    kept = sql(f"SELECT user_id, procore_id FROM sign_in_ledger WHERE state_hash = '{place}'")
    assert kept == [(user_id, None if back else 7)]


@pytest.mark.parametrize("end", ["nothing can be known", "the key is lost"])
@pytest.mark.parametrize("back", [False, True])
def test_I7_a_doubt_about_what_deleted_people_left_is_theirs_if_they_are_back(
    new_store: Callable[..., Store], sign_in: SignIn, sql: Sql, end: str, *, back: bool
) -> None:
    """It is forgotten if they are not: no one is left whom it could be told."""
    store = new_store()
    store.do(DeleteUser(sign_in(7).user.id, now=NOW))
    [waiting] = store.ask(Escrowed(NEVER))
    sealed = f"SELECT escrow FROM sign_in_ledger WHERE state_hash = '{waiting.state_hash}'"
    [(escrow,)] = sql(sealed)
    user = sign_in(7, cookie="2", tag="2").user if back else None
    if end == "the key is lost":
        lost_row = (waiting.state_hash, waiting.environment, 7, escrow)
        store.do(GiveUpLost(Lost([], [lost_row], [])))
    else:
        store.do(HoldEscrow(waiting.state_hash, holder="a", now=NOW))
        store.do(FinishEscrow(waiting.state_hash, holder="a", outcome=UNANSWERED, now=NOW))
    assert sql("SELECT procore_id FROM sign_in_ledger WHERE procore_id IS NOT NULL") == []
    purge(store, NOW + 10**9)
    entry = store.ask(AttemptOf(waiting.state_hash))
    assert (entry is not None) == back
    if user is not None:
        assert lost(store, user.id)


def test_I7_while_tokens_wait_that_no_one_can_name_every_ending_is_told_so(
    store: Store, sign_in: SignIn, tokens: Tokens, sql: Sql
) -> None:
    """Also in a row of the version before, which has no number of someone who was deleted."""
    nameless = HasSignInUnderWay("emulator", since=NOW, now=NOW)
    store.do(DeleteUser(sign_in(7).user.id, now=NOW))
    give_up(store, tokens("late"), procore_id=8)
    assert not store.ask(nameless)
    sql("UPDATE sign_in_ledger SET procore_id = NULL")
    assert store.ask(nameless)
    assert not store.ask(HasSignInUnderWay("monthly", since=NOW, now=NOW))
    for escrow in store.ask(Escrowed(NEVER)):
        clear_escrow(store, escrow.state_hash)
    assert not store.ask(nameless)


def test_I7_a_refresh_leaves_the_pair_before_until_its_successor_was_accepted(
    store: Store, sign_in: SignIn, tokens: Tokens, sql: Sql
) -> None:
    user = sign_in(tag="0").user
    first = refreshed(store, user.id, tokens("1"))
    assert not first.settled
    assert b"canary" not in repr(sql("SELECT predecessor FROM token_sets")).encode()
    store.do(Settle(first, now=NOW))
    assert row_of(store, user.id).settled
    refreshed(store, user.id, tokens("2"))
    assert escrows(store) == []
    store.do(Settle(first, now=NOW))  # of a generation that is gone
    assert not row_of(store, user.id).settled


def test_I7_a_pair_whose_successor_nobody_saw_accepted_goes_to_the_ledger(
    store: Store, sign_in: SignIn, tokens: Tokens
) -> None:
    user = sign_in(tag="0").user
    refreshed(store, user.id, tokens("1"))
    refreshed(store, user.id, tokens("2"))
    [kept] = store.ask(EscrowsOf(user))
    assert pair(kept.tokens) == pair(tokens("0"))
    assert outcome_of(store, kept.state_hash) == SUPERSEDED
    store.do(DisableUser(user.id, now=NOW))
    found = [pair(each.tokens) for each in store.ask(EscrowsOf(user))]
    assert len(found) == 3
    assert all(pair(tokens(tag)) in found for tag in "012")
    assert row_of(store, user.id).settled


@pytest.mark.parametrize("how", ["disconnect", "delete", "sign in"])
def test_I7_whatever_ends_a_pair_ends_the_pair_before(
    store: Store, sign_in: SignIn, tokens: Tokens, how: str
) -> None:
    user = sign_in(tag="0").user
    refreshed(store, user.id, tokens("1"))
    match how:
        case "disconnect":
            store.do(DisconnectUser(user.id, now=NOW))
        case "delete":
            store.do(DeleteUser(user.id, now=NOW))
        case _:
            done = sign_in(cookie="2", tag="2")
            assert [pair(each.tokens) for each in done.given_up] == [pair(tokens("0"))]
            assert pair(done.replaced_tokens) == pair(tokens("1"))
            assert row_of(store, user.id).settled
    found = escrows(store)
    assert len(found) == 2
    assert all(pair(tokens(tag)) in found for tag in "01")


def test_I7_a_token_that_goes_on_being_used_is_never_put_away(
    store: Store, sign_in: SignIn, tokens: Tokens
) -> None:
    """A server that does not rotate, or that gives the same token to who signs in again."""
    old, new = tokens("old"), tokens("new")
    user = sign_in(tag="old").user
    row = refreshed(store, user.id, TokenSet(new.access_token, old.refresh_token, NOW + 5400))
    assert row.settled
    refreshed(store, user.id, tokens("third"))
    sign_in(cookie="2", tokens=TokenSet(new.access_token, new.refresh_token, NOW + 5400))
    assert escrows(store) == [pair(tokens("third"))]


def test_I7_an_answer_that_was_lost_before_the_one_that_came_leaves_a_doubt(
    store: Store, sign_in: SignIn, tokens: Tokens
) -> None:
    user = sign_in(tag="0").user
    row = taken(store, user.id)
    store.do(NoteAmbiguous(row, now=NOW))
    assert store.do(CommitRefresh(row, tokens("1"), now=NOW)) is not None
    refreshed(store, user.id, tokens("2"))
    assert lost(store, user.id)


@pytest.mark.parametrize(("unanswered", "doubtful"), [(0, False), (1, True)])
def test_I7_a_pair_that_was_taken_for_lost_and_comes_after_all_leaves_no_doubt(
    store: Store, sign_in: SignIn, tokens: Tokens, sql: Sql, *, unanswered: int, doubtful: bool
) -> None:
    """Unless a request before the one that was answered had no response."""
    user = sign_in(tag="0").user
    row = taken(store, user.id)
    for _ in range(unanswered):
        store.do(NoteAmbiguous(row, now=NOW))
    sql("UPDATE token_sets SET lease_until = 1")
    other = store.do(TakeLease(row_of(store, user.id), owner="other", seconds=30, now=NOW))
    assert other is not None
    assert store.do(EndGrant(other, owner="other", now=NOW)) == "lost"
    assert store.do(CommitRefresh(row, tokens("1"), now=NOW)) is not None
    assert lost(store, user.id) == doubtful


@pytest.mark.parametrize("change", ["status = 'lost'", "ambiguous = 1"])
@pytest.mark.parametrize("then", ["sign in", "disconnect", "purge"])
def test_I7_a_lost_answer_is_not_forgotten_with_its_row(
    store: Store, sign_in: SignIn, sql: Sql, change: str, then: str
) -> None:
    user = sign_in().user
    sql(f"UPDATE token_sets SET {change}, updated_at = 1")
    if then == "disconnect":
        store.do(DisconnectUser(user.id, now=NOW))
    if then == "purge":
        purge_grants(store, before=NOW)
    sign_in(cookie="2", tag="2")
    ended = store.do(DisableUser(user.id, now=NOW))
    assert ended is not None
    in_escrow = [outcome_of(store, each.state_hash) for each in store.ask(EscrowsOf(user))]
    assert ended.lost or UNANSWERED in in_escrow


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ("nothing", REFRESHING),
        ("late pair", LATE),
        ("refused", LATE),
        ("not asked", LATE),
        ("no response", UNANSWERED),
    ],
)
@pytest.mark.parametrize("how", ["disable", "delete", "disconnect", "sign in"])
def test_I7_what_becomes_of_a_refresh_that_was_under_way_is_noted(
    store: Store, sign_in: SignIn, tokens: Tokens, told: str, outcome: str, how: str
) -> None:
    user = sign_in(tag="0").user
    row = taken(store, user.id)
    withdraw(store, sign_in, user.id, how)
    [withdrawn] = store.ask(Escrowed(NEVER))
    assert outcome_of(store, withdrawn.state_hash) == REFRESHING
    match told:
        case "late pair":
            assert store.do(CommitRefresh(row, tokens("late"), now=NOW)) is None
            give_up(store, tokens("late"), procore_id=user.procore_id, refreshed=row)
        case "refused":
            assert store.do(EndGrant(row, owner="me", now=NOW)) is None
        case "not asked":
            store.do(ReleaseLease(row, owner="me", retry_in=5, now=NOW))
        case "no response":
            store.do(NoteAmbiguous(row, now=NOW))
            store.do(ReleaseLease(row, owner="me", retry_in=5, now=NOW))
    assert outcome_of(store, withdrawn.state_hash) == outcome


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("how", ["disable", "disconnect", "sign in", "delete"])
def test_I7_a_withdrawn_token_that_is_sent_again_without_an_answer_leaves_a_doubt(
    store: Store, sign_in: SignIn, how: str, *, again: bool
) -> None:
    """Whoever ends it tries it too, and takes what the other one causes for his own doing."""
    user = sign_in(tag="0").user
    row = taken(store, user.id)
    withdraw(store, sign_in, user.id, how)
    if how == "delete":
        user = sign_in(cookie="2", tag="2").user  # the same person, who is told of it too
    store.do(NoteAmbiguous(row, now=NOW, again=again))
    assert lost(store, user.id) == again


def test_I7_a_token_that_is_sent_again_after_its_pair_was_replaced_leaves_no_doubt(
    store: Store, sign_in: SignIn, tokens: Tokens, sql: Sql
) -> None:
    user = sign_in(tag="0").user
    row = taken(store, user.id)
    sql("UPDATE token_sets SET lease_until = 1")
    other = store.do(TakeLease(row_of(store, user.id), owner="other", seconds=30, now=NOW))
    assert other is not None
    assert store.do(CommitRefresh(other, tokens("1"), now=NOW)) is not None
    doubted = lost(store, user.id)
    store.do(NoteAmbiguous(row, now=NOW, again=True))
    assert lost(store, user.id) == doubted


def test_I7_a_refresher_that_died_before_the_disabling_leaves_a_doubt(
    store: Store, sign_in: SignIn, sql: Sql
) -> None:
    user = sign_in().user
    taken(store, user.id)
    sql("UPDATE token_sets SET lease_until = 1")
    store.do(DisableUser(user.id, now=NOW))
    [withdrawn] = store.ask(EscrowsOf(user))
    assert outcome_of(store, withdrawn.state_hash) == UNANSWERED


def test_I7_a_doubt_about_a_refresh_ends_when_its_answer_comes_after_all(
    store: Store, sign_in: SignIn, tokens: Tokens
) -> None:
    user = sign_in(tag="0").user
    row = taken(store, user.id)
    store.do(DisableUser(user.id, now=NOW))
    [withdrawn] = store.ask(EscrowsOf(user))
    store.do(HoldEscrow(withdrawn.state_hash, holder="a", now=NOW))
    store.do(FinishEscrow(withdrawn.state_hash, holder="a", outcome=REFRESHING, now=NOW))
    assert lost(store, user.id)
    give_up(store, tokens("late"), procore_id=user.procore_id, refreshed=row)
    assert not lost(store, user.id)


def test_V3_the_pair_before_is_sealed_anew_and_its_key_is_needed(
    new_store: Callable[..., Store], sign_in: SignIn, tokens: Tokens
) -> None:
    older = new_store(keys=KeyRing.parse(Secret("fake0:" + "B" * 42 + "E", "keys")))
    user = sign_in(tag="0", through=older).user
    refreshed(older, user.id, tokens("1"))
    store = new_store()
    assert [(use.key_id, use.escrows) for use in store.ask(KeyUses())] == [
        ("fake1", 0),
        ("fake0", 1),
    ]
    assert [batch.done for batch in rewrap(store)] == [1]
    assert [(use.key_id, use.escrows) for use in store.ask(KeyUses())] == [
        ("fake1", 1),
        ("fake0", 0),
    ]
    assert store.ask(OlderTokenSets()) == 0
    store.do(DisableUser(user.id, now=NOW))
    assert len(store.ask(EscrowsOf(user))) == 2
    assert None not in [each.tokens for each in store.ask(EscrowsOf(user))]


def test_V3_a_pair_before_whose_key_alone_is_older_is_sealed_anew(
    new_store: Callable[..., Store], sign_in: SignIn, tokens: Tokens, sql: Sql
) -> None:
    older = new_store(keys=KeyRing.parse(Secret("fake0:" + "B" * 42 + "E", "keys")))
    user = sign_in(tag="0", through=older).user
    refreshed(older, user.id, tokens("1"))
    ((before,),) = sql("SELECT predecessor FROM token_sets")
    store = new_store()
    assert [batch.done for batch in rewrap(store)] == [1]
    sql("UPDATE token_sets SET predecessor = :before", before=before)
    assert store.ask(OlderTokenSets()) == 1
    assert [batch.done for batch in rewrap(store)] == [1]
    assert store.ask(OlderTokenSets()) == 0


def test_V2_a_pair_before_does_not_open_for_another_user(
    store: Store, sign_in: SignIn, tokens: Tokens, sql: Sql
) -> None:
    mine, theirs = (sign_in(n, cookie=str(n), tag=str(n)).user for n in (1, 2))
    for user in (mine, theirs):
        refreshed(store, user.id, tokens(f"new {user.id}"))
    ((cell,),) = sql("SELECT predecessor FROM token_sets WHERE user_id = :user", user=theirs.id)
    sql("UPDATE token_sets SET predecessor = :cell WHERE user_id = :user", cell=cell, user=mine.id)
    ended = store.do(DisableUser(mine.id, now=NOW))
    assert ended is not None
    assert ended.sealed


def test_V4_a_pair_before_that_cannot_be_opened_harms_nobody_and_is_told(
    store: Store, sign_in: SignIn, tokens: Tokens, sql: Sql
) -> None:
    user = sign_in(tag="0").user
    refreshed(store, user.id, tokens("1"))
    sql("UPDATE token_sets SET predecessor = 'v1.gone.garbage'")
    assert store.ask(UnknownKeyIds()) == ("gone",)
    assert pair(row_of(store, user.id).tokens) == pair(tokens("1"))
    assert [batch.users for batch in rewrap(store)] == [(user.id,)]
    ended = store.do(DisableUser(user.id, now=NOW))
    assert ended is not None
    assert (ended.sealed, ended.withdrawn) == (True, 1)
    assert [pair(each.tokens) for each in store.ask(EscrowsOf(user))] == [pair(tokens("1"))]


@pytest.mark.parametrize("then", ["refresh", "sign in", "give up"])
def test_V4_a_pair_before_that_cannot_be_opened_leaves_a_doubt_when_it_goes(
    store: Store, sign_in: SignIn, tokens: Tokens, sql: Sql, then: str
) -> None:
    user = sign_in(tag="0").user
    refreshed(store, user.id, tokens("1"))
    sql("UPDATE token_sets SET predecessor = 'v1.gone.garbage'")
    match then:
        case "refresh":
            refreshed(store, user.id, tokens("2"))
        case "sign in":
            assert sign_in(cookie="2", tag="2").replaced_sealed
        case _:
            given = give_up_key(store, "gone")
            assert given is not None
            assert (given.users, give_up_key(store, "gone")) == ((), None)
    assert row_of(store, user.id).tokens is not None
    assert lost(store, user.id)


def test_I7_tokens_of_a_key_that_was_given_up_leave_a_doubt(
    store: Store, new_store: Callable[..., Store], sign_in: SignIn, tokens: Tokens
) -> None:
    other = new_store(keys=OTHER_KEY)
    user = sign_in(tag="0", through=other).user
    give_up(other, tokens("late"), procore_id=user.procore_id)
    assert give_up_key(store, "other") is not None
    sign_in(cookie="2", tag="2")
    assert lost(store, user.id)
    assert outcome_of(store, PLACE) == UNANSWERED


def test_R10_a_refresh_that_comes_late_says_so_also_where_the_newer_pair_cannot_be_opened(
    store: Store, sign_in: SignIn, tokens: Tokens, sql: Sql
) -> None:
    """It was sealed by a process that has a key more, in the middle of a rotation."""
    user = sign_in().user
    row = taken(store, user.id)
    sign_in(cookie="2", tag="2")
    sql("UPDATE token_sets SET access_token = 'v1.another.key'")
    assert store.do(CommitRefresh(row, tokens("late"), now=NOW)) is None
