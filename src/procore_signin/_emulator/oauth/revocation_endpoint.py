"""`POST /oauth/revoke`: RFC 7009 as Doorkeeper carries it out."""

from __future__ import annotations

from typing import Final

from procore_signin._emulator.oauth.client_authentication import TwoMethods, authenticate
from procore_signin._emulator.oauth.parameters import Malformed, request_parameters
from procore_signin._emulator.state import State
from procore_signin._emulator.wire.messages import Reply, Request, json_reply
from procore_signin._emulator.world.clients import Client
from procore_signin._emulator.world.grants import Token

_NOT_YOURS: Final = {
    "error": "unauthorized_client",
    "error_description": "You are not authorized to revoke this token",
}


class RevocationEndpoint:
    """Revokes an access token and the refresh token beside it."""

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        self._state = state

    def answer(self, request: Request) -> Reply:
        """Respond to a revocation request: 200 and `{}` also for a token that does not exist."""
        dialect = self._state.dialect
        try:
            parameters = request_parameters(request)
            client = authenticate(self._state.directory, request.headers, parameters)
        except Malformed as refused:
            return dialect.reply(dialect.error("invalid_request", str(refused)))
        except TwoMethods:
            note = "the client authenticated both in the header and in the body (RFC 6749 §2.3)"
            return dialect.reply(dialect.error("invalid_request", note))
        token = self._find(parameters.get("token", ""), parameters.get("token_type_hint"))
        if client is None and dialect.foreign_revocation_is_refused:
            return json_reply(403, _NOT_YOURS, note="the client id is unknown or the secret wrong")
        if token is None:
            return json_reply(200, {}, note="no such token was issued: nothing was revoked")
        if client is None or client.client_id != token.client_id:
            return self._not_yours(client)
        return self._revoke(token, by_access_token=parameters["token"] == token.access_token)

    def _find(self, token: str, hint: str | None) -> Token | None:
        grants = self._state.grants
        if hint == "refresh_token" and not self._state.dialect.early:
            return grants.by_refresh_token(token)
        return grants.by_access_token(token) or grants.by_refresh_token(token)

    def _not_yours(self, client: Client | None) -> Reply:
        note = (
            "the client id is unknown or the secret wrong: nothing was revoked"
            if client is None
            else "the token belongs to another client: nothing was revoked"
        )
        if self._state.dialect.foreign_revocation_is_refused:
            return json_reply(403, _NOT_YOURS, note=note)
        return json_reply(200, {}, note=note)

    def _revoke(self, token: Token, *, by_access_token: bool) -> Reply:
        if token.revoked:
            return json_reply(200, {}, note="the token was revoked before")
        # Doorkeeper leaves an expired access token alone, and with it the refresh token beside it.
        guarded = by_access_token or self._state.dialect.spent_access_token_saves_refresh_token
        if guarded and token.expired(self._state.clock()):
            note = "the access token has expired: nothing was revoked; refresh first, then revoke"
            return json_reply(200, {}, note=note)
        self._state.grants.revoke(token)
        return json_reply(200, {}, note="access and refresh token revoked")
