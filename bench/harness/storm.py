"""Many callers, one expired token: run with the application's own Python, prints JSON.

    python -m harness.storm <upstream origin> <database> <callers>

The callers begin at the same moment on one event loop. Who comes first refreshes, the others wait.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from procore_signin import AsyncProcoreSignIn, Secret, environments
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.me import Me
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store import KeyRing, Store
from procore_signin._store.ledger import EscrowTokens, TakeAttempt
from procore_signin._store.migrate import upgrade
from procore_signin._store.records import NewSession, User
from procore_signin._store.sign_in import CompleteSignIn
from procore_signin._transport.pyreqwest import AsyncPyreqwestTransport

KEYS = Secret("k1:" + "A" * 43, "keys")


class Counting:
    """Counts refreshes; that a new token set is accepted is asked for besides, once."""

    def __init__(self) -> None:
        self.refreshes = 0
        self._transport = AsyncPyreqwestTransport()

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send and count."""
        self.refreshes += b"grant_type=refresh_token" in request.body
        return await self._transport.send(request)

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


def somebody(url: str, lifetime: int = -1) -> User:
    """Return a user whose token set expires in `lifetime` seconds; it expired a second ago."""
    upgrade(url)
    store = Store(url, KeyRing.parse(KEYS))
    now = int(time.time())
    store.do(TakeAttempt("0" * 64, environment="emulator", now=now, expires_at=now + 60))
    tokens = TokenSet(Secret("old", "access token"), Secret("old", "refresh token"), now + lifetime)
    store.do(EscrowTokens("0" * 64, tokens, environment="emulator", now=now))
    completed = store.do(
        CompleteSignIn(
            "0" * 64,
            me=Me(11111, "joe@example.com", "Joe", "{}"),
            environment="emulator",
            tokens=tokens,
            session=NewSession("1" * 64, "{}", None, now + 60, now + 60),
            replaces=None,
            now=now,
        )
    )
    store.close()
    assert completed is not None  # noqa: S101  # nobody is disabled
    return completed.user


async def storm(upstream: str, url: str, callers: int) -> dict[str, object]:
    """Return how many refreshes there were and how long the callers took."""
    user = somebody(url)
    transport = Counting()
    async with AsyncProcoreSignIn(
        environment=environments.emulator(upstream),
        client_id="bench-client-id",
        client_secret=Secret("bench-client-secret", "client secret"),
        redirect_uri="http://localhost:4567/callback",
        keys=KEYS,
        database_url=url,
        transport=transport,
    ) as procore:

        async def caller() -> tuple[float, int]:
            began = time.perf_counter()
            fresh = await procore.fresh_tokens(user)
            return (time.perf_counter() - began) * 1000, fresh.generation

        took = sorted(await asyncio.gather(*(caller() for _ in range(callers))))
    return {
        "callers": callers,
        "refreshes": transport.refreshes,
        "generations": len({generation for _, generation in took}),
        "p50": took[len(took) // 2][0],
        "p99": took[int(len(took) * 0.99)][0],
        "max": took[-1][0],
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(storm(sys.argv[1], f"sqlite:///{sys.argv[2]}", int(sys.argv[3])))))
