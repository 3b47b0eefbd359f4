"""A small Procore: codes, pairs of tokens, both rotations, both lines of its server.

It is not the emulator: it is as small as an answer can be, remembers everything that it ever
issued, and names each token after where it came from, so that two schedules that differ only in
their order have the same tokens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote_plus

from procore_signin._protocol.http_message import HttpRequest, HttpResponse

Rotation = Literal["immediate", "grace"]

LIFETIME = 5400
RETRY_AFTER = 7
"""Seconds until the next request that it wants when it has had too many."""

JSON = {"content-type": "application/json"}
CODE_GRANT = "authorization_code"


@dataclass(slots=True)
class Pair:
    """An access token and the refresh token beside it.

    Attributes:
        name: After its code, or the pair that it replaces.
        person: Whose.
        issued_at: When.
        by_code: Whether a code brought it.
        dead: Whether neither is good for anything any more.
        before: Under `grace`, what dies when this one is used.
        children: How many pairs its refresh token has brought.
    """

    name: str
    person: int
    issued_at: float
    by_code: bool
    dead: bool = False
    before: Pair | None = None
    children: int = 0


@dataclass(slots=True)
class Answer:
    """What Procore did, and what it says.

    Attributes:
        response: What it says.
        pair: The pair that is in the answer.
        shown: The pair whose refresh token was presented.
    """

    response: HttpResponse
    pair: Pair | None = None
    shown: Pair | None = None


@dataclass(slots=True)
class Procore:
    """Everything that was ever issued.

    Attributes:
        rotation: When a refresh token that was used dies.
        early: Whether it is of the older line, in which an access token that has expired saves the
            refresh token beside it from a revocation.
    """

    rotation: Rotation
    early: bool
    pairs: dict[str, Pair] = field(default_factory=dict)
    codes: dict[str, tuple[int, bool]] = field(default_factory=dict)

    def copy(self, rotation: Rotation, *, early: bool) -> Procore:
        """Return the same of another kind, whose pairs are its own."""
        pairs = {
            name: Pair(
                pair.name,
                pair.person,
                pair.issued_at,
                pair.by_code,
                pair.dead,
                None,
                pair.children,
            )
            for name, pair in self.pairs.items()
        }
        if rotation == "grace":
            for name, pair in self.pairs.items():
                if pair.before is not None:
                    pairs[name].before = pairs[pair.before.name]
        else:
            for pair in self.pairs.values():
                if pair.before is not None:  # it would have died at once
                    pairs[pair.before.name].dead = True
        return Procore(rotation, early, pairs, dict(self.codes))

    def allow(self, person: int, code: str) -> str:
        """Have a person allow access, and return the code."""
        self.codes[code] = (person, False)
        return code

    def end_all(self, person: int) -> None:
        """Have a person end the access, under Connected Apps."""
        for pair in self.pairs.values():
            if pair.person == person:
                pair.dead = True

    def alive(self) -> list[Pair]:
        """Return the pairs that are good for something."""
        return [pair for pair in self.pairs.values() if not pair.dead]

    def answer(self, request: HttpRequest, now: float) -> Answer:
        """Do what a request asks for."""
        path = request.url.partition("/")[2].partition("/")[2].partition("/")[2]
        if path == "oauth/token":
            return self._token(_form(request), now)
        if path == "oauth/revoke":
            return self._revoke(_form(request)["token"], now)
        pair = self._presented(request, now)
        if pair is None:
            return _says(401, {"error": "invalid_token"})
        if path == "oauth/token/info":
            return _says(
                200,
                {
                    "resource_owner_id": pair.person,
                    "application": {"uid": "client"},
                    "expires_in": int(pair.issued_at + LIFETIME - now),
                },
            )
        return _says(200, {"id": pair.person, "login": f"p{pair.person}@x.com", "name": None})

    def _presented(self, request: HttpRequest, now: float) -> Pair | None:
        bearer = dict(request.headers)["authorization"]
        pair = self.pairs.get(bearer.removeprefix("Bearer access-"))
        if pair is None or pair.dead or now >= pair.issued_at + LIFETIME:
            return None
        if pair.before is not None:
            pair.before.dead = True
            pair.before = None
        return pair

    def _token(self, form: dict[str, str], now: float) -> Answer:
        if form["grant_type"] == CODE_GRANT:
            person, spent = self.codes.get(form["code"], (0, True))
            if spent:
                return _says(400, {"error": "invalid_grant"})
            self.codes[form["code"]] = (person, True)
            return self._issued(Pair(f"{form['code']}", person, now, by_code=True))
        old = self.pairs.get(form["refresh_token"].removeprefix("refresh-"))
        if old is None or old.dead:
            return Answer(_says(400, {"error": "invalid_grant"}).response, shown=old)
        old.children += 1
        new = Pair(f"{old.name}r{old.children}", old.person, now, by_code=False)
        if self.rotation == "immediate":
            old.dead = True
        else:
            new.before = old
        answer = self._issued(new)
        answer.shown = old
        return answer

    def _issued(self, pair: Pair) -> Answer:
        self.pairs[pair.name] = pair
        said = _says(
            200,
            {
                "access_token": f"access-{pair.name}",
                "token_type": "Bearer",
                "expires_in": LIFETIME,
                "refresh_token": f"refresh-{pair.name}",
                "created_at": int(pair.issued_at),
            },
        )
        said.pair = pair
        return said

    def _revoke(self, token: str, now: float) -> Answer:
        kind, _, name = token.partition("-")
        pair = self.pairs.get(name)
        if pair is not None:
            guarded = kind == "access" or self.early
            if not (guarded and now >= pair.issued_at + LIFETIME):
                pair.dead = True
        return _says(200, {})


def _form(request: HttpRequest) -> dict[str, str]:
    fields = (field.partition("=") for field in request.body.decode().split("&"))
    return {name: unquote_plus(value) if "%" in value else value for name, _, value in fields}


def _says(status: int, members: dict[str, object]) -> Answer:
    return Answer(HttpResponse(status, JSON, json.dumps(members).encode()))
