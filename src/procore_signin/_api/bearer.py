"""Authentication of requests: a fresh token, one refresh after a 401, pacing.

One generator decides what to do; a sync and an async driver perform it. httpx2 is built the same
way: see `httpx2.Auth.auth_flow`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import httpx2

from procore_signin._api.company import HEADER
from procore_signin._api.errors import RateLimited
from procore_signin._api.http.replay import Renewals, replay_safe
from procore_signin._api.http.transport import BEARER
from procore_signin._api.options import ApiOptions
from procore_signin._api.rate_limit import Pace, is_general, wait_before_retry
from procore_signin._flow.refresh import FreshToken
from procore_signin.events import Event, Field, emit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get a fresh token, newer than generation `rejected` if that is given."""

    rejected: int | None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for this many seconds."""

    seconds: float


Exchange = Generator[httpx2.Request | Fetch | Pause, Any, None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all requests of one client share.

    Attributes:
        user: The user's id in this application; None for the service account.
        pace: The rate limits, shared by all clients of the front door.
        renewals: The refreshes after a 401, shared likewise.
        options: The client's options.
        clock: Returns now, in UTC seconds.
    """

    user: int | None
    pace: Pace
    renewals: Renewals
    options: ApiOptions
    clock: Callable[[], float]


def exchange(around: Surroundings, request: httpx2.Request) -> Exchange:
    """Send `request` with a fresh token, and again where a retry is useful and safe.

    After a 401 the token is refreshed once. A request that is safe to replay is then sent once
    more; any other ends with its 401, and the next request has the new token. If the new token is
    refused too, there is no further refresh for five minutes: the 401 then has another cause, for
    example that the app is not installed in this company (row R9).

    After 429, or 503 with a time, a request that is safe to replay is sent again, within the
    `retries` and the `patience` of the options (row P5).

    Raises:
        RateLimited: The limit is used up for longer than `patience`. Nothing was sent.
        ProcoreSignInError: Fetching a token failed, for example with `GrantLost`.
    """
    # A 401 for a user in one company says nothing about another company.
    whose = (around.user, request.headers.get(HEADER))
    again = replay_safe(request)
    rejected: int | None = None
    tries, patience = 0, around.options.patience
    while True:
        patience -= yield from _turn(around, request, patience)
        try:
            token: FreshToken = yield Fetch(rejected)
            if rejected is not None:
                around.renewals.note(whose, token.generation, around.options.monotonic())
                _tell(Event.API_RENEWED, around, request, generation=token.generation)
            request.extensions[BEARER] = token.access_token
            response: httpx2.Response = yield request
            _learn(around, response)
        finally:
            around.pace.done()
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            now = around.options.monotonic()
            if rejected is not None or around.renewals.futile(whose, token.generation, now):
                return
            rejected = token.generation
            if not again:
                token = yield Fetch(rejected)
                around.renewals.note(whose, token.generation, now)
                _tell(Event.API_RENEWED, around, request, generation=token.generation)
                return
            continue
        if response.is_success:
            around.renewals.succeeded(whose)
            return
        wait = _wait(around, response, tries)
        if wait is not None and response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            _tell(Event.API_RATE_LIMITED, around, request, sent=True, retry_in=round(wait))
        if wait is None or not again or tries >= around.options.retries or wait > patience:
            return
        tries, patience = tries + 1, patience - wait
        yield Pause(wait)


def _turn(
    around: Surroundings, request: httpx2.Request, patience: float
) -> Generator[Pause, Any, float]:
    """Wait until a request may be sent; return the seconds waited."""
    waited = 0.0
    while (wait := around.pace.ask(around.options.monotonic())) > 0:
        if waited + wait > patience:
            _tell(Event.API_RATE_LIMITED, around, request, sent=False, retry_in=round(wait))
            raise RateLimited(
                f"{request.method} {request.url.path} was not sent: the limit of requests is used"
                f" up for another {wait:.0f} seconds",
                retry_after=wait,
                ambiguous=False,
                method=request.method,
                path=request.url.path,
                hint="Try again later, or raise the client's patience.",
            )
        yield Pause(wait)
        waited += wait
    return waited


def _learn(around: Surroundings, response: httpx2.Response) -> None:
    now = around.options.monotonic()
    around.pace.learn(response.headers, clock=around.clock(), now=now)
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS and is_general(response.headers):
        wait = _wait(around, response, 0)
        if wait is not None:
            around.pace.stand_back(now + wait)


def _tell(event: Event, around: Surroundings, request: httpx2.Request, **more: Field) -> None:
    emit(event, user=around.user, method=request.method, path=request.url.path, **more)


def _wait(around: Surroundings, response: httpx2.Response, tries: int) -> float | None:
    return wait_before_retry(
        response.status_code, response.headers, clock=around.clock(), tries=tries
    )


class Bearer(httpx2.Auth):
    """The auth of `httpx2.Client`. It waits on the caller's thread.

    Args:
        around: What its requests share.
        tokens: Returns a fresh token, newer than the given generation.
    """

    def __init__(self, around: Surroundings, tokens: Callable[[int | None], FreshToken]) -> None:
        self._around = around
        self._tokens = tokens

    def sync_auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Drive `exchange`; see `httpx2.Auth`."""
        flow = exchange(self._around, request)
        outcome: object = None
        try:
            while True:
                match flow.send(outcome):
                    case Fetch(rejected=rejected):
                        outcome = self._tokens(rejected)
                    case Pause(seconds=seconds):
                        self._around.options.sleep(seconds)
                        outcome = None
                    case outgoing:
                        outcome = yield outgoing
        except StopIteration:
            return
        finally:
            flow.close()


class AsyncBearer(httpx2.Auth):
    """The auth of `httpx2.AsyncClient`.

    Args:
        around: As in `Bearer`.
        tokens: As in `Bearer`, but async.
    """

    def __init__(
        self, around: Surroundings, tokens: Callable[[int | None], Awaitable[FreshToken]]
    ) -> None:
        self._around = around
        self._tokens = tokens

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Drive `exchange`; see `httpx2.Auth`."""
        flow = exchange(self._around, request)
        outcome: object = None
        try:
            while True:
                match flow.send(outcome):
                    case Fetch(rejected=rejected):
                        outcome = await self._tokens(rejected)
                    case Pause(seconds=seconds):
                        outcome = await self._around.options.async_sleep(seconds)
                    case outgoing:
                        outcome = yield outgoing
        except StopIteration:
            return
        finally:
            flow.close()
