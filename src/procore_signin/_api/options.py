"""What can be chosen about a client of Procore's API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from procore_signin._public import public_in


@dataclass(frozen=True, slots=True)
@public_in("procore_signin.api")
class ApiOptions:
    """How long to wait, how much to take, how often to try (row P5).

    Attributes:
        deadline: Seconds for one exchange, from the look-up of the name to the last byte.
        timeout: Seconds of silence after which an exchange ends before its deadline. A call's own
            `timeout=` stands in its place, never in that of the deadline.
        max_body: The largest answer, in bytes, after decompression.
        patience: Seconds that one call waits in all for rate limits, before and between its tries.
        retries: How often a call is sent again after 429, or after 503 with `Retry-After`, if it
            is safe to send again.
        monotonic: Returns seconds that never run backwards.
        sleep: Lets seconds pass, for `httpx2.Client`.
        async_sleep: Lets seconds pass, for `httpx2.AsyncClient`.

    Raises:
        ValueError: One of them makes no sense.
    """

    deadline: float = 60.0
    timeout: float = 20.0
    max_body: int = 64 * 1024 * 1024
    patience: float = 60.0
    retries: int = 3
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    async_sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    def __post_init__(self) -> None:
        for name in ("deadline", "timeout", "max_body"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0")
        for name in ("patience", "retries"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more")
