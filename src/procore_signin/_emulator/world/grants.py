"""Codes and tokens: issued, spent, rotated, revoked.

Times are UTC unix seconds. Nothing here decides who may do what: see `token_endpoint.py`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from procore_signin._emulator.world.clock import Clock
from procore_signin._emulator.world.options import ACCESS_TOKEN_LIFETIME, CODE_LIFETIME, Rotation
from procore_signin._emulator.world.random_values import RandomValues


@dataclass(slots=True)
class Token:
    """One row of Procore's token table: an access token and the refresh token beside it.

    Attributes:
        client_id: The client that it was issued to.
        person_id: The person it acts for, or None for the client itself (client credentials).
        created_at: UTC unix seconds.
        expires_in: Seconds from then, of the access token. A refresh token has no fixed end.
        revoked: Both halves are dead.
        refresh_spent: The refresh token alone is dead.
        replaces: The token whose refresh brought this one and which dies when this one is used,
            or None. Set under `grace` rotation only.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    client_id: str
    person_id: int | None
    created_at: float
    expires_in: int
    revoked: bool = False
    refresh_spent: bool = False
    replaces: Token | None = field(default=None, repr=False)

    def expired(self, now: float) -> bool:
        """Say whether the access token's time is over."""
        return now >= self.created_at + self.expires_in

    def remaining(self, now: float) -> int:
        """Return the seconds that the access token has left."""
        return max(0, round(self.created_at + self.expires_in - now))

    def accessible(self, now: float) -> bool:
        """Say whether the access token is good."""
        return not self.revoked and not self.expired(now)


@dataclass(slots=True)
class Code:
    """One authorization code and what it is bound to.

    Attributes:
        redirect_uri: As in the authorization request; the token request must repeat it exactly.
        challenge: The PKCE challenge, or None.
        challenge_method: `S256` or `plain`, or None.
        token: What it was exchanged for, once it is spent, or None.
    """

    code: str = field(repr=False)
    client_id: str
    person_id: int
    redirect_uri: str
    created_at: float
    challenge: str | None = field(default=None, repr=False)
    challenge_method: str | None = None
    token: Token | None = field(default=None, repr=False)

    def expired(self, now: float) -> bool:
        """Say whether its ten minutes are over."""
        return now >= self.created_at + CODE_LIFETIME


class Grants:
    """Every code and token of one environment.

    Args:
        clock: UTC unix seconds.
        random_values: Makes codes and tokens.
        rotation: When a used refresh token dies.
        reuse: On a new sign-in, return the token that is still valid.
    """

    __slots__ = (
        "_access",
        "_clock",
        "_codes",
        "_live",
        "_mint",
        "_oldest",
        "_refresh",
        "_reuse",
        "_rotation",
    )

    def __init__(
        self, clock: Clock, random_values: RandomValues, rotation: Rotation, *, reuse: bool = False
    ) -> None:
        self._clock = clock
        self._mint = random_values
        self._rotation = rotation
        self._reuse = reuse
        self._codes: dict[str, Code] = {}
        self._oldest: deque[Code] = deque()
        self._access: dict[str, Token] = {}
        self._refresh: dict[str, Token] = {}
        self._live: dict[tuple[str, int | None], dict[str, Token]] = {}

    def issue_code(
        self,
        *,
        client_id: str,
        person_id: int,
        redirect_uri: str,
        challenge: str | None = None,
        challenge_method: str | None = None,
    ) -> Code:
        """Make a code that is good once, for ten minutes."""
        now = self._clock()
        while self._oldest and self._oldest[0].expired(now - CODE_LIFETIME):
            self._codes.pop(self._oldest.popleft().code, None)
        code = Code(
            self._mint.hexadecimal(),
            client_id,
            person_id,
            redirect_uri,
            now,
            challenge,
            challenge_method,
        )
        self.put_code(code)
        return code

    def code(self, code: str) -> Code | None:
        """Return a code that was issued, spent or not, or None."""
        return self._codes.get(code)

    def exchange(self, code: Code) -> Token:
        """Spend a code for a token."""
        token = self._reusable(code.client_id, code.person_id)
        code.token = token or self._issue(code.client_id, code.person_id, refreshable=True)
        return code.token

    def issue_to_client(self, client_id: str) -> Token:
        """Make a token for the client itself, without a refresh token (client credentials)."""
        return self._reusable(client_id, None) or self._issue(client_id, None, refreshable=False)

    def refresh(self, token: Token) -> Token:
        """Spend a refresh token for a new pair."""
        fresh = self._issue(token.client_id, token.person_id, refreshable=True)
        if self._rotation == "immediate":
            self.revoke(token)
        else:
            fresh.replaces = token
        return fresh

    def by_access_token(self, access_token: str) -> Token | None:
        """Return the token whose access token this is, in whatever state, or None."""
        return self._access.get(access_token)

    def by_refresh_token(self, refresh_token: str) -> Token | None:
        """Return the token whose refresh token this is, in whatever state, or None."""
        return self._refresh.get(refresh_token)

    def used(self, token: Token) -> None:
        """Note that an access token was presented: under `grace` the pair it replaced dies now."""
        if token.replaces is not None:
            self.revoke(token.replaces)
            token.replaces = None

    def revoke(self, token: Token) -> None:
        """Kill the access token and the refresh token beside it."""
        token.revoked = True
        owner = (token.client_id, token.person_id)
        live = self._live.get(owner)
        if live is not None:
            live.pop(token.access_token, None)
            if not live:
                del self._live[owner]

    def has_live(self, client_id: str, person_id: int) -> bool:
        """Say whether the person's consent to the client still stands."""
        return (client_id, person_id) in self._live

    def tokens(self) -> list[Token]:
        """Return every token that was issued, in whatever state, in the order of issue."""
        return list(self._access.values())

    def codes(self) -> list[Code]:
        """Return every code that is still known, spent or not, in the order of issue."""
        return list(self._codes.values())

    def put_token(self, token: Token) -> None:
        """Take a token that is issued, now or in an earlier run."""
        self._access[token.access_token] = token
        if token.refresh_token is not None:
            self._refresh[token.refresh_token] = token
        if not token.revoked:
            owner = (token.client_id, token.person_id)
            self._live.setdefault(owner, {})[token.access_token] = token

    def put_code(self, code: Code) -> None:
        """Take a code that is issued, now or in an earlier run."""
        self._codes[code.code] = code
        self._oldest.append(code)

    def live(self) -> list[Token]:
        """Return every token that is not revoked, oldest first."""
        found = [token for tokens in self._live.values() for token in tokens.values()]
        return sorted(found, key=lambda token: token.created_at)

    def clear(self) -> None:
        """Forget every code and token."""
        self._codes.clear()
        self._oldest.clear()
        self._access.clear()
        self._refresh.clear()
        self._live.clear()

    def _reusable(self, client_id: str, person_id: int | None) -> Token | None:
        live = self._live.get((client_id, person_id), {}).values() if self._reuse else ()
        now = self._clock()
        return next((token for token in reversed(tuple(live)) if token.accessible(now)), None)

    def _issue(self, client_id: str, person_id: int | None, *, refreshable: bool) -> Token:
        token = Token(
            access_token=self._mint.access_token(client_id),
            refresh_token=self._mint.hexadecimal() if refreshable else None,
            client_id=client_id,
            person_id=person_id,
            created_at=self._clock(),
            expires_in=ACCESS_TOKEN_LIFETIME,
        )
        self.put_token(token)
        return token
