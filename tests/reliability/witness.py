"""What the emulator saw, counted. The code under test has no part in these numbers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs

from procore_signin.emulator import Emulator
from procore_signin.emulator.journal import Exchange

DROPPED: Final = 0
"""The status of an answer that never left."""


@dataclass
class Sight:
    """What was seen since the last look.

    Attributes:
        refresh_tokens: How often each was presented.
        codes: How often each was presented.
        exchanged: The codes that brought tokens.
        refreshes: Refreshes that Procore answered with a new pair.
        invalid_grants: Refreshes that Procore answered with `invalid_grant`.
        dropped: Token requests that were carried out and whose answer was lost.
        api: How often the API answered with each status.
    """

    refresh_tokens: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    exchanged: set[str] = field(default_factory=set)
    refreshes: int = 0
    invalid_grants: int = 0
    dropped: int = 0
    api: Counter[int] = field(default_factory=Counter)

    @property
    def double_spends(self) -> int:
        """How often a refresh token was presented after it had been presented before."""
        return sum(self.refresh_tokens.values()) - len(self.refresh_tokens)


class Witness:
    """Reads the emulator's journal before it forgets."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._seen = 0

    def look(self) -> Sight:
        """Return what happened since the last look."""
        fresh = [each for each in self._emulator.requests if each.number > self._seen]
        if fresh:
            # The journal keeps a thousand exchanges: a gap would be a double spend unseen.
            assert [each.number for each in fresh] == list(
                range(self._seen + 1, self._seen + 1 + len(fresh))
            )
            self._seen = fresh[-1].number
        sight = Sight()
        for exchange in fresh:
            if exchange.target == "/oauth/token":
                _count_token_request(sight, exchange)
            elif exchange.lane == "api":
                sight.api[exchange.status] += 1
        return sight


def _count_token_request(sight: Sight, exchange: Exchange) -> None:
    form = {name: values[0] for name, values in parse_qs(exchange.request_body.decode()).items()}
    sight.dropped += exchange.status == DROPPED
    if form["grant_type"] == "authorization_code":
        sight.codes[form["code"]] += 1
        if exchange.status in {DROPPED, 200}:
            sight.exchanged.add(form["code"])
        return
    sight.refresh_tokens[form["refresh_token"]] += 1
    sight.refreshes += exchange.status == 200
    if exchange.status in {400, 401}:
        sight.invalid_grants += json.loads(exchange.response_body)["error"] == "invalid_grant"
