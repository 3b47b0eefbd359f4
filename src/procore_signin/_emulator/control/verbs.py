"""The controls of the emulator, shared by the Python handle and the control API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from procore_signin._emulator.errors import EmulatorRefused
from procore_signin._emulator.faults.faults import Fault
from procore_signin._emulator.oauth import authorization
from procore_signin._emulator.oauth.authorization import AuthorizationRequest
from procore_signin._emulator.oauth.doorkeeper import OAuthError
from procore_signin._emulator.oauth.login_pages import AUTHORIZE
from procore_signin._emulator.oauth.parameters import Malformed, request_parameters
from procore_signin._emulator.procore import LocalProcore
from procore_signin._emulator.wire.messages import Request
from procore_signin._emulator.world.clients import Client
from procore_signin._emulator.world.companies import Company, Project
from procore_signin._emulator.world.grants import Token
from procore_signin._emulator.world.people import DEMO_PASSWORD, Person
from procore_signin._emulator.world.seed import DEMO_LOGIN

_UNCHANGED: Final = ""


@dataclass(frozen=True, slots=True)
class LiveGrant:
    """A token that was issued and not revoked.

    Attributes:
        client_id: The client that it was issued to.
        login: The person it acts for, or None for the client itself.
        created_at: UTC unix seconds.
        access_token_expires_at: UTC unix seconds.
        refreshable: Whether its refresh token would still be accepted.
    """

    client_id: str
    login: str | None
    created_at: int
    access_token_expires_at: int
    refreshable: bool


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request that reached the token endpoint.

    Attributes:
        grant_type: As sent, or None.
        parameters: Everything in the body, secrets included: not in the repr.
        headers: Names in lower case.
        status: The response's status; 0 if the connection was closed instead.
    """

    grant_type: str | None
    parameters: dict[str, str] = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    status: int


class Verbs:
    """Every verb, on one `LocalProcore`. May be called from any thread."""

    def __init__(self, procore: LocalProcore) -> None:
        self.procore = procore

    def approve(self, authorize_url: str, *, base: str, login: str = DEMO_LOGIN) -> str:
        """Log in and press Allow, as a person would.

        Args:
            authorize_url: The authorization request, absolute or from its path on.
            base: The emulator's own origin, and path prefix, which the request must be for.
            login: The person's login.

        Returns:
            Where the browser would be sent: the redirect URI with code and state, or the path of
            the out-of-band page.

        Raises:
            EmulatorRefused: The request would have ended on an error page, or no one has that
                login.
        """
        with self.procore.lock:
            asked = self._read(authorize_url, base)
            person = self._person(login)
            return authorization.allow(self.procore.state, asked, person, base)

    def deny(self, authorize_url: str, *, base: str) -> str:
        """Press Deny, as a person would; return where the browser would be sent.

        Raises:
            EmulatorRefused: The request would have ended on an error page, or has no callback.
        """
        with self.procore.lock:
            asked = self._read(authorize_url, base)
            if asked.out_of_band:
                raise EmulatorRefused("An out-of-band request has nowhere to be sent when denied")
            return authorization.deny(self.procore.state, asked, base)

    def person(
        self,
        person_id: int,
        *,
        login: str | None = None,
        name: str | None = _UNCHANGED,
        password: str | None = None,
        job_title: str | None = _UNCHANGED,
    ) -> Person:
        """Add the person with that id, or change what is given of them.

        Args:
            person_id: Procore's id.
            login: E-mail address; needed for a new person.
            name: Full name, or None for a person without one.
            password: For the log-in panel.
            job_title: As a company's directory shows it, or None for a person without one.

        Raises:
            ValueError: Someone else has that login, or a value is wrong.
        """
        with self.procore.lock:
            directory = self.procore.state.directory
            before = directory.people.get(person_id)
            if before is None and login is None:
                raise EmulatorRefused(f"Person {person_id} is new: give a login")
            person = Person(
                id=person_id,
                login=login or (before.login if before else ""),
                name=(before.name if before else None) if name == _UNCHANGED else name,
                password=password or (before.password if before else DEMO_PASSWORD),
                job_title=(before.job_title if before else None)
                if job_title == _UNCHANGED
                else job_title,
            )
            directory.put_person(person)
            return person

    def people(self) -> list[Person]:
        """Return everyone who can log in."""
        with self.procore.lock:
            return list(self.procore.state.directory.people.values())

    def clients(self) -> list[Client]:
        """Return every registered client."""
        with self.procore.lock:
            return list(self.procore.state.directory.clients.values())

    def companies(self) -> list[Company]:
        """Return every company."""
        with self.procore.lock:
            return list(self.procore.state.directory.companies.values())

    def projects(self) -> list[Project]:
        """Return every project of every company."""
        with self.procore.lock:
            return list(self.procore.state.directory.projects.values())

    def remove_person(self, person_id: int) -> None:
        """Remove a person; their tokens stop working at the API.

        Raises:
            EmulatorRefused: There is no such person.
        """
        with self.procore.lock:
            if not self.procore.state.directory.remove_person(person_id):
                raise EmulatorRefused(f"There is no person {person_id}")

    def client(self, client: Client) -> None:
        """Register a client, or replace the one with the same id."""
        with self.procore.lock:
            self.procore.state.directory.put_client(client)

    def company(self, company: Company) -> None:
        """Add a company, or replace the one with the same id."""
        with self.procore.lock:
            self.procore.state.directory.put_company(company)

    def project(self, project: Project) -> None:
        """Add a project, or replace the one with the same id.

        Raises:
            ValueError: Its company does not exist.
        """
        with self.procore.lock:
            self.procore.state.directory.put_project(project)

    def now(self) -> float:
        """Return the emulator's time, UTC unix seconds."""
        return self.procore.state.clock()

    def advance(self, seconds: float) -> None:
        """Advance the clock.

        Raises:
            ValueError: `seconds` is negative, or the time would be a hundred years away.
        """
        self.procore.state.clock.advance(seconds)

    def revoke(
        self,
        *,
        login: str | None = None,
        client_id: str | None = None,
        token: str | None = None,
    ) -> int:
        """Revoke every live grant that matches all arguments, as a person can do in Procore.

        Args:
            login: Of this person.
            client_id: Of this client.
            token: With this access or refresh token.

        Returns:
            How many were revoked.
        """
        with self.procore.lock:
            person_id = None if login is None else self._person(login).id
            fitting = [
                live
                for live in self.procore.state.grants.live()
                if (login is None or live.person_id == person_id)
                and (client_id is None or live.client_id == client_id)
                and (token is None or token in {live.access_token, live.refresh_token})
            ]
            for live in fitting:
                self.procore.state.grants.revoke(live)
            return len(fitting)

    def live_grants(self) -> list[LiveGrant]:
        """Return every token that was issued and not revoked, oldest first."""
        with self.procore.lock:
            return [self._shown(token) for token in self.procore.state.grants.live()]

    def token_requests(self) -> list[TokenRequest]:
        """Return what reached the token endpoint, oldest first."""
        found = []
        for exchange in self.procore.journal.exchanges():
            path, _, query = exchange.target.partition("?")
            path = path.rstrip("/")
            if exchange.method != "POST" or path != "/oauth/token":
                continue
            headers = {name.lower(): value for name, value in exchange.request_headers}
            sent = Request("POST", path, query, headers, exchange.request_body)
            try:
                parameters = request_parameters(sent)
            except Malformed:
                parameters = {}
            grant_type = parameters.get("grant_type")
            found.append(TokenRequest(grant_type, parameters, headers, exchange.status))
        return found

    def fault(self, route: str, kind: str, /, **settings: Any) -> Fault:
        """Add a fault; see `Faults.add`.

        Raises:
            BadFault: The route, the kind or a setting is wrong.
        """
        with self.procore.lock:
            return self.procore.faults.add(route, kind, **settings)

    def faults(self) -> Iterable[Fault]:
        """Return every fault, with how often it happened."""
        with self.procore.lock:
            return self.procore.faults.all()

    def clear_faults(self) -> None:
        """Remove all faults."""
        with self.procore.lock:
            self.procore.faults.clear()

    def reset(self) -> None:
        """Return to the initial state."""
        self.procore.reset()

    def _read(self, authorize_url: str, base: str) -> AuthorizationRequest:
        parts, ours = urlsplit(authorize_url), urlsplit(base)
        # The machine has several names, so only the port identifies the emulator.
        if parts.netloc and parts.port != ours.port:
            raise EmulatorRefused(
                f"That authorization request is for {parts.scheme}://{parts.netloc}, "
                f"this emulator is {base}"
            )
        if parts.path.removeprefix(ours.path).rstrip("/") != AUTHORIZE:
            raise EmulatorRefused(
                f"That is not an authorization request: its path is not {AUTHORIZE}"
            )
        asked = authorization.read(self.procore.state, parts.query)
        if isinstance(asked, OAuthError):
            cure = f" {asked.cure}" if asked.cure else ""
            raise EmulatorRefused(
                f"The emulator refuses that authorization request ({asked.error}): "
                f"{asked.note}.{cure}",
                error=asked.error,
            )
        return asked

    def _person(self, login: str) -> Person:
        person = self.procore.state.directory.person_by_login(login)
        if person is None:
            raise EmulatorRefused(f"No one here has the login {login!r}")
        return person

    def _shown(self, token: Token) -> LiveGrant:
        person = self.procore.state.directory.people.get(token.person_id or 0)
        return LiveGrant(
            client_id=token.client_id,
            login=person.login if person else None,
            created_at=int(token.created_at),
            access_token_expires_at=int(token.created_at) + token.expires_in,
            refreshable=token.refresh_token is not None and not token.refresh_spent,
        )
