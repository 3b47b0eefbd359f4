"""Keep a user's access alive: one refresh at a time, and never a refresh token spent twice.

Procore's refresh tokens are single-use, and its documentation tells users to sign in again when an
answer is lost. So a refresh is held by a lease on the row, for longer than its requests can take;
the new pair is committed before anyone uses it; and what is not known is written down as not
known (rows R1 to R12). No transaction is held while a request is under way.

Here is when a refresh is wanted, and who waits for whom. `lease.py` is the refresh itself.
"""

from __future__ import annotations

from base64 import b32encode
from dataclasses import dataclass
from typing import Final

from procore_signin._flow.context import Context
from procore_signin._flow.lease import LEASE_SECONDS, Lease, hold, live_row, take
from procore_signin._flow.steps import Flow, later, once, wait
from procore_signin._protocol.secret import Secret
from procore_signin._public import public_in
from procore_signin._store.records import TokenRow
from procore_signin.errors import ProcoreUnavailable
from procore_signin.events import Event, emit

EARLY_SECONDS: Final = 600
"""How long before its end a token is refreshed, so that a refresh that fails leaves time."""

LEEWAY_SECONDS: Final = 30
"""A token with less than this left is not handed out: the call still has to reach Procore."""

FIRST_POLL_SECONDS: Final = 0.02
LONGEST_POLL_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class FreshToken:
    """An access token that can be used now.

    Attributes:
        access_token: The bearer.
        generation: Which token set of the user it is from; name it when Procore rejects it.
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
        GrantLost: There is no grant any more. Ask the user to sign in again.
        SignInRefused: The user is disabled.
        ProcoreUnavailable: Procore does not answer and the token is of no use any more. Nothing is
            lost; try again after `retry_after` seconds.
        ClientMisconfigured, VaultSealed: Tell the operator. Nothing is lost.
        StoreUnavailable: Try again.
    """
    row = yield from live_row(context, user_id)
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
    return FreshToken(row.access_token, row.generation, row.expires_in)


def _early(row: TokenRow) -> int:
    """Return how many seconds before its end this token set is refreshed.

    A quarter of its life at most, and a little different for each row and generation, so that
    users who signed in together are not refreshed together.
    """
    early = min(EARLY_SECONDS, row.lifetime // 4)
    # Computed, not drawn: with a new chance at each call the earliest of all draws would decide.
    # Neither factor shares a divisor with 1000, so that a thousand rows in sequence get a thousand
    # different places, and neighbours get places far apart; the next generation moves the row on.
    spread = (row.id * 761 + row.generation * 503) % 1000
    return early - early * spread // 4000


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
        lease = yield from take(context, Lease(row, owner, began))
        renewed = None if lease is None else (yield from hold(context, lease))
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
        newer = yield from live_row(context, row.user_id)
        if newer.generation != row.generation:
            emit(Event.REFRESH_WAITED, user=row.user_id, milliseconds=round(waited * 1000))
            return newer
        row = newer
