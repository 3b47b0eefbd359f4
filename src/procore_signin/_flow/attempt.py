"""One sign-in attempt: made when a button is shown, kept by the browser, used once.

The server keeps nothing until the browser comes back (row A11). All that the attempt needs is
sealed into a cookie whose name is derived from the state, so that several tabs can each have
their own, and so that a state without its cookie is worthless in another browser (row A5).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Final

from procore_signin._flow.context import Context
from procore_signin._protocol.authorization import AuthorizationRequest, new_state
from procore_signin._protocol.pkce import code_challenge, code_verifier
from procore_signin._protocol.secret import Secret
from procore_signin._protocol.value import value
from procore_signin._store.records import NewLink
from procore_signin.errors import AttemptInvalid, VaultSealed

LIFETIME: Final = 1800
"""Seconds. Procore's ten minutes for the code begin only after the user has logged in."""

REPLICA_SKEW: Final = 300
"""Seconds by which the clock of the replica that made the attempt may be ahead of ours."""


_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class OwnLogin:
    """Who is logged in at the application itself, beside us.

    Attributes:
        reference: The application's own name for its user, or None where no one is logged in.
        session_hash: Hash of what names the login's session, or None where nothing does.
        several_users: Whether the reference may be connected to several Procore users.
        several_references: Whether a Procore user may be connected to several references.
        link: The connection of a user to this one, or None where no one is logged in.
    """

    reference: str | None = field(default=None, repr=False)
    session_hash: str | None = field(default=None, repr=False)
    several_users: bool = field(default=False, compare=False)
    several_references: bool = field(default=False, compare=False)
    link: NewLink | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        link = None
        if self.reference is not None:
            link = NewLink(self.reference, self.several_users, self.several_references)
        object.__setattr__(self, "link", link)

    @property
    def mark(self) -> str | None:
        """A hash of this user in this session, or None where no one is logged in."""
        if self.reference is None:
            return None
        named = _ENCODE([self.reference, self.session_hash])
        return hashlib.sha256(named.encode()).hexdigest()


NO_LOGIN: Final = OwnLogin()


@dataclass(frozen=True, slots=True)
class Bound:
    """What ties an attempt to the application itself.

    Attributes:
        login: The mark of who was logged in there when it began, or None.
        value: What the application gave with it, such as an invitation, or None.
        connects: Whether the user who signs in is to be connected to the one who is logged in.
    """

    login: str | None = field(default=None, repr=False)
    value: str | None = field(default=None, repr=False)
    connects: bool = False

    def admits(self, login: OwnLogin) -> bool:
        """Return whether the attempt may be finished under `login` (rows L3, L4).

        Where it carries something, the login must be the same one. Where it only signs in, someone
        may have logged in meanwhile, but no one else.
        """
        if not self.connects and self.value is None and self.login is None:
            return True
        return self.login == login.mark


@value(frozen=True, slots=True)
class SignInAttempt:
    """What must come back together with the code.

    Attributes:
        binding: Which environment, client and redirect URI it was made for.
        state: The value that ties the response to this attempt (RFC 6749 §10.12).
        code_verifier: The secret half of PKCE (RFC 7636), or None when PKCE is off.
        return_to: The path of this application where the user lands.
        issued_at: UTC seconds.
        bound: What ties it to the application itself, or None.
        state_hash: The name under which the ledger remembers that this attempt was used.
    """

    binding: str
    state: str
    code_verifier: Secret | None
    return_to: str
    issued_at: int
    bound: Bound | None = None
    state_hash: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "state_hash", _hash_state(self.state))

    @property
    def name(self) -> str:
        """The name that ties it to its state when it is sealed: see `attempt_name`."""
        return _name(self.state_hash)

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


def new_attempt(context: Context, *, return_to: str, bound: Bound | None = None) -> SignInAttempt:
    """Return a fresh attempt that will land on `return_to`, a path that was checked before."""
    random = context.random_bytes(64)
    return SignInAttempt(
        binding=context.binding,
        state=new_state(random[:32]),
        code_verifier=code_verifier(random[32:]) if context.pkce else None,
        return_to=return_to,
        issued_at=context.now(),
        bound=bound,
    )


def attempt_name(state: str) -> str:
    """Return the name that ties a sealed attempt to `state`, without giving `state` away."""
    return _name(_hash_state(state))


def _name(state_hash: str) -> str:
    return "a_" + state_hash[:12]


def _hash_state(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()


def seal_attempt(context: Context, attempt: SignInAttempt) -> str:
    """Return `attempt` sealed for a cookie: it opens only under this ring and this name."""
    verifier = None if attempt.code_verifier is None else attempt.code_verifier.reveal()
    values: list[object] = [
        *(attempt.binding, attempt.state, verifier, attempt.return_to, attempt.issued_at)
    ]
    if attempt.bound is not None:
        bound = attempt.bound
        values.append((bound.login, bound.value, bound.connects))
    return context.attempt_seal.seal(_ENCODE(values), context=("attempt", attempt.name))


def open_attempt(context: Context, name: str, sealed: str) -> SignInAttempt | None:
    """Return the attempt sealed under `name`, or None when it does not open.

    A damaged, renamed or foreign cookie is the same as no cookie (row K5).
    """
    try:
        plain = context.attempt_seal.open(sealed, context=("attempt", name))
    except VaultSealed:
        return None
    binding, state, verifier, return_to, issued_at, *tied = json.loads(plain.decode())
    return SignInAttempt(
        binding=binding,
        state=state,
        code_verifier=None if verifier is None else Secret(verifier, "code verifier"),
        return_to=return_to,
        issued_at=issued_at,
        bound=Bound(*tied[0]) if tied else None,
    )


def check_login(bound: Bound, login: OwnLogin) -> None:
    """Raise unless the user who began the attempt is still the one who is logged in there.

    Raises:
        AttemptInvalid: Someone else is, or no one, or it is another session (rows L3, L4).
    """
    if not bound.admits(login):
        raise AttemptInvalid(
            "The user of the application who began this is not the one who is logged in now",
            reason="other_login",
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
