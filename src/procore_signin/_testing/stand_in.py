"""A front door's other equipment during a test: an emulator in this process and an empty store.

The front door stays the same object, which the application holds and knows by name; only what it
works with is another, and comes back at the end. Several sign-ins of one test share it.
"""

from __future__ import annotations

import asyncio
import contextvars
import secrets
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, Protocol, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from procore_signin._api.shared import forget
from procore_signin._client import AsyncProcoreSignIn, Equipment, ProcoreSignIn, equip
from procore_signin._emulator.control.handle import Emulator
from procore_signin._emulator.procore import LocalProcore
from procore_signin._emulator.wire.in_process import InProcess
from procore_signin._emulator.world.clients import OUT_OF_BAND
from procore_signin._emulator.world.companies import Company
from procore_signin._emulator.world.options import EmulatorOptions
from procore_signin._emulator.world.people import Person
from procore_signin._emulator.world.seed import Population
from procore_signin._flow.attempt import Bound, OwnLogin, new_attempt
from procore_signin._flow.context import Context
from procore_signin._flow.phases import SignedIn
from procore_signin._flow.running.async_runner import AsyncRunner
from procore_signin._flow.running.runner import Runner
from procore_signin._flow.sessions import Browser
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._flow.steps import Flow
from procore_signin._protocol.authorization import CodeGranted
from procore_signin._protocol.pkce import code_challenge
from procore_signin._protocol.secret import Secret
from procore_signin._store.keys.keyring import KeyRing
from procore_signin._testing.connections import (
    AsyncEmulatedTransport,
    EmulatedTransport,
    EmulatedWire,
)
from procore_signin._testing.store_file import StoreFile

T = TypeVar("T")
Door: TypeAlias = ProcoreSignIn | AsyncProcoreSignIn

Companies: TypeAlias = Iterable[str | Company] | Mapping[str, Iterable[str]]
"""Names of companies, or names of companies with the names of their projects."""

_NO_ONE: Final = Population(people=(), companies=(), projects=())
_AGENT: Final = "test"


class Portal(Protocol):
    """Calls async functions on the event loop of a running application, as anyio's does."""

    def call(self, function: Any, *arguments: Any) -> Any:
        """Return what `function` returns there."""


class StandIn:
    """The other equipment of one front door.

    Args:
        door: The front door. Use `standing_in`, which gives back what it had.

    Attributes:
        emulator: The local Procore, with no one in it at the beginning.
    """

    def __init__(self, door: Door) -> None:
        self._door: Final = door
        client = door.context.client
        options = EmulatorOptions(
            client_id=client.client_id,
            client_secret=client.client_secret.reveal(),
            # No browser is sent anywhere: what is signed in here has no log-in panel.
            redirect_uris=(OUT_OF_BAND,),
        )
        self._procore: Final = LocalProcore(options, now=door.context.clock, population=_NO_ONE)
        self._place: Final = InProcess(self._procore, url=door.context.environment.api_origin)
        self.emulator: Final = Emulator(self._procore, self._place)
        self._file: Final = StoreFile(
            KeyRing.parse(KeyRing.generate(secrets.token_bytes, key_id="test"))
        )
        forget(door)
        self._before: Equipment[Any] = equip(door, self._equipment())
        self.users = 0

    def _equipment(self) -> Equipment[Any]:
        is_async = isinstance(self._door, AsyncProcoreSignIn)
        transport = AsyncEmulatedTransport if is_async else EmulatedTransport
        return Equipment(
            new_store=self._file.open,
            transport=transport(self._place),
            wire=EmulatedWire(self._place),
            store=self._file.open(),
        )

    def end(self) -> None:
        """Give the front door back what it had, closed if the application has closed it."""
        forget(self._door)
        used = equip(self._door, self._before)
        if used.closed.is_set():
            _leave(self._before)
        _leave(used)
        self._file.remove()

    def person(self, login: str, name: str | None) -> Person:
        """Return the person with that login, added if there is none."""
        directory = self._procore.state.directory
        known = directory.person_by_login(login)
        if known is None:
            return self.emulator.new_person(login, name=name)
        return known if name == "" else self.emulator.person(known.id, name=name)

    def join(self, person: Person, companies: Companies) -> tuple[Company, ...]:
        """Put the person into companies, added if there are none of these names."""
        projects = companies if isinstance(companies, Mapping) else {}
        joined = []
        for wanted in companies:
            company = self._joined(person, wanted)
            known = {p.name for p in self._procore.state.directory.projects_of(company.id)}
            named = projects.get(company.name, ())
            for project in [name for name in named if name not in known]:
                self.emulator.new_project(company, project)
            joined.append(company)
        return tuple(joined)

    def _joined(self, person: Person, wanted: str | Company) -> Company:
        if isinstance(wanted, str):
            same_name = (each for each in self.emulator.companies if each.name == wanted)
            known = next(same_name, None)
            if known is None:
                return self.emulator.new_company(wanted, people=[person])
            wanted = known
        members = None if wanted.members is None else wanted.members | {person.id}
        company = replace(wanted, members=members)
        with self._procore.lock:
            self._procore.state.directory.put_company(company)
        return company

    def sign_in(self, person: Person, reference: str | None) -> Flow[SignedIn]:
        """Sign the person in as after the log-in panel: with a code, tokens and the hooks.

        With a `reference`, as from the button that connects the application's user of that name.
        """
        context: Context = self._door.context
        login = OwnLogin(reference)
        bound = None if reference is None else Bound(login.mark, connects=True)
        attempt = new_attempt(context, return_to="/", bound=bound)
        verifier = attempt.code_verifier
        with self._procore.lock:
            code = self._procore.state.grants.issue_code(
                client_id=context.client.client_id,
                person_id=person.id,
                redirect_uri=context.client.redirect_uri,
                challenge=None if verifier is None else code_challenge(verifier),
                challenge_method=None if verifier is None else "S256",
            )
        granted = CodeGranted(code=Secret(code.code, "code"), state=attempt.state, iss=None)
        browser = Browser(user_agent=_AGENT, session_hash=None, login=login)
        return (yield from finish_sign_in(context, attempt, granted, browser))

    def run(self, flow: Flow[T], portal: Portal | None) -> T:
        """Run `flow`: on the application's event loop if it runs beside us, else here."""
        if isinstance(self._door, ProcoreSignIn):
            return self._door.run(flow)
        if portal is not None:
            value: T = portal.call(self._door.run, flow)
            return value
        runner = Runner(
            self._door.store, EmulatedTransport(self._place), complete=_on_a_loop_of_its_own
        )
        try:
            return runner.run(flow)
        finally:
            runner.close()


_standing: Final[WeakKeyDictionary[Door, StandIn]] = WeakKeyDictionary()


@contextmanager
def standing_in(door: Door) -> Iterator[StandIn]:
    """Give `door` other equipment while the block, and others like it, run."""
    stand_in = _standing.get(door)
    if stand_in is None:
        stand_in = _standing[door] = StandIn(door)
    stand_in.users += 1
    try:
        yield stand_in
    finally:
        stand_in.users -= 1
        if not stand_in.users:
            del _standing[door]
            stand_in.end()


def _leave(equipment: Equipment[Any]) -> None:
    equipment.closed.set()
    if isinstance(equipment.runner, Runner):
        equipment.runner.close()
    elif isinstance(equipment.runner, AsyncRunner):
        equipment.runner.leave()
    equipment.store.close()


def _on_a_loop_of_its_own(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run an async hook to its end; the test itself may run on an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(contextvars.copy_context().run, asyncio.run, coroutine).result()
