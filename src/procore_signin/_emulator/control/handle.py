"""The handle of an emulator for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from procore_signin._emulator.control.factory import Factory, Whom
from procore_signin._emulator.control.verbs import LiveGrant, TokenRequest, Verbs
from procore_signin._emulator.environments import four_environments
from procore_signin._emulator.faults.faults import Fault
from procore_signin._emulator.journal import Exchange
from procore_signin._emulator.process import running
from procore_signin._emulator.procore import LocalProcore
from procore_signin._emulator.wire.in_process import InProcess
from procore_signin._emulator.wire.server import DEFAULT_HOST, Log, Server
from procore_signin._emulator.world.clients import Client
from procore_signin._emulator.world.companies import Company, Project
from procore_signin._emulator.world.options import EmulatorOptions
from procore_signin._emulator.world.people import Person
from procore_signin._emulator.world.seed import DEMO_LOGIN, Population


class Emulator:
    """A local Procore with all controls for a test, on a real socket if it was `started`.

    ```python
    with Emulator.started(redirect_uris=("http://localhost:8000/callback",)) as emulator:
        location = emulator.approve(authorize_url)
        emulator.advance(5400)
        emulator.fault("POST /oauth/token", "drop-after-commit")
    ```

    Every method may be called from any thread.

    Attributes:
        url: Its origin, for both login and API.
        app: The same as an ASGI application, for clients in this process.
        options: How it behaves.
    """

    def __init__(self, procore: LocalProcore, server: Server | InProcess) -> None:
        self._procore = procore
        self._verbs = Verbs(procore)
        self._factory = Factory(procore)
        self._server = server
        self.url = server.url
        self.app = server.app
        self.options = procore.state.options

    @classmethod
    @contextmanager
    def started(
        cls,
        *,
        host: str = DEFAULT_HOST,
        port: int = 0,
        now: Callable[[], float] = time.time,
        log: Log | None = None,
        population: Population | None = None,
        **options: Any,
    ) -> Iterator[Emulator]:
        """Run an emulator in its own thread while the block runs.

        Args:
            host: This machine, by one of its loopback names.
            port: 0 picks a free one.
            now: Returns the time, UTC unix seconds.
            log: Takes one line for each request, or None for silence.
            population: The people and data at the start, such as `read_population` returns.
            options: Fields of `EmulatorOptions`.

        Raises:
            EmulatorRefused: The host is not this machine, or the port cannot be used.
            ValueError: An option is wrong.
        """
        procore = LocalProcore(EmulatorOptions(**options), now=now, population=population)
        server = Server(procore, host=host, port=port, log=log)
        with running(server):
            yield cls(procore, server)

    @classmethod
    @contextmanager
    def environments_started(
        cls,
        *,
        host: str = DEFAULT_HOST,
        now: Callable[[], float] = time.time,
        log: Log | None = None,
        population: Population | None = None,
        **options: Any,
    ) -> Iterator[Mapping[str, Emulator]]:
        """Run all four of Procore's environments, each at its own origin, by name.

        For what they share, see `four_environments`. Takes the arguments of `started`, except the
        port: each finds a free one.

        Raises:
            EmulatorRefused: The host is not this machine.
            ValueError: An option is wrong.
        """
        procores = four_environments(EmulatorOptions(**options), now=now, population=population)
        servers = {
            name: Server(procore, host=host, port=0, log=log) for name, procore in procores.items()
        }
        with running(*servers.values()):
            yield {name: cls(procores[name], servers[name]) for name in procores}

    def approve(self, authorize_url: str, *, login: str = DEMO_LOGIN) -> str:
        """Log in and press Allow; see `Verbs.approve`."""
        return self._verbs.approve(authorize_url, base=self.url, login=login)

    def deny(self, authorize_url: str) -> str:
        """Press Deny; see `Verbs.deny`."""
        return self._verbs.deny(authorize_url, base=self.url)

    def person(self, person_id: int, **changes: str | None) -> Person:
        """Add a person, or change `login`, `name`, `password`, `job_title`; see `Verbs.person`."""
        known = {"login", "name", "password", "job_title"}
        if not known.issuperset(changes):
            raise TypeError(f"A person has {', '.join(sorted(known))}")
        return self._verbs.person(person_id, **changes)

    def remove_person(self, person_id: int) -> None:
        """Remove a person; see `Verbs.remove_person`."""
        self._verbs.remove_person(person_id)

    def client(self, client_id: str, client_secret: str, *redirect_uris: str, name: str) -> Client:
        """Register a client, or replace the one with the same id.

        Raises:
            ValueError: A redirect URI leaves this machine.
        """
        client = Client(client_id, client_secret, redirect_uris, name)
        self._verbs.client(client)
        return client

    def company(self, company_id: int, name: str, **more: Any) -> Company:
        """Add a company, or replace the one with the same id; `more` are fields of `Company`."""
        company = Company(company_id, name, **more)
        self._verbs.company(company)
        return company

    def project(self, project_id: int, company_id: int, name: str, **more: Any) -> Project:
        """Add a project, or replace the one with the same id; `more` are fields of `Project`."""
        project = Project(project_id, company_id, name, **more)
        self._verbs.project(project)
        return project

    def new_person(
        self, login: str | None = None, *, name: str | None = "", job_title: str | None = None
    ) -> Person:
        """Add a person with a new id.

        Args:
            login: E-mail address; None makes one up.
            name: Full name, or None for a person without one; by default made from the login.
            job_title: As a company's directory shows it, or None.

        Raises:
            ValueError: Someone has that login.
        """
        return self._factory.person(login, name=name, job_title=job_title)

    def new_company(
        self,
        name: str | None = None,
        *,
        people: Iterable[Whom] | None = None,
        projects: Iterable[str] = (),
        **more: Any,
    ) -> Company:
        """Add a company with a new id.

        Args:
            name: As shown; None makes one up.
            people: Who is in its directory, each as a `Person`, an id or a login; None for
                everyone.
            projects: Names of projects to add to it.
            more: Other fields of `Company`, such as `connected=False`.

        Raises:
            EmulatorRefused: No one has that id or login.
        """
        return self._factory.company(name, people=people, projects=projects, **more)

    def new_project(self, company: Company | int, name: str | None = None, **more: Any) -> Project:
        """Add a project with a new id.

        Args:
            company: Whose it is, or its id.
            name: Without the number; None makes one up.
            more: Other fields of `Project`, such as `active=False`.

        Raises:
            ValueError: There is no such company.
        """
        return self._factory.project(company, name, **more)

    @property
    def people(self) -> list[Person]:
        """Everyone who can log in."""
        return self._verbs.people()

    @property
    def clients(self) -> list[Client]:
        """Every registered client."""
        return self._verbs.clients()

    @property
    def companies(self) -> list[Company]:
        """Every company."""
        return self._verbs.companies()

    @property
    def projects(self) -> list[Project]:
        """Every project of every company."""
        return self._verbs.projects()

    def now(self) -> float:
        """Return the emulator's time, UTC unix seconds."""
        return self._verbs.now()

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        self._verbs.advance(seconds)

    def revoke(
        self, *, login: str | None = None, client_id: str | None = None, token: str | None = None
    ) -> int:
        """Revoke grants, as a person does in Procore; see `Verbs.revoke`."""
        return self._verbs.revoke(login=login, client_id=client_id, token=token)

    def live_grants(self) -> list[LiveGrant]:
        """Return every token that was issued and not revoked, oldest first."""
        return self._verbs.live_grants()

    @property
    def requests(self) -> list[Exchange]:
        """The requests to `/oauth/*`, `/rest/*`, `/login` and `/logout`, oldest first."""
        return self._procore.journal.exchanges()

    @property
    def token_requests(self) -> list[TokenRequest]:
        """The requests to the token endpoint, oldest first."""
        return self._verbs.token_requests()

    def fault(self, route: str, kind: str, /, **settings: Any) -> Fault:
        """Add a fault; settings: `times` (1), `probability` (1.0), `seed`, and the kind's own.

        Raises:
            BadFault: The route, the kind or a setting is wrong.
        """
        return self._verbs.fault(route, kind, **settings)

    def faults(self) -> Iterable[Fault]:
        """Return every fault, with how often it happened."""
        return self._verbs.faults()

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._verbs.clear_faults()

    def refusing(self) -> AbstractContextManager[None]:
        """Refuse every connection while the block runs, as if the server were down."""
        return self._server.refusing()

    def reset(self) -> None:
        """Return to the initial state: seed, real time, no grant, no fault, empty journal."""
        self._verbs.reset()

    def __repr__(self) -> str:
        return f"<Emulator {self.url}>"
