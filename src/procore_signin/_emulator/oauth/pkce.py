"""PKCE as a server checks it (RFC 7636 §4.6), under the emulator's three modes."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from procore_signin._emulator.oauth.doorkeeper import Dialect, OAuthError
from procore_signin._emulator.world.grants import Code
from procore_signin._emulator.world.options import Pkce

METHODS: Final = frozenset({"S256", "plain"})
_REJECTED_CURE: Final = (
    "Start the emulator with PKCE ignored, as Procore's documentation suggests, or do not send it."
)


def refuse_challenge(
    mode: Pkce, dialect: Dialect, parameters: Mapping[str, str]
) -> OAuthError | None:
    """Return why an authorization request's PKCE parameters are refused, or None."""
    challenge = parameters.get("code_challenge")
    method = parameters.get("code_challenge_method")
    if mode == "ignore" or (not challenge and not method):
        return None
    if mode == "reject":
        note = "this emulator rejects PKCE, and the request has a code_challenge"
        return dialect.error("invalid_request", note, cure=_REJECTED_CURE)
    if not challenge:
        return dialect.missing("code_challenge")
    if method not in METHODS:
        note = "code_challenge_method is neither S256 nor plain"
        return dialect.error("invalid_code_challenge_method", note)
    return None


def refuse_verifier(
    mode: Pkce, dialect: Dialect, code: Code, verifier: str | None
) -> OAuthError | None:
    """Return why a token request's code verifier is refused, or None."""
    if mode == "reject" and verifier:
        note = "this emulator rejects PKCE, and the request has a code_verifier"
        return dialect.error("invalid_request", note, cure=_REJECTED_CURE)
    if mode != "enforce":
        return None
    if code.challenge is None:
        # RFC 9700 §2.1.1: a verifier without a challenge betrays a downgrade.
        note = "a code_verifier came for a code that has no challenge"
        return dialect.error("invalid_grant", note) if verifier else None
    if not verifier:
        return dialect.missing("code_verifier")
    expected = code_challenge(verifier) if code.challenge_method == "S256" else verifier
    if hmac.compare_digest(expected.encode(), code.challenge.encode()):
        return None
    return dialect.error("invalid_grant", "the code_verifier does not fit the code_challenge")


def code_challenge(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636 §4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
