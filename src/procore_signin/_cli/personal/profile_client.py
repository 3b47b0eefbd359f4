"""An open profile: a front door on the user's own store, where Ctrl-C cannot lose tokens."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, TypeVar

from procore_signin._cli.failure import CommandFailed
from procore_signin._cli.output import plain
from procore_signin._cli.personal.profile import Profile, Registration
from procore_signin._client import ProcoreSignIn
from procore_signin._flow.steps import Flow
from procore_signin._store.ledger import Escrowed
from procore_signin._store.tokens import TokenStates
from procore_signin._store.users import FindUsers
from procore_signin.errors import StoreUnavailable

T = TypeVar("T")

_ENDING: Final = ("SIGINT", "SIGTERM", "SIGHUP")
_AT_ONCE: Final = 1000


class NotSignedIn(Exception):
    """The profile holds no grant. The user has to log in."""


class ProfileSignIn(ProcoreSignIn):
    """A front door whose flows end before a signal ends the process.

    Ctrl-C between Procore's response and the commit would lose tokens that exist nowhere else. A
    flow takes as long as its requests, which have deadlines; an API request itself is ended at
    once.
    """

    def run(self, flow: Flow[T]) -> T:
        """Run `flow` to its end and return its value. Raises what the flow raises."""
        with uninterrupted():
            return super().run(flow)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay signals that end the process until the block is over."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals interrupt only the main thread
        return
    came: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    before = {number: signal.signal(number, remember) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(came[0])


@contextmanager
def front_door(profile: Profile, registration: Registration) -> Iterator[ProfileSignIn]:
    """Open the profile's store, updated to this version, with the client of `registration`.

    Raises:
        CommandFailed: The path of the store cannot be written as a URL.
        StoreUnavailable: The store cannot be used.
    """
    try:
        door = ProfileSignIn(
            environment=registration.environment,
            client_id=registration.client_id,
            client_secret=registration.client_secret,
            redirect_uri=registration.redirect_uri,
            keys=profile.keys(),
            database_url=profile.database_url,
        )
    except ValueError as error:
        raise CommandFailed(
            f"The profile {profile.name!r} cannot be opened.",
            why=str(error),
            cure="Set XDG_DATA_HOME to a folder without unusual characters in its name.",
        ) from None
    with door:
        _bring_up_to_date(door, profile)
        yield door


@contextmanager
def signed_in(profile: Profile) -> Iterator[tuple[ProfileSignIn, int]]:
    """Open a profile that holds a grant; yields the front door and the user's id.

    Raises:
        NotSignedIn: It holds no grant.
        CommandFailed: Other users of the machine can read it, or it is damaged.
        StoreUnavailable: The store cannot be used.
    """
    registration = None
    if profile.exists():
        profile.check()
        registration = profile.registration()
    if registration is None or registration.user_id is None:
        raise NotSignedIn
    with front_door(profile, registration) as door:
        yield door, registration.user_id


def named(name: str | None, email: str) -> str:
    """Return a user's name and e-mail, without control characters."""
    return plain(email) if name is None else f"{plain(name)} <{plain(email)}>"


def users_of(door: ProcoreSignIn) -> list[int]:
    """Return the ids of all users who have, or had, tokens in the store. Usually it is one."""
    return [user.id for user in door.store.ask(FindUsers(limit=_AT_ONCE))]


def holds_grants(door: ProcoreSignIn) -> bool:
    """Return whether the store holds tokens that Procore may still accept."""
    now = door.context.now()
    alive = (
        state.status == "ok"
        for user_id in users_of(door)
        for state in door.store.ask(TokenStates(user_id, now=now))
    )
    return any(alive) or bool(door.store.ask(Escrowed(now + 1)))


def _bring_up_to_date(door: ProcoreSignIn, profile: Profile) -> None:
    """Create or migrate the tables: a user's own store has no operator."""
    try:
        door.store.probe()
    except StoreUnavailable:
        # Imported here: Alembic takes longer to import than everything else takes to start.
        from procore_signin._store.migrate import upgrade  # noqa: PLC0415

        upgrade(profile.database_url)
        door.store.probe()
