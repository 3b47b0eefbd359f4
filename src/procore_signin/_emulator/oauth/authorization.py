"""An authorization request and its response as values: RFC 6749 §4.1.1 and §4.1.2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode, urlsplit

from procore_signin._emulator.oauth.doorkeeper import OAuthError
from procore_signin._emulator.oauth.parameters import Malformed, query_parameters
from procore_signin._emulator.oauth.pkce import refuse_challenge
from procore_signin._emulator.state import State
from procore_signin._emulator.world.clients import OUT_OF_BAND, Client
from procore_signin._emulator.world.people import Person

_OTHER_ENVIRONMENT = "Compare the client id with the one the emulator printed when it started."
_EXACT = "Register exactly this address: scheme, host, port, path and trailing slash must be equal."
_NO_SCOPES = "Procore has no scopes: leave the parameter out."


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that was checked. Only `read` makes one.

    Attributes:
        client: Who asks.
        redirect_uri: One of the client's registered ones.
        state: As sent, or None; the response repeats it.
        challenge: The PKCE challenge, or None, also when PKCE is ignored.
        challenge_method: `S256` or `plain`, or None.
    """

    client: Client
    redirect_uri: str
    state: str | None = field(repr=False)
    challenge: str | None = field(default=None, repr=False)
    challenge_method: str | None = None

    @property
    def out_of_band(self) -> bool:
        """Whether there is no callback, so that the code is shown on a page."""
        return self.redirect_uri == OUT_OF_BAND


def read(state: State, query: str) -> AuthorizationRequest | OAuthError:
    """Check an authorization request in the order of the chosen Doorkeeper generation.

    Every refusal is for a page: before the redirect URI is known to be the client's, nothing may
    be sent to it, and Doorkeeper shows the later ones as pages too.
    """
    try:
        parameters = query_parameters(query)
    except Malformed as malformed:
        return state.dialect.error("invalid_request", str(malformed))
    check = _check_early if state.dialect.early else _check_late
    refused = check(state, parameters) or refuse_challenge(
        state.options.pkce, state.dialect, parameters
    )
    if refused is not None:
        return refused
    pkce = state.options.pkce == "enforce"
    return AuthorizationRequest(
        client=state.directory.clients[parameters["client_id"]],
        redirect_uri=parameters["redirect_uri"],
        state=parameters.get("state") or None,
        challenge=(parameters.get("code_challenge") or None) if pkce else None,
        challenge_method=(parameters.get("code_challenge_method") or None) if pkce else None,
    )


def allow(state: State, request: AuthorizationRequest, person: Person, issuer: str) -> str:
    """Issue a code to the client for the person; returns where the browser goes next."""
    code = state.grants.issue_code(
        client_id=request.client.client_id,
        person_id=person.id,
        redirect_uri=request.redirect_uri,
        challenge=request.challenge,
        challenge_method=request.challenge_method,
    )
    if request.out_of_band:
        return state.dialect.out_of_band_location(code.code)
    return _location(state, request, {"code": code.code}, issuer)


def deny(state: State, request: AuthorizationRequest, issuer: str) -> str:
    """Return where the browser goes when the person said no, for a client with a callback."""
    refused = state.dialect.error("access_denied", "the person chose Deny")
    members = {"error": refused.error, "error_description": refused.description}
    return _location(state, request, members, issuer)


def redirect_host(request: AuthorizationRequest) -> str:
    """Return the host the code goes to, for the person to read."""
    return "this page" if request.out_of_band else urlsplit(request.redirect_uri).netloc


def _location(
    state: State, request: AuthorizationRequest, members: dict[str, str], issuer: str
) -> str:
    if request.state is not None:
        members["state"] = request.state
    if state.options.iss:
        members["iss"] = issuer
    response = urlencode(members, quote_via=quote_plus)
    if state.options.fragment:
        return f"{request.redirect_uri}#{response}"
    return f"{request.redirect_uri}{'&' if '?' in request.redirect_uri else '?'}{response}"


def _check_early(state: State, parameters: Mapping[str, str]) -> OAuthError | None:
    """Doorkeeper 4.2: response type, client, scope, redirect URI."""
    return (
        _refuse_response_type(state, parameters)
        or _refuse_client(state, parameters)
        or _refuse_scope(state, parameters)
        or _refuse_redirect_uri(state, parameters)
    )


def _check_late(state: State, parameters: Mapping[str, str]) -> OAuthError | None:
    """Doorkeeper 5.8: client, redirect URI, response type, scope."""
    if not parameters.get("client_id"):
        return state.dialect.missing("client_id")
    refused = _refuse_client(state, parameters) or _refuse_redirect_uri(state, parameters)
    if refused is None and not parameters.get("response_type"):
        return state.dialect.missing("response_type")
    return refused or _refuse_response_type(state, parameters) or _refuse_scope(state, parameters)


def _refuse_response_type(state: State, parameters: Mapping[str, str]) -> OAuthError | None:
    if parameters.get("response_type") == "code":
        return None
    note = "response_type is not code, the only one that Procore documents"
    return state.dialect.error("unsupported_response_type", note, cure="Send response_type=code.")


def _refuse_client(state: State, parameters: Mapping[str, str]) -> OAuthError | None:
    if parameters.get("client_id") in state.directory.clients:
        return None
    note = "no client of that client_id is registered here"
    return state.dialect.error("invalid_client", note, cure=_OTHER_ENVIRONMENT)


def _refuse_scope(state: State, parameters: Mapping[str, str]) -> OAuthError | None:
    if not parameters.get("scope"):
        return None
    return state.dialect.error("invalid_scope", "a scope was sent", cure=_NO_SCOPES)


def _refuse_redirect_uri(state: State, parameters: Mapping[str, str]) -> OAuthError | None:
    client = state.directory.clients[parameters["client_id"]]
    if parameters.get("redirect_uri") in client.redirect_uris:
        return None
    note = "redirect_uri is not exactly one of the client's registered ones"
    return state.dialect.error("invalid_redirect_uri", note, cure=_EXACT)
