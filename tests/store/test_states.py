"""What the tables of `_store/states.py` say is what the store does, for every state and event.

Each database is tried once: a row is written in a state, the store is asked for one thing, and the
state is read again. The tests list every disagreement: a transition that the store makes and the
table does not have, and the reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from doing import every, meet, purge_grants
from sqlalchemy import Engine
from states import (
    FEWER_LEDGER_STATES,
    FEWER_TOKENS_STATES,
    LATER,
    LEDGER_STATES,
    LEDGER_TABLES,
    NOW,
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
from procore_signin._store.engine.command import Command
from procore_signin._store.ledger import PutOff
from procore_signin._store.linking.links import ForgetReference, Link, Unlink
from procore_signin._store.rotation.rewrap import WriteEscrows, WriteSets
from procore_signin._store.sessions import (
    BindSession,
    EndOtherSessions,
    EndSessionOf,
    EndSessions,
    EndSomeSessions,
    TouchSession,
)
from procore_signin._store.states import (
    ENABLED_ONLY,
    AttemptState,
    Event,
    PredecessorState,
    TokenSetState,
    WithdrawalState,
)
from procore_signin._store.tokens import EndedGrants
from procore_signin._store.users import ChooseCompany

# No one cuts the power off while the rows are written that a trial begins with.
QUICK = {"sqlite": "PRAGMA synchronous=OFF", "postgresql": "SET synchronous_commit TO off"}


@pytest.fixture(scope="module")
def world(open_store: Store, engine: Engine) -> Iterator[World]:
    with engine.connect() as connection:
        if (quick := QUICK.get(engine.dialect.name)) is not None:
            connection.exec_driver_sql(quick)
            connection.commit()
        yield World(open_store, connection)


@pytest.fixture(scope="module")
def token_trials(world: World, kind: str) -> list[Trial]:
    return [
        world.try_tokens(state, move)
        for state in (TOKENS_STATES if kind == "sqlite" else FEWER_TOKENS_STATES)
        for move in world.token_moves()
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


@pytest.mark.parametrize("event", [Event.END_IN_DOUBT, Event.END_IN_SILENCE, Event.LOSE_KEY])
def test_a_row_that_names_no_user_keeps_no_doubt(world: World, event: Event) -> None:
    state = AttemptState.FAILED, WithdrawalState.HELD
    [row] = world.ledger_row(state)
    [move] = [move for move in world.ledger_moves(state) if move.event is event]
    world.begin(ledger=({**row, "user_id": None},))
    move.do()

    assert world.ledger_states() == {world.place: (AttemptState.FAILED, WithdrawalState.NOTHING)}


def test_a_token_set_that_became_good_after_a_purge_found_it_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.begin(tokens=world.token_set(TokenSetState.LOST))
    [commit] = [move for move in world.token_moves() if move.words == "commit shared"]

    def overtaken(ended: Callable[[], object], _: EndedGrants) -> object:
        found = ended()
        commit.do()
        return found

    meet(monkeypatch, world.store, EndedGrants, overtaken)
    purge_grants(world.store, before=NOW + LATER)

    assert world.tokens_state() == (TokenSetState.FREE, PredecessorState.SETTLED)
    assert world.ledger_states() == {}


WRITING_NO_STATE = {
    BindSession: "sessions",
    ChooseCompany: "a column of users",
    EndOtherSessions: "sessions",
    EndSessionOf: "sessions",
    EndSessions: "sessions",
    EndSomeSessions: "sessions",
    Link: "which of the application's accounts a user is",
    ForgetReference: "as above, and sessions",
    TouchSession: "sessions",
    Unlink: "as above",
    WriteSets: "the same tokens, sealed anew",
    WriteEscrows: "the same tokens, sealed anew",
    PutOff: "the order in which the janitor comes to escrows",
}


def test_every_command_is_tried_or_said_to_write_no_state(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = set()
    usual = world.store.do

    def noting(command: Command[Any]) -> Any:
        tried.add(type(command))
        return usual(command)

    monkeypatch.setattr(world.store, "do", noting)
    for move in world.token_moves():
        world.try_tokens(TOKENS_STATES[1], move)
    for move in world.ledger_moves(LEDGER_STATES[0]):
        world.try_ledger(LEDGER_STATES[0], move)

    assert tried | set(WRITING_NO_STATE) == every(Command)
