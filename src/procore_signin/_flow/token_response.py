"""Take the tokens of a response that cannot be asked for again, and tell what was odd about it."""

from __future__ import annotations

from procore_signin._flow.context import Context
from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.token_response import read_granted
from procore_signin._protocol.token_set import TokenSet
from procore_signin.events import Event, Field, emit


def take_tokens(
    context: Context,
    response: HttpResponse,
    *,
    asked_at: float,
    previous: TokenSet | None = None,
    **whose: Field,
) -> TokenSet:
    """Return the tokens of the response to a code or a refresh token (row T9).

    Args:
        context: The surroundings.
        response: What Procore answered.
        asked_at: When it was asked, by the context's clock: lifetimes count from before the
            request, because a response that was long under way is not younger.
        previous: The set that was refreshed.
        whose: Facts for the event, such as `user`.

    Raises:
        ProcoreSignInError: As `read_granted`.
    """
    granted = read_granted(response, received_at=asked_at, previous=previous)
    if granted.odd:
        emit(
            Event.ANSWER_ODD,
            environment=context.environment.name,
            odd=",".join(granted.odd),
            **whose,
        )
    return granted.tokens
