"""The state of one emulated environment, in memory."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from procore_signin._emulator.oauth.doorkeeper import Dialect
from procore_signin._emulator.world.clients import Client
from procore_signin._emulator.world.clock import Clock
from procore_signin._emulator.world.directory import Directory
from procore_signin._emulator.world.grants import Grants, Token
from procore_signin._emulator.world.logins import Logins
from procore_signin._emulator.world.options import EmulatorOptions
from procore_signin._emulator.world.people import Person
from procore_signin._emulator.world.random_values import RandomBytes, RandomValues, seeded_bytes
from procore_signin._emulator.world.seed import Population


class State:
    """One environment: its directory, its codes, tokens and log-ins, its clock and its randomness.

    Args:
        options: How it behaves.
        now: Returns the time, UTC unix seconds.
        random_bytes: Returns random bytes; by default from the seed of the options, or the system.
        population: The people and data at the start.
        directory: To be shared with another environment, or None for a freshly seeded one.
    """

    __slots__ = (
        "clock",
        "dialect",
        "directory",
        "grants",
        "logins",
        "options",
        "owns_directory",
        "population",
        "random_values",
    )

    def __init__(
        self,
        options: EmulatorOptions,
        *,
        now: Callable[[], float] = time.time,
        random_bytes: RandomBytes | None = None,
        population: Population | None = None,
        directory: Directory | None = None,
    ) -> None:
        if random_bytes is None:
            seed = options.seed
            random_bytes = secrets.token_bytes if seed is None else seeded_bytes(seed)
        self.options = options
        self.population = Population() if population is None else population
        self.dialect = Dialect(options.doorkeeper)
        self.clock = Clock(now)
        self.random_values = RandomValues(random_bytes)
        self.grants = Grants(
            self.clock, self.random_values, options.rotation, reuse=options.reuse_access_token
        )
        self.logins = Logins(self.random_values)
        self.owns_directory = directory is None
        self.directory = directory if directory is not None else Directory()
        if self.owns_directory:
            self.sow()

    def reset(self) -> None:
        """Return to the initial state: seeded, no log-ins, no grants, real time."""
        self.grants.clear()
        self.logins.clear()
        self.clock.reset()
        if self.owns_directory:
            self.directory.clear()
            self.sow()

    def logged_in(self, cookie: str | None) -> Person | None:
        """Return the person whose browser sent this log-in cookie, or None."""
        person_id = self.logins.person_id(cookie)
        return None if person_id is None else self.directory.people.get(person_id)

    def acting(self, token: Token) -> Person | None:
        """Return the person that a token acts for: its owner, or its client's service account.

        None when that person was removed since.
        """
        if token.person_id is not None:
            return self.directory.people.get(token.person_id)
        return service_account(self.directory.clients.get(token.client_id))

    def sow(self) -> None:
        """Put the population and the client of the options into the empty directory."""
        self.directory.put_client(self.options.client())
        self.population.fill(self.directory)


def service_account(client: Client | None) -> Person | None:
    """Return the account that a client's own tokens (client credentials, DMSA) act as.

    Its `/me` response is not documented; this shape is an inference.
    """
    if client is None:
        return None
    return Person(
        900001, f"dmsa-{client.client_id}@example.com", f"{client.name} (service account)"
    )
