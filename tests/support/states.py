"""Puts the two tables of states into any state that can be stored, and drives the real store.

`World` holds one user. A test writes a row in a state, lets one event happen, and reads the state
that the row is in then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from doing import purge, purge_grants
from sqlalchemy import Connection, Table, delete, select

from procore_signin._protocol.me import Me
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import Escrow, NewSession, Store
from procore_signin._store.access import DeleteUser, DisableUser, DisconnectUser, EnableUser
from procore_signin._store.engine.clock import SHARED_NOW
from procore_signin._store.escrows import (
    HOLD_SECONDS,
    LATE,
    NEVER,
    REFRESHING,
    UNANSWERED,
    GiveUpTokens,
    place_of,
)
from procore_signin._store.ledger import EscrowTokens, FailAttempt, TakeAttempt
from procore_signin._store.records import TokenRow
from procore_signin._store.refresh import (
    CommitRefresh,
    EndGrant,
    NoteAmbiguous,
    RedateLease,
    ReleaseLease,
    Settle,
    TakeLease,
    TokenRowOf,
)
from procore_signin._store.rotation.lost_keys import give_up_key
from procore_signin._store.rotation.rewrap import rewrap
from procore_signin._store.schema import sessions, sign_in_ledger, token_sets, users
from procore_signin._store.sign_in import CompleteSignIn, JoinSignIn
from procore_signin._store.states import (
    ATTEMPT,
    LEAVES,
    LEAVES_PREDECESSOR,
    PREDECESSOR,
    TOKEN_SET,
    WITHDRAWAL,
    AttemptState,
    Event,
    PredecessorState,
    TokenSetState,
    Transition,
    WithdrawalState,
    attempt_state,
    predecessor_state,
    token_set_state,
    withdrawal_state,
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
EARLIER = NOW - 5
"""When what a trial begins with was written: what is written again differs."""

LATER = 10**9
"""Seconds after which everything has expired that ever does."""

LONG_ENOUGH = HOLD_SECONDS + 1
"""Seconds after which no lease, pause or hold of these tests goes on."""

ENVIRONMENT = "emulator"
PERSON = 11_111
KEY = "fake1"
Row = dict[str, Any]
State = tuple[Any, ...]
"""One state of each of the tables that a row is in: `(AttemptState, WithdrawalState)`, or
`(TokenSetState, PredecessorState)`."""
Transitions = tuple[Transition, ...]


def pair_of(tag: str) -> TokenSet:
    return TokenSet(
        Secret(f"access-{tag}", "access token"),
        Secret(f"refresh-{tag}", "refresh token"),
        NOW + 5400,
    )


def session_of(tag: str) -> NewSession:
    return NewSession(place_of("cookie", tag), "{}", None, NOW + LATER, NOW + LATER)


def after(tables: tuple[Transitions, ...], state: State, event: Event | None) -> State:
    """Return where an event leads: to the same state where a table refuses it."""
    if not accepts(tables, state, event):
        return state
    found = []
    for table, part in zip(tables, state, strict=True):
        [to] = [each.next for each in table if (each.state, each.event) == (part, event)] or [part]
        found.append(to)
    return tuple(found)


def accepts(tables: tuple[Transitions, ...], state: State, event: Event | None) -> bool:
    """Tell whether a table lists an event, and all that do accept it in this state."""
    listed = [
        any(each.state is part for each in table if each.event is event)
        for table, part in zip(tables, state, strict=True)
        if any(each.event is event for each in table)
    ]
    return bool(listed) and all(listed)


def ledger_after(state: State, event: Event | None) -> State:
    """Return where an event leads a row of the ledger. A doubt needs a user (`WITHDRAWAL`)."""
    found = after(LEDGER_TABLES, state, event)
    nameless = state[0] is AttemptState.EXCHANGED
    if nameless and found[1] in {WithdrawalState.SILENT, WithdrawalState.DOUBT}:
        return (found[0], WithdrawalState.NOTHING)
    return found


def leavings(state: State, event: Event | None) -> list[WithdrawalState]:
    """Return in which states the withdrawals are that an event at a token set begins."""
    if event is None or not accepts(TOKEN_TABLES, state, event):
        return []
    token_set, before = state
    begins = LEAVES.get((token_set, event), ())
    if before is PredecessorState.KEPT and event in LEAVES_PREDECESSOR:
        begins = (*begins, Event.PUT_AWAY)
    begun = [after((WITHDRAWAL,), (WithdrawalState.NOTHING,), each)[0] for each in begins]
    return sorted(begun, key=str)


def ledger_state(row: Row, at: int) -> State:
    return attempt_state(row), withdrawal_state(row, at)


def told(tell: Callable[[], State]) -> State:
    """Return a state, or why no table has such a row: then it equals none that is expected."""
    try:
        return tell()
    except ValueError as impossible:
        return (str(impossible),)


LEDGER_TABLES: tuple[Transitions, ...] = (ATTEMPT, WITHDRAWAL)
TOKEN_TABLES: tuple[Transitions, ...] = (TOKEN_SET, PREDECESSOR)

LEDGER_STATES: list[State] = [
    (AttemptState.ABSENT, WithdrawalState.NOTHING),
    (AttemptState.TAKEN, WithdrawalState.NOTHING),
    (AttemptState.EXCHANGED, WithdrawalState.NOTHING),  # its key was given up
    (AttemptState.EXCHANGED, WithdrawalState.WAITING),
    *(
        (attempt, withdrawal)
        for attempt in (AttemptState.DONE, AttemptState.JOINED, AttemptState.FAILED)
        for withdrawal in WithdrawalState
    ),
]
"""Every state that a row of the ledger can be in."""

FEWER_LEDGER_STATES = [
    state
    for state in LEDGER_STATES
    if state[0] not in {AttemptState.DONE, AttemptState.JOINED}
    or state[1] in {WithdrawalState.NOTHING, WithdrawalState.WAITING}
]
"""Those that differ in what a statement asks for, for a server, where each costs more."""

TOKENS_STATES: list[State] = [
    (TokenSetState.ABSENT, PredecessorState.SETTLED),
    *(
        (state, before)
        for state in TokenSetState
        if state is not TokenSetState.ABSENT
        for before in PredecessorState
    ),
]
"""Every state that a row of `token_sets` can be in."""

FEWER_TOKENS_STATES = [
    state
    for state in TOKENS_STATES
    if state[1] is PredecessorState.SETTLED
    or state[0] in {TokenSetState.LAPSED_UNSURE, TokenSetState.LOST}
]
"""Those that differ in what a statement asks for, for a server."""


@dataclass(frozen=True)
class Move:
    """What the store is asked to do.

    Attributes:
        words: For the message of a test.
        event: Which event that is; None where no table may accept it in any state.
        do: Does it.
        where: The place in the ledger whose row it is about; None for the usual one.
    """

    words: str
    event: Event | None
    do: Callable[[], object]
    where: str | None = None


@dataclass(frozen=True)
class Trial:
    """What came of a move.

    Attributes:
        state: Where the row was.
        words: What was asked of the store.
        event: Which event that is.
        found: Where the row is now.
        changed: Whether anything else is written in it.
        left: The states of the withdrawals that it began.
    """

    state: State
    words: str
    event: Event | None
    found: State
    changed: bool
    left: list[WithdrawalState] = field(default_factory=list)

    def __str__(self) -> str:
        was = " + ".join(str(part.value) for part in self.state)
        now = " + ".join(str(getattr(part, "value", part)) for part in self.found)
        return f"{was}: {self.words}: {now}"


class World:
    """A store, and a user in it with a token set that keeps the pair before.

    Args:
        store: The store.
        connection: Someone else's connection to its database.
    """

    def __init__(self, store: Store, connection: Connection) -> None:
        self.store = store
        self.number = 0
        self._connection = connection
        with self._connection.begin():
            for table in (token_sets, sessions, sign_in_ledger, users):
                self._connection.execute(delete(table))
        store.do(
            TakeAttempt(place_of("first"), environment=ENVIRONMENT, now=NOW, expires_at=NOW + 1800)
        )
        done = self.complete(place_of("first"), "before")
        self.user_id = done.user.id
        taken = store.do(TakeLease(self.token_row(), owner="owner", seconds=30, now=NOW))
        assert taken is not None
        assert store.do(CommitRefresh(taken, pair_of("now"), now=NOW)) is not None
        self.row = self.token_row()
        # Where the pair goes while it is refreshed, by `owner`.
        self.place = place_of("withdrawn", self.row.id, self.row.generation, "owner")
        [self._user] = self.rows(users)
        [self._session] = self.rows(sessions)
        [self._tokens] = self.rows(token_sets)
        [self._attempt] = self.rows(sign_in_ledger)
        self._sealed = {
            place: store._seal.seal_escrow(
                pair_of("now"), state_hash=place, environment=ENVIRONMENT
            )
            for place in (self.place, place_of("another"))
        }

    def complete(self, state_hash: str, tag: str) -> Any:
        return self.store.do(
            CompleteSignIn(
                state_hash,
                me=Me(PERSON, "joe@procore.com", None, "{}"),
                environment=ENVIRONMENT,
                tokens=pair_of(tag),
                session=session_of(tag),
                replaces=None,
                now=NOW,
            )
        )

    def token_row(self) -> TokenRow:
        [user] = self.rows(users)
        row = self.store.ask(TokenRowOf(user["id"], ENVIRONMENT, now=NOW))
        assert row is not None
        return row

    def rows(self, table: Table) -> list[Row]:
        with self._connection.begin():
            return [dict(row) for row in self._connection.execute(select(table)).mappings()]

    def at(self) -> int:
        """Return the time by the clock that all users of the database share."""
        with self._connection.begin():
            now = self._connection.scalar(select(SHARED_NOW), {"now": NOW})
        assert now is not None
        return int(now)

    # writing states

    def begin(
        self,
        *,
        disabled: bool = False,
        tokens: tuple[Row, ...] = (),
        ledger: tuple[Row, ...] = (),
    ) -> None:
        """Write these rows and the user, and nothing else."""
        user = {**self._user, "disabled_at": NOW if disabled else None}
        with self._connection.begin():
            for table in (token_sets, sessions, sign_in_ledger, users):
                self._connection.execute(delete(table))
            self._connection.execute(users.insert(), user)
            for table, rows in ((token_sets, tokens), (sign_in_ledger, ledger)):
                if rows:
                    self._connection.execute(table.insert(), rows)

    def token_set(
        self, state: TokenSetState, before: PredecessorState = PredecessorState.SETTLED
    ) -> tuple[Row, ...]:
        """Return a row of `token_sets` in a state. Its lease is of `owner`."""
        if state is TokenSetState.ABSENT:
            return ()
        word, _, unsure = state.value.partition(", ")
        at = self.at()
        until = {"leased": at + 30, "lapsed": at - 1, "paused": at + 30}
        status = word if word in {"lost", "revoked"} else "ok"
        row = {
            **self._tokens,
            "status": status,
            "lease_owner": "owner" if word in {"leased", "lapsed"} else None,
            "lease_until": until.get(word),
            "lease_seconds": 30,
            "ambiguous": 1 if unsure or word == "lost" else 0,
            "updated_at": 1,  # long ago, for a purge
            "predecessor": self._tokens["predecessor"] if before is PredecessorState.KEPT else None,
        }
        return (row,)

    def ledger_row(self, state: State, place: str | None = None) -> tuple[Row, ...]:
        """Return a row of `sign_in_ledger` in a state. Its holder is `owner`."""
        attempt, withdrawal = state
        if attempt is AttemptState.ABSENT:
            return ()
        where = place or self.place
        finished = attempt not in {AttemptState.TAKEN, AttemptState.EXCHANGED}
        hold, _, note = withdrawal.value.partition(", ")
        full = hold in {"waiting", "held", "lapsed"}
        until = {"held": self.at() + HOLD_SECONDS - 1, "lapsed": self.at() - 1}.get(hold)
        outcome = {
            "refreshing": REFRESHING,
            "unanswered": UNANSWERED,
            "silent": REFRESHING,
            "doubt": UNANSWERED,
        }.get(note or hold)
        if outcome is None and attempt is AttemptState.FAILED:
            outcome = LATE
        doubt = withdrawal in {WithdrawalState.DOUBT, WithdrawalState.SILENT}
        joined = attempt is AttemptState.JOINED
        row = {
            **self._attempt,
            "state_hash": where,
            "status": "done" if joined else attempt.value,
            "user_id": self.user_id if finished else None,
            "outcome": outcome,
            "escrow": self._sealed[where] if full else None,
            "escrowed_at": EARLIER if full else None,
            "expires_at": NEVER if doubt else NOW,
            "finished_at": EARLIER if finished else None,
            "joined_at": EARLIER if joined else None,
            "held_by": None if until is None else "owner",
            "held_until": until,
        }
        return (row,)

    # reading states

    def tokens_state(self, seconds: int = 0) -> State:
        """Return the state of the token set, some seconds from now."""
        rows = self.rows(token_sets)
        row = rows[0] if rows else None
        at = self.at() + seconds
        return told(lambda: (token_set_state(row, at), predecessor_state(row)))

    def ledger_states(self, seconds: int = 0) -> Mapping[str, State]:
        """Return the state of each row of the ledger by its place, some seconds from now."""
        at = self.at() + seconds

        return {
            row["state_hash"]: told(partial(ledger_state, row, at))
            for row in self.rows(sign_in_ledger)
        }

    # letting something happen

    def try_tokens(self, state: State, move: Move, *, disabled: bool = False) -> Trial:
        self.begin(disabled=disabled, tokens=self.token_set(*state))
        before = self.rows(token_sets)
        move.do()
        found = self.tokens_state(LONG_ENOUGH if move.event is Event.TIME else 0)
        left = [each[-1] for each in self.ledger_states().values()]
        return Trial(
            state,
            move.words,
            move.event,
            found,
            changed=self.rows(token_sets) != before,
            left=sorted((each for each in left if each is not WithdrawalState.NOTHING), key=str),
        )

    def try_ledger(self, state: State, move: Move) -> Trial:
        self.begin(ledger=self.ledger_row(state))
        place = move.where or self.place
        before = self._at_place(place)
        move.do()
        states = self.ledger_states(LONG_ENOUGH if move.event is Event.TIME else 0)
        found = states.get(place, (AttemptState.ABSENT, WithdrawalState.NOTHING))
        changed = self._at_place(place) != before
        return Trial(state, move.words, move.event, found, changed=changed)

    def _at_place(self, place: str) -> list[Row]:
        return [row for row in self.rows(sign_in_ledger) if row["state_hash"] == place]

    def time(self) -> Move:
        return Move("time", Event.TIME, lambda: None)

    def token_moves(self) -> Iterator[Move]:
        """Everything that the store can do to a token set."""
        store, row, user = self.store, self.row, self.user_id
        shared = replace(pair_of("new"), refresh_token=row.tokens.refresh_token)
        yield self.time()
        yield Move("sign in", Event.SIGN_IN, self._sign_in)
        yield from self._refresher(row, "owner", shared)
        yield Move("disable", Event.DISABLE, lambda: store.do(DisableUser(user, now=NOW)))
        yield Move("disconnect", Event.DISCONNECT, lambda: store.do(DisconnectUser(user, now=NOW)))
        yield Move("delete", Event.DELETE, lambda: store.do(DeleteUser(user, now=NOW)))
        yield Move("lose key", Event.LOSE_KEY, lambda: give_up_key(store, KEY))
        yield Move("purge", Event.PURGE, lambda: purge_grants(store, before=NOW + LATER))
        # nothing of this may ever change the row
        stale = replace(row, generation=row.generation - 1)
        for move in self._refresher(stale, "owner", shared):
            yield Move(f"late: {move.words}", None, move.do)
        yield from (
            Move(f"a stranger: {move.words}", None, move.do)
            for move in self._refresher(row, "stranger", shared)
            if move.event in {Event.GIVE_BACK, Event.REFUSED}
        )
        yield Move("redate", None, lambda: store.do(RedateLease(row, now=NOW)))
        yield Move("rewrap", None, lambda: list(rewrap(store)))
        yield Move("enable", None, lambda: store.do(EnableUser(user)))

    def _refresher(self, row: TokenRow, owner: str, shared: TokenSet) -> Iterator[Move]:
        store = self.store
        yield Move(
            "take",
            Event.TAKE_LEASE,
            lambda: store.do(TakeLease(row, owner="other", seconds=30, now=NOW)),
        )
        yield Move("no response", Event.NO_ANSWER, lambda: store.do(NoteAmbiguous(row, now=NOW)))
        yield Move(
            "give back",
            Event.GIVE_BACK,
            lambda: store.do(ReleaseLease(row, owner=owner, retry_in=30, now=NOW)),
        )
        yield Move(
            "commit", Event.COMMIT, lambda: store.do(CommitRefresh(row, pair_of("new"), now=NOW))
        )
        yield Move(
            "commit shared",
            Event.COMMIT_SHARED,
            lambda: store.do(CommitRefresh(row, shared, now=NOW)),
        )
        yield Move("refused", Event.REFUSED, lambda: store.do(EndGrant(row, owner=owner, now=NOW)))
        yield Move("accepted", Event.ACCEPTED, lambda: store.do(Settle(row, now=NOW)))

    def _sign_in(self) -> None:
        self.number += 1
        place = place_of("attempt", self.number)
        self.store.do(TakeAttempt(place, environment=ENVIRONMENT, now=NOW, expires_at=NOW))
        with suppress(SignInRefused):
            self.complete(place, "new")

    def ledger_moves(self, state: State) -> Iterator[Move]:
        """Everything that the store can do to a row of the ledger that is in `state`."""
        store, place = self.store, self.place
        yield self.time()
        yield Move("take", Event.TAKE, self._take)
        yield Move("escrow", Event.ESCROW, lambda: self._escrow(ENVIRONMENT))
        yield Move("complete", Event.COMPLETE, self._complete)
        yield Move("replace", Event.COMPLETE_AND_REPLACE, self._complete_and_replace)
        yield Move("refuse", Event.REFUSE, self._complete_disabled)
        yield Move("fail", Event.FAIL, lambda: store.do(FailAttempt(place, "orphaned", now=NOW)))
        yield Move("join", Event.JOIN, self._join)
        yield Move("give up", Event.GIVE_UP, self._give_up)
        yield from self._revoker(place, "owner")
        row = replace(self.row, lease_owner="owner")
        speaks = {
            "given back": lambda: store.do(ReleaseLease(row, owner="owner", retry_in=5, now=NOW)),
            "refused": lambda: store.do(EndGrant(row, owner="owner", now=NOW)),
        }
        for words, do in speaks.items():
            yield Move(words, Event.SPEAK, do)
        yield Move(
            "no response", Event.SPEAK_OF_NONE, lambda: store.do(NoteAmbiguous(row, now=NOW))
        )
        yield Move("delete", Event.DELETE, lambda: store.do(DeleteUser(self.user_id, now=NOW)))
        yield Move("lose key", Event.LOSE_KEY, lambda: give_up_key(store, KEY))
        yield Move("purge", Event.PURGE, lambda: purge(store, NOW + LATER))
        if state[0] is AttemptState.ABSENT:
            yield from self._beginnings()
        # nothing of this may ever change the row
        elsewhere = replace(row, generation=row.generation + 1)
        yield from (
            Move(f"a stranger: {move.words}", None, move.do)
            for move in self._revoker(place, "stranger")
            if move.event not in {Event.HOLD, Event.RENEW, Event.RENEW_IN_DOUBT}
        )
        yield Move(
            "of another",
            None,
            lambda: store.do(ReleaseLease(elsewhere, owner="", retry_in=5, now=NOW)),
        )
        yield Move("escrow elsewhere", None, lambda: self._escrow("monthly"))
        yield Move("early purge", None, lambda: purge(store, NOW - 1))
        yield Move("rewrap", None, lambda: list(rewrap(store)))
        yield Move("disable", None, lambda: store.do(DisableUser(self.user_id, now=NOW)))
        yield Move("disconnect", None, lambda: store.do(DisconnectUser(self.user_id, now=NOW)))

    def _revoker(self, place: str, holder: str) -> Iterator[Move]:
        store = self.store
        escrow = Escrow(place, ENVIRONMENT, pair_of("now"))

        def noted(outcome: str) -> Callable[[], object]:
            return lambda: store.do(ReplaceEscrow(escrow, outcome=outcome, now=NOW, holder=holder))

        def renewed(outcome: str) -> Callable[[], object]:
            return lambda: store.do(
                KeepRenewed(escrow, pair_of("new"), outcome=outcome, now=NOW, holder=holder)
            )

        def ended(outcome: str) -> Callable[[], object]:
            return lambda: store.do(FinishEscrow(place, holder=holder, outcome=outcome, now=NOW))

        yield Move("hold", Event.HOLD, lambda: store.do(HoldEscrow(place, holder="other", now=NOW)))
        yield Move("release", Event.RELEASE, lambda: store.do(ReleaseEscrow(place, holder=holder)))
        yield Move("try", Event.TRY, noted(UNANSWERED))
        yield Move("answer", Event.ANSWER, noted(LATE))
        yield Move("renew", Event.RENEW, renewed(LATE))
        yield Move("renew in doubt", Event.RENEW_IN_DOUBT, renewed(UNANSWERED))
        yield Move("end", Event.END, ended(LATE))
        yield Move("end in doubt", Event.END_IN_DOUBT, ended(UNANSWERED))
        yield Move("end in silence", Event.END_IN_SILENCE, ended(REFRESHING))

    def _beginnings(self) -> Iterator[Move]:
        """What makes a row of its own for a pair, or for a doubt."""
        begins = {
            Event.PUT_AWAY: TokenSetState.FREE,
            Event.PUT_AWAY_LEASED: TokenSetState.LEASED,
            Event.PUT_AWAY_UNSURE: TokenSetState.LAPSED,
        }
        unleased = place_of("withdrawn", self.row.id, self.row.generation)
        for event, state in begins.items():
            where = None if event is Event.PUT_AWAY_LEASED else unleased
            yield Move(event.name, event, partial(self._end_access, state), where)
        doubt = place_of("doubt", self.user_id, ENVIRONMENT)
        yield Move(
            "doubt",
            Event.LEAVE_DOUBT,
            lambda: self._end_access(TokenSetState.LOST),
            doubt,
        )
        another = place_of("another")
        yield Move("keep", Event.KEEP, self._keep, place_of("renewed", another, "owner"))

    def _end_access(self, state: TokenSetState) -> None:
        self._insert(token_sets, *self.token_set(state))
        self.store.do(DisconnectUser(self.user_id, now=NOW))

    def _keep(self) -> None:
        place = place_of("another")
        held = self.ledger_row((AttemptState.FAILED, WithdrawalState.HELD), place)
        self._insert(sign_in_ledger, *held)
        self.store.do(
            KeepRenewed(
                Escrow(place, ENVIRONMENT, pair_of("now")),
                pair_of("new"),
                outcome=LATE,
                now=NOW,
                holder="owner",
            )
        )

    def _insert(self, table: Table, *rows: Row) -> None:
        with self._connection.begin():
            for row in rows:
                self._connection.execute(table.insert(), row)

    def _take(self) -> None:
        self.store.do(TakeAttempt(self.place, environment=ENVIRONMENT, now=NOW, expires_at=NOW))

    def _escrow(self, environment: str) -> None:
        with suppress(AttemptInvalid):
            self.store.do(
                EscrowTokens(self.place, pair_of("now"), environment=environment, now=NOW)
            )

    def _complete(self) -> None:
        with suppress(AttemptInvalid):
            self.complete(self.place, "new")

    def _complete_and_replace(self) -> None:
        self._insert(token_sets, *self.token_set(TokenSetState.FREE))
        self._complete()

    def _complete_disabled(self) -> None:
        self.begin(disabled=True, ledger=tuple(self.rows(sign_in_ledger)))
        with suppress(SignInRefused):
            self.complete(self.place, "new")

    def _join(self) -> None:
        self._insert(sessions, {**self._session, "created_at": EARLIER})
        with suppress(AttemptInvalid, SignInRefused):
            self.store.do(
                JoinSignIn(self.place, session=session_of("second"), replaces=None, now=NOW)
            )

    def _give_up(self) -> None:
        self.store.do(
            GiveUpTokens(
                pair_of("late"),
                state_hash=self.place,
                environment=ENVIRONMENT,
                procore_id=PERSON,
                refreshed=None,
                now=NOW,
            )
        )
