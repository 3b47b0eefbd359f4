"""Which transitions of the tables in `_store/states.py` the rows of a world made."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Any

from tests.simulation.keeping import LEDGER, TOKEN_SETS

from procore_signin._store.engine.command import Command
from procore_signin._store.escrows import UNANSWERED
from procore_signin._store.states import (
    ATTEMPT,
    PREDECESSOR,
    TOKEN_SET,
    WITHDRAWAL,
    AttemptState,
    Event,
    Transition,
    WithdrawalState,
    attempt_state,
    predecessor_state,
    token_set_state,
    withdrawal_state,
)

E = Event
_LOSES = (E.PUT_AWAY, E.PUT_AWAY_LEASED, E.PUT_AWAY_UNSURE, E.LEAVE_DOUBT)
EVENTS: dict[str, tuple[Event, ...]] = {
    "TakeAttempt": (E.TAKE,),
    "EscrowTokens": (E.ESCROW,),
    "FailAttempt": (E.FAIL,),
    "CompleteSignIn": (E.COMPLETE_AND_REPLACE, E.COMPLETE, E.REFUSE, E.SIGN_IN, *_LOSES),
    "JoinSignIn": (E.JOIN,),
    "TakeLease": (E.TAKE_LEASE,),
    "NoteAmbiguous": (E.NO_ANSWER, E.SPEAK_OF_NONE, E.LEAVE_DOUBT),
    "ReleaseLease": (E.GIVE_BACK, E.SPEAK),
    "CommitRefresh": (E.COMMIT, E.COMMIT_SHARED, *_LOSES),
    "EndGrant": (E.REFUSED, E.SPEAK),
    "Settle": (E.ACCEPTED,),
    "DisableUser": (E.DISABLE, *_LOSES),
    "DisconnectUser": (E.DISCONNECT, *_LOSES),
    "DeleteUser": (E.DELETE, *_LOSES),
    "GiveUpTokens": (E.GIVE_UP, E.SPEAK),
    "HoldEscrow": (E.HOLD,),
    "ReleaseEscrow": (E.RELEASE,),
    "ReplaceEscrow": (E.TRY, E.ANSWER),
    # Repeated, it holds the row that it has made before.
    "KeepRenewed": (E.RENEW, E.RENEW_IN_DOUBT, E.KEEP, E.HOLD),
    "FinishEscrow": (E.END, E.END_IN_DOUBT, E.END_IN_SILENCE),
    "PurgeAttempts": (E.PURGE,),
    "PurgeGrants": (E.PURGE, *_LOSES),
    "GiveUpLost": (E.LOSE_KEY, *_LOSES),
}
Key = tuple[str, Enum, Event]
TABLES: dict[str, tuple[Transition, ...]] = {
    "attempt": ATTEMPT,
    "token set": TOKEN_SET,
    "predecessor": PREDECESSOR,
    "withdrawal": WITHDRAWAL,
}
_LEADS: dict[str, dict[tuple[Enum, Event], Enum]] = {
    name: {(each.state, each.event): each.next for each in table} for name, table in TABLES.items()
}
_LISTED = {name: {each.event for each in table} for name, table in TABLES.items()}
_LEDGER_TABLES = ("attempt", "withdrawal")
_TOKEN_TABLES = ("token set", "predecessor")
_DOUBTS = (WithdrawalState.SILENT, WithdrawalState.DOUBT)
"""Where a row names no one, nothing stays behind instead."""
_UNDER_WAY = (AttemptState.TAKEN, AttemptState.EXCHANGED)

States = tuple[Enum, Enum]


class Unlisted(Exception):
    """A row made a step that no table has."""


class Taken:
    """Counts the transitions of one world.

    Attributes:
        counts: How often each was made.
    """

    def __init__(self) -> None:
        self.counts: Counter[Key] = Counter()
        self._rows: tuple[list[tuple[Any, ...]], ...] = ([], [])
        self._ledger: dict[Any, tuple[tuple[Any, ...], States]] = {}
        self._sets: dict[Any, tuple[tuple[Any, ...], States]] = {}

    def look(
        self, command: Command[Any] | None, rows: tuple[list[tuple[Any, ...]], ...], at: int
    ) -> None:
        """Compare the rows with those of the last time."""
        events = EVENTS.get(type(command).__name__, ())
        sets, ledger = rows
        first = command is None
        known = self._rows  # most commands change one of the tables
        self._rows = rows
        if sets != known[0]:
            self._sets = self._compared(_TOKEN_TABLES, self._sets, sets, events, at, first=first)
        if ledger != known[1]:
            self._ledger = self._compared(
                _LEDGER_TABLES, self._ledger, ledger, events, at, first=first
            )

    def _compared(
        self,
        tables: tuple[str, str],
        before: dict[Any, tuple[tuple[Any, ...], States]],
        rows: list[tuple[Any, ...]],
        events: tuple[Event, ...],
        at: int,
        *,
        first: bool,
    ) -> dict[Any, tuple[tuple[Any, ...], States]]:
        states_of = _token_states if tables is _TOKEN_TABLES else _ledger_states
        found = {}
        for row in rows:
            known = before.get(row[0])
            if known is None:
                states = states_of(row, at)
                if not first:
                    self._took(tables, states_of(None, at), states, events)
            elif known[0] == row:
                found[row[0]] = known
                continue
            else:
                was = states_of(known[0], at)
                if was != known[1]:
                    self._time(tables, known[1], was)
                states = states_of(row, at)
                self._took(tables, _with_its_doubt(known[0], was, events), states, events)
            found[row[0]] = (row, states)
        if len(found) != len(before):
            for number, (row, known_states) in before.items():
                if number not in found:
                    was = states_of(row, at)
                    if was != known_states:
                        self._time(tables, known_states, was)
                    self._took(tables, was, states_of(None, at), events)
        return found

    def _time(self, tables: tuple[str, str], was: States, now: States) -> None:
        for table, state, to in zip(tables, was, now, strict=True):
            if state is not to and _LEADS[table].get((state, E.TIME)) is to:
                self.counts[table, state, E.TIME] += 1

    def _took(
        self, tables: tuple[str, str], was: States, now: States, events: tuple[Event, ...]
    ) -> None:
        for event in events:
            moved = []
            listed = False
            for table, state, to in zip(tables, was, now, strict=True):
                if event not in _LISTED[table]:
                    if state is not to:
                        break
                    continue
                listed = True
                leads = _LEADS[table].get((state, event))
                if leads is not to and not (leads in _DOUBTS and to is WithdrawalState.NOTHING):
                    break
                moved.append((table, state, event))
            else:
                if listed:
                    self.counts.update(moved)
                    return
        if events and was != now:
            raise Unlisted(f"{events[0].value}: {was} to {now}")


def _token_states(row: tuple[Any, ...] | None, at: int) -> States:
    named = None if row is None else dict(zip(TOKEN_SETS, row, strict=True))
    return token_set_state(named, at), predecessor_state(named)


def _ledger_states(row: tuple[Any, ...] | None, at: int) -> States:
    named = None if row is None else dict(zip(LEDGER, row, strict=True))
    return attempt_state(named), withdrawal_state(named, at)


def _with_its_doubt(row: tuple[Any, ...], was: States, events: tuple[Event, ...]) -> States:
    """Return the states of a row, with the doubt that one without a user still names.

    It counts for no one, until the pair is given up into that row after all. Where the attempt has
    not ended, the doubt is about that very pair, which is here again: it ends with the attempt.
    """
    if E.GIVE_UP not in events or was[1] is not WithdrawalState.NOTHING or was[0] in _UNDER_WAY:
        return was
    doubt = dict(zip(LEDGER, row, strict=True))["outcome"] == UNANSWERED
    return (was[0], WithdrawalState.DOUBT) if doubt else was
