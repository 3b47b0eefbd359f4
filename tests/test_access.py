"""What the commands do to someone's access, a developer does from Python, waiting or awaiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from emulated import REDIRECT_URI, door_arguments

from procore_signin import AccessEnded, AsyncProcoreSignIn, GrantLost, ProcoreSignIn
from procore_signin._flow.attempt import new_attempt
from procore_signin._flow.sessions import Browser
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted
from procore_signin._protocol.secret import Secret
from procore_signin._store.records import User
from procore_signin.emulator import Emulator

Front = Callable[..., Awaitable[Any]]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator.started(redirect_uris=(REDIRECT_URI,)) as emulator:
        yield emulator


@pytest.fixture
def arguments(emulator: Emulator, tmp_path: Path) -> dict[str, Any]:
    return door_arguments(emulator, tmp_path)


@asynccontextmanager
async def opened(kind: str, arguments: dict[str, Any]) -> AsyncIterator[tuple[Front, Any]]:
    """Open a front door; the function calls its methods by name, and awaits where that is due."""
    if kind == "async":
        async with AsyncProcoreSignIn(**arguments) as door:

            async def awaited(name: str, *given: Any, **named: Any) -> Any:
                outcome = getattr(door, name)(*given, **named)
                return [u.id async for u in outcome] if name == "users" else await outcome

            yield awaited, door
    else:
        with ProcoreSignIn(**arguments) as waiting:

            async def waited(name: str, *given: Any, **named: Any) -> Any:
                outcome = getattr(waiting, name)(*given, **named)
                return [u.id for u in outcome] if name == "users" else outcome

            yield waited, waiting


async def sign_in(call: Front, door: Any, emulator: Emulator) -> User:
    attempt = new_attempt(door.context, return_to="/")
    address = attempt.authorization_url(door.context)
    location = await asyncio.to_thread(emulator.approve, address)
    code = dict(parse_qsl(urlsplit(location).query))["code"]
    granted = CodeGranted(code=Secret(code, "code"), state=attempt.state, iss=None)
    browser = Browser(user_agent=None, session_hash=None)
    user: User = (await call("run", finish_sign_in(door.context, attempt, granted, browser))).user
    return user


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_I5_a_developer_ends_and_gives_back_somebodys_access(
    kind: str, arguments: dict[str, Any], emulator: Emulator
) -> None:
    async def run() -> None:
        async with opened(kind, arguments) as (call, door):
            user = await sign_in(call, door, emulator)
            assert await call("end_sessions", user) == 1
            assert await call("users") == [user.id]

            disabled = await call("disable", user)
            assert isinstance(disabled, AccessEnded)
            assert (disabled.revocation, disabled.certain) == ("confirmed", True)
            assert emulator.live_grants() == []
            assert (await call("users"), await call("users", disabled=True)) == ([], [user.id])

            assert (await call("enable", user.id)).disabled_at is None
            await sign_in(call, door, emulator)
            disconnected = await call("disconnect", user.id)
            assert (disconnected.sessions, disconnected.revocation) == (1, "confirmed")
            with pytest.raises(GrantLost):
                await call("fresh_tokens", user)

            assert (await call("delete", user)).certain
            assert await call("users", disabled=True) == []
            assert emulator.live_grants() == []

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("what", ["disable", "enable", "disconnect", "delete"])
def test_nobody_of_that_number_is_told_and_is_no_error(
    kind: str, arguments: dict[str, Any], what: str
) -> None:
    async def run() -> None:
        async with opened(kind, arguments) as (call, _):
            assert await call(what, 17) is None
            assert await call("end_sessions", 17) == 0

    asyncio.run(run())
