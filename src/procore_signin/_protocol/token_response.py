"""The response to a spent grant: the tokens are kept, whatever else is wrong with it (row T9).

A request spends the code or the refresh token in it. Once Procore has granted tokens, refusing its
response only does harm: the request cannot be repeated, the user has to sign in again, and an
unknown pair stays valid. So a member that breaks a rule of `token_endpoint` and is not needed is
replaced by a safe default, and reported by its name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from procore_signin._protocol.error_response import is_json, told
from procore_signin._protocol.http_message import LARGEST_KEPT, HttpResponse
from procore_signin._protocol.salvage import Salvaged, salvage
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.strict_json import JsonValue, parse_object
from procore_signin._protocol.token_endpoint import (
    DEFAULT_LIFETIME,
    MAX_LIFETIME,
    TOKEN,
    parse_token_response,
)
from procore_signin._protocol.token_set import TokenSet
from procore_signin._protocol.value import value
from procore_signin.errors import ProcoreSignInError, ProcoreUnavailable, UnexpectedResponse

_TOKENS: Final = frozenset({"access_token", "refresh_token"})
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_SUCCESSES: Final = range(200, 300)


@value(frozen=True, slots=True)
class Granted:
    """The tokens that Procore granted.

    Attributes:
        tokens: Commit them before any other use. If the access token could not be read, they have
            already expired: the refresh token gets a new one.
        odd: The parts of the response that were replaced or ignored, as fixed words: names of
            members, and `status`, `content_type`, `body`, `length`. No values. Usually empty.
    """

    tokens: TokenSet
    odd: tuple[str, ...] = ()


def read_granted(
    response: HttpResponse, *, received_at: float, previous: TokenSet | None = None
) -> Granted:
    """Return the tokens of the response to a code or a refresh token.

    Args:
        response: As the transport received it.
        received_at: When it came: UTC, seconds since 1970, by our own clock.
        previous: The set that was refreshed. Its refresh token is kept if no new one came.

    Raises:
        GrantLost: The code or refresh token is invalid. Ask the user to sign in again.
        ClientMisconfigured: Procore does not accept this client. Tell the operator.
        ProcoreUnavailable: Try again later; `ambiguous` tells whether the grant may be spent.
        UnexpectedResponse: No tokens can be found in the response. Report it; the grant may be
            spent.
    """
    refused: ProcoreSignInError
    try:
        tokens = parse_token_response(response, received_at=received_at)
    except ProcoreSignInError as error:
        refused = error
    else:
        if tokens.refresh_token is None:
            found = salvage(response.body, complete=response.whole)
            if _token(found.members, "refresh_token") is not None:  # by another name
                kept = _kept(response, found, int(received_at), previous)
                if kept is not None:
                    return kept
        if tokens.refresh_token is None and previous is not None:  # RFC 6749 §6
            tokens = replace(tokens, refresh_token=previous.refresh_token)
        return Granted(tokens, () if response.whole else ("length",))
    if response.status in _SUCCESSES:
        found = salvage(response.body, complete=response.whole)
        kept = _kept(response, found, int(received_at), previous)
        if kept is not None:
            return kept
        if not response.whole and len(response.body) < LARGEST_KEPT:
            refused = ProcoreUnavailable(
                "The token response ended before it was whole", ambiguous=True, hint=_PERHAPS_SPENT
            )
    raise told(refused, response)


def tokens_within(response: HttpResponse, *, received_at: float) -> TokenSet | None:
    """Return the tokens to revoke from a response that could not be used, or None.

    If only a refresh token was found, it takes both places: revoking it ends the pair.
    """
    members = salvage(response.body, complete=response.whole).members
    access, refresh = (_token(members, name) for name in ("access_token", "refresh_token"))
    first = access or refresh
    return None if first is None else TokenSet(first, refresh, int(received_at))


_PERHAPS_SPENT: Final = "Procore may have spent the code or refresh token in the request."


def _kept(
    response: HttpResponse, found: Salvaged, received_at: int, previous: TokenSet | None
) -> Granted | None:
    """Return the tokens that were found in a response, or None if there are none to keep."""
    access, refresh = (_token(found.members, name) for name in ("access_token", "refresh_token"))
    odd = tuple(_oddities(response, found, access, refresh))
    if access is not None:
        if refresh is None:
            if not found.whole:
                # It may be in the missing part. Refreshing again with the old one may save the
                # grant, as long as the new access token is unused.
                return None
            refresh = None if previous is None else previous.refresh_token
        lifetime = _lifetime(found.members.get("expires_in"))
        return Granted(TokenSet(access, refresh, received_at + lifetime), odd)
    if previous is None or refresh is None or refresh == previous.refresh_token:
        return None
    if "error" in found.members:
        return None
    # The old refresh token is spent, and this one replaces it. The old access token counts as
    # expired from now on, so no caller gets it.
    return Granted(TokenSet(previous.access_token, refresh, received_at), odd)


def _oddities(
    response: HttpResponse, found: Salvaged, access: Secret | None, refresh: Secret | None
) -> Iterator[str]:
    members = found.members
    if response.status != HTTPStatus.OK:
        yield "status"
    if not is_json(response):
        yield "content_type"
    if not response.whole:
        yield "length"
    if _is_odd(response.body, found):
        yield "body"
    token_type = members.get("token_type")
    if not isinstance(token_type, str) or token_type.lower() != "bearer":
        yield "token_type"
    if "expires_in" in members and not _is_lifetime(members["expires_in"]):
        yield "expires_in"
    if "error" in members:
        yield "error"
    if access is None:
        yield "access_token"
    if refresh is None and "refresh_token" in members:
        yield "refresh_token"


def _is_odd(body: bytes, found: Salvaged) -> bool:
    try:
        sent = parse_object(body, what="token response")
    except UnexpectedResponse:
        return True
    # If not, they stand within another object, or are spelled in another way.
    return not found.members.keys() & _TOKENS <= sent.keys()


def _token(members: dict[str, JsonValue], name: str) -> Secret | None:
    value = members.get(name)
    if isinstance(value, str) and TOKEN.fullmatch(value):
        return Secret(value, name.replace("_", " "))
    return None


def _is_lifetime(value: JsonValue) -> bool:
    # Not isinstance: true is an int to Python.
    return type(value) is int and 1 <= value <= MAX_LIFETIME


def _lifetime(value: JsonValue) -> int:
    """Return the assumed lifetime of an access token, in seconds.

    A number in another format is accepted. A value that is not a number, or out of range, counts as
    absent: a default that is too short costs a refresh, one too long an error.
    """
    seconds = value if type(value) is int else 0
    if (isinstance(value, str) and _DIGITS.fullmatch(value.strip())) or (
        isinstance(value, float) and math.isfinite(value)
    ):
        seconds = int(value)
    return seconds if _is_lifetime(seconds) else DEFAULT_LIFETIME
