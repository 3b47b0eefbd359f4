"""A person signed in at an emulated Procore, and both kinds of API client behind one face."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import httpx2
from scripted import KEYS

from procore_signin import api
from procore_signin._api.clients import HasId
from procore_signin._api.rate_limit import POLL_SECONDS
from procore_signin._client import AsyncProcoreSignIn, ProcoreSignIn
from procore_signin._flow.attempt import new_attempt
from procore_signin._flow.sessions import Browser
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted, parse_authorization_response
from procore_signin._protocol.secret import Secret
from procore_signin.api import ApiOptions, AsyncWire, Wire
from procore_signin.emulator import DEMO_LOGIN, Emulator
from procore_signin.environments import Environment

COMPANY = 8089
ME = "/rest/v1.0/me"
PROJECTS = "/rest/v1.0/projects"
Colour = Literal["sync", "async"]


class Time:
    """Time of the client that passes only when it sleeps, and moves the emulator along.

    The short pause of a caller that waits for requests under way is a real one: those requests are
    real.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.slept: list[float] = []
        self._emulator = emulator
        self._now = 1000.0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self._now

    def pass_by(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self._now += seconds
            self._emulator.advance(seconds)

    def sleep(self, seconds: float) -> None:
        if seconds <= POLL_SECONDS:
            time.sleep(seconds / 10)
        else:
            self.pass_by(seconds)

    async def async_sleep(self, seconds: float) -> None:
        if seconds <= POLL_SECONDS:
            await asyncio.sleep(seconds / 10)
        else:
            self.pass_by(seconds)

    def options(self, **changes: Any) -> ApiOptions:
        return ApiOptions(
            monotonic=self.monotonic,
            sleep=self.sleep,
            async_sleep=self.async_sleep,
            **changes,
        )


class Face(Protocol):
    """What a client looks like to a test, whichever it is."""

    def request(self, method: str, url: httpx2.URL | str, **more: Any) -> httpx2.Response: ...
    def get(self, url: httpx2.URL | str, **more: Any) -> httpx2.Response: ...
    def send(self, request: httpx2.Request, **more: Any) -> httpx2.Response: ...
    def read_parts(self, url: str) -> Iterator[bytes]: ...
    def download(self, response: httpx2.Response, **more: Any) -> bytes: ...
    def items(self, path: str, **more: Any) -> list[Any]: ...
    def first(self, number: int, path: str, **more: Any) -> list[Any]: ...
    def together(self, number: int, url: str) -> list[httpx2.Response]: ...
    def close(self) -> None: ...


class SyncFace:
    def __init__(self, client: httpx2.Client) -> None:
        self.client = client

    def request(self, method: str, url: httpx2.URL | str, **more: Any) -> httpx2.Response:
        return self.client.request(method, url, **more)

    def get(self, url: httpx2.URL | str, **more: Any) -> httpx2.Response:
        return self.client.get(url, **more)

    def send(self, request: httpx2.Request, **more: Any) -> httpx2.Response:
        return self.client.send(request, **more)

    def read_parts(self, url: str) -> Iterator[bytes]:
        with self.client.stream("GET", url) as response:
            yield from response.iter_bytes()

    def download(self, response: httpx2.Response, **more: Any) -> bytes:
        with api.follow_download(response, **more) as stored:
            return b"".join(stored.iter_bytes())

    def items(self, path: str, **more: Any) -> list[Any]:
        return list(api.paginate(self.client, path, **more))

    def first(self, number: int, path: str, **more: Any) -> list[Any]:
        return list(islice(api.paginate(self.client, path, **more), number))

    def together(self, number: int, url: str) -> list[httpx2.Response]:
        with ThreadPoolExecutor(number) as threads:
            return list(threads.map(lambda _: self.client.get(url), range(number)))

    def close(self) -> None:
        self.client.close()


class AsyncFace:
    def __init__(self, client: httpx2.AsyncClient, runner: asyncio.Runner) -> None:
        self.client = client
        self._runner = runner

    def request(self, method: str, url: httpx2.URL | str, **more: Any) -> httpx2.Response:
        return self._runner.run(self.client.request(method, url, **more))

    def get(self, url: httpx2.URL | str, **more: Any) -> httpx2.Response:
        return self._runner.run(self.client.get(url, **more))

    def send(self, request: httpx2.Request, **more: Any) -> httpx2.Response:
        return self._runner.run(self.client.send(request, **more))

    def read_parts(self, url: str) -> Iterator[bytes]:
        async def read() -> list[bytes]:
            async with self.client.stream("GET", url) as response:
                return [part async for part in response.aiter_bytes()]

        yield from self._runner.run(read())

    def download(self, response: httpx2.Response, **more: Any) -> bytes:
        async def read() -> bytes:
            async with api.afollow_download(response, **more) as stored:
                return b"".join([part async for part in stored.aiter_bytes()])

        return self._runner.run(read())

    def items(self, path: str, **more: Any) -> list[Any]:
        async def collect() -> list[Any]:
            return [item async for item in api.apaginate(self.client, path, **more)]

        return self._runner.run(collect())

    def first(self, number: int, path: str, **more: Any) -> list[Any]:
        async def collect() -> list[Any]:
            items = api.apaginate(self.client, path, **more)
            return [await anext(items) for _ in range(number)]

        return self._runner.run(collect())

    def together(self, number: int, url: str) -> list[httpx2.Response]:
        async def gather() -> list[httpx2.Response]:
            return await asyncio.gather(*(self.client.get(url) for _ in range(number)))

        return self._runner.run(gather())

    def close(self) -> None:
        self._runner.run(self.client.aclose())


class World:
    """An emulated Procore, a person who signed in there, and clients that act for them."""

    def __init__(
        self, emulator: Emulator, database: Path, colour: Colour, stack: contextlib.ExitStack
    ) -> None:
        self.emulator = emulator
        self.colour = colour
        self.time = Time(emulator)
        self._stack = stack
        self._url = f"sqlite:///{database}"
        self._runner = stack.enter_context(asyncio.Runner()) if colour == "async" else None
        self._doors: dict[str, ProcoreSignIn] = {}
        self._async_doors: dict[str, AsyncProcoreSignIn] = {}
        self.door = self._sync_door(emulator.url)
        self.user = self.sign_in()

    def sign_in(self, login: str = DEMO_LOGIN) -> int:
        """Sign someone in, and return the id of the user that they are here."""
        attempt = new_attempt(self.door.context, return_to="/")
        url = attempt.authorization_url(self.door.context)
        location = urlsplit(self.emulator.approve(url, login=login))
        granted = parse_authorization_response(location.query.encode())
        assert isinstance(granted, CodeGranted)
        browser = Browser(user_agent=None, session_hash=None)
        return self.door.run(finish_sign_in(self.door.context, attempt, granted, browser)).user.id

    def client(
        self,
        company_id: int | None = None,
        *,
        user: HasId | int | None = None,
        service: bool = False,
        at: str | None = None,
        options: ApiOptions | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Face:
        """Return a client of the API at `at`, by default the emulator's."""
        user = user or self.user
        more: dict[str, Any] = {"options": options}
        if self._runner is None:
            door = self._sync_door(at or self.emulator.url)
            if tls is not None:
                more["wire"] = wire = Wire(ssl_context=tls)
                self._stack.callback(wire.close)
            client = (
                api.service_client_for(door, company_id or COMPANY, **more)
                if service
                else api.client_for(door, user, company_id, **more)
            )
            return SyncFace(self._stack.enter_context(client))
        adoor = self._async_door(at or self.emulator.url, self._runner)
        if tls is not None:
            more["wire"] = awire = AsyncWire(ssl_context=tls)
            self._stack.callback(lambda: self._run(awire.aclose()))
        aclient = (
            api.async_service_client_for(adoor, company_id or COMPANY, **more)
            if service
            else api.async_client_for(adoor, user, company_id, **more)
        )
        self._stack.callback(lambda: self._run(aclient.aclose()))
        return AsyncFace(aclient, self._runner)

    def close_api(self, at: str) -> None:
        """Close what the clients of the API at `at` share."""
        if self._runner is None:
            api.close(self._sync_door(at))
        else:
            self._run(api.aclose(self._async_door(at, self._runner)))

    def settle(self) -> None:
        """Let finish what a front door does beside its responses."""

        async def finish(door: AsyncProcoreSignIn) -> None:
            while door._runner._unfinished:
                await asyncio.wait(door._runner._unfinished)

        for waiting in self._doors.values():
            waiting._runner.settle()
        for door in self._async_doors.values():
            self._run(finish(door))

    def spare_door(self) -> ProcoreSignIn:
        """Return a front door that nothing here holds on to. Close it."""
        return ProcoreSignIn(**self._settings(self.emulator.url))

    def asked(self, path: str) -> list[dict[str, str]]:
        """Return the headers of each request that came to `path` at the emulator."""
        return [
            {name.lower(): value for name, value in exchange.request_headers}
            for exchange in self.emulator.requests
            if exchange.target.partition("?")[0] == path
        ]

    def statuses(self, path: str) -> list[int]:
        """Return what the emulator answered to each request for `path`."""
        return [
            exchange.status
            for exchange in self.emulator.requests
            if exchange.target.partition("?")[0] == path
        ]

    def targets(self, path: str) -> list[str]:
        """Return the whole target of each request for `path`."""
        return [
            exchange.target
            for exchange in self.emulator.requests
            if exchange.target.partition("?")[0] == path
        ]

    @property
    def token_requests(self) -> int:
        """How many token requests there were after the sign-in."""
        return len(self.emulator.token_requests) - 1

    @property
    def bearer(self) -> str:
        """The access token that the person's row holds."""
        return self.door.fresh_tokens(self.user).access_token.reveal()

    def _run(self, coroutine: Any) -> None:
        assert self._runner is not None
        self._runner.run(coroutine)

    def _settings(self, api_origin: str) -> dict[str, Any]:
        return {
            "environment": Environment("emulator", self.emulator.url, api_origin),
            "client_id": "emulator-client-id",
            "client_secret": Secret("emulator-client-secret", "client secret"),
            "redirect_uri": "http://localhost:4567/callback",
            "keys": KEYS,
            "database_url": self._url,
            "clock": self.emulator.now,
        }

    def _sync_door(self, origin: str) -> ProcoreSignIn:
        if origin not in self._doors:
            door = self._doors[origin] = ProcoreSignIn(**self._settings(origin))
            self._stack.enter_context(door)
            self._stack.callback(api.close, door)
        return self._doors[origin]

    def _async_door(self, origin: str, runner: asyncio.Runner) -> AsyncProcoreSignIn:
        if origin not in self._async_doors:
            door = self._async_doors[origin] = AsyncProcoreSignIn(**self._settings(origin))
            self._stack.callback(lambda: runner.run(door.aclose()))
            self._stack.callback(lambda: runner.run(api.aclose(door)))
        return self._async_doors[origin]
