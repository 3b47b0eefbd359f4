"""Read this first: the states of what the store keeps, and how each becomes another.

Three state machines share two tables of the database.

A **sign-in attempt** is a row of `sign_in_ledger`. It begins when the authorization response
arrives, so that the code is sent once. It is `done` or `failed` in the end, and is purged later.

A **token set** is the row of `token_sets` that a user has in an environment. A sign-in writes it.
From then on refreshers take turns: one takes the lease, asks Procore, and commits the new pair or
gives the lease back. It ends as `lost` or `revoked`, or the row goes.

A **withdrawal** is what becomes of a pair of tokens that is not wanted any more. The pair waits in
the column `escrow` of a ledger row until Procore has ended it. One process at a time holds the row.
Where no one can know whether all is dead, a doubt stays behind for as long as the user does.

They hang together like this. An attempt keeps its pair in escrow from the exchange to the commit,
so a withdrawal can begin where a sign-in breaks off. The commit moves the pair from the attempt
into the token set. Whatever a token set loses goes the other way: `LEAVES` says how. So a pair that
lives at Procore is in a token set, in an escrow, or in the memory of one process that is about to
write it down.

No column has the name of a state. `attempt_state`, `token_set_state`, `predecessor_state` and
`withdrawal_state` tell it from a row and the time. The store does not ask them: each of its
statements has the states from which it may start in its WHERE clause. `tests/store/test_states.py`
holds the statements and these tables to each other, for every state and every event, on each
database. docs/explanation/states.md is drawn from them by `scripts/draw_states.py`.

A transition is (state, event, next state, who does it). An event that a table lists for other
states and not for this one is refused here, and changes nothing. A row is in a state of two tables
at once: a row of the ledger in one of `ATTEMPT` and one of `WITHDRAWAL`, a token set in one of
`TOKEN_SET` and one of `PREDECESSOR`. An event that both tables list happens where both accept it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, get_args

from procore_signin._store.escrows import DOUBTS, HOLD_SECONDS, NEVER, REFRESHING, UNANSWERED
from procore_signin._store.records import AttemptStatus


class Who(Enum):
    """Who makes a transition. The values are the words of the documentation."""

    SIGN_IN = "sign-in"
    SECOND_CALLBACK = "second callback"
    REFRESHER = "refresher"
    REVOKER = "revoker"
    OPERATOR = "operator or user"
    JANITOR = "janitor"
    CHANGE = "change of a token set"
    CLOCK = "clock"


class AttemptState(Enum):
    """How far a sign-in attempt came.

    `ABSENT`: the ledger does not know it. `TAKEN`: the code may be on its way to Procore.
    `EXCHANGED`: the tokens are in escrow, and the user is not signed in yet. `DONE`: the user is
    signed in. `JOINED`: a second callback with the same code was let in too. `FAILED`: it ended
    otherwise, or the row was made for a pair that is to be withdrawn and never was an attempt.
    """

    ABSENT = "absent"
    TAKEN = "taken"
    EXCHANGED = "exchanged"
    DONE = "done"
    JOINED = "joined"
    FAILED = "failed"


class TokenSetState(Enum):
    """What may be done with a token set.

    `ABSENT`: there is no row. `FREE`: any refresher may take the lease. `LEASED`: one
    refresher asks Procore. `LAPSED`: its lease ran out; it may have ended, or be late. `PAUSED`:
    Procore did not answer a moment ago. The same four exist as `…_UNSURE`: a request that carried
    the refresh token had no response, so the token may be spent. `LOST`: the refresh token was
    refused after such a request. `REVOKED`: it was refused without one, or the access was ended
    here.
    """

    ABSENT = "absent"
    FREE = "free"
    LEASED = "leased"
    LAPSED = "lapsed"
    PAUSED = "paused"
    FREE_UNSURE = "free, unsure"
    LEASED_UNSURE = "leased, unsure"
    LAPSED_UNSURE = "lapsed, unsure"
    PAUSED_UNSURE = "paused, unsure"
    LOST = "lost"
    REVOKED = "revoked"


class PredecessorState(Enum):
    """What is known of the pair before the one in a token set.

    `SETTLED`: it is dead, or there is none. `KEPT`: it may live until its successor has been
    accepted, and is kept beside it.
    """

    SETTLED = "settled"
    KEPT = "kept"


class WithdrawalState(Enum):
    """What is in the escrow of a ledger row, and what is known of it.

    `NOTHING`: it is empty. `WAITING`: a pair is in it. `HELD`: one process revokes that pair now.
    `LAPSED`: its time ran out; it goes on unless another one takes over. The same three as
    `REFRESHING…`: another process had sent the refresh token to Procore when the pair was put away,
    and says what came of it. As `UNANSWERED…`: a request with the refresh token has no response, or
    none yet. `SILENT`: empty, and that other process has said nothing. `DOUBT`: empty, and tokens
    may live that no one knows.
    """

    NOTHING = "nothing"
    WAITING = "waiting"
    HELD = "held"
    LAPSED = "lapsed"
    REFRESHING = "waiting, refreshing"
    REFRESHING_HELD = "held, refreshing"
    REFRESHING_LAPSED = "lapsed, refreshing"
    SILENT = "silent"
    UNANSWERED = "waiting, unanswered"
    UNANSWERED_HELD = "held, unanswered"
    UNANSWERED_LAPSED = "lapsed, unanswered"
    DOUBT = "doubt"


class Event(Enum):
    """What may happen to a row. One command of the store does each; the clock does `TIME`.

    The values are the words of the documentation.
    """

    # to attempts
    TAKE = "the authorization response arrives"
    ESCROW = "the exchange brings tokens"
    COMPLETE = "the sign-in completes"
    COMPLETE_AND_REPLACE = "the sign-in completes and replaces a pair"
    REFUSE = "the user is disabled"
    FAIL = "the sign-in fails, or is orphaned"
    JOIN = "the same code arrives again"
    PUT_AWAY = "a token set loses a pair"
    PUT_AWAY_LEASED = "a token set loses a pair that is being refreshed"
    PUT_AWAY_UNSURE = "a token set loses a pair that may be spent"
    LEAVE_DOUBT = "a token set leaves a doubt"
    KEEP = "a trial brings a pair"
    # to token sets
    SIGN_IN = "a sign-in completes"
    TAKE_LEASE = "take the lease"
    NO_ANSWER = "a request has no response"
    GIVE_BACK = "give the lease back"
    COMMIT = "commit the new pair"
    COMMIT_SHARED = "commit a pair that shares a token"
    REFUSED = "the refresh token is refused"
    ACCEPTED = "the access token is accepted"
    DISABLE = "disable the user"
    DISCONNECT = "disconnect the user"
    DELETE = "delete the user"
    # to withdrawals
    GIVE_UP = "give up a late pair"
    HOLD = "hold the escrow"
    RELEASE = "release the escrow"
    TRY = "note that the refresh token is tried"
    ANSWER = "note that the response came"
    RENEW = "the trial brought a pair"
    RENEW_IN_DOUBT = "the trial brought a pair, and another may live"
    END = "Procore has ended the tokens"
    END_IN_DOUBT = "nothing more can be known"
    END_IN_SILENCE = "the refresher has said nothing"
    SPEAK = "the refresher had a response"
    SPEAK_OF_NONE = "the refresher had no response"
    # to several
    LOSE_KEY = "give up a lost key"
    PURGE = "purge"
    TIME = "time passes"


class Transition(NamedTuple):
    """One line of a table."""

    state: Enum
    event: Event
    next: Enum
    who: Who


def _each(states: Iterable[Enum], event: Event, to: Enum, who: Who) -> Iterator[Transition]:
    """Lead from each of some states to one."""
    return (Transition(state, event, to, who) for state in states)


def _pairs(
    states: Sequence[Enum], event: Event, to: Sequence[Enum], who: Who
) -> Iterator[Transition]:
    """Lead from each of some states to the one at its place in `to`."""
    return (Transition(state, event, to[place], who) for place, state in enumerate(states))


def _stay(states: Iterable[Enum], event: Event, who: Who) -> Iterator[Transition]:
    """Accept an event that changes the row and not its state."""
    return (Transition(state, event, state, who) for state in states)


_A = AttemptState
_T = TokenSetState
_P = PredecessorState
_W = WithdrawalState

_UNFINISHED: Final = (_A.TAKEN, _A.EXCHANGED)
_FINISHED: Final = (_A.DONE, _A.JOINED, _A.FAILED)

ATTEMPT: Final = (
    Transition(_A.ABSENT, Event.TAKE, _A.TAKEN, Who.SIGN_IN),
    Transition(_A.TAKEN, Event.ESCROW, _A.EXCHANGED, Who.SIGN_IN),
    *_each(_UNFINISHED, Event.COMPLETE, _A.DONE, Who.SIGN_IN),
    *_each(_UNFINISHED, Event.COMPLETE_AND_REPLACE, _A.DONE, Who.SIGN_IN),
    *_each(_UNFINISHED, Event.REFUSE, _A.FAILED, Who.SIGN_IN),
    *_each(_UNFINISHED, Event.FAIL, _A.FAILED, Who.SIGN_IN),
    Transition(_A.DONE, Event.JOIN, _A.JOINED, Who.SECOND_CALLBACK),
    Transition(_A.ABSENT, Event.GIVE_UP, _A.FAILED, Who.REFRESHER),
    *_each(_UNFINISHED, Event.GIVE_UP, _A.FAILED, Who.SIGN_IN),
    *_stay(_FINISHED, Event.GIVE_UP, Who.SIGN_IN),
    # A withdrawal never meets the tokens of a sign-in under way.
    *_stay(_FINISHED, Event.HOLD, Who.REVOKER),
    Transition(_A.ABSENT, Event.PUT_AWAY, _A.FAILED, Who.CHANGE),
    Transition(_A.ABSENT, Event.PUT_AWAY_LEASED, _A.FAILED, Who.CHANGE),
    Transition(_A.ABSENT, Event.PUT_AWAY_UNSURE, _A.FAILED, Who.CHANGE),
    Transition(_A.ABSENT, Event.LEAVE_DOUBT, _A.FAILED, Who.CHANGE),
    Transition(_A.ABSENT, Event.KEEP, _A.FAILED, Who.REVOKER),
    *_each((*_UNFINISHED, *_FINISHED), Event.PURGE, _A.ABSENT, Who.JANITOR),
)
"""A purge takes rows only that have expired."""

_SURE: Final = (_T.FREE, _T.LEASED, _T.LAPSED, _T.PAUSED)
_UNSURE: Final = (_T.FREE_UNSURE, _T.LEASED_UNSURE, _T.LAPSED_UNSURE, _T.PAUSED_UNSURE)
_OK: Final = (*_SURE, *_UNSURE)
_OVER: Final = (_T.LOST, _T.REVOKED)
_ROWS: Final = (*_OK, *_OVER)

TOKEN_SET: Final = (
    *_each((_T.ABSENT, *_ROWS), Event.SIGN_IN, _T.FREE, Who.SIGN_IN),
    # A lease that ran out counts as a request without a response: its owner may have sent one.
    Transition(_T.FREE, Event.TAKE_LEASE, _T.LEASED, Who.REFRESHER),
    Transition(_T.LAPSED, Event.TAKE_LEASE, _T.LEASED_UNSURE, Who.REFRESHER),
    Transition(_T.FREE_UNSURE, Event.TAKE_LEASE, _T.LEASED_UNSURE, Who.REFRESHER),
    Transition(_T.LAPSED_UNSURE, Event.TAKE_LEASE, _T.LEASED_UNSURE, Who.REFRESHER),
    # A late refresher speaks of the refresh token, whichever holds the lease by now.
    *_pairs(_SURE, Event.NO_ANSWER, _UNSURE, Who.REFRESHER),
    *_stay((*_UNSURE, *_OVER), Event.NO_ANSWER, Who.REFRESHER),
    *_each((_T.LEASED, _T.LAPSED), Event.GIVE_BACK, _T.PAUSED, Who.REFRESHER),
    *_each((_T.LEASED_UNSURE, _T.LAPSED_UNSURE), Event.GIVE_BACK, _T.PAUSED_UNSURE, Who.REFRESHER),
    # The newest pair is kept, whatever others have made of the row meanwhile.
    *_each(_ROWS, Event.COMMIT, _T.FREE, Who.REFRESHER),
    *_each(_ROWS, Event.COMMIT_SHARED, _T.FREE, Who.REFRESHER),
    *_each((_T.LEASED, _T.LAPSED), Event.REFUSED, _T.REVOKED, Who.REFRESHER),
    *_each((_T.LEASED_UNSURE, _T.LAPSED_UNSURE), Event.REFUSED, _T.LOST, Who.REFRESHER),
    *_stay(_ROWS, Event.ACCEPTED, Who.REFRESHER),
    *_each(_OK, Event.DISABLE, _T.REVOKED, Who.OPERATOR),
    *_stay(_OVER, Event.DISABLE, Who.OPERATOR),
    *_each(_ROWS, Event.DISCONNECT, _T.ABSENT, Who.OPERATOR),
    *_each(_ROWS, Event.DELETE, _T.ABSENT, Who.OPERATOR),
    *_each(_ROWS, Event.LOSE_KEY, _T.ABSENT, Who.OPERATOR),
    *_each(_OVER, Event.PURGE, _T.ABSENT, Who.OPERATOR),
    Transition(_T.LEASED, Event.TIME, _T.LAPSED, Who.CLOCK),
    Transition(_T.PAUSED, Event.TIME, _T.FREE, Who.CLOCK),
    Transition(_T.LEASED_UNSURE, Event.TIME, _T.LAPSED_UNSURE, Who.CLOCK),
    Transition(_T.PAUSED_UNSURE, Event.TIME, _T.FREE_UNSURE, Who.CLOCK),
)
"""Of a refresher, only what it says of the generation that it holds counts. Afterwards it can only
tell the ledger what became of its request (`Event.SPEAK`, `Event.SPEAK_OF_NONE`)."""

ENABLED_ONLY: Final = frozenset(
    {Event.SIGN_IN, Event.TAKE_LEASE, Event.COMMIT, Event.COMMIT_SHARED}
)
"""What the token set of a disabled user refuses in every state."""

PREDECESSOR: Final = (
    *_each(_P, Event.SIGN_IN, _P.SETTLED, Who.SIGN_IN),
    *_each(_P, Event.COMMIT, _P.KEPT, Who.REFRESHER),
    *_each(_P, Event.COMMIT_SHARED, _P.SETTLED, Who.REFRESHER),
    *_each(_P, Event.ACCEPTED, _P.SETTLED, Who.REFRESHER),
    *_each(_P, Event.DISABLE, _P.SETTLED, Who.OPERATOR),
    *_each(_P, Event.DISCONNECT, _P.SETTLED, Who.OPERATOR),
    *_each(_P, Event.DELETE, _P.SETTLED, Who.OPERATOR),
    *_each(_P, Event.LOSE_KEY, _P.SETTLED, Who.OPERATOR),
    Transition(_P.SETTLED, Event.PURGE, _P.SETTLED, Who.OPERATOR),
)
"""What becomes of the pair before goes by the same events. A purge spares a row that keeps one."""

_WAITING: Final = (_W.WAITING, _W.REFRESHING, _W.UNANSWERED)
_HELD: Final = (_W.HELD, _W.REFRESHING_HELD, _W.UNANSWERED_HELD)
_GONE_ON: Final = (_W.LAPSED, _W.REFRESHING_LAPSED, _W.UNANSWERED_LAPSED)
_TAKEN_UP: Final = (*_HELD, *_GONE_ON)
_FULL: Final = (*_WAITING, *_TAKEN_UP)

WITHDRAWAL: Final = (
    Transition(_W.NOTHING, Event.ESCROW, _W.WAITING, Who.SIGN_IN),
    *_each((_W.NOTHING, _W.WAITING), Event.COMPLETE, _W.NOTHING, Who.SIGN_IN),
    *_each((_W.NOTHING, _W.WAITING), Event.COMPLETE_AND_REPLACE, _W.WAITING, Who.SIGN_IN),
    Transition(_W.NOTHING, Event.GIVE_UP, _W.WAITING, Who.SIGN_IN),
    Transition(_W.SILENT, Event.GIVE_UP, _W.REFRESHING, Who.SIGN_IN),
    Transition(_W.DOUBT, Event.GIVE_UP, _W.UNANSWERED, Who.SIGN_IN),
    *_stay(_FULL, Event.GIVE_UP, Who.SIGN_IN),
    Transition(_W.NOTHING, Event.PUT_AWAY, _W.WAITING, Who.CHANGE),
    Transition(_W.NOTHING, Event.PUT_AWAY_LEASED, _W.REFRESHING, Who.CHANGE),
    Transition(_W.NOTHING, Event.PUT_AWAY_UNSURE, _W.UNANSWERED, Who.CHANGE),
    Transition(_W.NOTHING, Event.LEAVE_DOUBT, _W.DOUBT, Who.CHANGE),
    Transition(_W.NOTHING, Event.KEEP, _W.HELD, Who.REVOKER),
    *_pairs(_WAITING, Event.HOLD, _HELD, Who.REVOKER),
    *_pairs(_GONE_ON, Event.HOLD, _HELD, Who.REVOKER),
    *_pairs(_HELD, Event.TIME, _GONE_ON, Who.CLOCK),
    *_pairs(_HELD, Event.RELEASE, _WAITING, Who.REVOKER),
    *_pairs(_GONE_ON, Event.RELEASE, _WAITING, Who.REVOKER),
    *_each(_TAKEN_UP, Event.TRY, _W.UNANSWERED_HELD, Who.REVOKER),
    *_each(_TAKEN_UP, Event.ANSWER, _W.HELD, Who.REVOKER),
    *_each(_TAKEN_UP, Event.RENEW, _W.HELD, Who.REVOKER),
    *_each(_TAKEN_UP, Event.RENEW_IN_DOUBT, _W.UNANSWERED_HELD, Who.REVOKER),
    *_each(_TAKEN_UP, Event.END, _W.NOTHING, Who.REVOKER),
    *_each(_TAKEN_UP, Event.END_IN_DOUBT, _W.DOUBT, Who.REVOKER),
    *_each(_TAKEN_UP, Event.END_IN_SILENCE, _W.SILENT, Who.REVOKER),
    Transition(_W.REFRESHING, Event.SPEAK, _W.WAITING, Who.REFRESHER),
    Transition(_W.REFRESHING_HELD, Event.SPEAK, _W.HELD, Who.REFRESHER),
    Transition(_W.REFRESHING_LAPSED, Event.SPEAK, _W.LAPSED, Who.REFRESHER),
    Transition(_W.SILENT, Event.SPEAK, _W.NOTHING, Who.REFRESHER),
    Transition(_W.REFRESHING, Event.SPEAK_OF_NONE, _W.UNANSWERED, Who.REFRESHER),
    Transition(_W.REFRESHING_HELD, Event.SPEAK_OF_NONE, _W.UNANSWERED_HELD, Who.REFRESHER),
    Transition(_W.REFRESHING_LAPSED, Event.SPEAK_OF_NONE, _W.UNANSWERED_LAPSED, Who.REFRESHER),
    Transition(_W.SILENT, Event.SPEAK_OF_NONE, _W.DOUBT, Who.REFRESHER),
    *_each((_W.SILENT, _W.DOUBT), Event.DELETE, _W.NOTHING, Who.OPERATOR),
    *_stay((_W.NOTHING, *_FULL), Event.DELETE, Who.OPERATOR),
    *_each(_FULL, Event.LOSE_KEY, _W.DOUBT, Who.OPERATOR),
    Transition(_W.NOTHING, Event.PURGE, _W.NOTHING, Who.JANITOR),
)
"""A doubt belongs to a user. Where the row names none, `NOTHING` stays behind instead."""

_PLAIN: Final = (_T.FREE, _T.PAUSED)
_OWNED: Final = (_T.LEASED, _T.LAPSED)
_PLAIN_UNSURE: Final = (_T.FREE_UNSURE, _T.PAUSED_UNSURE)
_OWNED_UNSURE: Final = (_T.LEASED_UNSURE, _T.LAPSED_UNSURE)
_ENDINGS: Final = (Event.DISABLE, Event.DISCONNECT, Event.DELETE)
_BEGIN: Final = {
    **dict.fromkeys(_PLAIN, Event.PUT_AWAY),
    **dict.fromkeys((_T.LEASED, _T.LEASED_UNSURE), Event.PUT_AWAY_LEASED),
    **dict.fromkeys((_T.LAPSED, _T.LAPSED_UNSURE, *_PLAIN_UNSURE), Event.PUT_AWAY_UNSURE),
}

LEAVES: Final[Mapping[tuple[TokenSetState, Event], tuple[Event, ...]]] = {
    # The pair goes into the escrow of the attempt, unless a refresher has to speak of it first.
    **dict.fromkeys(((state, Event.SIGN_IN) for state in (*_PLAIN, _T.REVOKED)), (Event.PUT_AWAY,)),
    **dict.fromkeys(((state, Event.SIGN_IN) for state in _OWNED), (Event.PUT_AWAY_LEASED,)),
    **dict.fromkeys(
        ((state, Event.SIGN_IN) for state in (*_PLAIN_UNSURE, _T.LOST)),
        (Event.PUT_AWAY, Event.LEAVE_DOUBT),
    ),
    **dict.fromkeys(
        ((state, Event.SIGN_IN) for state in _OWNED_UNSURE),
        (Event.PUT_AWAY_LEASED, Event.LEAVE_DOUBT),
    ),
    **{(state, end): (begin,) for state, begin in _BEGIN.items() for end in _ENDINGS},
    # The refresher speaks of its second request, and not of the one that had no response.
    **dict.fromkeys(
        ((_T.LEASED_UNSURE, end) for end in (Event.DISABLE, Event.DISCONNECT)),
        (Event.PUT_AWAY_LEASED, Event.LEAVE_DOUBT),
    ),
    # A response was lost, and others came: no one knows what was in it.
    **dict.fromkeys(((state, Event.COMMIT) for state in _UNSURE), (Event.LEAVE_DOUBT,)),
    **dict.fromkeys(((state, Event.COMMIT_SHARED) for state in _UNSURE), (Event.LEAVE_DOUBT,)),
    # What the row told goes with it.
    (_T.LOST, Event.DISCONNECT): (Event.LEAVE_DOUBT,),
    (_T.LOST, Event.PURGE): (Event.LEAVE_DOUBT,),
    **dict.fromkeys(((state, Event.LOSE_KEY) for state in _ROWS), (Event.LEAVE_DOUBT,)),
}
"""What a token set leaves in the ledger. Each event begins a withdrawal in a row of its own, but
`Event.PUT_AWAY` by a sign-in is `Event.COMPLETE_AND_REPLACE` in the row of its attempt."""

LEAVES_PREDECESSOR: Final = frozenset({Event.SIGN_IN, Event.COMMIT, Event.COMMIT_SHARED, *_ENDINGS})
"""What puts away the pair before too, where it is kept (`Event.PUT_AWAY`)."""


def attempt_state(row: Mapping[str, Any] | None) -> AttemptState:
    """Tell the state of an attempt from a row of `sign_in_ledger`, or None where there is none.

    Raises:
        ValueError: No table has such a row.
    """
    if row is None:
        return AttemptState.ABSENT
    status, joined = row["status"], row["joined_at"] is not None
    if status not in get_args(AttemptStatus):
        raise ValueError("There is no such status.")
    state = AttemptState(status)
    if joined and state is not AttemptState.DONE:
        raise ValueError("Only what is done can be joined.")
    if state is AttemptState.TAKEN and row["escrow"] is not None:
        raise ValueError("There are tokens before the exchange.")
    if (row["finished_at"] is None) != (state in _UNFINISHED):
        raise ValueError("What is finished has a time, and nothing else has.")
    return AttemptState.JOINED if joined else state


def withdrawal_state(row: Mapping[str, Any] | None, at: int) -> WithdrawalState:
    """Tell the state of a withdrawal from a row of `sign_in_ledger`, or None where there is none.

    Args:
        row: Its columns by name.
        at: Unix seconds by the clock that all users of the database share.

    Raises:
        ValueError: No table has such a row.
    """
    if row is None:
        return WithdrawalState.NOTHING
    doubt = row["outcome"] if row["outcome"] in DOUBTS else None
    if row["procore_id"] is not None and (row["escrow"] is None or row["user_id"] is not None):
        raise ValueError("A number tells whose an escrow is that no user has, and nothing else.")
    if (row["escrow"] is None) != (row["escrowed_at"] is None):
        raise ValueError("An escrow has a time, and nothing else has.")
    if row["escrow"] is None:
        if doubt is not None and (row["user_id"] is None) == (row["expires_at"] == NEVER):
            raise ValueError("A doubt lasts as long as its user, and no longer.")
        if doubt is None or row["user_id"] is None:
            return WithdrawalState.NOTHING
        return WithdrawalState.SILENT if doubt == REFRESHING else WithdrawalState.DOUBT
    if (row["held_by"] is None) != (row["held_until"] is None):
        raise ValueError("A hold has a holder and an end.")
    note = (None, REFRESHING, UNANSWERED).index(doubt)
    if row["held_by"] is None:
        return _WAITING[note]
    if row["status"] == AttemptState.EXCHANGED.value:
        raise ValueError("A withdrawal has met a sign-in under way.")
    return (_HELD if at < row["held_until"] <= at + 2 * HOLD_SECONDS else _GONE_ON)[note]


def token_set_state(row: Mapping[str, Any] | None, at: int) -> TokenSetState:
    """Tell the state of a token set from a row of `token_sets`, or None where there is none.

    Args:
        row: Its columns by name.
        at: Unix seconds by the clock that all users of the database share.

    Raises:
        ValueError: No table has such a row.
    """
    if row is None:
        return TokenSetState.ABSENT
    owner, until, unanswered = row["lease_owner"], row["lease_until"], row["ambiguous"]
    if row["status"] != "ok":
        if owner is not None or until is not None:
            raise ValueError("What is over is not refreshed.")
        if row["status"] == "lost" and not unanswered:
            raise ValueError("No response was lost.")
        return TokenSetState(row["status"])
    if owner is not None and until is None:
        raise ValueError("A lease has an end.")
    left = until is not None and until > at
    if owner is None:
        state = TokenSetState.PAUSED if left else TokenSetState.FREE
    else:
        state = TokenSetState.LEASED if left else TokenSetState.LAPSED
    return _UNSURE[_SURE.index(state)] if unanswered else state


def predecessor_state(row: Mapping[str, Any] | None) -> PredecessorState:
    """Tell whether a row of `token_sets` keeps the pair before; None where there is no row."""
    kept = row is not None and row["predecessor"] is not None
    return PredecessorState.KEPT if kept else PredecessorState.SETTLED
