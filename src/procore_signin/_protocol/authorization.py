"""The authorization endpoint: the authorization request and the authorization response.

Sources: RFC 6749 §4.1.1 and §4.1.2, RFC 7636 §4.3, RFC 9207 (`iss`); Procore's documentation,
"OAuth 2.0 Endpoints".
"""

from __future__ import annotations

import re
from dataclasses import field
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from procore_signin._protocol.error_response import error_code, error_description
from procore_signin._protocol.http_message import UNRESERVED
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.value import value
from procore_signin.errors import AttemptInvalid

MAX_QUERY: Final = 8192
"""The largest authorization response, in bytes; a code has at most 2048."""

_PARAMETERS: Final = frozenset({"code", "state", "error", "error_description", "error_uri", "iss"})
_STATE_BYTES: Final = 32
_RAW_QUERY: Final = re.compile(rb"[\x21-\x7E]*")
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CODE: Final = re.compile(r"[\x20-\x7E]{1,2048}")  # RFC 6749 §A.11
_STATE: Final = re.compile(r"[A-Za-z0-9]{32,128}")
_ISSUER: Final = re.compile(r"[\x21-\x7E]{1,2048}")


@value(frozen=True, slots=True)
class AuthorizationRequest:
    """The request that sends the browser to Procore (RFC 6749 §4.1.1).

    Attributes:
        login_origin: The authorization server's origin, such as `https://login.procore.com`.
        client_id: This application's client id.
        redirect_uri: Exactly as registered.
        state: From `new_state`; ties the response to this browser's attempt.
        code_challenge: S256 (RFC 7636 §4.2), or None if PKCE is switched off.
    """

    login_origin: str
    client_id: str
    redirect_uri: str
    state: str = field(repr=False)
    code_challenge: str | None

    def url(self) -> str:
        """Return the URL, with exactly these parameters in a fixed order (row A12).

        The first three are those of Procore's tutorial. There is no `scope`: Procore has none, and
        has refused it.
        """
        same = _same_for_all(self.login_origin, self.client_id, self.redirect_uri)
        url = f"{same}&state={_quoted(self.state)}"
        if self.code_challenge is None:
            return url
        challenge = _quoted(self.code_challenge)
        return f"{url}&code_challenge={challenge}&code_challenge_method=S256"


@lru_cache(maxsize=16)
def _same_for_all(login_origin: str, client_id: str, redirect_uri: str) -> str:
    client_id, redirect_uri = _quoted(client_id), _quoted(redirect_uri)
    return (
        f"{login_origin}/oauth/authorize?client_id={client_id}&response_type=code"
        f"&redirect_uri={redirect_uri}"
    )


def _quoted(text: str) -> str:
    return text if UNRESERVED.fullmatch(text) else quote(text, safe="")


@value(frozen=True, slots=True)
class CodeGranted:
    """The user allowed access (RFC 6749 §4.1.2).

    Attributes:
        code: To be exchanged once, within ten minutes.
        state: As sent, if this is the response to our request. Compare it.
        iss: The server's issuer (RFC 9207), or None if it sends none. Compare it.
    """

    code: Secret
    state: str = field(repr=False)
    iss: str | None


@value(frozen=True, slots=True)
class AuthorizationDenied:
    """The user or Procore denied access (RFC 6749 §4.1.2.1).

    Attributes:
        error: The code, such as `access_denied`. Show a fixed text chosen by it.
        error_description: At most 512 printable characters, or None. Untrusted: anyone can make a
            link with any text in it.
        state: As in `CodeGranted`.
        iss: As in `CodeGranted`.
    """

    error: str
    error_description: str | None
    state: str = field(repr=False)
    iss: str | None


def new_state(random: bytes) -> str:
    """Return a `state`: 64 lower-case hexadecimal digits, because Procore wants it alphanumeric.

    Args:
        random: 32 bytes from a cryptographic random generator, fresh for each attempt (row A3).

    Raises:
        ValueError: Another number of bytes: a bug in the calling code.
    """
    if len(random) != _STATE_BYTES:
        raise ValueError(f"A state takes {_STATE_BYTES} random bytes")
    return random.hex()


def parse_authorization_response(
    raw_query: bytes,
) -> CodeGranted | AuthorizationDenied | None:
    """Return the authorization response in the query of the redirect URI.

    It is read from the raw bytes, because web frameworks disagree about repeated parameters and
    broken escapes: code that checks the first `state` while other code uses the last is a security
    hole (row C2). Other parameters are ignored (C6), including tokens (T8).

    Args:
        raw_query: The bytes after the `?`, as the server received them.

    Returns:
        CodeGranted: The query has a code.
        AuthorizationDenied: The query has an error, even if it also has a code (row C5).
        None: The query has none of the parameters. The response may be in the fragment, which only
            the browser sees.

    Raises:
        AttemptInvalid: `missing` without `state`, otherwise `malformed`: no server sends this.
            Start a new sign-in.
    """
    try:
        return _authorization_response(raw_query)
    except AttemptInvalid as error:
        # Drop the frames and the bytes: a traceback that prints local variables would show the
        # code.
        del raw_query
        raise error.with_traceback(None) from None


def _authorization_response(raw_query: bytes) -> CodeGranted | AuthorizationDenied | None:
    parameters = _parameters(raw_query)
    if not parameters:
        return None
    # Checked first: without a state, the response belongs to no attempt.
    if "state" not in parameters:
        raise AttemptInvalid(
            "The authorization response has no state", reason="missing", hint=_START_AGAIN
        )
    state = parameters["state"]
    if not _STATE.fullmatch(state):
        raise _malformed("has a state that this application does not make")
    iss = parameters.get("iss")
    if iss is not None and not _ISSUER.fullmatch(iss):
        raise _malformed("has an iss that is not an issuer")
    if "error" in parameters:
        error = error_code(parameters["error"])
        if error is None:
            raise _malformed("has an error that is not of RFC 6749 §4.1.2.1")
        description = error_description(parameters.get("error_description"))
        return AuthorizationDenied(error, description, state, iss)
    if not _CODE.fullmatch(parameters.get("code", "")):
        raise _malformed("has neither an error nor a code of 1 to 2048 printable characters")
    return CodeGranted(Secret(parameters["code"], "code"), state, iss)


def _parameters(raw_query: bytes) -> dict[str, str]:
    """Return our parameters, decoded (application/x-www-form-urlencoded)."""
    if len(raw_query) > MAX_QUERY:
        raise _malformed(f"is longer than {MAX_QUERY} bytes")
    if not _RAW_QUERY.fullmatch(raw_query):
        raise _malformed("has a byte that does not belong in a URL")
    parameters: dict[str, str] = {}
    for pair in raw_query.split(b"&"):
        raw_name, _, raw_value = pair.partition(b"=")
        name = _decode(raw_name)
        if name not in _PARAMETERS:
            # Some frameworks read `state[]=` and `state[x]=` as the parameter.
            if name.partition("[")[0] in _PARAMETERS:
                raise _malformed("has a parameter written as a list")
            continue
        if name in parameters:
            raise _malformed(f"repeats {name}")
        parameters[name] = _decode(raw_value)
    return parameters


def _decode(raw: bytes) -> str:
    if _BROKEN_ESCAPE.search(raw):
        raise _malformed("has a broken percent escape")
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        pass  # it holds the bytes, and must not become the context of the error
    raise _malformed("is not UTF-8")


_START_AGAIN: Final = "Start a new sign-in from this application, in the same browser."


def _malformed(rule: str) -> AttemptInvalid:
    return AttemptInvalid(
        f"The authorization response {rule}", reason="malformed", hint=_START_AGAIN
    )
