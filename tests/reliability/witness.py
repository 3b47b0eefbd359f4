"""What the emulator saw, counted. The code under test has no part in these numbers."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs

from procore_signin._emulator.journal import Exchange
from procore_signin.emulator import Emulator

FAULT: Final = re.compile(r"fault (\d+),")
DROPPED: Final = 0
"""The status of a response that never left."""


@dataclass
class Sight:
    """What was seen since the last look.

    Attributes:
        refresh_tokens: How often each was presented.
        refused: How often each was answered with `invalid_grant`.
        codes: How often each was presented.
        exchanged: The codes that brought tokens.
        refreshes: Refreshes that Procore answered with a new pair.
        dropped: Token requests that were carried out and whose response was lost.
    """

    refresh_tokens: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    exchanged: set[str] = field(default_factory=set)
    refreshes: int = 0
    dropped: int = 0

    @property
    def double_spends(self) -> int:
        """How often a refresh token was presented after it had been presented before."""
        return self.refresh_tokens.total() - len(self.refresh_tokens)

    @property
    def invalid_grants(self) -> int:
        """How many refreshes were refused."""
        return self.refused.total()


class Witness:
    """Reads the emulator's journal before it forgets.

    Attributes:
        met: How many requests met each fault and have been finished with, by the fault's number.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._seen = 0
        self._pending: list[Exchange] = []
        self.met: Counter[int] = Counter()

    def read_on(self) -> None:
        """Take what is new out of the journal."""
        fresh = [each for each in self._emulator.requests if each.number > self._seen]
        # The journal keeps a thousand exchanges: a gap would be a double spend unseen.
        numbers = [each.number for each in fresh]
        assert numbers == list(range(self._seen + 1, self._seen + 1 + len(fresh)))
        self._seen += len(fresh)
        self._pending += fresh
        for exchange in fresh:
            if found := FAULT.match(exchange.note or ""):
                self.met[int(found[1])] += 1

    def look(self) -> Sight:
        """Return what happened since the last look."""
        self.read_on()
        sight = Sight()
        for exchange in self._pending:
            if exchange.target == "/oauth/token":
                _count(sight, exchange)
        self._pending.clear()
        return sight


def _count(sight: Sight, exchange: Exchange) -> None:
    form = {name: values[0] for name, values in parse_qs(exchange.request_body.decode()).items()}
    sight.dropped += exchange.status == DROPPED
    if form["grant_type"] == "authorization_code":
        sight.codes[form["code"]] += 1
        if exchange.status in {DROPPED, 200}:
            sight.exchanged.add(form["code"])
        return
    token = form["refresh_token"]
    sight.refresh_tokens[token] += 1
    sight.refreshes += exchange.status == 200
    refusal = exchange.status in {400, 401} and json.loads(exchange.response_body)["error"]
    sight.refused[token] += refusal == "invalid_grant"
