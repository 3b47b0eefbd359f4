"""Give tokens back to Procore (RFC 7009)."""

from __future__ import annotations

from procore_signin.errors import ProcoreSignInError
from procore_signin.events import Event, emit
from procore_signin.flow.context import Context
from procore_signin.flow.steps import Flow, send
from procore_signin.protocol.token_endpoint import (
    check_revocation_response,
    revocation_request,
)
from procore_signin.protocol.token_set import TokenSet


def revoke_tokens(context: Context, tokens: TokenSet) -> Flow[bool]:
    """Revoke both tokens of a set and return whether Procore confirmed it.

    For a pair that was issued a moment ago; an older one may have expired, and takes
    `withdraw.withdraw`. Procore's page has the access token revoke both; RFC 7009 §2 does not
    promise it, so both are handed in.

    Returns:
        False when Procore could not be reached or refused. It is never an error of the caller's:
        what is revoked here is not used any more.
    """
    try:
        for token in (tokens.access_token, tokens.refresh_token):
            if token is not None:
                request = revocation_request(
                    context.environment.login_origin, context.client, token
                )
                response = yield from send(request)
                check_revocation_response(response, received_at=context.clock())
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
