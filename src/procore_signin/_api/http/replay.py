"""Which requests may be sent twice, and when another refresh is futile."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

import httpx2

from procore_signin._forks import Lock

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
IDEMPOTENCY: Final = "Idempotency-Token"

FUTILE_SECONDS: Final = 300.0
_REMEMBERED: Final = 4096


def replay_safe(request: httpx2.Request) -> bool:
    """Return whether `request` can be sent again without a second effect (row P5).

    True for GET, HEAD and OPTIONS, which change nothing, and for requests whose `Idempotency-Token`
    lets Procore recognise the second one. PUT and DELETE are idempotent by RFC 9110 §9.2.2, but
    Procore does not promise that theirs notify no one twice. A streamed body can be sent only once.
    """
    if not isinstance(request.stream, httpx2.ByteStream):
        return False
    return request.method in SAFE_METHODS or bool(request.headers.get(IDEMPOTENCY, "").strip())


class Renewals:
    """Remembers tokens that were fetched because the API refused the previous one (row R9).

    If such a token is refused as well, the token is not the cause: Procore's documentation names
    401 also for an app that is not installed. Without this memory, each further call would cost
    another refresh. Safe for threads and for asyncio.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._renewed: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()

    def note(self, whose: Hashable, generation: int, now: float) -> None:
        """Remember that token `generation` of `whose` was fetched after a 401."""
        with self._lock:
            self._renewed.pop(whose, None)
            self._renewed[whose] = generation, now
            if len(self._renewed) > _REMEMBERED:
                self._renewed.popitem(last=False)

    def succeeded(self, whose: Hashable) -> None:
        """Forget it: the API accepted the token, so a later 401 has another cause."""
        if whose in self._renewed:
            with self._lock:
                self._renewed.pop(whose, None)

    def futile(self, whose: Hashable, generation: int, now: float) -> bool:
        """Return whether this would be the second refresh after a 401 within a short time."""
        with self._lock:
            known = self._renewed.get(whose)
        return known is not None and known[0] == generation and now - known[1] < FUTILE_SECONDS
