"""What the tables of `_store/states.py` say is what the store does, for every state and event.

Each database is tried once: a row is written in a state, the store is asked for one thing, and the
state is read again. The tests list every disagreement: a transition that the store makes and the
table does not have, and the reverse.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from states import (
    FEWER_LEDGER_STATES,
    LEDGER_STATES,
    LEDGER_TABLES,
    TOKEN_TABLES,
    TOKENS_STATES,
    Trial,
    World,
    accepts,
    after,
    leavings,
    ledger_after,
)

from procore_signin._store import Store
from procore_signin._store.states import (
    ENABLED_ONLY,
)

# Nobody cuts the power off while the rows are written that a trial begins with.
QUICK = {"sqlite": "PRAGMA synchronous=OFF", "postgresql": "SET synchronous_commit TO off"}


@pytest.fixture(scope="module")
def world(open_store: Store, engine: Engine) -> Iterator[World]:
    with engine.connect() as connection:
        if (quick := QUICK.get(engine.dialect.name)) is not None:
            connection.exec_driver_sql(quick)
            connection.commit()
        yield World(open_store, connection)


@pytest.fixture(scope="module")
def token_trials(world: World) -> list[Trial]:
    return [
        world.try_tokens(state, move) for state in TOKENS_STATES for move in world.token_moves()
    ]


@pytest.fixture(scope="module")
def ledger_trials(world: World, kind: str) -> list[Trial]:
    return [
        world.try_ledger(state, move)
        for state in (LEDGER_STATES if kind == "sqlite" else FEWER_LEDGER_STATES)
        for move in world.ledger_moves(state)
    ]


def test_a_row_in_every_state_is_told_to_be_in_it(world: World) -> None:
    told: list[object] = []
    for state in TOKENS_STATES:
        world.begin(tokens=world.token_set(*state))
        told.append(world.tokens_state())
    for ledger_state in LEDGER_STATES[1:]:
        world.begin(ledger=world.ledger_row(ledger_state))
        told.append(world.ledger_states()[world.place])

    assert told == [*TOKENS_STATES, *LEDGER_STATES[1:]]


def test_a_token_set_goes_where_the_tables_say(token_trials: list[Trial]) -> None:
    wrong = [
        f"{each}, not {expected}"
        for each in token_trials
        if each.found != (expected := after(TOKEN_TABLES, each.state, each.event))
    ]

    assert wrong == []


def test_a_token_set_that_refuses_an_event_stays_as_it_is(token_trials: list[Trial]) -> None:
    refused = [each for each in token_trials if not accepts(TOKEN_TABLES, each.state, each.event)]

    assert [str(each) for each in refused if each.changed] == []
    assert refused


def test_a_token_set_leaves_in_the_ledger_what_the_table_says(token_trials: list[Trial]) -> None:
    wrong = [
        f"{each} leaves {each.left}, not {expected}"
        for each in token_trials
        if each.left != (expected := leavings(each.state, each.event))
    ]

    assert wrong == []


def test_a_token_set_of_a_disabled_user_refuses_sign_ins_and_refreshes(world: World) -> None:
    trials = [
        world.try_tokens(state, move, disabled=True)
        for state in TOKENS_STATES
        for move in world.token_moves()
        if move.event in ENABLED_ONLY
    ]

    assert [str(each) for each in trials if each.changed or each.left] == []
    assert trials


def test_a_row_of_the_ledger_goes_where_the_tables_say(ledger_trials: list[Trial]) -> None:
    wrong = [
        f"{each}, not {expected}"
        for each in ledger_trials
        if each.found != (expected := ledger_after(each.state, each.event))
    ]

    assert wrong == []


def test_a_row_of_the_ledger_that_refuses_an_event_stays_as_it_is(
    ledger_trials: list[Trial],
) -> None:
    refused = [each for each in ledger_trials if not accepts(LEDGER_TABLES, each.state, each.event)]

    assert [str(each) for each in refused if each.changed] == []
    assert refused
