"""The response to a grant that is spent: what is needed is kept, whatever else is odd (row T9).

A code and a refresh token are used up by the request that carries them. Once Procore has granted
tokens for one, to refuse its response helps no one: nothing can be asked again, the person has to
sign in anew, and a pair that no one knows lives on. So what breaks a rule of `token_endpoint` and
is not needed is replaced by a safe default, and told by its name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from procore_signin._protocol.error_response import is_json, told
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
from procore_signin._protocol.wire import LARGEST_KEPT, HttpResponse
from procore_signin.errors import ProcoreSignInError, ProcoreUnavailable, UnexpectedResponse

_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_SUCCESSES: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class Granted:
    """What Procore granted.

    Attributes:
        tokens: To be committed before anything else is done with them. They are past their end
            where the access token could not be read: the refresh token brings another.
        odd: What of the response was replaced or passed over, as fixed words: names of members, and
            `status`, `content_type`, `body`, `length`. No values. Empty for nearly every response.
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
        previous: The set that was refreshed. Its refresh token stays where no new one came.

    Raises:
        GrantLost: The code or refresh token is dead. Ask the person to sign in again.
        ClientMisconfigured: Procore does not accept this client. Tell the operator.
        ProcoreUnavailable: Not now; `ambiguous` tells whether the grant may be spent.
        UnexpectedResponse: No tokens can be found in the response. Report it; the grant may be
            spent.
    """
    refused: ProcoreSignInError
    try:
        tokens = parse_token_response(response, received_at=received_at)
    except ProcoreSignInError as error:
        refused = error
    else:
        if tokens.refresh_token is None and previous is not None:  # RFC 6749 §6
            tokens = replace(tokens, refresh_token=previous.refresh_token)
        return Granted(tokens, () if response.whole else ("length",))
    if response.status in _SUCCESSES:
        kept = _kept(response, int(received_at), previous)
        if kept is not None:
            return kept
        if not response.whole and len(response.body) < LARGEST_KEPT:
            refused = ProcoreUnavailable(
                "The token response ended before it was whole", ambiguous=True, hint=_PERHAPS_SPENT
            )
    raise told(refused, response)


def tokens_within(response: HttpResponse, *, received_at: float) -> TokenSet | None:
    """Return what can be revoked of a response that could not be used, or None.

    Where only a refresh token was found, it stands in both places: to hand it in ends the pair.
    """
    members = salvage(response.body).members
    access, refresh = (_token(members, name) for name in ("access_token", "refresh_token"))
    first = access or refresh
    return None if first is None else TokenSet(first, refresh, int(received_at))


_PERHAPS_SPENT: Final = "Procore may have spent the code or refresh token in the request."


def _kept(response: HttpResponse, received_at: int, previous: TokenSet | None) -> Granted | None:
    """Return the tokens that a strict reading refused, or None where that was right."""
    found = salvage(response.body)
    access, refresh = (_token(found.members, name) for name in ("access_token", "refresh_token"))
    odd = tuple(_oddities(response, found, access, refresh))
    if access is not None:
        if refresh is None:
            if not found.whole:
                # It may be in what is missing. To ask again with the old one may save the grant,
                # as long as no one has used the new access token.
                return None
            refresh = None if previous is None else previous.refresh_token
        lifetime = _lifetime(found.members.get("expires_in"))
        return Granted(TokenSet(access, refresh, received_at + lifetime), odd)
    if previous is None or refresh is None or refresh == previous.refresh_token:
        return None
    if "error" in found.members:
        return None
    # The old refresh token is spent, and this one takes its place. The old access token is past
    # its end from now on: no one is given it.
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
    try:
        parse_object(response.body, what="token response")
    except UnexpectedResponse:
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


def _token(members: dict[str, JsonValue], name: str) -> Secret | None:
    value = members.get(name)
    if isinstance(value, str) and TOKEN.fullmatch(value):
        return Secret(value, name.replace("_", " "))
    return None


def _is_lifetime(value: JsonValue) -> bool:
    # Not isinstance: true is an int to Python.
    return type(value) is int and 1 <= value <= MAX_LIFETIME


def _lifetime(value: JsonValue) -> int:
    """Return the seconds that an access token is taken to live.

    A number in another spelling is read. What is no number, or a number that no token lives, is as
    good as absent: a default that is too short costs a refresh, one too long costs an error.
    """
    seconds = value if type(value) is int else 0
    if (isinstance(value, str) and _DIGITS.fullmatch(value.strip())) or (
        isinstance(value, float) and math.isfinite(value)
    ):
        seconds = int(value)
    return seconds if _is_lifetime(seconds) else DEFAULT_LIFETIME
