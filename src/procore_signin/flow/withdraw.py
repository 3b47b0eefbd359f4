"""Revoke tokens in escrow until Procore has certainly ended them (rows I5, S6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from procore_signin.errors import (
    GrantLost,
    ProcoreSignInError,
    ProcoreUnavailable,
    UnexpectedResponse,
)
from procore_signin.events import Event, emit
from procore_signin.flow.context import Context
from procore_signin.flow.revoke import revoke_tokens
from procore_signin.flow.steps import Flow, send, write
from procore_signin.protocol.secret import Secret
from procore_signin.protocol.token_endpoint import (
    RefreshTokenGrant,
    parse_token_response,
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

LEEWAY_SECONDS: Final = 60
"""An access token with less than this left may expire on its way: it counts as expired."""


def withdraw(context: Context, escrow: Escrow) -> Flow[Revocation]:
    """Revoke the tokens in `escrow`, and clear it once nothing more can be done.

    A server of Doorkeeper's older line (4.2 `TokensController#revoke_token`) answers 200 and does
    nothing when the access token has expired, whichever token is handed in, and the refresh token
    lives on. So after that answer the refresh token is tried: if it is refused, the grant is dead;
    if it brings a new pair, that one is revoked, while it is young.

    Safe to repeat, and to run in several processes at once. The escrow stays where it is `pending`.
    """
    tokens = escrow.tokens
    if tokens is None:
        return "sealed"
    if escrow.environment != context.environment.name:
        return "pending"  # for the processes of that environment: they alone know its client
    expired = not tokens.is_fresh(context.clock(), LEEWAY_SECONDS)
    if not (yield from revoke_tokens(context, tokens)):
        return "pending"
    outcome: Revocation = "confirmed"
    if expired and tokens.refresh_token is not None:
        outcome = yield from _make_sure(context, escrow, tokens, tokens.refresh_token)
    if outcome != "pending":
        yield from write(lambda store: store.clear_escrow(escrow.state_hash))
    return outcome


def _make_sure(
    context: Context, escrow: Escrow, tokens: TokenSet, refresh_token: Secret
) -> Flow[Revocation]:
    """See whether the refresh token is dead; if it is not, end what it brings."""
    ambiguous = False
    try:
        try:
            renewed = yield from _refresh(context, tokens, refresh_token)
        except (ProcoreUnavailable, UnexpectedResponse) as error:
            if isinstance(error, ProcoreUnavailable) and not error.ambiguous:
                raise
            ambiguous = True
            renewed = yield from _refresh(context, tokens, refresh_token)
    except GrantLost:
        if not ambiguous:
            return "confirmed"
        emit(
            Event.REVOCATION_FAILED,
            environment=context.environment.name,
            reason="answer_lost",
        )
        return "unsure"
    except ProcoreSignInError as error:
        emit(
            Event.REVOCATION_FAILED,
            environment=context.environment.name,
            reason=type(error).__name__,
            error=error.error,
        )
        return "pending"
    newer = replace(escrow, tokens=renewed)
    yield from write(lambda store: store.replace_escrow(newer, now=context.now()))
    return "confirmed" if (yield from revoke_tokens(context, renewed)) else "pending"


def _refresh(context: Context, tokens: TokenSet, refresh_token: Secret) -> Flow[TokenSet]:
    asked_at = context.clock()
    grant = RefreshTokenGrant(refresh_token)
    request = token_request(context.environment.login_origin, context.client, grant)
    response = yield from send(request)
    return parse_token_response(response, received_at=asked_at, previous=tokens)
