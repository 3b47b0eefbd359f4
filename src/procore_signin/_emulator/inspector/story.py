"""Assign each exchange to its sign-in.

A sign-in begins with an authorization request. Later exchanges are recognised by their content: the
same authorization request (log-in and consent), the code that was granted, then the tokens that the
code or a refresh token brought. Exchanges without any of these go to `Others`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from procore_signin._emulator.inspector import reading
from procore_signin._emulator.inspector.redaction import shorten_secrets
from procore_signin._emulator.journal import UNSERVED, Exchange

SIGN_INS_KEPT: Final = 30
EXCHANGES_KEPT: Final = 120
"""How many sign-ins are drawn, and how many exchanges of each; the oldest are left out."""


@dataclass(slots=True)
class Chapter:
    """Exchanges that belong together.

    Attributes:
        id: Its element's id on the page.
        exchanges: Oldest first, at most `EXCHANGES_KEPT`, their secrets shortened.
        left_out: How many older ones are not among them.
    """

    id: str
    exchanges: list[Exchange] = field(default_factory=list)
    left_out: int = 0

    def add(self, exchange: Exchange) -> None:
        """Append an exchange; of the very long ones, the beginning of the story stays."""
        self.exchanges.append(exchange)
        if len(self.exchanges) > EXCHANGES_KEPT:
            del self.exchanges[EXCHANGES_KEPT // 2]
            self.left_out += 1


@dataclass(slots=True)
class SignIn(Chapter):
    """One sign-in, from the authorization request to the last use of its tokens.

    Attributes:
        request: The authorization request's fields, sorted: the same for its whole log-in.
        answered: Whether the browser was sent back to the app, or shown an error.
        secrets: Codes and tokens that belong to it.
    """

    request: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    answered: bool = False
    secrets: set[str] = field(default_factory=set, repr=False)


@dataclass(slots=True)
class Others(Chapter):
    """Requests that belong to no sign-in that was seen."""


class Story:
    """Sorts exchanges into sign-ins as they come.

    Attributes:
        sign_ins: Oldest first, at most `SIGN_INS_KEPT`.
        others: What belongs to none of them.
        left_out: How many older sign-ins are not among them.
    """

    def __init__(self) -> None:
        self.sign_ins: deque[SignIn] = deque()
        self.others = Others("others")
        self.left_out = 0

    def add(self, exchange: Exchange) -> Chapter:
        """Sort one exchange in, newer than all before, and return where it belongs."""
        chapter = self._place(exchange)
        chapter.add(shorten_secrets(exchange))
        if isinstance(chapter, SignIn):
            _learn(chapter, exchange)
        return chapter

    def _place(self, exchange: Exchange) -> Chapter:
        request = _authorization_request(exchange)
        if request is not None:
            return self._by_request(request) or self._begin(exchange, request)
        return self._by_secret(_secrets_presented(exchange)) or self.others

    def _by_request(self, request: tuple[tuple[str, str], ...]) -> SignIn | None:
        return next(
            (
                sign_in
                for sign_in in reversed(self.sign_ins)
                if sign_in.request == request and not sign_in.answered
            ),
            None,
        )

    def _by_secret(self, presented: set[str]) -> SignIn | None:
        return next(
            (sign_in for sign_in in reversed(self.sign_ins) if sign_in.secrets & presented), None
        )

    def _begin(self, exchange: Exchange, request: tuple[tuple[str, str], ...]) -> SignIn:
        sign_in = SignIn(f"sign-in-{exchange.number}", request=request)
        self.sign_ins.append(sign_in)
        if len(self.sign_ins) > SIGN_INS_KEPT:
            self.sign_ins.popleft()
            self.left_out += 1
        return sign_in


def is_log_in(exchange: Exchange) -> bool:
    """Say whether this is the log-in panel or its form."""
    return reading.path(exchange.target) == "/login"


def is_authorization(exchange: Exchange) -> bool:
    """Say whether this is the authorization endpoint."""
    return reading.path(exchange.target) == "/oauth/authorize"


def granted_code(exchange: Exchange) -> str | None:
    """Return the authorization code with which this response sends the browser on, or None."""
    if not is_authorization(exchange):
        return None
    location = reading.location(exchange) or ""
    shown_at = location.partition("?")[0].partition("/oauth/authorize/")[2]
    return reading.query(location).get("code") or shown_at or None


def refusal(exchange: Exchange) -> str | None:
    """Return the OAuth error with which this response sends the browser back, or None."""
    if not is_authorization(exchange):
        return None
    return reading.query(reading.location(exchange) or "").get("error")


def shows_consent(exchange: Exchange) -> bool:
    """Say whether this response is the consent dialog."""
    return (
        is_authorization(exchange)
        and exchange.method == "GET"
        and exchange.status == 200  # noqa: PLR2004 - OK
        and b'name="decision"' in exchange.response_body
    )


def is_unserved(exchange: Exchange) -> bool:
    """Say whether this response is that the emulator does not serve such a request."""
    return exchange.status == 501 and (exchange.note or "").startswith(UNSERVED)  # noqa: PLR2004 - Not Implemented


def issued_tokens(exchange: Exchange) -> set[str]:
    """Return the tokens in this response."""
    if reading.path(exchange.target) != "/oauth/token":
        return set()
    members = reading.json_fields(exchange.response_body)
    return {members[name] for name in ("access_token", "refresh_token") if members.get(name)}


def _authorization_request(exchange: Exchange) -> tuple[tuple[str, str], ...] | None:
    """Return the authorization request that an exchange is part of, or None."""
    if is_authorization(exchange) and exchange.method != "POST":
        address = exchange.target
    elif is_authorization(exchange) or is_log_in(exchange):
        fields = reading.request_fields(exchange)
        address = fields.get("continue_to") or reading.query(exchange.target).get("continue_to", "")
        if "/oauth/authorize" not in address:
            return None
    else:
        return None
    return tuple(sorted(reading.query(address).items()))


def _secrets_presented(exchange: Exchange) -> set[str]:
    """Return every code and token with which a request could tell what it belongs to."""
    fields = {**reading.query(exchange.target), **reading.request_fields(exchange)}
    names = ("code", "refresh_token", "token", "access_token")
    presented = {fields[name] for name in names if fields.get(name)}
    shown_at = reading.path(exchange.target).partition("/oauth/authorize/")[2]
    presented |= {value for value in (shown_at, reading.bearer(exchange)) if value}
    return presented


def _learn(sign_in: SignIn, exchange: Exchange) -> None:
    code = granted_code(exchange)
    if code is not None:
        sign_in.secrets.add(code)
    sign_in.secrets |= issued_tokens(exchange)
    shown_an_error = reading.location(exchange) is None and not shows_consent(exchange)
    if code or refusal(exchange) or (is_authorization(exchange) and shown_an_error):
        sign_in.answered = True
