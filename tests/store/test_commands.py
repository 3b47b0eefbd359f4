"""Commands and queries are values, whose statements a driver runs (decision 33)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from doing import Asking, Doing, in_words
from sqlalchemy.dialects import sqlite

from procore_signin._store import CompletedSignIn, Store
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.statement import (
    Change,
    One,
    Statements,
    Together,
    change,
    many,
    one,
    texts_for,
)
from procore_signin._store.sessions import SessionOf

NOW = 1_800_000_000
SignIn = Callable[..., CompletedSignIn]

RENAME = in_words("UPDATE users SET name = :name")
NAME = in_words("SELECT name FROM users")


def test_a_command_that_collides_is_run_again_from_the_start_and_leaves_nothing_of_the_first_try(
    store: Store, sign_in: SignIn
) -> None:
    sign_in(name="Joe")
    found: list[Any] = []

    def body() -> Statements[None]:
        row = yield from one(NAME, {})
        found.append(row and row[0])
        yield from change(RENAME, {"name": f"try {len(found)}"})
        if len(found) == 1:
            raise Failed("collision")

    store.do(Doing(body))
    assert found == ["Joe", "Joe"]
    assert [tuple(row) for row in store.ask(Asking(lambda: many(NAME, {})))] == [("try 2",)]


def test_statements_that_are_wanted_together_run_in_order_and_each_has_its_outcome(
    store: Store, sign_in: SignIn
) -> None:
    sign_in(name="Joe")

    def body() -> Statements[list[Any]]:
        rename = Change(RENAME, {"name": "Jo"})
        return list((yield Together((One(NAME, {}), rename, One(NAME, {})))))

    before, changed, after = store.do(Doing(body))
    assert (before[0], changed, after[0]) == ("Joe", 1, "Jo")


def test_a_query_changes_nothing(store: Store, sign_in: SignIn) -> None:
    sign_in(name="Joe")
    with pytest.raises(TypeError, match="changes none"):
        store.ask(Asking(lambda: change(RENAME, {"name": "Jo"})))


def test_a_look_up_finds_the_same_with_its_generator_and_without(
    store: Store, sign_in: SignIn, hashed: Any
) -> None:
    user = sign_in().user
    look_up = SessionOf(hashed("cookie"), environment="emulator", now=NOW)
    found = store.ask(look_up)
    assert found is not None
    assert found.user == user
    assert store.do(Doing(lambda: look_up.run(store._seal))) == found


def test_a_statement_is_compiled_once_for_all_stores_of_one_kind() -> None:
    statement = in_words("SELECT 1")
    assert texts_for(sqlite.dialect())[statement] is texts_for(sqlite.dialect())[statement]
