"""Clients of Procore's API: for a person, and for a service account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http.cookiejar import CookieJar
from typing import Any, Final, Protocol

import httpx2

from procore_signin._api.bearer import AsyncBearer, Bearer, Surroundings
from procore_signin._api.company import HEADER, company_header
from procore_signin._api.door import AsyncDoor, FrontDoor, SyncDoor
from procore_signin._api.http.origin import refuse_ambiguous
from procore_signin._api.http.transport import ApiTransport, AsyncApiTransport
from procore_signin._api.options import ApiOptions
from procore_signin._api.shared import Shared, forget, shared_by
from procore_signin._flow.tokens import FreshToken

USER_AGENT: Final = "procore-signin"


class HasId(Protocol):
    """A user, as the store returns one."""

    @property
    def id(self) -> int:
        """The user's id in this application, not Procore's."""


class ApiClient(httpx2.Client):
    """An `httpx2.Client` that refuses addresses which are neither a path nor whole (row P1)."""

    def build_request(self, method: str, url: httpx2.URL | str, **more: Any) -> httpx2.Request:
        """As in `httpx2.Client`. Raises `NotSent` for an address such as `//elsewhere/path`."""
        refuse_ambiguous(method, url)
        return super().build_request(method, url, **more)


class AsyncApiClient(httpx2.AsyncClient):
    """As `ApiClient`, for tasks."""

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

    It costs little to make and to close: connections, rate limits and renewals are shared by all
    clients of `procore`, and stay until `close(procore)`. Safe to share between threads.

    Paths are relative to the API origin, such as `/rest/v1.0/me`; the bearer is fetched and renewed
    as needed. Statuses are not raised: pass the response to `raise_for_procore`.

    Args:
        procore: The front door.
        user: The user, or their id in this application.
        company_id: For `Procore-Company-Id`, which every call but `/me` and `/companies` needs. It
            must come from the person's own list of companies: Procore checks it, this does not.
        options: Deadline, sizes, patience.
        wire: Connections of your own, such as `Wire(ssl_context=…)`; close them yourself.

    Raises:
        ValueError: `company_id` is no integer from 1 to 2**63 - 1.

    Calls then raise:
        GrantLost: There is no grant any more. Ask the person to sign in again.
        SignInRefused: The person is disabled.
        RateLimited: The limit is used up for longer than the patience lasts. Nothing was sent.
        ApiUnreachable: No response came in time. A `ProcoreUnavailable`, and an
            `httpx2.TransportError`.
        ProcoreUnavailable: The token cannot be refreshed now.
        NotSent: The request would have gone elsewhere, or is not HTTP.
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

    As `client_for`; the company is named in every call, also to `/me` and `/companies`. One token
    serves all companies, is kept in memory, and is fetched again when it ends or is refused.

    Raises:
        ValueError: As `client_for`.

    Calls never raise `GrantLost`. When Procore gives this client no service token, they raise
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
    """As `client_for`, for tasks of the front door's event loop."""
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
    """As `service_client_for`, for tasks of the front door's event loop."""
    service = shared_by(procore).service

    async def tokens(rejected: int | None) -> FreshToken:
        return await procore.run(service.fresh(rejected=rejected))

    return _async_client(procore, None, company_id, tokens=tokens, options=options, wire=wire)


def close(procore: SyncDoor) -> None:
    """Close the connections that the API clients of `procore` share. Harmless if there are none."""
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
    """Keeps none: a cookie of Procore's would be a second credential beside the token.

    It takes no lock for that, which another thread might hold while the process forks.
    """

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Leave the cookies of a response where they are."""

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
