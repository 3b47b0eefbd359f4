"""Clients of Procore's API, for a user and for a service account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http.cookiejar import CookieJar
from typing import Any, Final, Protocol

import httpx2

from procore_signin._api.bearer import AsyncBearer, Bearer, Surroundings
from procore_signin._api.company import HEADER, company_header
from procore_signin._api.front_door import AsyncDoor, FrontDoor, SyncDoor
from procore_signin._api.http.origin import refuse_ambiguous
from procore_signin._api.http.transport import ApiTransport, AsyncApiTransport
from procore_signin._api.options import ApiOptions
from procore_signin._api.shared import Shared, forget, shared_by
from procore_signin._flow.refresh import FreshToken

USER_AGENT: Final = "procore-signin"


class HasId(Protocol):
    """A user, as the store returns one."""

    @property
    def id(self) -> int:
        """The user's id in this application, not Procore's."""


class ApiClient(httpx2.Client):
    """An `httpx2.Client` that accepts only paths and absolute URLs (row P1)."""

    def build_request(self, method: str, url: httpx2.URL | str, **more: Any) -> httpx2.Request:
        """As in `httpx2.Client`. Raises `NotSent` for a URL such as `//elsewhere/path`."""
        refuse_ambiguous(method, url)
        return super().build_request(method, url, **more)


class AsyncApiClient(httpx2.AsyncClient):
    """The async `ApiClient`."""

    def build_request(self, method: str, url: httpx2.URL | str, **more: Any) -> httpx2.Request:
        """As `ApiClient.build_request`."""
        refuse_ambiguous(method, url)
        return super().build_request(method, url, **more)


def client_for(
    procore: SyncDoor,
    user: HasId | int,
    company_id: int | None = None,
    *,
    options: ApiOptions | None = None,
    wire: httpx2.BaseTransport | None = None,
) -> httpx2.Client:
    """Return a client of Procore's API that acts for `user`.

    It is cheap to make and to close: all clients of `procore` share connections, rate limits and
    refreshes, until `close(procore)`. Safe to share between threads.

    Paths are relative to the API origin, such as `/rest/v1.0/me`. The token is fetched and
    refreshed as needed. Error statuses do not raise: pass the response to `raise_for_procore`.

    Args:
        procore: The front door.
        user: The user, or their id in this application.
        company_id: For `Procore-Company-Id`, which every request but `/me` and `/companies` needs.
            It must come from the user's own list of companies: Procore checks that, the client does
            not.
        options: Deadline, sizes, retries.
        wire: Connections of your own, such as `Wire(ssl_context=…)`; close them yourself.

    Raises:
        ValueError: `company_id` is not an integer from 1 to 2**63 - 1.

    Calls then raise:
        GrantLost: The grant has ended. Ask the user to sign in again.
        SignInRefused: The user is disabled.
        RateLimited: The limit is used up for longer than `patience`. Nothing was sent.
        ApiUnreachable: No response came in time. Also an `httpx2.TransportError`.
        ProcoreUnavailable: The token cannot be refreshed now.
        NotSent: The request would have gone to another origin, or is not valid HTTP.
        UnexpectedAnswer: The response is too large.
        ClientMisconfigured, StoreUnavailable, VaultSealed: As `fresh_tokens` says.
    """
    user_id = _id_of(user)

    def tokens(rejected: int | None) -> FreshToken:
        return procore.fresh_tokens(user_id, rejected=rejected)

    return _client(procore, user_id, company_id, tokens=tokens, options=options, wire=wire)


def service_client_for(
    procore: SyncDoor,
    company_id: int,
    *,
    options: ApiOptions | None = None,
    wire: httpx2.BaseTransport | None = None,
) -> httpx2.Client:
    """Return a client of Procore's API that acts for the app's own service account (DMSA).

    As `client_for`, but the company is named in every request, also to `/me` and `/companies`. One
    token serves all companies. It is kept in memory, and fetched again when it expires or is
    refused.

    Raises:
        ValueError: As `client_for`.

    Calls never raise `GrantLost`. If Procore gives this client no service token, they raise
    `ClientMisconfigured`.
    """
    service = shared_by(procore).service

    def tokens(rejected: int | None) -> FreshToken:
        return procore.run(service.fresh(rejected=rejected))

    return _client(procore, None, company_id, tokens=tokens, options=options, wire=wire)


def async_client_for(
    procore: AsyncDoor,
    user: HasId | int,
    company_id: int | None = None,
    *,
    options: ApiOptions | None = None,
    wire: httpx2.AsyncBaseTransport | None = None,
) -> httpx2.AsyncClient:
    """As `client_for`, for the event loop of the async front door."""
    user_id = _id_of(user)

    async def tokens(rejected: int | None) -> FreshToken:
        return await procore.fresh_tokens(user_id, rejected=rejected)

    return _async_client(procore, user_id, company_id, tokens=tokens, options=options, wire=wire)


def async_service_client_for(
    procore: AsyncDoor,
    company_id: int,
    *,
    options: ApiOptions | None = None,
    wire: httpx2.AsyncBaseTransport | None = None,
) -> httpx2.AsyncClient:
    """As `service_client_for`, for the event loop of the async front door."""
    service = shared_by(procore).service

    async def tokens(rejected: int | None) -> FreshToken:
        return await procore.run(service.fresh(rejected=rejected))

    return _async_client(procore, None, company_id, tokens=tokens, options=options, wire=wire)


def close(procore: SyncDoor) -> None:
    """Close the connections that the API clients of `procore` share, if there are any."""
    shared = forget(procore)
    if shared is not None:
        shared.close()


async def aclose(procore: AsyncDoor) -> None:
    """As `close`."""
    shared = forget(procore)
    if shared is not None:
        await shared.aclose()


def _client(
    procore: SyncDoor,
    user_id: int | None,
    company_id: int | None,
    *,
    tokens: Callable[[int | None], FreshToken],
    options: ApiOptions | None,
    wire: httpx2.BaseTransport | None,
) -> httpx2.Client:
    shared, options = shared_by(procore), options or ApiOptions()
    origin = procore.context.environment.api_origin
    return ApiClient(
        **_settings(origin, company_id, options),
        auth=Bearer(_around(procore, shared, user_id, options), tokens),
        transport=ApiTransport(origin, wire or shared.wire(), options),
    )


def _async_client(
    procore: AsyncDoor,
    user_id: int | None,
    company_id: int | None,
    *,
    tokens: Callable[[int | None], Awaitable[FreshToken]],
    options: ApiOptions | None,
    wire: httpx2.AsyncBaseTransport | None,
) -> httpx2.AsyncClient:
    shared, options = shared_by(procore), options or ApiOptions()
    origin = procore.context.environment.api_origin
    return AsyncApiClient(
        **_settings(origin, company_id, options),
        auth=AsyncBearer(_around(procore, shared, user_id, options), tokens),
        transport=AsyncApiTransport(origin, wire or shared.async_wire(), options),
    )


def _around(
    procore: FrontDoor, shared: Shared, user_id: int | None, options: ApiOptions
) -> Surroundings:
    return Surroundings(user_id, shared.pace, shared.renewals, options, procore.context.clock)


class _NoCookies(CookieJar):
    """A jar that stays empty: a cookie of Procore's would be a second credential beside the token.

    It takes no lock, which another thread could hold while the process forks.
    """

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Ignore the cookies of a response."""

    def add_cookie_header(self, request: Any) -> None:
        """Send none."""


def _settings(origin: str, company_id: int | None, options: ApiOptions) -> dict[str, Any]:
    headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
    if company_id is not None:
        headers[HEADER] = company_header(company_id)
    return {
        "base_url": origin,
        "headers": headers,
        "cookies": _NoCookies(),
        "timeout": options.timeout,
        "follow_redirects": False,
        "trust_env": False,
    }


def _id_of(user: HasId | int) -> int:
    return user if isinstance(user, int) else user.id
