"""Revoke tokens in escrow until Procore has certainly ended them (rows I5, S6).

A 200 of the revocation endpoint is not enough. A server of Doorkeeper's older line (4.2,
`TokensController#revoke_token`) answers so, and does nothing, when the access token has expired,
whichever of the two tokens is handed in; the refresh token lives on. And where a refresh token dies
only when its successor is used, a successor that is revoked unused leaves it alive. So the access
token is presented first: if the server accepts it, it is alive, its predecessor is dead, and the
revocation ends it. If not, the revocation is put to the test: the refresh token must be refused.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

from procore_signin._flow.context import Context
from procore_signin._flow.steps import Flow, do, later, send, wait
from procore_signin._flow.token_response import take_tokens
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_endpoint import (
    RefreshTokenGrant,
    check_revocation_response,
    is_token_info,
    parse_token_info_response,
    revocation_request,
    token_info_request,
    token_request,
)
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.escrows import (
    DOUBTS,
    LATE,
    REFRESHING,
    UNANSWERED,
    GiveUpTokens,
    share,
)
from procore_signin._store.records import Escrow, TokenRow
from procore_signin._store.refresh import Settle
from procore_signin._store.withdrawal import (
    FinishEscrow,
    Held,
    HoldEscrow,
    KeepRenewed,
    ReleaseEscrow,
    ReplaceEscrow,
)
from procore_signin.errors import (
    ClientMisconfigured,
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    StoreUnavailable,
    UnexpectedResponse,
)
from procore_signin.events import Event, emit

Revocation = Literal["none", "confirmed", "pending", "unsure", "sealed"]
"""What is known of a revocation.

`none`: there was nothing to revoke. `confirmed`: Procore said, leaving no doubt, that the tokens
are dead. `pending`: not yet, and they are kept until it does. `unsure`: a response was lost, and
with it tokens that may live. `sealed`: they cannot be opened. In the last two cases the user can
end the access at Procore, under My Profile Settings > Connected Apps."""

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 1.0
"""The pauses between the tries to write down tokens that exist nowhere else. Short, because a
process that ends waits for the pause."""

SELDOM_SECONDS: Final = 30.0
"""The longest pause between the tries to have such tokens revoked meanwhile."""

ENDING_SECONDS: Final = 20.0
"""How long a process that ends goes on trying, within the usual time for a process to end."""

POLL_SECONDS: Final = 0.05
REFRESH_ENDS_WITHIN: Final = 60
"""Seconds after which a refresh that was under way has told what came of it, or never will: it
holds its lease for half of that, and asks nothing afterwards."""


def give_up(
    context: Context,
    tokens: TokenSet,
    *,
    procore_id: int | None = None,
    refreshed: TokenRow | None = None,
    state_hash: str | None = None,
    outcome: str = LATE,
) -> Flow[Revocation]:
    """Give tokens back that came when no one wanted them any more (row C14).

    They go into the ledger first, so that whatever process is left revokes them. While the database
    is away, this goes on trying for as long as the process lives, and has them revoked meanwhile.

    Args:
        context: The surroundings.
        tokens: Which. No row holds them.
        procore_id: Whose by Procore's number, or None where no one knows.
        refreshed: The row whose refresh brought them, or None. If its own tokens were withdrawn
            meanwhile, it is known now what became of that refresh.
        state_hash: The attempt that brought them, which ends with this, or None.
        outcome: Why it ends, as a fixed word.

    Returns:
        As `withdraw`. `unsure` where the process ends before anyone could be told.
    """
    given_up = GiveUpTokens(
        tokens,
        state_hash=state_hash or context.random_bytes(32).hex(),
        environment=context.environment.name,
        procore_id=procore_id,
        refreshed=refreshed,
        now=context.now(),
        outcome=outcome,
    )
    put_away = partial(_put_away, context, given_up)
    known = yield from _write_down(context, tokens, put_away, needed=refreshed is not None)
    if known is not None:
        return known
    try:
        return (yield from withdraw(context, _escrow_of(given_up)))
    except StoreUnavailable:
        return "pending"  # the janitor goes on


def _write_down(
    context: Context, tokens: TokenSet, write: Callable[[], Flow[bool]], *, needed: bool
) -> Flow[Revocation | None]:
    """Write down a pair that no one wants and this process alone has, however long that takes.

    Args:
        context: The surroundings.
        tokens: The pair.
        write: Tries it; tells whether that was done.
        needed: Whether a row waits for it, also where the pair is dead by then.

    Returns:
        None once it is written down; otherwise what is known of the pair.
    """
    pause, dead = FIRST_PAUSE_SECONDS, False
    waited = ask_after = 0.0
    while not (yield from write()):
        if not dead and waited >= ask_after:  # seldom: Procore may be unwell too
            dead = yield from _ended_at_once(context, tokens)
            waited, ask_after = 0.0, min(2 * ask_after + pause, SELDOM_SECONDS)
        if dead and not needed:
            return "confirmed"
        waited += pause
        if (yield from wait(pause)) > ENDING_SECONDS:
            _failed(context.environment.name, "StoreUnavailable")
            return "confirmed" if dead else "unsure"
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    return None


def gave_up_at_once(
    context: Context, tokens: TokenSet, *, procore_id: int | None, state_hash: str, outcome: str
) -> Flow[bool]:
    """Try what `give_up` does once, and tell whether it is done: if not, it is for `give_up`."""
    given_up = GiveUpTokens(
        tokens,
        state_hash=state_hash,
        environment=context.environment.name,
        procore_id=procore_id,
        refreshed=None,
        now=context.now(),
        outcome=outcome,
    )
    if not (yield from _put_away(context, given_up)):
        return (yield from _ended_at_once(context, tokens))
    with suppress(StoreUnavailable):  # the janitor goes on
        yield from withdraw(context, _escrow_of(given_up))
    return True


def _escrow_of(given_up: GiveUpTokens) -> Escrow:
    return Escrow(given_up.state_hash, given_up.environment, given_up.tokens)


def _put_away(context: Context, given_up: GiveUpTokens) -> Flow[bool]:
    """Write tokens into the ledger; False where the database does not do it now."""
    try:
        yield from do(replace(given_up, now=context.now()))
    except StoreUnavailable:
        return False
    return True


def _ended_at_once(context: Context, tokens: TokenSet) -> Flow[bool]:
    """Revoke tokens that were issued a moment ago; tell whether that leaves no doubt."""
    try:
        accepted = yield from _is_accepted(context, tokens)
        yield from _hand_in(context, tokens)
    except ProcoreSignInError:
        return False
    if accepted:
        emit(Event.TOKENS_REVOKED, environment=context.environment.name)
    return accepted


def settle(context: Context, row: TokenRow) -> Flow[None]:
    """Present the access token of a pair that is committed, so that the pair before it is dead.

    Where a refresh token dies only when its successor is used, no one else may ever use that
    successor. Where it died at once, this changes nothing, and it is known all the same (row I7).
    A failure harms no one: the row goes on saying that the pair before may live.
    """
    if row.settled:
        return
    try:
        if (yield from _is_accepted(context, row.tokens)):
            yield from do(Settle(row, now=context.now()))
    except ProcoreSignInError:
        return


def withdraw(context: Context, escrow: Escrow, *, patience: float = 0.0) -> Flow[Revocation]:
    """Revoke the tokens in `escrow`, and clear it once nothing more can be done.

    Safe to repeat, and to run in several processes at once: one of them holds the escrow. Where the
    outcome is `pending` the escrow stays, or holds the newer pair that trying the refresh token
    brought.

    Args:
        context: The surroundings.
        escrow: Which; what is in it is read again.
        patience: How many seconds to wait for another one who is doing the same.

    Raises:
        StoreUnavailable: Repeat it: nothing is lost.
    """
    if escrow.tokens is None:
        return "sealed"
    if escrow.environment != context.environment.name:
        return "pending"  # for the processes of that environment: they alone know its client
    holder = b32encode(context.random_bytes(10)).decode()
    held = yield from _hold(context, escrow.state_hash, holder, patience)
    if held.state == "over":
        return what_is_known(held.outcome)
    if held.escrow is None:
        return "pending"
    outcome: Revocation = "sealed"
    if held.escrow.tokens is not None:
        outcome = yield from _end(context, held.escrow, held.escrow.tokens, held, holder)
    if outcome in {"pending", "sealed"}:
        yield from do(ReleaseEscrow(escrow.state_hash, holder=holder))
    return outcome


def what_is_known(outcome: str | None) -> Revocation:
    """Return what the note in a ledger row says of the tokens that were in it."""
    return "unsure" if outcome in DOUBTS else "confirmed"


def _hold(context: Context, state_hash: str, holder: str, patience: float) -> Flow[Held]:
    waited = 0.0
    while True:
        held = yield from do(HoldEscrow(state_hash, holder=holder, now=context.now()))
        if held.state != "busy" or waited >= patience:
            return held
        try:
            yield from wait(POLL_SECONDS, idle=True)
        except ProcoreUnavailable:  # this process ends, and the other one goes on
            return held
        waited += POLL_SECONDS


def _end(
    context: Context, escrow: Escrow, tokens: TokenSet, held: Held, holder: str
) -> Flow[Revocation]:
    """Revoke the tokens in an escrow that we hold. Where it returns `pending`, they stay in it."""
    doubt = held.outcome if held.outcome in DOUBTS else None
    kept = _Kept(escrow, holder, held.procore_id)
    note = None if doubt else held.outcome
    try:
        if doubt == REFRESHING and 0 <= held.age < REFRESH_ENDS_WITHIN:
            yield from _hand_in(context, tokens)
            return "pending"  # the process that refreshes them says soon what came of it
        if doubt is not None:
            lost = yield from _end_doubtful(context, kept, tokens)
            doubt = doubt if lost else None
        elif (yield from _is_accepted(context, tokens)):
            yield from _hand_in(context, tokens)
        else:
            yield from _end_expired(context, kept, tokens, held.outcome)
    except StoreUnavailable:
        raise
    except ProcoreSignInError as error:
        _failed(escrow.environment, type(error).__name__, error.error)
        return "pending"
    except _OvertakenError:
        return "pending"
    now = context.now()
    ours = yield from do(
        FinishEscrow(escrow.state_hash, holder=holder, outcome=doubt or note, now=now)
    )
    if not ours:
        return "pending"
    if doubt is not None:
        _failed(escrow.environment, UNANSWERED)
        return "unsure"
    emit(Event.TOKENS_REVOKED, environment=escrow.environment)
    return "confirmed"


@dataclass(frozen=True, slots=True)
class _Kept:
    """An escrow that we hold.

    Attributes:
        escrow: Which.
        holder: Under which name.
        procore_id: Whose by Procore's number, or None where no one knows.
    """

    escrow: Escrow
    holder: str
    procore_id: int | None


class _OvertakenError(Exception):
    """We took so long that someone else holds the escrow by now, and goes on."""


def _failed(environment: str, reason: str, error: str | None = None) -> None:
    emit(Event.REVOCATION_FAILED, environment=environment, reason=reason, error=error)


def _is_accepted(context: Context, tokens: TokenSet) -> Flow[bool]:
    """Present the access token, and tell whether the server accepts it.

    No clock is asked: ours may be wrong.
    """
    response = yield from send(
        token_info_request(context.environment.login_origin, tokens.access_token)
    )
    try:
        parse_token_info_response(response, received_at=context.clock())
    except GrantLost:
        return False
    except UnexpectedResponse:
        if is_token_info(response):
            return True
        raise  # a page of a gateway says nothing about the token
    return True


def _hand_in(context: Context, tokens: TokenSet) -> Flow[None]:
    """Have both tokens revoked. RFC 7009 §2 does not promise that one takes the other along."""
    for token in (tokens.access_token, tokens.refresh_token):
        if token is not None:
            request = revocation_request(context.environment.login_origin, context.client, token)
            response = yield from send(request)
            check_revocation_response(response, received_at=context.clock())


def _end_expired(context: Context, kept: _Kept, tokens: TokenSet, before: str | None) -> Flow[None]:
    """End a pair whose access token is of no use any more, and the pair that it may still bring.

    Args:
        context: The surroundings.
        kept: Where the pair is kept.
        tokens: The pair.
        before: The ledger's outcome, to be written back when a response came.

    Raises:
        _OvertakenError: Someone else goes on, or it has to be tried again.
    """
    yield from _hand_in(context, tokens)
    if tokens.refresh_token is None:
        return
    yield from _keep(context, kept, tokens, UNANSWERED)
    try:
        renewed = yield from _refresh(context, tokens, tokens.refresh_token)
    except GrantLost:
        return  # as it should be
    except ProcoreUnavailable as error:
        if not error.ambiguous:
            yield from _keep(context, kept, tokens, before)
        raise
    except ClientMisconfigured:
        yield from _keep(context, kept, tokens, before)
        raise
    place = yield from _keep_both(context, kept, tokens, renewed, before)
    yield from _end_renewed(context, kept, renewed, place, certainly=True)


def _keep_both(
    context: Context, kept: _Kept, tokens: TokenSet, renewed: TokenSet, outcome: str | None
) -> Flow[str]:
    """Keep the pair that trying `tokens` brought beside them, and return its place.

    Where the database does not take it, that is tried again beside the caller: this process alone
    has it (row C14).
    """
    escrow, now = replace(kept.escrow, tokens=tokens), context.now()
    keep = KeepRenewed(escrow, renewed, outcome=outcome, now=now, holder=kept.holder)
    try:
        place = yield from do(keep)
    except StoreUnavailable:
        yield from later(_write_down(context, renewed, partial(_try, context, keep), needed=True))
        raise
    if place is None:
        raise _OvertakenError
    return place


def _try(context: Context, keep: KeepRenewed) -> Flow[bool]:
    # The time anew: by an old one, the hold of another revoker would be one of a wrong clock.
    try:
        yield from do(replace(keep, now=context.now()))
    except StoreUnavailable:
        return False
    return True


def _end_renewed(
    context: Context, kept: _Kept, renewed: TokenSet, place: str, *, certainly: bool
) -> Flow[None]:
    """End a pair that trying the one before brought, and `certainly` the one before too."""
    accepted = yield from _is_accepted(context, renewed)
    yield from _hand_in(context, renewed)
    if certainly and not accepted:  # the pair before it may live: both stay, and are tried again
        raise _OvertakenError
    now = context.now()
    yield from do(FinishEscrow(place, holder=kept.holder, outcome=LATE, now=now))


def _end_doubtful(context: Context, kept: _Kept, tokens: TokenSet) -> Flow[bool]:
    """End a pair whose refresh token may have been spent by a request that had no response.

    No one wants the grant any more, so it costs nothing to ask what became of that request. If the
    refresh token still brings a pair, and is then refused, it dies when it is used: so that request
    did nothing. If it brings one again, each use brings one, and the first may live.

    Returns:
        Whether there may be a pair that no one knows.

    Raises:
        _OvertakenError: Someone else goes on.
    """
    if tokens.refresh_token is None:
        yield from _hand_in(context, tokens)
        return True
    try:
        renewed = yield from _refresh(context, tokens, tokens.refresh_token)
    except GrantLost:
        yield from _hand_in(context, tokens)
        return True
    place = yield from _keep_both(context, kept, tokens, renewed, UNANSWERED)
    lost = True
    try:
        another = yield from _refresh(context, tokens, tokens.refresh_token)
    except GrantLost:
        lost = share(tokens, renewed)  # a server that does not rotate refuses for another reason
    else:
        # It has no place in the row that is held.
        yield from later(give_up(context, another, procore_id=kept.procore_id))
    yield from _end_renewed(context, kept, renewed, place, certainly=not lost)
    return lost


def _keep(context: Context, kept: _Kept, tokens: TokenSet, outcome: str | None) -> Flow[None]:
    escrow, now = replace(kept.escrow, tokens=tokens), context.now()
    ours = yield from do(ReplaceEscrow(escrow, outcome=outcome, now=now, holder=kept.holder))
    if not ours:
        raise _OvertakenError


def _refresh(context: Context, tokens: TokenSet, refresh_token: Secret) -> Flow[TokenSet]:
    asked_at = context.clock()
    grant = RefreshTokenGrant(refresh_token)
    request = token_request(context.environment.login_origin, context.client, grant)
    response = yield from send(request)
    return take_tokens(context, response, asked_at=asked_at, previous=tokens)
