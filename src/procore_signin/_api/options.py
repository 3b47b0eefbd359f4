"""The options of a client of Procore's API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from procore_signin._public import public_in


@dataclass(frozen=True, slots=True)
@public_in("procore_signin.api")
class ApiOptions:
    """Deadlines, sizes and retries of an API client (row P5).

    Attributes:
        deadline: Seconds for one request, from the name look-up to the last byte.
        timeout: Seconds of silence after which a request ends before its deadline. A call's own
            `timeout=` replaces this, never the deadline.
        max_body: The largest response, in bytes, after decompression.
        patience: Seconds that one call waits in total for rate limits, before and between its
            tries.
        retries: How often a request is sent again after 429, or after 503 with `Retry-After`, if
            that is safe.
        monotonic: Returns seconds that never run backwards.
        sleep: Waits for a number of seconds, for `httpx2.Client`.
        async_sleep: Waits for a number of seconds, for `httpx2.AsyncClient`.

    Raises:
        ValueError: One of them is out of range.
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
