"""Keep a person's access alive: one refresh at a time, and never a refresh token spent twice.

Procore's refresh tokens are single-use, and its documentation tells people to sign in again when an
answer is lost. So a refresh is held by a lease on the row, for longer than its requests can take;
the new pair is committed before anyone uses it; and what is not known is written down as not
known (rows R1 to R12). No transaction is held while a request is under way.
"""

from __future__ import annotations

from base64 import b32encode
from dataclasses import dataclass
from itertools import chain, repeat
from math import ceil
from typing import Final

from procore_signin._flow.context import Context
from procore_signin._flow.revocation import ENDING_SECONDS, give_up, settle
from procore_signin._flow.steps import Flow, dismiss, later, once, read, send, wait, write
from procore_signin._flow.token_response import take_tokens
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_endpoint import (
    RefreshTokenGrant,
    token_request,
)
from procore_signin._protocol.token_set import TokenSet
from procore_signin._public import public_in
from procore_signin._store.records import TokenRow
from procore_signin.errors import (
    ClientMisconfigured,
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    SignInRefused,
    StoreUnavailable,
    UnexpectedResponse,
    VaultSealed,
)
from procore_signin.events import Event, emit

LEASE_SECONDS: Final = 30
"""How long one refresh may hold a row. Two requests of ten seconds each and the commit fit in; a
lease shorter than the requests would let a second refresher spend the same token (row R2)."""

REQUEST_SECONDS: Final = 10
"""The longest that a request may take. `tests/flow/test_tokens.py` holds the transport to it."""

EARLY_SECONDS: Final = 600
"""How long before its end a token is refreshed, so that a refresh that fails leaves time."""

LEEWAY_SECONDS: Final = 30
"""A token with less than this left is not handed out: the call still has to reach Procore."""

FIRST_POLL_SECONDS: Final = 0.02
LONGEST_POLL_SECONDS: Final = 0.25
PAUSE_SECONDS: Final = 5
"""How long no one asks again for a person after Procore did not answer and named no time itself."""

LONGEST_PAUSE_SECONDS: Final = 300
COMMIT_PAUSES: Final = (0.1, 0.3, 0.6)
"""Seconds between the first tries to write down a new pair: it exists nowhere else. Those who wait
for it are kept waiting for so long, and then told to try later."""

LONGEST_COMMIT_PAUSE: Final = 0.5
"""Seconds between all the tries after that. Short: once the database is back, the pair should be in
it before the lease ends and another process asks Procore again."""


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class FreshToken:
    """An access token that can be used now.

    Attributes:
        access_token: The bearer.
        generation: Which token set of the person it is from; name it when Procore rejects it.
        expires_in: Seconds that it has left, at least `LEEWAY_SECONDS`.
    """

    access_token: Secret
    generation: int
    expires_in: int


def fresh_tokens(
    context: Context, user_id: int, *, rejected: int | None = None
) -> Flow[FreshToken]:
    """Return an access token of the user that can be used now, refreshed if need be.

    Args:
        context: The surroundings.
        user_id: Whose.
        rejected: The generation that Procore's API has just refused, if any: it is refreshed even
            if it should still be good, unless someone has done so already (row R9).

    Raises:
        GrantLost: There is no grant any more. Ask the person to sign in again.
        SignInRefused: The person is disabled.
        ProcoreUnavailable: Procore does not answer and the token is of no use any more. Nothing is
            lost; try again after `retry_after` seconds.
        ClientMisconfigured, VaultSealed: Tell the operator. Nothing is lost.
        StoreUnavailable: Try again.
    """
    row = yield from _row(context, user_id)
    stale = row.generation == rejected
    # More left than it ever had: the clock was set back, and its end is not known (row R14).
    known = row.expires_in <= row.lifetime
    if not stale and known and row.expires_in > _early(row):
        return _fresh(row)
    if not stale and row.expires_in > LEEWAY_SECONDS:
        # Good enough for this call: the first caller has it refreshed in the background (row R8).
        if not row.leased and row.retry_in <= 0:
            yield from later(_refresh_early(context, row), key=_key(row))
        return _fresh(row)
    renewed = yield from once(_key(row), _refresh(context, row))
    if renewed.expires_in <= 0:
        raise ProcoreUnavailable(
            "Procore's response has no usable access token; the next call asks for another",
            retry_after=1,
            ambiguous=False,
        )
    return _fresh(renewed)


def _refresh_early(context: Context, row: TokenRow) -> Flow[None]:
    """Refresh `row` beside its caller, unless this process has come to its end meanwhile.

    Many may be waiting for their turn then. None of them has been sent, so nothing is lost, and the
    process need not wait for them.
    """
    if (yield from wait(0)) > 0:
        return
    yield from once(_key(row), _refresh(context, row))


def _key(row: TokenRow) -> tuple[object, ...]:
    """What two callers in one process must have in common to share one refresh."""
    return ("refresh", row.user_id, row.environment, row.generation)


def _fresh(row: TokenRow) -> FreshToken:
    return FreshToken(row.tokens.access_token, row.generation, row.expires_in)


def _early(row: TokenRow) -> int:
    """Return how many seconds before its end this token set is refreshed.

    A quarter of its life at most, and a little different for each row and generation, so that
    people who signed in together are not refreshed together.
    """
    early = min(EARLY_SECONDS, row.lifetime // 4)
    # Computed, not drawn: with a new chance at each call the earliest of all draws would decide.
    # Neither factor shares a divisor with 1000, so that a thousand rows in sequence get a thousand
    # different places, and neighbours get places far apart; the next generation moves the row on.
    spread = (row.id * 761 + row.generation * 503) % 1000
    return early - early * spread // 4000


def _row(context: Context, user_id: int) -> Flow[TokenRow]:
    """Return the user's token set, which must still be one."""
    environment, now = context.environment.name, context.now()
    try:
        row = yield from read(lambda store: store.token_row(user_id, environment, now=now))
        if row is not None and row.misdated:
            misdated = row
            row = yield from write(lambda store: store.redate_lease(misdated, now=now))
    except VaultSealed:
        emit(Event.TOKENS_SEALED, user=user_id, environment=environment, place="token_sets")
        raise
    if row is None:
        raise GrantLost("This person is not connected to Procore", hint="Ask for a new sign-in.")
    if row.disabled:
        raise SignInRefused("This person is disabled in this application")
    if row.status != "ok":
        raise _lost(row.status)
    return row


def _lost(status: str) -> GrantLost:
    what = (
        "The response to a refresh was lost, and with it the grant"
        if status == "lost"
        else "The grant was revoked at Procore"
    )
    return GrantLost(what, hint="Ask the person to sign in again.")


def _refresh(context: Context, row: TokenRow) -> Flow[TokenRow]:
    """Refresh `row`, or wait for the process that does; return the row that holds the new pair.

    Runs once for all callers of this process, and is not interrupted when they go away (row R12).
    """
    owner = b32encode(context.random_bytes(10)).decode()
    waited = 0.0
    pause = FIRST_POLL_SECONDS
    while True:
        if row.retry_in > 0:
            raise ProcoreUnavailable(
                "Procore did not answer a moment ago; it is too early to ask again",
                retry_after=row.retry_in,
                ambiguous=False,
            )
        began = context.clock()  # before the lease: a process that sleeps after it sees that it did
        taken = yield from _take(context, row, owner)
        renewed = None if taken is None else (yield from _hold(context, taken, owner, began))
        if renewed is not None:
            return renewed
        # None means: look again. Another process holds the lease, or the row has changed since it
        # was read. Which of these, and whether there is a newer pair, only the row itself says.
        if waited > 2 * LEASE_SECONDS:
            raise ProcoreUnavailable(
                "Another process has been refreshing this grant for too long", ambiguous=False
            )
        yield from wait(pause, idle=True)
        waited += pause
        pause = min(2 * pause, LONGEST_POLL_SECONDS)
        newer = yield from _row(context, row.user_id)
        if newer.generation != row.generation:
            emit(Event.REFRESH_WAITED, user=row.user_id, milliseconds=round(waited * 1000))
            return newer
        row = newer


def _take(context: Context, row: TokenRow, owner: str) -> Flow[TokenRow | None]:
    """Take the lease and return the row as it is now; None when it cannot be had: look again."""
    try:
        return (
            yield from write(
                lambda store: store.take_lease(
                    row, owner=owner, seconds=LEASE_SECONDS, now=context.now()
                )
            )
        )
    except StoreUnavailable:
        # Perhaps the response to the commit was lost, and not the commit.
        yield from later(_release_when_possible(context, row, owner, retry_in=1))
        raise


def _hold(context: Context, row: TokenRow, owner: str, began: float) -> Flow[TokenRow | None]:
    """Refresh while the lease is ours: ask, ask once more if the outcome is unknown, commit.

    Args:
        context: The surroundings.
        row: The row as it was taken.
        owner: Whose lease it is.
        began: A time before the lease began, by this process's clock.

    Returns:
        The row with the new pair; None when the row went on without us: look again.
    """
    refresh_token = row.tokens.refresh_token
    if refresh_token is None:
        yield from write(lambda store: store.end_grant(row, owner=owner, now=context.now()))
        raise GrantLost("Procore gave no refresh token", hint="Ask the person to sign in again.")
    try:
        renewed = yield from _ask_unless_out(context, row, refresh_token, began)
    except GrantLost:
        yield from _refused(context, row, owner)
        return None  # it did not raise, so the grant lives: another process was faster
    except GeneratorExit:  # no one drives this flow any more: nothing can be done
        raise
    except BaseException as error:  # whatever it is, no one shall wait for a lease without an owner
        yield from _give_back(context, row, owner, error)
        _report(Event.REFRESH_FAILED, row, began, context, reason=type(error).__name__)
        raise
    return (yield from _commit(context, row, renewed, began))


def _give_back(context: Context, row: TokenRow, owner: str, error: BaseException) -> Flow[None]:
    """Give the lease back without a new pair, and have no one ask again for a while.

    Where the database does not take it, that is tried again beside the caller for as long as the
    lease lasts: no one shall wait for an owner who has ended.
    """
    pause = getattr(error, "retry_after", None) or PAUSE_SECONDS
    bounded = min(max(int(pause), 1), LONGEST_PAUSE_SECONDS)
    try:
        if not isinstance(error, ProcoreSignInError):  # a defect: what became of the request?
            yield from write(lambda store: store.note_ambiguous(row, now=context.now()))
        yield from _release(context, row, owner, bounded)
    except StoreUnavailable:
        yield from later(_release_when_possible(context, row, owner, bounded))


def _release(context: Context, row: TokenRow, owner: str, retry_in: int) -> Flow[None]:
    yield from write(
        lambda store: store.release_lease(row, owner=owner, retry_in=retry_in, now=context.now())
    )


def _release_when_possible(
    context: Context, row: TokenRow, owner: str, retry_in: int
) -> Flow[None]:
    for _ in range(int(LEASE_SECONDS / LONGEST_COMMIT_PAUSE)):
        yield from wait(LONGEST_COMMIT_PAUSE, idle=True)
        try:
            return (yield from _release(context, row, owner, retry_in))
        except StoreUnavailable:
            continue


def _ask_unless_out(
    context: Context, row: TokenRow, refresh_token: Secret, began: float
) -> Flow[TokenSet]:
    """Ask, unless Procore has answered no one lately and it is too early for another try (R7)."""
    outage, environment = context.outage, context.environment.name
    left = outage.claim(context.clock(), user_id=row.user_id)
    if left > 0:
        raise ProcoreUnavailable(
            "Procore did not answer the latest refreshes; it is too early to ask again",
            retry_after=ceil(left),
            ambiguous=False,
        )
    try:
        renewed = yield from _ask_twice(context, row, refresh_token, began)
    except (ProcoreUnavailable, UnexpectedResponse):
        chance = context.random_bytes(1)[0] / 255
        outage.failed(context.clock(), chance, user_id=row.user_id, environment=environment)
        raise
    except (GrantLost, ClientMisconfigured):
        outage.answered(environment=environment)
        raise
    outage.answered(environment=environment)
    return renewed


def _ask_twice(
    context: Context, row: TokenRow, refresh_token: Secret, began: float
) -> Flow[TokenSet]:
    """Spend the refresh token; if no one knows what became of it, try the same one once more.

    Harmless under both rotations that are known: the server either has not rotated, or answers
    `invalid_grant`, or still honours the token because the new one was never used (row R5).
    """
    try:
        return (yield from _ask(context, row, refresh_token, began))
    except (ProcoreUnavailable, UnexpectedResponse) as error:
        if isinstance(error, ProcoreUnavailable) and not error.ambiguous:
            raise
    yield from write(lambda store: store.note_ambiguous(row, now=context.now()))
    return (yield from _ask(context, row, refresh_token, began))


def _ask(context: Context, row: TokenRow, refresh_token: Secret, began: float) -> Flow[TokenSet]:
    asked_at = context.clock()
    if not 0 <= asked_at - began < LEASE_SECONDS - REQUEST_SECONDS:
        # This process was asleep, or its clock moved: someone else may hold the row by now.
        raise ProcoreUnavailable("The lease could have ended before the response", ambiguous=False)
    request = token_request(
        context.environment.login_origin, context.client, RefreshTokenGrant(refresh_token)
    )
    response = yield from send(request)
    return take_tokens(context, response, asked_at=asked_at, previous=row.tokens, user=row.user_id)


def _refused(context: Context, row: TokenRow, owner: str) -> Flow[None]:
    """Procore knows the refresh token no more: was someone faster, or is the grant lost (R6)?

    It returns when someone was faster; their pair is in the row then.
    """
    try:
        status = yield from write(
            lambda store: store.end_grant(row, owner=owner, now=context.now())
        )
    except StoreUnavailable as error:
        yield from _give_back(context, row, owner, error)
        raise
    if status is None:
        return
    emit(
        Event.GRANT_LOST,
        user=row.user_id,
        environment=row.environment,
        generation=row.generation,
        status=status,
    )
    raise _lost(status)


def _commit(context: Context, row: TokenRow, renewed: TokenSet, began: float) -> Flow[TokenRow]:
    """Write the new pair down before anyone uses it (row R3)."""
    committed = yield from _write_down(context, row, renewed)
    if committed is not None:
        _report(Event.REFRESHED, row, began, context, to_generation=committed.generation)
        yield from later(settle(context, committed))
        return committed
    # A newer sign-in, a disconnect or a disabling came in between and stands (row R10). Our pair
    # is no one's now.
    yield from later(give_up(context, renewed, user_id=row.user_id, refreshed=row))
    return (yield from _row(context, row.user_id))


def _write_down(context: Context, row: TokenRow, renewed: TokenSet) -> Flow[TokenRow | None]:
    """Write the new pair down, however long that takes: this process alone has it (row R15).

    Those who wait are told to try later. The pair is theirs as soon as the database takes it, even
    if another process has come to think that the grant is lost.
    """
    pauses = chain(COMMIT_PAUSES, repeat(LONGEST_COMMIT_PAUSE))
    for number, pause in enumerate(pauses):
        try:
            return (yield from _write_once(context, row, renewed))
        except GeneratorExit:  # no one drives this flow any more: nothing can be done
            raise
        except BaseException as error:  # away, or it refuses what it should take
            # What else there is may be of a signal that met an event loop's thread just here. It is
            # not tried forever: it may be a defect.
            known = isinstance(error, StoreUnavailable | RuntimeError)
            if not known and number == len(COMMIT_PAUSES):
                raise
            failed = error
        if number == len(COMMIT_PAUSES):
            _tell_of(Event.REFRESH_KEPT, row, failed)
            yield from dismiss(
                StoreUnavailable(
                    "Procore gave a new pair of tokens, and the database does not take it. It is"
                    " kept, and written down as soon as the database does. Try again later.",
                    hint=getattr(failed, "hint", None),
                )
            )
        if (yield from wait(pause)) > ENDING_SECONDS:
            _tell_of(Event.REFRESH_LEFT_BEHIND, row, failed)
            raise failed
    raise AssertionError  # `pauses` does not end


def _tell_of(event: Event, row: TokenRow, error: BaseException) -> None:
    emit(
        event,
        user=row.user_id,
        environment=row.environment,
        generation=row.generation,
        reason=type(error).__name__,
    )


def _write_once(context: Context, row: TokenRow, renewed: TokenSet) -> Flow[TokenRow | None]:
    """Return the row with the new pair; None when it is not the row that was refreshed any more."""
    return (yield from write(lambda store: store.commit_refresh(row, renewed, now=context.now())))


def _report(event: Event, row: TokenRow, began: float, context: Context, **more: str | int) -> None:
    emit(
        event,
        user=row.user_id,
        environment=row.environment,
        generation=row.generation,
        milliseconds=round((context.clock() - began) * 1000),
        **more,
    )
