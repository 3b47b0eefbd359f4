"""What is sealed in the database: rows V1, V2, V4, V6, V7."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pairs import pair
from rich.console import Console
from rich.traceback import Traceback

from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import CompletedSignIn, KeyRing, Store
from procore_signin._store.ledger import AttemptOf, Escrowed, EscrowTokens, TakeAttempt
from procore_signin._store.sessions import SessionOf
from procore_signin._store.tokens import TokensOf
from procore_signin.errors import VaultSealed

NOW = 1_800_000_000
Sql = Callable[..., list[tuple[Any, ...]]]
SignIn = Callable[..., CompletedSignIn]
Tokens = Callable[..., TokenSet]
OTHER_KEY = KeyRing.parse(Secret("other:" + "C" * 42 + "E", "keys"))


def test_V1_no_token_stands_in_the_database_or_its_log(
    store: Store,
    sign_in: SignIn,
    hashed: Any,
    tokens: Tokens,
    everything_stored: Callable[[], bytes],
) -> None:
    sign_in(tag="first")
    sign_in(tag="second", cookie="2")
    store.do(TakeAttempt(hashed("s"), environment="emulator", now=NOW, expires_at=NOW + 1))
    store.do(EscrowTokens(hashed("s"), tokens("third"), environment="emulator", now=NOW))
    stored = everything_stored()
    assert b"v1.fake1." in stored
    assert b"canary-access" not in stored
    assert b"canary-refresh" not in stored


def test_V7_tokens_are_those_of_one_environment(
    store: Store, sign_in: SignIn, tokens: Tokens
) -> None:
    user = sign_in(environment="production").user
    assert pair(tokens()) == pair(store.ask(TokensOf(user.id, "production")))
    assert store.ask(TokensOf(user.id, "monthly")) is None


def test_V3_an_older_key_still_opens_what_it_sealed(
    new_store: Callable[..., Store], sign_in: SignIn, tokens: Tokens
) -> None:
    older = new_store(keys=KeyRing.parse(Secret("fake0:" + "B" * 42 + "E", "keys")))
    user = sign_in(through=older).user
    assert pair(tokens()) == pair(new_store().ask(TokensOf(user.id, "emulator")))


MOVES = {
    "to the other column": "UPDATE token_sets SET access_token = refresh_token",
    "to another user": (
        "UPDATE token_sets SET access_token = :other, refresh_token = NULL WHERE user_id = :user"
    ),
    "to another environment": "UPDATE token_sets SET environment = 'monthly'",
    "to another generation": "UPDATE token_sets SET generation = generation + 1",
}


@pytest.mark.parametrize("move", MOVES)
def test_V2_a_moved_cell_does_not_open(store: Store, sign_in: SignIn, sql: Sql, move: str) -> None:
    user = sign_in(1, cookie="1", tag="mine").user
    other = sign_in(2, cookie="2", tag="theirs").user
    ((cell,),) = sql("SELECT access_token FROM token_sets WHERE user_id = :user", user=other.id)
    values = {"other": cell, "user": user.id} if ":other" in MOVES[move] else {}
    sql(MOVES[move], **values)
    environment = "monthly" if "environment" in move else "emulator"
    with pytest.raises(VaultSealed, match="is not where it was sealed for"):
        store.ask(TokensOf(user.id, environment))


def test_V2_an_escrow_does_not_open_for_another_attempt_or_as_a_token(
    store: Store, sign_in: SignIn, sql: Sql, hashed: Any, tokens: Tokens
) -> None:
    user = sign_in().user
    for name in ("a", "b"):
        store.do(TakeAttempt(hashed(name), environment="emulator", now=NOW, expires_at=NOW + 1))
        store.do(EscrowTokens(hashed(name), tokens(name), environment="emulator", now=NOW))
    escrows: dict[Any, Any] = dict(sql("SELECT state_hash, escrow FROM sign_in_ledger"))
    sql(
        "UPDATE sign_in_ledger SET escrow = :escrow WHERE state_hash = :state",
        escrow=escrows[hashed("b")],
        state=hashed("a"),
    )
    sql("UPDATE token_sets SET access_token = :escrow", escrow=escrows[hashed("b")])
    opened = {each.state_hash: each.tokens for each in store.ask(Escrowed(NOW + 1))}
    assert {hashed("a"): None, hashed("b"): tokens("b")} == opened
    with pytest.raises(VaultSealed):
        store.ask(TokensOf(user.id, "emulator"))


def test_an_escrow_comes_back_as_it_was_with_and_without_a_refresh_token(
    store: Store, hashed: Any, tokens: Tokens
) -> None:
    for name, kept in (("a", tokens("a")), ("b", replace(tokens("b"), refresh_token=None))):
        store.do(TakeAttempt(hashed(name), environment="emulator", now=NOW, expires_at=NOW + 1))
        store.do(EscrowTokens(hashed(name), kept, environment="emulator", now=NOW))
    opened = {each.state_hash: each.tokens for each in store.ask(Escrowed(NOW + 1))}
    assert opened[hashed("a")] == tokens("a")
    assert opened[hashed("b")] == replace(tokens("b"), refresh_token=None)
    assert repr(opened[hashed("a")]).count("<access token>, refresh_token=<refresh token>") == 1


def test_V2_an_escrow_does_not_open_in_another_environment(
    store: Store, sql: Sql, hashed: Any, tokens: Tokens
) -> None:
    store.do(TakeAttempt(hashed("a"), environment="production", now=NOW, expires_at=NOW + 1))
    store.do(EscrowTokens(hashed("a"), tokens(), environment="production", now=NOW))
    sql("UPDATE sign_in_ledger SET environment = 'monthly'")
    assert [None] == [each.tokens for each in store.ask(Escrowed(NOW + 1))]


@pytest.mark.parametrize("damage", ["garbage", "", "v1.fake1.AAAA", "v1.gone." + "A" * 60])
def test_V4_a_corrupt_row_harms_its_person_only(
    store: Store, sign_in: SignIn, sql: Sql, tokens: Tokens, damage: str
) -> None:
    harmed = sign_in(1, cookie="1", tag="harmed").user
    other = sign_in(2, cookie="2", tag="other").user
    sql(
        "UPDATE token_sets SET access_token = :damage WHERE user_id = :user",
        damage=damage,
        user=harmed.id,
    )
    with pytest.raises(VaultSealed):
        store.ask(TokensOf(harmed.id, "emulator"))
    assert pair(tokens("other")) == pair(store.ask(TokensOf(other.id, "emulator")))


def test_V4_a_person_with_a_corrupt_row_signs_in_again_and_the_loss_is_told(
    store: Store, sign_in: SignIn, sql: Sql, tokens: Tokens
) -> None:
    user = sign_in(tag="old").user
    sql("UPDATE token_sets SET refresh_token = 'garbage'")
    done = sign_in(tag="new", cookie="2")
    assert (None, True) == (done.replaced_tokens, done.replaced_sealed)
    assert pair(tokens("new")) == pair(store.ask(TokensOf(user.id, "emulator")))
    assert not sign_in(tag="newest", cookie="3").replaced_sealed


def test_V4_an_escrow_that_cannot_be_opened_hides_no_other(
    store: Store, new_store: Callable[..., Store], hashed: Any, tokens: Tokens
) -> None:
    for name, through in (("a", new_store(keys=OTHER_KEY)), ("b", store)):
        through.do(TakeAttempt(hashed(name), environment="emulator", now=NOW, expires_at=NOW + 1))
        through.do(EscrowTokens(hashed(name), tokens(name), environment="emulator", now=NOW))
    opened = {each.state_hash: each.tokens for each in store.ask(Escrowed(NOW + 1))}
    assert {hashed("a"): None, hashed("b"): tokens("b")} == opened


def traceback_with_locals(error: BaseException) -> str:
    shown = io.StringIO()
    traceback = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_string=10_000
    )
    Console(file=shown, width=400).print(traceback)
    return shown.getvalue()


def test_V6_no_token_shows_in_the_locals_of_a_traceback(
    store: Store, sign_in: SignIn, sql: Sql
) -> None:
    user = sign_in().user
    sql("UPDATE token_sets SET refresh_token = 'garbage'")
    with pytest.raises(VaultSealed) as refusal:
        store.ask(TokensOf(user.id, "emulator"))
    shown = traceback_with_locals(refusal.value)
    assert "open_row" in shown
    assert "<access token>" in shown or "access_token" in shown
    assert "canary" not in shown


def test_V6_no_token_cookie_or_email_shows_in_the_reprs_of_what_the_store_gives(
    store: Store, sign_in: SignIn, hashed: Any, new_session: Any
) -> None:
    done = sign_in(login="canary@procore.com", name="Canary")
    again = sign_in(login="canary@procore.com", cookie="2", tag="2")
    shown = repr(
        (
            done,
            again,
            store.ask(Escrowed(NOW + 1)),
            store.ask(AttemptOf(hashed("state for cookie 1"))),
            store.ask(SessionOf(hashed("cookie"), environment="emulator", now=NOW)),
            store.ask(TokensOf(done.user.id, "emulator")),
            new_session("cookie", me_json="canary", user_agent="canary"),
        )
    )
    assert "<refresh token>" in shown
    assert "canary" not in shown.lower()
    assert hashed("cookie") not in shown


def test_V2_whoever_writes_to_the_database_is_anybody_but_has_no_token_as_security_md_says(
    store: Store, sign_in: SignIn, sql: Sql, hashed: Any
) -> None:
    """The row about them promises no more than this. Where more is done one day, change both."""
    mine, theirs = sign_in(1, cookie="1", tag="mine").user, sign_in(2, cookie="2").user

    sql("UPDATE sessions SET user_id = :them WHERE user_id = :me", them=theirs.id, me=mine.id)

    session = store.ask(SessionOf(hashed("1"), environment="emulator", now=NOW))
    assert session is not None
    assert session.user.id == theirs.id
    cells = sql("SELECT access_token, refresh_token, predecessor FROM token_sets")
    assert "canary" not in repr(cells)
    page = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| A writer to the")]
    assert "**act as any user of this application**" in row
