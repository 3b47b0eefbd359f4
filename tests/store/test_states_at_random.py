"""However calls follow one another, each row stays in the tables of `_store/states.py`.

Several refreshers, revokers and operators act on one user, in any order, with rows that they read
long ago. After each call every row must be in a state of the tables, and must have come there from
the state before by an event that the call may cause.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
from doing import purge, purge_grants
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import Engine, Table, delete, select
from states import (
    ENVIRONMENT,
    KEY,
    LATER,
    LEDGER_STATES,
    LEDGER_TABLES,
    PERSON,
    TOKEN_TABLES,
    TOKENS_STATES,
    Row,
    State,
    after,
    ledger_state,
    pair_of,
    session_of,
    told,
)

from procore_signin._protocol.me import Me
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import Escrow, Store
from procore_signin._store.access import DeleteUser, DisableUser, DisconnectUser, EnableUser
from procore_signin._store.escrows import LATE, REFRESHING, UNANSWERED, GiveUpTokens, place_of
from procore_signin._store.ledger import EscrowTokens, FailAttempt, TakeAttempt
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
from procore_signin._store.rotation.lost_keys import give_up_key
from procore_signin._store.schema import sessions, sign_in_ledger, token_sets, users
from procore_signin._store.sign_in import CompleteSignIn, JoinSignIn
from procore_signin._store.states import (
    AttemptState,
    Event,
    PredecessorState,
    TokenSetState,
    WithdrawalState,
    predecessor_state,
    token_set_state,
)
from procore_signin._store.withdrawal import (
    FinishEscrow,
    HoldEscrow,
    KeepRenewed,
    ReleaseEscrow,
    ReplaceEscrow,
)
from procore_signin.errors import AttemptInvalid, SignInRefused

NOW = 1_800_000_000
NO_ROW = (AttemptState.ABSENT, WithdrawalState.NOTHING)
NO_TOKENS = (TokenSetState.ABSENT, PredecessorState.SETTLED)
PUT_AWAY = {Event.PUT_AWAY, Event.PUT_AWAY_LEASED, Event.PUT_AWAY_UNSURE, Event.LEAVE_DOUBT}
SOME = st.integers(0, 3)
NAMES = st.sampled_from(["one", "two"])
OUTCOMES = st.sampled_from([LATE, UNANSWERED, REFRESHING])
EXAMPLES, STEPS = 25, 40


class Life(RuleBasedStateMachine):
    """One user's tokens, and all who act on them."""

    def __init__(self, store: Store, engine: Engine) -> None:
        super().__init__()
        self.store, self.connection = store, engine.connect()
        self.connection.exec_driver_sql("PRAGMA synchronous=OFF")
        self.connection.rollback()
        self.now, self.count = NOW, 0
        self.attempts: list[str] = []
        self.seen: list[TokenRow] = []
        with self.connection.begin():
            for table in (token_sets, sessions, sign_in_ledger, users):
                self.connection.execute(delete(table))

    def teardown(self) -> None:
        self.connection.close()

    # what is there

    def rows(self, table: Table) -> list[Row]:
        with self.connection.begin():
            return [dict(row) for row in self.connection.execute(select(table)).mappings()]

    def ledger(self) -> dict[str, State]:
        return {
            row["state_hash"]: told(partial(ledger_state, row, self.now))
            for row in self.rows(sign_in_ledger)
        }

    def tokens(self) -> State:
        row = next(iter(self.rows(token_sets)), None)
        return told(lambda: (token_set_state(row, self.now), predecessor_state(row)))

    @property
    def user_id(self) -> int:
        return next((int(row["id"]) for row in self.rows(users)), 0)

    @invariant()
    def every_row_is_in_a_state_of_the_tables(self) -> None:
        assert self.tokens() in TOKENS_STATES
        assert [each for each in self.ledger().values() if each not in LEDGER_STATES] == []

    def happens(self, events: set[Event], act: Callable[[], object]) -> None:
        """Let a call happen that may cause these events, and nothing else."""
        tokens, ledger = self.tokens(), self.ledger()
        with suppress(AttemptInvalid, SignInRefused):
            act()
        found = self.tokens()
        assert found == tokens or found in {after(TOKEN_TABLES, tokens, each) for each in events}
        now = self.ledger()
        for place in {*ledger, *now}:
            was, is_now = ledger.get(place, NO_ROW), now.get(place, NO_ROW)
            may = {after(LEDGER_TABLES, was, each) for each in events}
            nameless = {(attempt, WithdrawalState.NOTHING) for attempt, _ in may}
            assert is_now == was or is_now in may | nameless, (was, is_now)

    # sign-ins

    @rule()
    def begin_an_attempt(self) -> None:
        self.count += 1
        self.attempts.append(place_of("attempt", self.count))
        self._take(self.attempts[-1])

    def _take(self, place: str) -> None:
        self.happens(
            {Event.TAKE},
            lambda: self.store.do(
                TakeAttempt(place, environment=ENVIRONMENT, now=self.now, expires_at=self.now)
            ),
        )

    def attempt(self, which: int) -> str:
        return self.attempts[-1 - which] if which < len(self.attempts) else place_of("none")

    @rule(which=SOME)
    def bring_the_same_attempt(self, which: int) -> None:
        self._take(self.attempt(which))

    @rule(which=SOME)
    def exchange(self, which: int) -> None:
        place, pair = self.attempt(which), self.pair()
        self.happens(
            {Event.ESCROW},
            lambda: self.store.do(EscrowTokens(place, pair, environment=ENVIRONMENT, now=self.now)),
        )

    @rule(which=SOME)
    def complete(self, which: int) -> None:
        self.happens(
            {Event.COMPLETE, Event.COMPLETE_AND_REPLACE, Event.REFUSE, Event.SIGN_IN, *PUT_AWAY},
            lambda: self.store.do(
                CompleteSignIn(
                    self.attempt(which),
                    me=Me(PERSON, "joe@procore.com", None, "{}"),
                    environment=ENVIRONMENT,
                    tokens=self.pair(),
                    session=session_of(f"{self.count}"),
                    replaces=None,
                    now=self.now,
                )
            ),
        )

    @rule()
    def sign_in(self) -> None:
        self.begin_an_attempt()
        self.exchange(0)
        self.complete(0)

    @rule(which=SOME)
    def join(self, which: int) -> None:
        self.count += 1
        self.happens(
            {Event.JOIN},
            lambda: self.store.do(
                JoinSignIn(
                    self.attempt(which),
                    session=session_of(f"{self.count}"),
                    replaces=None,
                    now=self.now,
                )
            ),
        )

    @rule(which=SOME)
    def fail(self, which: int) -> None:
        self.happens(
            {Event.FAIL},
            lambda: self.store.do(FailAttempt(self.attempt(which), "orphaned", now=self.now)),
        )

    def pair(self) -> TokenSet:
        self.count += 1
        return pair_of(f"{self.count}")

    # refreshers

    @rule()
    def read(self) -> None:
        row = self.store.ask(TokenRowOf(self.user_id, ENVIRONMENT, now=self.now))
        self.seen += [] if row is None else [row]

    def row(self, which: int) -> TokenRow | None:
        return self.seen[-1 - which] if which < len(self.seen) else None

    @rule(which=SOME, owner=NAMES)
    def take_the_lease(self, which: int, owner: str) -> None:
        self.read()
        if (row := self.row(which)) is not None:
            self.happens(
                {Event.TAKE_LEASE},
                lambda: self.store.do(TakeLease(row, owner=owner, seconds=30, now=self.now)),
            )

    @rule(which=SOME)
    def have_no_answer(self, which: int) -> None:
        if (row := self.row(which)) is not None:
            self.happens(
                {Event.NO_ANSWER, Event.SPEAK_OF_NONE},
                lambda: self.store.do(NoteAmbiguous(row, now=self.now)),
            )

    @rule(which=SOME, owner=NAMES)
    def give_the_lease_back(self, which: int, owner: str) -> None:
        if (row := self.row(which)) is not None:
            self.happens(
                {Event.GIVE_BACK, Event.SPEAK},
                lambda: self.store.do(ReleaseLease(row, owner=owner, retry_in=5, now=self.now)),
            )

    @rule(which=SOME, shared=st.booleans())
    def commit(self, which: int, *, shared: bool) -> None:
        if (row := self.row(which)) is None:
            return
        pair = self.pair()
        new = replace(pair, refresh_token=row.tokens.refresh_token) if shared else pair
        before = self.tokens()
        self.happens(
            {Event.COMMIT, Event.COMMIT_SHARED, Event.PUT_AWAY, Event.LEAVE_DOUBT},
            lambda: self.store.do(CommitRefresh(row, new, now=self.now)),
        )
        if self.tokens() == before:
            self.happens(
                {Event.GIVE_UP, Event.SPEAK, Event.PUT_AWAY},
                lambda: self.store.do(
                    GiveUpTokens(
                        new,
                        state_hash=place_of("late", self.count),
                        environment=ENVIRONMENT,
                        procore_id=PERSON,
                        refreshed=row,
                        now=self.now,
                    )
                ),
            )

    @rule(which=SOME, owner=NAMES)
    def be_refused(self, which: int, owner: str) -> None:
        if (row := self.row(which)) is not None:
            self.happens(
                {Event.REFUSED, Event.SPEAK},
                lambda: self.store.do(EndGrant(row, owner=owner, now=self.now)),
            )

    @rule(which=SOME)
    def be_accepted(self, which: int) -> None:
        if (row := self.row(which)) is not None:
            self.happens({Event.ACCEPTED}, lambda: self.store.do(Settle(row, now=self.now)))

    # operators, and time

    @rule()
    def disable(self) -> None:
        user = self.user_id
        self.happens(
            {Event.DISABLE, *PUT_AWAY}, lambda: self.store.do(DisableUser(user, now=self.now))
        )

    @rule()
    def enable(self) -> None:
        self.happens(set(), lambda: self.store.do(EnableUser(self.user_id)))

    @rule()
    def disconnect(self) -> None:
        user = self.user_id
        self.happens(
            {Event.DISCONNECT, *PUT_AWAY},
            lambda: self.store.do(DisconnectUser(user, now=self.now)),
        )

    @rule()
    def delete(self) -> None:
        user = self.user_id
        self.happens(
            {Event.DELETE, *PUT_AWAY}, lambda: self.store.do(DeleteUser(user, now=self.now))
        )

    @rule()
    def lose_the_key(self) -> None:
        self.happens({Event.LOSE_KEY, Event.LEAVE_DOUBT}, lambda: give_up_key(self.store, KEY))

    @rule(seconds=st.sampled_from([0, LATER]))
    def purge(self, seconds: int) -> None:
        self.happens({Event.PURGE}, lambda: purge(self.store, self.now + seconds))

    @rule(seconds=st.sampled_from([0, LATER]))
    def purge_grants(self, seconds: int) -> None:
        self.happens(
            {Event.PURGE, Event.LEAVE_DOUBT},
            lambda: purge_grants(self.store, before=self.now + seconds),
        )

    @rule(seconds=st.sampled_from([6, 31, 61]))
    def time_passes(self, seconds: int) -> None:
        def passes() -> None:
            self.now += seconds

        self.happens({Event.TIME}, passes)

    # revokers

    def place(self, which: int) -> str:
        full = sorted(
            row["state_hash"] for row in self.rows(sign_in_ledger) if row["escrow"] is not None
        )
        return full[which] if which < len(full) else place_of("none")

    @rule(which=SOME, holder=NAMES)
    def hold(self, which: int, holder: str) -> None:
        place = self.place(which)
        self.happens(
            {Event.HOLD},
            lambda: self.store.do(HoldEscrow(place, holder=holder, now=self.now)),
        )

    @rule(which=SOME, holder=NAMES)
    def release(self, which: int, holder: str) -> None:
        place = self.place(which)
        self.happens({Event.RELEASE}, lambda: self.store.do(ReleaseEscrow(place, holder=holder)))

    @rule(which=SOME, holder=NAMES, outcome=st.sampled_from([LATE, UNANSWERED]))
    def note(self, which: int, holder: str, outcome: str) -> None:
        escrow = Escrow(self.place(which), ENVIRONMENT, self.pair())
        self.happens(
            {Event.TRY if outcome == UNANSWERED else Event.ANSWER},
            lambda: self.store.do(
                ReplaceEscrow(escrow, outcome=outcome, now=self.now, holder=holder)
            ),
        )

    @rule(which=SOME, holder=NAMES, outcome=st.sampled_from([LATE, UNANSWERED]))
    def renew(self, which: int, holder: str, outcome: str) -> None:
        escrow = Escrow(self.place(which), ENVIRONMENT, self.pair())
        event = Event.RENEW if outcome == LATE else Event.RENEW_IN_DOUBT
        self.happens(
            {event, Event.KEEP, Event.HOLD},
            lambda: self.store.do(
                KeepRenewed(
                    escrow, pair_of("renewed"), outcome=outcome, now=self.now, holder=holder
                )
            ),
        )

    @rule(which=SOME, holder=NAMES, outcome=OUTCOMES)
    def finish(self, which: int, holder: str, outcome: str) -> None:
        place = self.place(which)
        events = {
            LATE: Event.END,
            UNANSWERED: Event.END_IN_DOUBT,
            REFRESHING: Event.END_IN_SILENCE,
        }
        self.happens(
            {events[outcome]},
            lambda: self.store.do(
                FinishEscrow(place, holder=holder, outcome=outcome, now=self.now)
            ),
        )


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)  # the statements are tried on each
def test_no_order_of_calls_leads_out_of_the_tables(open_store: Store, engine: Engine) -> None:
    class Ours(Life):
        def __init__(self) -> None:
            super().__init__(open_store, engine)

    run_state_machine_as_test(
        Ours,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
