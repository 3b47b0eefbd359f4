"""One refresh: take the lease on a row, ask Procore, commit the new pair, or give the lease back.

What is known of the outcome is written down before anything else happens (rows R1 to R12).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, repeat
from math import ceil
from typing import Final

from procore_signin._flow.context import Context
from procore_signin._flow.revocation import ENDING_SECONDS, give_up, settle
from procore_signin._flow.steps import Ask, Flow, dismiss, do, later, send, wait
from procore_signin._flow.token_response import take_tokens
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_endpoint import (
    RefreshTokenGrant,
    token_request,
)
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.records import TokenRow
from procore_signin._store.refresh import (
    CommitRefresh,
    EndGrant,
    NoteAmbiguous,
    RedateLease,
    ReleaseLease,
    TakeLease,
    TokenRowOf,
)
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

PAUSE_SECONDS: Final = 5
"""How long no one asks again for a user after Procore did not answer and named no time itself."""

LONGEST_PAUSE_SECONDS: Final = 300
COMMIT_PAUSES: Final = (0.1, 0.3, 0.6)
"""Seconds between the first tries to write down a new pair: it exists nowhere else. Those who wait
for it are kept waiting for so long, and then told to try later."""

LONGEST_COMMIT_PAUSE: Final = 0.5
"""Seconds between all the tries after that. Short: once the database is back, the pair should be in
it before the lease ends and another process asks Procore again."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The exclusive right to refresh a row, for `LEASE_SECONDS`.

    Attributes:
        row: The row as it was taken; before that, as it was read.
        owner: Whose it is: a text that no one else has.
        began: A time before it began, by this process's clock.
    """

    row: TokenRow
    owner: str
    began: float


def live_row(context: Context, user_id: int) -> Flow[TokenRow]:
    """Return the user's token set, which must still be one.

    Raises:
        GrantLost: There is none, or it is over.
        SignInRefused: The user is disabled.
        VaultSealed: It cannot be opened.
    """
    environment = context.environment.name
    try:
        row: TokenRow | None = yield Ask(TokenRowOf(user_id, environment, now=context.now()))
        if row is not None and row.misdated:
            # The time anew: if this process slept before it read the row, the lease is a good one.
            row = yield from do(RedateLease(row, now=context.now()))
    except VaultSealed:
        _report_sealed(user_id, environment)
        raise
    if row is None:
        raise GrantLost("This user is not connected to Procore", hint="Ask for a new sign-in.")
    if row.disabled:
        raise SignInRefused("This user is disabled in this application")
    if row.status != "ok":
        raise _lost(row.status)
    return row


def _report_sealed(user_id: int, environment: str) -> None:
    emit(Event.TOKENS_SEALED, user=user_id, environment=environment, place="token_sets")


def _lost(status: str) -> GrantLost:
    what = (
        "The response to a refresh was lost, and with it the grant"
        if status == "lost"
        else "The grant was revoked at Procore"
    )
    return GrantLost(what, hint="Ask the user to sign in again.")


def take(context: Context, wanted: Lease) -> Flow[Lease | None]:
    """Take the lease, on the row as it is then; None when it cannot be had: look again.

    Raises:
        VaultSealed: There would be nothing to ask with. No lease was taken.
    """
    try:
        _ = wanted.row.tokens
    except VaultSealed:
        _report_sealed(wanted.row.user_id, wanted.row.environment)
        raise
    try:
        row = yield from do(
            TakeLease(wanted.row, owner=wanted.owner, seconds=LEASE_SECONDS, now=context.now())
        )
    except StoreUnavailable:
        # Perhaps the response to the commit was lost, and not the commit.
        yield from later(_release_when_possible(context, wanted, 1, unanswered=False))
        raise
    return None if row is None else replace(wanted, row=row)


def hold(context: Context, lease: Lease) -> Flow[TokenRow | None]:
    """Refresh while the lease is ours: ask, ask once more if the outcome is unknown, commit.

    Returns:
        The row with the new pair; None when the row went on without us: look again.
    """
    refresh_token = lease.row.tokens.refresh_token
    if refresh_token is None:
        yield from do(EndGrant(lease.row, owner=lease.owner, now=context.now()))
        raise GrantLost("Procore gave no refresh token", hint="Ask the user to sign in again.")
    try:
        renewed = yield from _ask_unless_out(context, lease, refresh_token)
    except GrantLost:
        yield from _refused(context, lease)
        return None  # it did not raise, so the grant lives: another process was faster
    except GeneratorExit:  # no one drives this flow any more: nothing can be done
        raise
    except BaseException as error:  # whatever it is, no one shall wait for a lease without an owner
        # A defect tells nothing of the request. And the database fails only where it was to note
        # that a request had no response.
        unanswered = isinstance(error, StoreUnavailable) or not isinstance(
            error, ProcoreSignInError
        )
        yield from _give_back(context, lease, error, unanswered=unanswered)
        _report(Event.REFRESH_FAILED, lease, context, reason=type(error).__name__)
        raise
    return (yield from _commit(context, lease, renewed))


def _give_back(
    context: Context, lease: Lease, error: BaseException, *, unanswered: bool
) -> Flow[None]:
    """Give the lease back without a new pair, and have no one ask again for a while.

    Where the database does not take it, that is tried again beside the caller for as long as the
    lease lasts: no one shall wait for an owner who has ended.
    """
    pause = getattr(error, "retry_after", None) or PAUSE_SECONDS
    bounded = min(max(int(pause), 1), LONGEST_PAUSE_SECONDS)
    try:
        yield from _release(context, lease, bounded, unanswered=unanswered)
    except StoreUnavailable:
        yield from later(_release_when_possible(context, lease, bounded, unanswered=unanswered))


def _release(context: Context, lease: Lease, retry_in: int, *, unanswered: bool) -> Flow[None]:
    if unanswered:  # first: a lease that is given back tells nothing any more (row I7)
        yield from do(NoteAmbiguous(lease.row, now=context.now()))
    yield from do(ReleaseLease(lease.row, owner=lease.owner, retry_in=retry_in, now=context.now()))


def _release_when_possible(
    context: Context, lease: Lease, retry_in: int, *, unanswered: bool
) -> Flow[None]:
    for _ in range(int(LEASE_SECONDS / LONGEST_COMMIT_PAUSE)):
        yield from wait(LONGEST_COMMIT_PAUSE, idle=True)
        try:
            return (yield from _release(context, lease, retry_in, unanswered=unanswered))
        except StoreUnavailable:
            continue


def _ask_unless_out(context: Context, lease: Lease, refresh_token: Secret) -> Flow[TokenSet]:
    """Ask, unless Procore has answered no one lately and it is too early for another try (R7)."""
    outage, environment, user_id = context.outage, context.environment.name, lease.row.user_id
    left = outage.claim(context.clock(), user_id=user_id)
    if left > 0:
        raise ProcoreUnavailable(
            "Procore did not answer the latest refreshes; it is too early to ask again",
            retry_after=ceil(left),
            ambiguous=False,
        )
    try:
        renewed = yield from _ask_twice(context, lease, refresh_token)
    except (ProcoreUnavailable, UnexpectedResponse):
        chance = context.random_bytes(1)[0] / 255
        outage.failed(context.clock(), chance, user_id=user_id, environment=environment)
        raise
    except (GrantLost, ClientMisconfigured):
        outage.answered(environment=environment)
        raise
    outage.answered(environment=environment)
    return renewed


def _ask_twice(context: Context, lease: Lease, refresh_token: Secret) -> Flow[TokenSet]:
    """Spend the refresh token; if no one knows what became of it, try the same one once more.

    Harmless under both rotations that are known: the server either has not rotated, or answers
    `invalid_grant`, or still honours the token because the new one was never used (row R5).
    """
    try:
        return (yield from _ask(context, lease, refresh_token))
    except (ProcoreUnavailable, UnexpectedResponse) as error:
        if isinstance(error, ProcoreUnavailable) and not error.ambiguous:
            raise
    yield from do(NoteAmbiguous(lease.row, now=context.now(), again=True))
    return (yield from _ask(context, lease, refresh_token))


def _ask(context: Context, lease: Lease, refresh_token: Secret) -> Flow[TokenSet]:
    asked_at = context.clock()
    if not 0 <= asked_at - lease.began < LEASE_SECONDS - REQUEST_SECONDS:
        # This process was asleep, or its clock moved: someone else may hold the row by now.
        raise ProcoreUnavailable("The lease could have ended before the response", ambiguous=False)
    request = token_request(
        context.environment.login_origin, context.client, RefreshTokenGrant(refresh_token)
    )
    response = yield from send(request)
    row = lease.row
    return take_tokens(context, response, asked_at=asked_at, previous=row.tokens, user=row.user_id)


def _refused(context: Context, lease: Lease) -> Flow[None]:
    """Procore knows the refresh token no more: was someone faster, or is the grant lost (R6)?

    It returns when someone was faster; their pair is in the row then.
    """
    row = lease.row
    try:
        status = yield from do(EndGrant(row, owner=lease.owner, now=context.now()))
    except StoreUnavailable as error:
        yield from _give_back(context, lease, error, unanswered=False)
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


def _commit(context: Context, lease: Lease, renewed: TokenSet) -> Flow[TokenRow]:
    """Write the new pair down before anyone uses it (row R3)."""
    row = lease.row
    committed = yield from _write_down(context, row, renewed)
    if committed is not None:
        _report(Event.REFRESHED, lease, context, to_generation=committed.generation)
        yield from later(settle(context, committed))
        return committed
    # A newer sign-in, a disconnect or a disabling came in between and stands (row R10). Our pair
    # is no one's now.
    yield from later(give_up(context, renewed, procore_id=row.procore_id, refreshed=row))
    return (yield from live_row(context, row.user_id))


def _write_down(context: Context, row: TokenRow, renewed: TokenSet) -> Flow[TokenRow | None]:
    """Write the new pair down, however long that takes: this process alone has it (row R15).

    It returns the row with the new pair; None when it is not the row that was refreshed any more.
    Those who wait are told to try later. The pair is theirs as soon as the database takes it, even
    if another process has come to think that the grant is lost.
    """
    pauses = chain(COMMIT_PAUSES, repeat(LONGEST_COMMIT_PAUSE))
    for number, pause in enumerate(pauses):
        try:
            return (yield from do(CommitRefresh(row, renewed, now=context.now())))
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


def _report(event: Event, lease: Lease, context: Context, **more: str | int) -> None:
    row = lease.row
    emit(
        event,
        user=row.user_id,
        environment=row.environment,
        generation=row.generation,
        milliseconds=round((context.clock() - lease.began) * 1000),
        **more,
    )
