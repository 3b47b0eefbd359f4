"""Whether sign-ins can be stored now, for an orchestrator's probes: within a second, always."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from procore_signin._flow.running.outcome import Outcome
from procore_signin._flow.running.own_loop import Waiter
from procore_signin._forks import abandon, look_after
from procore_signin._store import Store
from procore_signin._store.engine.deadline import until
from procore_signin._store.engine.failures import Failed
from procore_signin._store.engine.shared_outcome import Threads
from procore_signin.errors import StoreUnavailable

LONGEST_SECONDS: Final = 0.8


def probe(store: Store) -> StoreUnavailable | None:
    """Return why nothing can be stored, or None where it can; after `LONGEST_SECONDS` at most."""
    try:
        with until(time.monotonic() + LONGEST_SECONDS):
            store.probe()
    except StoreUnavailable as error:
        return error
    return None


class Probing:
    """One probe for all who ask meanwhile, on a thread that nothing else waits for.

    They may be on several event loops, and the loop of the first one may end before the probe does.

    Args:
        store: What is asked.
    """

    def __init__(self, store: Store) -> None:
        self._store: Final = store
        self._begin()
        look_after(self)

    def after_fork(self) -> None:
        """Begin anew in a child: the thread stays behind."""
        abandon(self._thread, self._latest)
        self._begin()

    def _begin(self) -> None:
        self._thread = Threads(1, "procore-signin-probe")
        self._latest: Outcome[StoreUnavailable] | None = None
        self._began = 0.0

    async def ask(self) -> StoreUnavailable | None:
        """Return as `probe`, also where the thread does not come back in time."""
        loop, now = asyncio.get_running_loop(), time.monotonic()
        latest = self._latest
        if latest is None or latest.done:
            latest = Outcome()
            self._thread.submit(self._probe, latest)
            self._latest, self._began = latest, now
        waiter = Waiter(loop)
        waiter.follow(latest)
        left = self._began + LONGEST_SECONDS - now
        await asyncio.wait([waiter.woken], timeout=max(0.0, left))
        if not latest.done:
            return Failed("silent").unavailable(self._store.label)
        return latest.result()

    def _probe(self, outcome: Outcome[StoreUnavailable]) -> None:
        try:
            outcome.tell(probe(self._store))
        except BaseException as error:  # noqa: BLE001  # whatever it is, who waits must know
            outcome.tell(None, error)

    def close(self) -> None:
        """Let the thread end when it can."""
        self._thread.shutdown(wait=False)
