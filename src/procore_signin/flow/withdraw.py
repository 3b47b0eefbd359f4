"""Revoke tokens in escrow until Procore has certainly ended them (rows I5, S6).

A 200 of the revocation endpoint is not enough. A server of Doorkeeper's older line (4.2,
`TokensController#revoke_token`) answers so, and does nothing, when the access token has expired,
whichever of the two tokens is handed in; the refresh token lives on. And where a refresh token dies
only when its successor is used, a successor that is revoked unused leaves it alive. So the access
token is presented first: if the server accepts it, it is alive, its predecessor is dead, and the
revocation ends it. If not, the revocation is put to the test: the refresh token must be refused.
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Final, Literal

from procore_signin.errors import (
    ClientMisconfigured,
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    StoreUnavailable,
    UnexpectedResponse,
)
from procore_signin.events import Event, emit
from procore_signin.flow.context import Context
from procore_signin.flow.granted import take_tokens
from procore_signin.flow.steps import Flow, read, send, write
from procore_signin.protocol.secret import Secret
from procore_signin.protocol.token_endpoint import (
    RefreshTokenGrant,
    check_revocation_response,
    parse_token_info_response,
    revocation_request,
    token_info_request,
    token_request,
)
from procore_signin.protocol.token_set import TokenSet
from procore_signin.store.records import Escrow

Revocation = Literal["none", "confirmed", "pending", "unsure", "sealed"]
"""What is known of a revocation.

`none`: there was nothing to revoke. `confirmed`: Procore said, leaving no doubt, that the tokens
are dead. `pending`: not yet, and they are kept until it does. `unsure`: an answer was lost, and
with it tokens that may live. `sealed`: they cannot be opened. In the last two cases the person can
end the access at Procore, under My Profile Settings > Connected Apps."""

UNANSWERED: Final = "unanswered"
"""The ledger's outcome while a refresh token is being tried. Whoever finds it has to think that the
answer was lost, and that the server made a pair which nobody knows."""


def withdraw(context: Context, escrow: Escrow) -> Flow[Revocation]:
    """Revoke the tokens in `escrow`, and clear it once nothing more can be done.

    Safe to repeat, and to run in several processes at once. Where the outcome is `pending` the
    escrow stays, or holds the newer pair that trying the refresh token brought.

    Raises:
        StoreUnavailable: Repeat it: nothing is lost.
    """
    tokens = escrow.tokens
    if tokens is None:
        return "sealed"
    if escrow.environment != context.environment.name:
        return "pending"  # for the processes of that environment: they alone know its client
    entry = yield from read(lambda store: store.attempt(escrow.state_hash))
    before = None if entry is None else entry.outcome
    try:
        if (yield from _is_accepted(context, tokens)):
            yield from _hand_in(context, tokens)
        else:
            yield from _end_expired(context, escrow, tokens, before)
    except StoreUnavailable:
        raise
    except ProcoreSignInError as error:
        _failed(escrow, type(error).__name__, error.error)
        return "pending"
    yield from write(lambda store: store.clear_escrow(escrow.state_hash))
    if before == UNANSWERED:
        _failed(escrow, UNANSWERED)
        return "unsure"
    emit(Event.TOKENS_REVOKED, environment=escrow.environment)
    return "confirmed"


def _failed(escrow: Escrow, reason: str, error: str | None = None) -> None:
    emit(Event.REVOCATION_FAILED, environment=escrow.environment, reason=reason, error=error)


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
        return response.status == HTTPStatus.OK
    return True


def _hand_in(context: Context, tokens: TokenSet) -> Flow[None]:
    """Have both tokens revoked. RFC 7009 §2 does not promise that one takes the other along."""
    for token in (tokens.access_token, tokens.refresh_token):
        if token is not None:
            request = revocation_request(context.environment.login_origin, context.client, token)
            response = yield from send(request)
            check_revocation_response(response, received_at=context.clock())


def _end_expired(
    context: Context, escrow: Escrow, tokens: TokenSet, before: str | None
) -> Flow[None]:
    """End a pair whose access token is of no use any more, and the pair that it may still bring.

    Args:
        context: The surroundings.
        escrow: Where the pair is kept.
        tokens: The pair.
        before: The ledger's outcome, to be written back when an answer came.
    """
    yield from _hand_in(context, tokens)
    if tokens.refresh_token is None:
        return
    yield from _keep(context, escrow, UNANSWERED)
    try:
        renewed = yield from _refresh(context, tokens, tokens.refresh_token)
    except GrantLost:
        return  # as it should be
    except ProcoreUnavailable as error:
        if not error.ambiguous:
            yield from _keep(context, escrow, before)
        raise
    except ClientMisconfigured:
        yield from _keep(context, escrow, before)
        raise
    yield from _keep(context, replace(escrow, tokens=renewed), before)
    yield from _is_accepted(context, renewed)
    yield from _hand_in(context, renewed)


def _keep(context: Context, escrow: Escrow, outcome: str | None) -> Flow[None]:
    now = context.now()
    yield from write(lambda store: store.replace_escrow(escrow, outcome=outcome, now=now))


def _refresh(context: Context, tokens: TokenSet, refresh_token: Secret) -> Flow[TokenSet]:
    asked_at = context.clock()
    grant = RefreshTokenGrant(refresh_token)
    request = token_request(context.environment.login_origin, context.client, grant)
    response = yield from send(request)
    return take_tokens(context, response, asked_at=asked_at, previous=tokens)
