"""Each authorization response counts once; no grant is left behind (rows C3, C4, C12)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from doing import clear_escrow

from procore_signin._protocol.me import Me
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import CompletedSignIn, Escrow, LedgerEntry, Store
from procore_signin._store.ledger import (
    AttemptOf,
    Escrowed,
    EscrowedIn,
    EscrowTokens,
    FailAttempt,
    TakeAttempt,
)
from procore_signin._store.sign_in import CompleteSignIn
from procore_signin.errors import AttemptInvalid

NOW = 1_800_000_000
Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def state(hashed: Callable[[str], str]) -> str:
    return hashed("state")


def take(store: Store, state_hash: str, environment: str = "emulator") -> LedgerEntry | None:
    return store.do(
        TakeAttempt(state_hash, environment=environment, now=NOW, expires_at=NOW + 1800)
    )


def test_C3_an_attempt_is_taken_once_and_then_known(store: Store, state: str) -> None:
    entry = LedgerEntry(
        state,
        "emulator",
        "taken",
        user_id=None,
        outcome=None,
        created_at=NOW,
        expires_at=NOW + 1800,
        finished_at=None,
    )
    assert store.ask(AttemptOf(state)) is None
    assert take(store, state) is None
    assert entry == take(store, state)
    assert entry == store.ask(AttemptOf(state))


def test_A5_the_code_that_took_an_attempt_stays_known_whoever_comes_after(
    store: Store, state: str, hashed: Callable[[str], str]
) -> None:
    for code in ("first", "second"):
        entry = store.do(
            TakeAttempt(
                state,
                environment="emulator",
                now=NOW,
                expires_at=NOW + 1800,
                code_hash=hashed(code),
            )
        )
    assert entry is not None
    assert entry.code_hash == hashed("first")


def test_C3_an_attempt_stays_taken_in_every_environment_and_after_it_expired(
    store: Store, state: str
) -> None:
    take(store, state, "production")
    again = store.do(
        TakeAttempt(state, environment="monthly", now=NOW + 9999, expires_at=NOW + 99999)
    )
    assert again is not None
    assert ("production", NOW + 1800) == (again.environment, again.expires_at)


def test_C3_hashes_that_differ_in_case_only_are_two_attempts(store: Store) -> None:
    assert take(store, "abc" + "0" * 61) is None
    assert take(store, "ABC" + "0" * 61) is None
    assert take(store, "abc" + "0" * 61) is not None


def test_C4_of_twenty_threads_one_takes_the_attempt(
    new_store: Callable[..., Store], state: str, at_once: Callable[..., list[Any]]
) -> None:
    store = new_store(lock_timeout=30.0)
    taken = at_once(lambda _: take(store, state), list(range(20)))
    assert taken.count(None) == 1
    assert {each.status for each in taken if each is not None} == {"taken"}


TAKE_IN_A_PROCESS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from procore_signin._protocol.secret import Secret
from procore_signin._store import KeyRing, Store
from procore_signin._store.ledger import AttemptOf
from procore_signin._store.ledger import TakeAttempt

url, state_hash = sys.argv[1:]
store = Store(url, KeyRing.parse(Secret("fake:" + "A" * 42 + "E", "keys")), lock_timeout=30.0)
store.ask(AttemptOf(state_hash))
print("ready", flush=True)
sys.stdin.readline()

def take(_):
    return store.do(TakeAttempt(state_hash, environment="emulator", now=1, expires_at=2))

with ThreadPoolExecutor(5) as threads:
    print(sum(entry is None for entry in threads.map(take, range(5))))
store.close()
"""


def test_C4_of_four_processes_with_five_threads_each_one_takes_the_attempt(
    url: str, state: str
) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", TAKE_IN_A_PROCESS, url, state],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        won = [process.communicate(timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [0, 0, 0, 1] == sorted(int(each) for each in won)


def test_C12_tokens_in_escrow_come_back_after_a_while(
    store: Store, state: str, tokens: Callable[..., TokenSet]
) -> None:
    take(store, state)
    store.do(EscrowTokens(state, tokens(), environment="emulator", now=NOW + 3))
    assert store.ask(Escrowed(NOW + 3)) == []
    assert [Escrow(state, "emulator", tokens())] == store.ask(Escrowed(NOW + 4))
    entry = store.ask(AttemptOf(state))
    assert entry is not None
    assert entry.status == "exchanged"


def test_R14_tokens_put_in_escrow_by_a_clock_that_was_ahead_come_back_at_once(
    store: Store, state: str, tokens: Callable[..., TokenSet]
) -> None:
    take(store, state)
    store.do(EscrowTokens(state, tokens(), environment="emulator", now=NOW + 3 * 3600))
    assert [Escrow(state, "emulator", tokens())] == store.ask(Escrowed(NOW))
    assert [Escrow(state, "emulator", tokens())] == store.ask(EscrowedIn("emulator", NOW))
    assert store.ask(Escrowed(NOW + 3 * 3600 - 60)) == []  # a replica whose clock is fast


def test_C12_tokens_without_a_refresh_token_come_back_too(
    store: Store, state: str, tokens: Callable[..., TokenSet]
) -> None:
    take(store, state)
    store.do(EscrowTokens(state, tokens(refreshable=False), environment="emulator", now=NOW))
    assert [tokens(refreshable=False)] == [each.tokens for each in store.ask(Escrowed(NOW + 1))]


def test_C12_a_completed_sign_in_clears_the_escrow(
    store: Store, state: str, tokens: Callable[..., TokenSet], new_session: Any
) -> None:
    take(store, state)
    store.do(EscrowTokens(state, tokens(), environment="emulator", now=NOW))
    assert len(store.ask(Escrowed(NOW + 1))) == 1
    completed = store.do(
        CompleteSignIn(
            state,
            me=Me(1, "joe@procore.com", None, "{}"),
            environment="emulator",
            tokens=tokens(),
            session=new_session("cookie"),
            replaces=None,
            now=NOW + 2,
        )
    )
    assert completed is not None
    user = completed.user
    assert store.ask(Escrowed(NOW + 9)) == []
    entry = store.ask(AttemptOf(state))
    assert entry is not None
    assert (entry.status, entry.user_id, entry.finished_at) == ("done", user.id, NOW + 2)


def test_C12_an_attempt_that_the_janitor_failed_takes_no_escrow(
    store: Store, state: str, tokens: Callable[..., TokenSet]
) -> None:
    take(store, state)
    assert store.do(FailAttempt(state, "orphaned", now=NOW))
    with pytest.raises(AttemptInvalid) as refusal:
        store.do(EscrowTokens(state, tokens(), environment="emulator", now=NOW))
    assert refusal.value.reason == "used"
    assert store.ask(Escrowed(NOW + 1)) == []


def test_C12_an_attempt_that_nobody_took_takes_no_escrow(
    store: Store, state: str, tokens: Callable[..., TokenSet]
) -> None:
    with pytest.raises(AttemptInvalid):
        store.do(EscrowTokens(state, tokens(), environment="emulator", now=NOW))


def test_C12_an_attempt_of_another_environment_takes_no_escrow(
    store: Store, state: str, tokens: Callable[..., TokenSet]
) -> None:
    take(store, state, "production")
    with pytest.raises(AttemptInvalid):
        store.do(EscrowTokens(state, tokens(), environment="emulator", now=NOW))
    assert store.ask(Escrowed(NOW + 1)) == []


def test_C12_a_failed_attempt_keeps_its_escrow_until_it_is_cleared(
    store: Store, state: str, tokens: Callable[..., TokenSet]
) -> None:
    take(store, state)
    store.do(EscrowTokens(state, tokens(), environment="emulator", now=NOW))
    assert store.do(FailAttempt(state, "orphaned", now=NOW + 400))
    assert len(store.ask(Escrowed(NOW + 400))) == 1
    clear_escrow(store, state)
    assert store.ask(Escrowed(NOW + 400)) == []
    entry = store.ask(AttemptOf(state))
    assert entry is not None
    assert ("failed", "orphaned", NOW + 400) == (entry.status, entry.outcome, entry.finished_at)


def test_C12_the_oldest_escrows_come_first_and_no_more_than_asked_for(
    store: Store, hashed: Any, tokens: Callable[..., TokenSet]
) -> None:
    for number in (3, 1, 2):
        take(store, hashed(str(number)))
        store.do(
            EscrowTokens(
                hashed(str(number)), tokens(str(number)), environment="emulator", now=NOW + number
            )
        )
    found = store.ask(Escrowed(NOW + 10, limit=2))
    assert [hashed("1"), hashed("2")] == [each.state_hash for each in found]


def test_C12_escrows_of_one_environment_are_turned_page_by_page(
    store: Store, hashed: Any, tokens: Callable[..., TokenSet]
) -> None:
    for number, environment in enumerate(["emulator", "monthly", "emulator", "emulator"]):
        take(store, hashed(str(number)), environment)
        store.do(
            EscrowTokens(hashed(str(number)), tokens(str(number)), environment=environment, now=NOW)
        )
    seen: list[str] = []
    page = store.ask(EscrowedIn("emulator", NOW + 1, limit=1))
    while page:
        seen += [each.state_hash for each in page]
        page = store.ask(EscrowedIn("emulator", NOW + 1, after=page[-1], limit=1))
    assert seen == sorted(hashed(str(number)) for number in (0, 2, 3))
    assert store.ask(EscrowedIn("emulator", NOW)) == []


def test_an_attempt_ends_once(store: Store, state: str) -> None:
    assert not store.do(FailAttempt(state, "denied", now=NOW))
    take(store, state)
    assert store.do(FailAttempt(state, "denied", now=NOW + 1))
    assert not store.do(FailAttempt(state, "other", now=NOW + 2))
    entry = store.ask(AttemptOf(state))
    assert entry is not None
    assert ("denied", NOW + 1) == (entry.outcome, entry.finished_at)


def test_an_outcome_that_is_too_long_or_not_plain_is_cut_to_fit(store: Store, state: str) -> None:
    take(store, state)
    store.do(FailAttempt(state, "a\x00\ud800\r\nb" + "x" * 100, now=NOW))
    entry = store.ask(AttemptOf(state))
    assert entry is not None
    assert entry.outcome == "ab" + "x" * 62


def test_a_deleted_person_leaves_the_ledger_standing(
    store: Store, sign_in: Callable[..., CompletedSignIn], sql: Sql, hashed: Any
) -> None:
    sign_in(cookie="c", tag="t")
    sql("DELETE FROM token_sets")
    sql("DELETE FROM users")
    entry = store.ask(AttemptOf(hashed("state for c t")))
    assert entry is not None
    assert ("done", None) == (entry.status, entry.user_id)
