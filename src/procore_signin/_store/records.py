"""What the store hands out and takes in: frozen values. Every time is in UTC unix seconds.

The reprs leave out personal data and hashes, because they end up in logs and tracebacks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._protocol.value import value
from procore_signin._public import public_in

MOST_PURGED: Final = 10_000
"""How many rows one transaction deletes at most."""

LONGEST_REFERENCE: Final = 255
"""How many characters an application's own name for one of its users has at most."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")

AttemptStatus = Literal["taken", "exchanged", "done", "failed"]
"""`taken`: the code may be on its way; `exchanged`: the tokens are in escrow; `done`: the user is
signed in; `failed`: it ended otherwise."""


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class User:
    """A user who signed in, known by environment and Procore's id, never by e-mail (row I2).

    Attributes:
        id: Our own number, never given to anyone else, also after deletion.
        procore_id: Procore's number, 1 to 2^63-1. Two environments may share numbers.
        email: What Procore called the login at the last sign-in. For display.
        name: The user's name, or None where Procore did not tell it.
        environment: Such as `production`.
        created_at: The first sign-in.
        last_signed_in_at: The latest sign-in.
        disabled_at: Since when the user may not sign in, or None.
        company_id: Procore's number of the company that the user chose here, or None.
    """

    id: int
    procore_id: int
    email: str = field(repr=False)
    name: str | None = field(repr=False)
    environment: str
    created_at: int
    last_signed_in_at: int
    disabled_at: int | None
    company_id: int | None = None


@dataclass(frozen=True, slots=True)
class NewLink:
    """A connection to make, between a user who signs in and a user of the application.

    Attributes:
        reference: The application's own name for its user, as `reference_of` returns it.
        several_users: Whether the reference may be connected to several users.
        several_references: Whether the user may be connected to several references.
    """

    reference: str = field(repr=False)
    several_users: bool = False
    several_references: bool = False


def text_of_key(value: str | int | UUID, what: str) -> str:
    """Return what an application has as primary key as text: a UUID with its hyphens.

    Args:
        value: The key.
        what: How the message begins.

    Raises:
        TypeError: It is no text, whole number or UUID.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | UUID):
        kind = type(value).__name__
        raise TypeError(
            f"{what} is text, a whole number or a UUID, such as a primary key, not {kind}."
        )
    return str(value)


def reference_of(value: str | int | UUID) -> str:
    """Return the application's own name for one of its users as text; see `text_of_key`.

    Raises:
        ValueError: It is empty, longer than 255 characters, ends with a space, or has characters
            that do not print.
        TypeError: It is no text, whole number or UUID.
    """
    text = text_of_key(value, "A reference")
    # MariaDB compares "ann" and "ann " as the same, and would find the account of the one for the
    # other.
    if not text.isprintable() or text.endswith(" ") or not 1 <= len(text) <= LONGEST_REFERENCE:
        raise ValueError(
            f"A reference has 1 to {LONGEST_REFERENCE} characters that print, the last no space."
        )
    return text


@value(frozen=True, slots=True)
class NewSession:
    """A session to open.

    Attributes:
        id_hash: SHA-256 of the cookie's token, 64 lower-case hex digits (row S1). Anything else
            raises ValueError, lest a token be stored by mistake.
        me_json: What `/rest/v1.0/me` answered, as JSON text of at most 64 KiB.
        user_agent: The browser's name for the page of sessions, or None. Untrusted: the store drops
            its control characters and cuts it at 255.
        idle_expires_at: When it ends unless it is used; never later than `absolute_expires_at`.
        absolute_expires_at: When it ends in any case (row S5).
        reference: The user of the application who is logged in there meanwhile, or None.
    """

    id_hash: str = field(repr=False)
    me_json: str = field(repr=False)
    user_agent: str | None = field(repr=False)
    idle_expires_at: int
    absolute_expires_at: int
    reference: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not _HASH.fullmatch(self.id_hash):
            raise ValueError("A session is stored under the SHA-256 of its token, in hex.")


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class Session:
    """A session that is open now, and whose it is. What `/me` answered is read apart: it is large.

    Attributes:
        id: Our own number, for the page of sessions. It opens nothing.
        user: Whose it is.
        created_at: The sign-in that opened it.
        last_seen_at: Its last use, to the accuracy with which it is touched.
        idle_expires_at: When it ends unless it is used.
        absolute_expires_at: When it ends in any case.
        user_agent: The browser's name, or None. Untrusted: escape it.
        reference: The user of the application to whose login there it belongs, or None.
    """

    id: int
    user: User
    created_at: int
    last_seen_at: int
    idle_expires_at: int
    absolute_expires_at: int
    user_agent: str | None = field(repr=False)
    reference: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """How far one sign-in attempt came, after its authorization response arrived.

    Attributes:
        state_hash: SHA-256 of its `state`, 64 lower-case hex digits.
        environment: Such as `production`.
        status: See `AttemptStatus`.
        user_id: Who signed in, once `done`.
        outcome: Why it failed, as a fixed word, or None.
        created_at: When it was taken.
        expires_at: From when it may be purged. At least as long as its cookie is accepted.
        finished_at: When it became `done` or `failed`, or None.
        code_hash: SHA-256 of the code that took it, or None where none is known.
        joined_at: When a second callback with the same code was let in, or None.
    """

    state_hash: str = field(repr=False)
    environment: str
    status: AttemptStatus
    user_id: int | None
    outcome: str | None
    created_at: int
    expires_at: int
    finished_at: int | None
    code_hash: str | None = field(default=None, repr=False)
    joined_at: int | None = None


@dataclass(frozen=True, slots=True)
class Escrow:
    """Tokens that no one uses: of an exchange that became no sign-in, or replaced by a newer one.

    Revoke them, then clear the escrow.

    Attributes:
        state_hash: Which attempt.
        environment: Where to revoke them.
        tokens: The tokens, or None where the seal cannot be opened (row V4): tell the operator.
        escrowed_at: Since when, where it was read from the store.
    """

    state_hash: str = field(repr=False)
    environment: str
    tokens: TokenSet | None
    escrowed_at: int = field(default=0, compare=False)


@value(frozen=True, slots=True)
class CompletedSignIn:
    """What one sign-in changed.

    Attributes:
        user: The user, as stored now.
        created: True at the first sign-in.
        replaced_tokens: The user's tokens before, to be revoked at Procore now that the new ones
            are committed, and then cleared from the attempt's escrow; None where there were none
            or they are the same (row R11).
        replaced_sealed: True where there were tokens before that could not be opened. They are
            gone and could not be revoked: tell the operator (row V4).
        given_up: What else is to be revoked: a pair before the replaced one that may still be
            honoured, or the replaced one, where a refresh of it was under way.
        unbound: How many sessions ended because it connected the user to one of the application;
            None where it made no connection.
    """

    user: User
    created: bool
    replaced_tokens: TokenSet | None
    replaced_sealed: bool = False
    given_up: tuple[Escrow, ...] = ()
    unbound: int | None = None


@value(frozen=True, slots=True)
class Replaced:
    """What newer tokens of a user replaced.

    Attributes:
        tokens: The pair, for the attempt's escrow; None where there was none, it is the same, or
            it is in `given_up`.
        sealed: Whether there was something that cannot be opened.
        given_up: What was put into escrows of its own.
    """

    tokens: TokenSet | None
    sealed: bool = False
    given_up: tuple[Escrow, ...] = ()


GrantStatus = Literal["ok", "lost", "revoked"]
"""`ok`: the refresh token is good, as far as is known; `lost`: the response to a refresh was lost
and the token with it; `revoked`: Procore does not honour it any more. Only a new sign-in helps."""


# Not frozen: to make a value that is takes three times as long, and every call with a token makes
# one.


@dataclass(slots=True)
class TokenRow:
    """A user's token set, and all that a refresh has to know of it.

    Attributes:
        id: The row's number.
        user_id: Whose.
        environment: Where.
        generation: Counts the pairs: each sign-in and each refresh adds one.
        access_token: The bearer, opened.
        open_tokens: Returns the pair, or raises `VaultSealed`. Most callers want the bearer alone,
            and to open the other one costs them as much again.
        status: See `GrantStatus`.
        ambiguous: How many requests with this refresh token had no known outcome.
        expires_in: Seconds that the access token has left, by the clock that all users of the
            database share; negative when it has expired.
        lifetime: Seconds that it had when it was written.
        leased: Whether someone is refreshing it now.
        retry_in: Seconds until Procore may be asked again, 0 when it may be now.
        disabled: Whether the user is disabled.
        procore_id: Procore's number of the user, by which they are known after they were deleted.
        misdated: Whether the lease or pause has more left than it was meant to last: the clock was
            set back meanwhile. `RedateLease` has it last no longer than that.
        predecessor: The pair before this one, sealed, while it may still be honoured, or None.
        lease_owner: Who took the lease, the last one, or None.
    """

    id: int
    user_id: int
    environment: str
    generation: int
    access_token: Secret
    open_tokens: Callable[[], TokenSet] = field(repr=False, compare=False)
    status: GrantStatus
    ambiguous: int
    expires_in: int
    lifetime: int
    leased: bool
    retry_in: int
    disabled: bool
    procore_id: int
    misdated: bool = False
    predecessor: str | None = field(default=None, repr=False)
    lease_owner: str | None = None

    @property
    def settled(self) -> bool:
        """Whether the pair before this one is certainly dead, or there is none."""
        return self.predecessor is None

    @property
    def tokens(self) -> TokenSet:
        """The pair.

        Raises:
            VaultSealed: The refresh token cannot be opened.
        """
        return self.open_tokens()


OUTCOME_LENGTH: Final = 64
"""The most characters of the note in a row of the ledger."""


def storable(text: str, length: int) -> str:
    """Return untrusted text without what no column should hold, cut at `length` characters.

    PostgreSQL refuses NUL, no driver encodes lone surrogates, and control characters or marks that
    turn the direction of writing would mislead a reader of the table (row I6).
    """
    if not text.isprintable():
        text = "".join(character for character in text if character.isprintable())
    return text[:length]


def check_limit(limit: int) -> None:
    """Raise ValueError unless one transaction may delete as many rows."""
    if not 1 <= limit <= MOST_PURGED:
        raise ValueError(f"A purge deletes 1 to {MOST_PURGED} rows at a time.")
