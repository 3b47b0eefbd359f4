"""Tokens for Procore's service accounts (client credentials, DMSA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from procore_signin._flow.context import Context
from procore_signin._flow.refresh import (
    EARLY_SECONDS,
    LEEWAY_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PAUSE_SECONDS,
    FreshToken,
)
from procore_signin._flow.steps import Flow, later, once, send
from procore_signin._protocol.token_endpoint import (
    ClientCredentialsGrant,
    parse_token_response,
    token_request,
)
from procore_signin._protocol.token_set import TokenSet
from procore_signin.errors import ProcoreUnavailable


@dataclass(frozen=True, slots=True)
class _Held:
    tokens: TokenSet
    generation: int
    early: int
    """Seconds before expiry from which a new token is fetched in the background."""


class ServiceTokens:
    """The service token of a front door, in memory: RFC 6749 §4.4 gives a new one at any time.

    It is fetched once for all concurrent callers, before it expires, and again if the API refuses
    it.

    Args:
        context: The front door's context.
    """

    def __init__(self, context: Context) -> None:
        self._context: Final = context
        self._held: _Held | None = None
        self._not_before = 0.0
        self._pause = 0.0

    def fresh(self, *, rejected: int | None = None) -> Flow[FreshToken]:
        """Return a token that is valid now.

        Args:
            rejected: The generation that the API has just refused, if any.

        Raises:
            ClientMisconfigured: Procore gives this client no service token. Tell the operator.
            ProcoreUnavailable: Try again after `retry_after` seconds.
            UnexpectedResponse: The response breaks the protocol. Report it.
        """
        held = self._held
        if held is not None and held.generation != rejected:
            left = self._left(held)
            if left > held.early:
                return self._as_fresh(held)
            if left > LEEWAY_SECONDS:
                if self._pause_left(self._context.clock()) <= 0:
                    known = held.generation
                    yield from later(self._shared_fetch(known), key=self._key(known))
                return self._as_fresh(held)
        return self._as_fresh(
            (yield from self._shared_fetch(0 if held is None else held.generation))
        )

    def _shared_fetch(self, known: int) -> Flow[_Held]:
        return once(self._key(known), self._fetch(known))

    def _key(self, known: int) -> tuple[object, ...]:
        # All flows of a front door share one space of keys: the object tells this cache from
        # others.
        return ("service token", id(self), known)

    def _fetch(self, known: int) -> Flow[_Held]:
        """Fetch the successor of generation `known`, unless another caller just did."""
        held = self._held
        if held is not None and held.generation > known:
            return held
        asked_at = self._context.clock()
        if self._pause_left(asked_at) > 0:
            raise ProcoreUnavailable(
                "Procore did not respond a moment ago; it is too early to ask again",
                retry_after=self._pause_left(asked_at),
                ambiguous=False,
            )
        request = token_request(
            self._context.environment.login_origin, self._context.client, ClientCredentialsGrant()
        )
        try:
            response = yield from send(request)
            tokens = parse_token_response(response, received_at=asked_at)
        except ProcoreUnavailable as error:
            self._pause = min(error.retry_after or PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            self._not_before = asked_at + self._pause
            raise
        early = min(EARLY_SECONDS, int(tokens.expires_at - asked_at) // 4)
        self._held = _Held(tokens, known + 1, early)
        return self._held

    def _pause_left(self, now: float) -> float:
        """Return the seconds left of the pause; setting the clock back cannot extend them."""
        self._not_before = min(self._not_before, now + self._pause)
        return self._not_before - now

    def _left(self, held: _Held) -> float:
        return held.tokens.expires_at - self._context.clock()

    def _as_fresh(self, held: _Held) -> FreshToken:
        return FreshToken(held.tokens.access_token, held.generation, int(self._left(held)))
