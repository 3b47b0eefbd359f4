"""Someone who is signed in with an emulator, on a clock that is moved by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from scripted import Clock, front_door

from procore_signin import environments
from procore_signin._client import ProcoreSignIn
from procore_signin._flow.attempt import new_attempt
from procore_signin._flow.phases import SignedIn
from procore_signin._flow.sessions import Browser
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted, parse_authorization_response
from procore_signin._protocol.secret import Secret
from procore_signin._store.records import User
from procore_signin._transport.pyreqwest import PyreqwestTransport
from procore_signin.emulator import Emulator

BROWSER = Browser(user_agent=None, session_hash=None)
Rotation = Literal["immediate", "grace"]


def approved(emulator: Emulator, door: ProcoreSignIn) -> SignedIn:
    """Sign the emulator's person in."""
    attempt = new_attempt(door.context, return_to="/")
    location = emulator.approve(attempt.authorization_url(door.context))
    granted = parse_authorization_response(location.partition("?")[2].encode())
    assert isinstance(granted, CodeGranted)
    return door.run(finish_sign_in(door.context, attempt, granted, BROWSER))


@contextmanager
def at_the_emulator(
    folder: Path, **options: Any
) -> Iterator[tuple[Emulator, ProcoreSignIn, Clock, User]]:
    """Someone who is signed in with the emulator, over a real socket."""
    clock = Clock(time.time())
    transport = PyreqwestTransport()
    with (
        Emulator.started(**options) as emulator,
        front_door(
            folder,
            transport,  # type: ignore[arg-type]  # any transport will do
            clock,
            environment=environments.emulator(emulator.url),
            client_id="emulator-client-id",
            client_secret=Secret("emulator-client-secret", "client secret"),
        ) as door,
    ):
        yield emulator, door, clock, approved(emulator, door).user


def pass_time(emulator: Emulator, clock: Clock, seconds: float) -> None:
    emulator.advance(seconds)
    clock.advance(seconds)
