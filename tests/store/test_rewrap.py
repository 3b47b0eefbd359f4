"""The keys in use, and sealing everything anew while everything runs. Rows V3, V4."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from os import urandom
from typing import Any

import pytest
from doing import clear_escrow, meet
from pairs import pair

from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import CompletedSignIn, KeyRing, Store
from procore_signin._store.access import DisableUser
from procore_signin._store.keys.seal import Seal
from procore_signin._store.ledger import Escrowed, EscrowTokens, TakeAttempt
from procore_signin._store.refresh import CommitRefresh, TokenRowOf
from procore_signin._store.rotation.lost_keys import GivenUp, GiveUpLost, give_up_key
from procore_signin._store.rotation.rewrap import (
    KeyUse,
    KeyUses,
    OlderTokenSets,
    Rewrapped,
    UnknownKeyIds,
    rewrap,
)
from procore_signin._store.tokens import TokensOf
from procore_signin._store.users import UserOf

NOW = 1_800_000_000
Sql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]
NewStore = Callable[..., Store]
Tokens = Callable[..., TokenSet]

TEXTS = {
    "old": f"old:{'B' * 42}E",
    "new": f"new:{'A' * 42}E",
    "k_1": f"k_1:{'D' * 42}E",
    "kx1": f"kx1:{'F' * 42}E",
    "K_1": f"K_1:{'G' * 42}E",
}


def ring(*ids: str) -> KeyRing:
    return KeyRing.parse(Secret(",".join(TEXTS[key_id] for key_id in ids), "keys"))


@pytest.fixture
def before(new_store: NewStore) -> Store:
    """A store as it is before the rotation."""
    return new_store(keys=ring("old"))


@pytest.fixture
def after(new_store: NewStore) -> Store:
    """A store with a new active key that still opens what the old one sealed."""
    return new_store(keys=ring("new", "old"))


def escrow(store: Store, state_hash: str, tokens: TokenSet) -> None:
    store.do(TakeAttempt(state_hash, environment="emulator", now=NOW, expires_at=NOW + 1))
    store.do(EscrowTokens(state_hash, tokens, environment="emulator", now=NOW))


def totals(store: Store) -> dict[str, int]:
    return {use.key_id: use.total for use in store.ask(KeyUses())}


def test_V3_the_database_tells_which_key_is_needed_for_what(
    before: Store, after: Store, sign_in: SignIn, hashed: Any, tokens: Tokens, sql: Sql
) -> None:
    assert after.ask(KeyUses()) == [KeyUse("new"), KeyUse("old")]
    sign_in(1, cookie="1", tag="1", through=before)
    sign_in(2, cookie="2", tag="2", tokens=tokens("2", refreshable=False), through=before)
    sign_in(3, cookie="3", tag="3", through=after)
    escrow(before, hashed("s"), tokens("escrow"))
    assert after.ask(KeyUses()) == [KeyUse("new", 1, 1, 0), KeyUse("old", 2, 1, 1)]
    assert before.ask(KeyUses()) == [KeyUse("old", 2, 1, 1), KeyUse("new", 1, 1, 0)]
    sql("UPDATE token_sets SET access_token = 'garbage' WHERE access_token LIKE 'v1.new.%'")
    assert after.ask(KeyUses()) == [KeyUse("new", 0, 1, 0), KeyUse("old", 2, 1, 1), KeyUse("", 1)]


def test_V3_keys_that_the_ring_lacks_are_named(
    before: Store, after: Store, new_store: NewStore, sign_in: SignIn, hashed: Any, tokens: Tokens
) -> None:
    sign_in(through=before)
    assert after.ask(UnknownKeyIds()) == ()
    assert new_store(keys=ring("new")).ask(UnknownKeyIds()) == ("old",)
    escrow(new_store(keys=ring("k_1")), hashed("s"), tokens())
    assert new_store(keys=ring("new")).ask(UnknownKeyIds()) == ("k_1", "old")


def test_V3_a_refresh_token_alone_names_its_key(after: Store, sign_in: SignIn, sql: Sql) -> None:
    sign_in(through=after)
    sql("UPDATE token_sets SET refresh_token = 'v1.gone.AAAA'")
    assert after.ask(UnknownKeyIds()) == ("gone",)


@pytest.mark.parametrize(
    "cell", ["", "garbage", "v1", "v1.", "v1..", "v1..AAAA", "v1.old", "v2.old.AAAA", "."]
)
def test_V4_a_value_of_no_known_form_names_no_key(
    before: Store, sign_in: SignIn, sql: Sql, cell: str
) -> None:
    sign_in(through=before)
    sql("UPDATE token_sets SET access_token = :cell, refresh_token = NULL", cell=cell)
    assert before.ask(UnknownKeyIds()) == ()
    assert before.ask(KeyUses()) == [KeyUse("old"), KeyUse("", 1)]


def test_V3_everything_is_sealed_anew_with_the_active_key_and_opens(
    before: Store, after: Store, new_store: NewStore, sign_in: SignIn, hashed: Any, tokens: Tokens
) -> None:
    people = {
        tag: sign_in(number, cookie=tag, tag=tag, through=before).user.id
        for number, tag in enumerate("abcdefg", start=1)
    }
    for name in ("x", "y", "z"):
        escrow(before, hashed(name), tokens(name))
    assert after.ask(OlderTokenSets()) == 10
    batches = list(rewrap(after, limit=3))
    assert after.ask(OlderTokenSets()) == 0
    assert [each.done for each in batches] == [3, 3, 1, 3]
    assert totals(after) == {"new": 17, "old": 0}
    retired = new_store(keys=ring("new"))
    assert retired.ask(UnknownKeyIds()) == ()
    for tag, user_id in people.items():
        assert pair(tokens(tag)) == pair(retired.ask(TokensOf(user_id, "emulator")))
    kept = {each.state_hash: each.tokens for each in retired.ask(Escrowed(NOW + 1))}
    assert kept == {hashed(name): tokens(name) for name in "xyz"}
    assert list(rewrap(after)) == []


def test_V3_a_rewrap_that_was_cut_short_goes_on_where_it_stopped(
    before: Store, after: Store, new_store: NewStore, sign_in: SignIn, tokens: Tokens
) -> None:
    people = [
        sign_in(number, cookie=str(number), tag=str(number), through=before).user.id
        for number in range(1, 8)
    ]
    assert next(rewrap(after, limit=2)) == Rewrapped(2, 0)
    assert totals(after) == {"new": 4, "old": 10}
    again = new_store(keys=ring("new", "old"))
    assert [each.done for each in rewrap(again, limit=2)] == [2, 2, 1]
    assert totals(again) == {"new": 14, "old": 0}
    assert [pair(again.ask(TokensOf(user_id, "emulator"))) for user_id in people] == [
        pair(tokens(str(number))) for number in range(1, 8)
    ]


PROGRAM = """
import sys
from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store
from procore_signin._store.rotation.rewrap import rewrap
store = Store(sys.argv[1], KeyRing.parse(Secret(sys.argv[2], "keys")))
for batch in rewrap(store, limit=1):
    print(batch.done, flush=True)
"""


@pytest.mark.parametrize("batches", [1, 7, 20])
def test_V3_a_rewrap_that_is_killed_loses_nothing_and_goes_on(
    url: str, before: Store, after: Store, sign_in: SignIn, tokens: Tokens, batches: int
) -> None:
    people = [
        sign_in(number, cookie=str(number), tag=str(number), through=before).user.id
        for number in range(1, 41)
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, f"{TEXTS['new']},{TEXTS['old']}"],
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        for _ in range(batches):
            process.stdout.readline()
        process.kill()
    left = after.ask(OlderTokenSets())
    assert left <= 40 - batches
    assert sum(each.done for each in rewrap(after)) == left
    assert totals(after) == {"new": 80, "old": 0}
    for number, user_id in enumerate(people, start=1):
        assert pair(tokens(str(number))) == pair(after.ask(TokensOf(user_id, "emulator")))


@pytest.mark.parametrize("who", ["a sign-in", "a refresh", "a disabling", "another rewrap"])
def test_V3_what_is_written_meanwhile_wins(
    before: Store,
    after: Store,
    new_store: NewStore,
    sign_in: SignIn,
    tokens: Tokens,
    monkeypatch: pytest.MonkeyPatch,
    who: str,
) -> None:
    """Between the moment in which the row is read and the one in which it is written."""
    other = new_store(keys=ring("new", "old"))
    user = sign_in(tag="1", through=before).user
    row = before.ask(TokenRowOf(user.id, "emulator", now=NOW))
    assert row is not None
    seal_row = after._seal.seal_row

    def meanwhile() -> None:
        if who == "a sign-in":
            sign_in(cookie="2", tag="2", through=before)
        elif who == "a refresh":
            assert before.do(CommitRefresh(row, tokens("2"), now=NOW)) is not None
        elif who == "a disabling":
            before.do(DisableUser(user.id, now=NOW))
        else:
            list(rewrap(other))

    def slow(*arguments: Any, **named: Any) -> Any:
        sealed = seal_row(*arguments, **named)
        if not done:
            done.append(True)
            meanwhile()
        return sealed

    done: list[bool] = []
    monkeypatch.setattr(after, "_seal", _Slow(after._seal, slow))
    assert next(rewrap(after)) == Rewrapped(0, 1)
    monkeypatch.undo()
    now = after.ask(TokenRowOf(user.id, "emulator", now=NOW))
    assert now is not None
    expected = {"a sign-in": ("2", 2), "a refresh": ("2", 2), "a disabling": ("1", 2)}
    tag, generation = expected.get(who, ("1", 1))
    assert (now.tokens.access_token, now.generation) == (tokens(tag).access_token, generation)
    list(rewrap(after))
    assert totals(after)["old"] == 0


class _Slow:
    """A seal of tokens that lets someone else go first."""

    def __init__(self, seal: Any, seal_row: Callable[..., Any]) -> None:
        self._real = seal
        self.seal_row = seal_row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_V3_a_sign_in_that_empties_an_escrow_meanwhile_wins(
    before: Store, after: Store, hashed: Any, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    escrow(before, hashed("s"), tokens())
    real = after._seal
    slow = _Slow(real, real.seal_row)

    def seal_escrow(*arguments: Any, **named: Any) -> str:
        clear_escrow(before, hashed("s"))
        return real.seal_escrow(*arguments, **named)

    slow.seal_escrow = seal_escrow  # type: ignore[attr-defined]
    monkeypatch.setattr(after, "_seal", slow)
    assert list(rewrap(after)) == [Rewrapped(0, 1)]
    assert after.ask(Escrowed(NOW + 1)) == []


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (("old",), ("old", "new")),  # the new key is given to all, and only opens
        (("old", "new"), ("new", "old")),  # it is promoted
        (("new", "old"), ("new",)),  # everything is sealed anew, and the old one is retired
    ],
)
def test_V3_at_each_step_of_a_rolling_change_each_process_opens_what_the_others_seal(
    new_store: NewStore,
    sign_in: SignIn,
    tokens: Tokens,
    older: tuple[str, ...],
    newer: tuple[str, ...],
) -> None:
    rings = ring(*older), ring(*newer)
    list(rewrap(new_store(keys=rings[0])))
    for tag, (writer, reader) in {"forth": rings, "back": rings[::-1]}.items():
        user = sign_in(cookie=tag, tag=tag, through=new_store(keys=writer)).user
        assert pair(new_store(keys=reader).ask(TokensOf(user.id, "emulator"))) == pair(tokens(tag))
        cookie = Seal(writer, purpose="attempt", random_bytes=urandom).seal("x", context=("a",))
        opened = Seal(reader, purpose="attempt", random_bytes=urandom).open(cookie, context=("a",))
        assert opened == b"x"


def test_V3_rotation_under_load_loses_nobodys_tokens(
    new_store: NewStore, sign_in: SignIn, tokens: Tokens, at_once: Callable[..., list[Any]]
) -> None:
    """Ten people are refreshed again and again while two operators rotate."""
    before = new_store(keys=ring("old"), lock_timeout=30.0)
    after = new_store(keys=ring("new", "old"), lock_timeout=30.0)
    people = [
        sign_in(number, cookie=str(number), tag=f"{number}-0", through=before).user.id
        for number in range(1, 11)
    ]

    def refresh(times: int) -> None:
        for turn in range(1, times + 1):
            for number, user_id in enumerate(people, start=1):
                row = after.ask(TokenRowOf(user_id, "emulator", now=NOW))
                assert row is not None
                assert after.do(CommitRefresh(row, tokens(f"{number}-{turn}"), now=NOW)) is not None

    def act(what: str) -> int:
        if what == "refresh":
            refresh(5)
            return 0
        return sum(each.done for each in rewrap(after, limit=2))

    at_once(act, ["refresh", "rotate", "rotate"])
    list(rewrap(after))
    retired = new_store(keys=ring("new"))
    assert retired.ask(UnknownKeyIds()) == ()
    for number, user_id in enumerate(people, start=1):
        now = retired.ask(TokensOf(user_id, "emulator"))
        assert now is not None
        assert now.access_token == tokens(f"{number}-5").access_token


def test_V4_what_cannot_be_opened_is_named_and_left_and_stops_nobody_else(
    before: Store, after: Store, sign_in: SignIn, hashed: Any, tokens: Tokens, sql: Sql
) -> None:
    people = [
        sign_in(number, cookie=str(number), tag=str(number), through=before).user.id
        for number in range(1, 5)
    ]
    for name in ("a", "b"):
        escrow(before, hashed(name), tokens(name))
    sql("UPDATE token_sets SET refresh_token = 'garbage' WHERE user_id = :user", user=people[0])
    sql("UPDATE token_sets SET access_token = 'v1.gone.AAAA' WHERE user_id = :user", user=people[2])
    sql("UPDATE sign_in_ledger SET escrow = 'v1.old.AAAA' WHERE state_hash = :it", it=hashed("a"))
    damaged = sql("SELECT access_token, refresh_token FROM token_sets ORDER BY user_id")
    for _ in range(2):
        batches = list(rewrap(after, limit=1))
        assert [who for each in batches for who in each.users] == [people[0], people[2]]
        assert [which for each in batches for which in each.attempts] == [hashed("a")[:8]]
    assert after.ask(OlderTokenSets()) == 3
    stored = sql("SELECT access_token, refresh_token FROM token_sets ORDER BY user_id")
    assert (stored[0], stored[2]) == (damaged[0], damaged[2])
    for index in (1, 3):
        assert pair(tokens(str(index + 1))) == pair(after.ask(TokensOf(people[index], "emulator")))
    kept = {each.state_hash: each.tokens for each in after.ask(Escrowed(NOW + 1))}
    assert kept == {hashed("a"): None, hashed("b"): tokens("b")}


def test_V3_key_ids_that_look_alike_are_told_apart(new_store: NewStore, sign_in: SignIn) -> None:
    """`_` is a wildcard of LIKE, and SQLite's LIKE takes `K` for `k`."""
    for number, key_id in enumerate(("k_1", "kx1", "K_1"), start=1):
        sign_in(number, cookie=key_id, tag=key_id, through=new_store(keys=ring(key_id)))
    store = new_store(keys=ring("k_1", "kx1", "K_1"))
    assert totals(store) == {"k_1": 2, "kx1": 2, "K_1": 2}
    assert sum(each.done for each in rewrap(store)) == 2
    assert totals(store) == {"k_1": 6, "kx1": 0, "K_1": 0}


def test_V3_a_lost_key_can_be_given_up_and_harms_nobody_else(
    before: Store, new_store: NewStore, sign_in: SignIn, hashed: Any, tokens: Tokens
) -> None:
    lost = [
        sign_in(number, cookie=str(number), tag=str(number), through=before).user.id
        for number in range(1, 4)
    ]
    escrow(before, hashed("s"), tokens())
    store = new_store(keys=ring("new"))
    safe = sign_in(9, cookie="9", tag="9", through=store).user.id
    given_up = []
    while (batch := give_up_key(store, "old", limit=2)) is not None:
        given_up.append(batch)
    assert given_up == [GivenUp(tuple(lost[:2]), 1), GivenUp(tuple(lost[2:]), 0)]
    assert given_up[0].token_sets == 3
    assert store.ask(UnknownKeyIds()) == ()
    assert pair(tokens("9")) == pair(store.ask(TokensOf(safe, "emulator")))
    assert [store.ask(TokensOf(user_id, "emulator")) for user_id in lost] == [None] * 3
    assert store.ask(UserOf(lost[0])) is not None
    assert store.ask(Escrowed(NOW + 1)) == []
    assert give_up_key(store, "new_") is None


def test_V3_a_sign_in_that_comes_in_between_is_not_given_up(
    before: Store,
    new_store: NewStore,
    sign_in: SignIn,
    tokens: Tokens,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = sign_in(tag="1", through=before).user
    store = new_store(keys=ring("new"))

    def slow(delete: Callable[[], object], _: GiveUpLost) -> object:
        sign_in(cookie="2", tag="2", through=store)
        return delete()

    meet(monkeypatch, store, GiveUpLost, slow)
    give_up_key(store, "old")
    assert pair(tokens("2")) == pair(store.ask(TokensOf(user.id, "emulator")))


def test_V6_a_rewrap_shows_no_token(before: Store, after: Store, sign_in: SignIn) -> None:
    sign_in(through=before)
    assert "canary" not in repr((after.ask(KeyUses()), list(rewrap(after))))
