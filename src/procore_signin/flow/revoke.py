"""Give tokens back to Procore (RFC 7009)."""

from __future__ import annotations

from procore_signin.errors import GrantLost, ProcoreSignInError
from procore_signin.events import Event, emit
from procore_signin.flow.context import Context
from procore_signin.flow.steps import Flow, send
from procore_signin.protocol.secret import Secret
from procore_signin.protocol.token_endpoint import (
    RefreshTokenGrant,
    check_revocation_response,
    parse_token_response,
    revocation_request,
    token_request,
)
from procore_signin.protocol.token_set import TokenSet


def revoke_tokens(context: Context, tokens: TokenSet) -> Flow[bool]:
    """Revoke both tokens of a set and return whether Procore confirmed it.

    Procore's page has the access token revoke both. A server of Doorkeeper's older line answers
    200 and leaves an expired pair alone, by whichever of its tokens it is asked: the refresh token
    would live on for ever. So an expired pair is refreshed first, and the new one revoked.

    Returns:
        False when Procore could not be reached or refused. It is never an error of the caller's:
        what is revoked here is not used any more.
    """
    try:
        if tokens.refresh_token is not None and not tokens.is_fresh(context.clock(), leeway=0):
            tokens = yield from _refreshed(context, tokens, tokens.refresh_token)
        for token in (tokens.access_token, tokens.refresh_token):
            if token is not None:
                request = revocation_request(
                    context.environment.login_origin, context.client, token
                )
                response = yield from send(request)
                check_revocation_response(response, received_at=context.clock())
    except GrantLost:
        pass  # it was dead already
    except ProcoreSignInError as error:
        emit(
            Event.REVOCATION_FAILED,
            environment=context.environment.name,
            reason=type(error).__name__,
            error=error.error,
        )
        return False
    emit(Event.TOKENS_REVOKED, environment=context.environment.name)
    return True


def _refreshed(context: Context, tokens: TokenSet, refresh_token: Secret) -> Flow[TokenSet]:
    asked_at = context.clock()
    request = token_request(
        context.environment.login_origin, context.client, RefreshTokenGrant(refresh_token)
    )
    response = yield from send(request)
    return parse_token_response(response, received_at=asked_at, previous=tokens)
