"""`POST /oauth/token`: RFC 6749 §4.1.3, §4.4.2 and §6, in Doorkeeper's order of checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from procore_signin._emulator.oauth.client_authentication import TwoMethods, authenticate
from procore_signin._emulator.oauth.doorkeeper import OAuthError
from procore_signin._emulator.oauth.parameters import Malformed, request_parameters
from procore_signin._emulator.oauth.pkce import refuse_verifier
from procore_signin._emulator.state import State
from procore_signin._emulator.wire.messages import Reply, Request, json_reply
from procore_signin._emulator.world.clients import Client
from procore_signin._emulator.world.grants import Code, Token

Parameters = Mapping[str, str]
_WRONG_CLIENT: Final = "the client id is unknown or the secret wrong"

Grant = Callable[["TokenEndpoint", Parameters, Client | None], "Token | OAuthError"]


class TokenEndpoint:
    """Exchanges codes, refresh tokens and client credentials for tokens."""

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        self._state = state

    def answer(self, request: Request) -> Reply:
        """Respond to a token request."""
        dialect = self._state.dialect
        try:
            parameters = request_parameters(request)
            client = authenticate(self._state.directory, request.headers, parameters)
        except Malformed as refused:
            return dialect.reply(dialect.error("invalid_request", str(refused)))
        except TwoMethods:
            note = "the client authenticated both in the header and in the body (RFC 6749 §2.3)"
            return dialect.reply(dialect.error("invalid_request", note))
        outcome = self._grant(parameters, client)
        if isinstance(outcome, OAuthError):
            return dialect.reply(outcome, state=parameters.get("state"))
        return self._issued(outcome)

    def _grant(self, parameters: Parameters, client: Client | None) -> Token | OAuthError:
        grant_type = parameters.get("grant_type")
        if not grant_type:
            return self._state.dialect.missing("grant_type")
        grant = _GRANTS.get(grant_type)
        if grant is None:
            note = "grant_type is not one that Procore offers"
            return self._state.dialect.error("unsupported_grant_type", note)
        return grant(self, parameters, client)

    def _authorization_code(
        self, parameters: Parameters, client: Client | None
    ) -> Token | OAuthError:
        dialect = self._state.dialect
        redirect_uri = parameters.get("redirect_uri")
        if not redirect_uri:
            return dialect.missing("redirect_uri")
        if client is None:
            return dialect.error("invalid_client", _WRONG_CLIENT)
        code = self._state.grants.code(parameters.get("code", ""))
        if code is None:
            return dialect.error("invalid_grant", "no such code was issued")
        note = self._why_not(code, client, redirect_uri)
        if note is not None:
            return dialect.error("invalid_grant", note)
        pkce, verifier = self._state.options.pkce, parameters.get("code_verifier")
        return refuse_verifier(pkce, dialect, code, verifier) or self._state.grants.exchange(code)

    def _why_not(self, code: Code, client: Client, redirect_uri: str) -> str | None:
        if code.client_id != client.client_id:
            return "the code was issued to another client"
        if code.token is not None:
            if self._state.options.code_reuse_revokes:
                self._state.grants.revoke(code.token)
            return "the code was used before; a code works once"
        if code.expired(self._state.clock()):
            return "the code is older than 10 minutes"
        if redirect_uri != code.redirect_uri:
            return "redirect_uri differs from the one of the authorization request"
        return None

    def _refresh_token(self, parameters: Parameters, client: Client | None) -> Token | OAuthError:
        dialect, grants = self._state.dialect, self._state.grants
        refresh_token = parameters.get("refresh_token")
        if not refresh_token:
            return dialect.missing("refresh_token")
        token = grants.by_refresh_token(refresh_token)
        if token is None:
            return dialect.error("invalid_grant", "no such refresh token was issued")
        if token.revoked:
            return dialect.error("invalid_grant", "the refresh token was used or revoked before")
        if token.refresh_spent:
            return dialect.error("invalid_grant", "an earlier, refused refresh spent this token")
        refused = self._refuse_refresh(token, parameters, client)
        if refused is None:
            return grants.refresh(token)
        options = self._state.options
        if options.failed_refresh_burns and options.rotation == "immediate":
            # Procore's FAQ: any call to refresh, successful or not, invalidates the refresh token.
            token.refresh_spent = True
        return refused

    def _refuse_refresh(
        self, token: Token, parameters: Parameters, client: Client | None
    ) -> OAuthError | None:
        dialect = self._state.dialect
        if client is None:
            return dialect.error("invalid_client", _WRONG_CLIENT)
        if token.client_id != client.client_id:
            return dialect.error("invalid_grant", "the refresh token belongs to another client")
        if parameters.get("scope"):
            return dialect.error("invalid_scope", "Procore has no scopes: send none")
        return None

    def _client_credentials(
        self, parameters: Parameters, client: Client | None
    ) -> Token | OAuthError:
        dialect = self._state.dialect
        if client is None:
            return dialect.error("invalid_client", _WRONG_CLIENT)
        if not client.client_credentials:
            note = "this client has no service account (DMSA)"
            return dialect.error("unauthorized_client", note)
        if parameters.get("scope"):
            return dialect.error("invalid_scope", "Procore has no scopes: send none")
        return self._state.grants.issue_to_client(client.client_id)

    def _issued(self, token: Token) -> Reply:
        dialect = self._state.dialect
        body = {
            "access_token": token.access_token,
            "token_type": dialect.token_type,
            "expires_in": token.remaining(self._state.clock()),
            "refresh_token": token.refresh_token,
            "created_at": int(token.created_at),
        }
        if token.refresh_token is None:
            del body["refresh_token"]
        return json_reply(200, body, *dialect.cache_headers())


_GRANTS: Final[dict[str, Grant]] = {
    "authorization_code": TokenEndpoint._authorization_code,  # noqa: SLF001 - its own table
    "refresh_token": TokenEndpoint._refresh_token,  # noqa: SLF001 - as above
    "client_credentials": TokenEndpoint._client_credentials,  # noqa: SLF001 - as above
}
