"""One sign-in attempt: made when a button is shown, kept by the browser, used once.

The server keeps nothing until the browser comes back (row A11). All that the attempt needs is
sealed into a cookie whose name is derived from the state, so that several tabs can each have
their own, and so that a state without its cookie is worthless in another browser (row A5).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from procore_signin._flow.context import Context
from procore_signin._protocol.authorization import AuthorizationRequest, new_state
from procore_signin._protocol.pkce import code_challenge, code_verifier
from procore_signin._protocol.secret import Secret
from procore_signin.errors import AttemptInvalid, VaultSealed

LIFETIME: Final = 1800
"""Seconds. Procore's ten minutes for the code begin only after the person has logged in."""

REPLICA_SKEW: Final = 300
"""Seconds by which the clock of the replica that made the attempt may be ahead of ours."""


_ENCODE: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class SignInAttempt:
    """What must come back together with the code.

    Attributes:
        binding: Which environment, client and redirect URI it was made for.
        state: The value that ties the response to this attempt (RFC 6749 §10.12).
        code_verifier: The secret half of PKCE (RFC 7636), or None when PKCE is off.
        return_to: The path of this application where the person lands.
        issued_at: UTC seconds.
    """

    binding: str
    state: str
    code_verifier: Secret | None
    return_to: str
    issued_at: int

    @property
    def state_hash(self) -> str:
        """The name under which the ledger remembers that this attempt was used."""
        return _hash_state(self.state)

    def has_state(self, state: str) -> bool:
        """Compare `state` with ours, in the same time wherever they differ (row C3)."""
        return hmac.compare_digest(self.state.encode(), state.encode())

    def authorization_url(self, context: Context) -> str:
        """Return the address that the sign-in button links to (tutorial, step 1)."""
        challenge = None if self.code_verifier is None else code_challenge(self.code_verifier)
        return AuthorizationRequest(
            login_origin=context.environment.login_origin,
            client_id=context.client.client_id,
            redirect_uri=context.client.redirect_uri,
            state=self.state,
            code_challenge=challenge,
        ).url()


def new_attempt(context: Context, *, return_to: str) -> SignInAttempt:
    """Return a fresh attempt that will land on `return_to`, a path that was checked before."""
    random = context.random_bytes(64)
    return SignInAttempt(
        binding=context.binding,
        state=new_state(random[:32]),
        code_verifier=code_verifier(random[32:]) if context.pkce else None,
        return_to=return_to,
        issued_at=context.now(),
    )


def attempt_name(state: str) -> str:
    """Return the name that ties a sealed attempt to `state`, without giving `state` away."""
    return "a_" + _hash_state(state)[:12]


@lru_cache(maxsize=64)  # a sign-in asks for the same one a dozen times
def _hash_state(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()


def seal_attempt(context: Context, attempt: SignInAttempt) -> str:
    """Return `attempt` sealed for a cookie: it opens only under this ring and this name."""
    verifier = None if attempt.code_verifier is None else attempt.code_verifier.reveal()
    values = [attempt.binding, attempt.state, verifier, attempt.return_to, attempt.issued_at]
    return context.attempt_seal.seal(
        _ENCODE(values), context=("attempt", attempt_name(attempt.state))
    )


def open_attempt(context: Context, name: str, sealed: str) -> SignInAttempt | None:
    """Return the attempt sealed under `name`, or None when it does not open.

    A damaged, renamed or foreign cookie is the same as no cookie (row K5).
    """
    try:
        plain = context.attempt_seal.open(sealed, context=("attempt", name))
    except VaultSealed:
        return None
    binding, state, verifier, return_to, issued_at = json.loads(plain.decode())
    return SignInAttempt(
        binding=binding,
        state=state,
        code_verifier=None if verifier is None else Secret(verifier, "code verifier"),
        return_to=return_to,
        issued_at=issued_at,
    )


def check_attempt(context: Context, attempt: SignInAttempt) -> None:
    """Raise unless `attempt` may still be finished, here.

    Raises:
        AttemptInvalid: It has expired, or it was made for another environment, client or
            redirect URI (row A6). Start a new sign-in.
    """
    if attempt.binding != context.binding:
        raise AttemptInvalid(
            "The sign-in attempt was made for another environment or client", reason="mismatch"
        )
    if not -REPLICA_SKEW <= context.now() - attempt.issued_at < LIFETIME:
        raise AttemptInvalid(
            f"The sign-in attempt is older than {LIFETIME // 60} minutes", reason="expired"
        )
