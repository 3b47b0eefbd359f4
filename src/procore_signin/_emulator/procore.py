"""One emulated Procore: authorization server, API, faults and journal over one state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from procore_signin._emulator.faults.faults import Faults
from procore_signin._emulator.journal import Journal
from procore_signin._emulator.oauth.provider import Provider
from procore_signin._emulator.pages import Pages
from procore_signin._emulator.rest.api import Api
from procore_signin._emulator.rest.unserved import is_api
from procore_signin._emulator.state import State
from procore_signin._emulator.wire.body import is_too_long
from procore_signin._emulator.wire.messages import Reply, Request
from procore_signin._emulator.world.clients import OUT_OF_BAND
from procore_signin._emulator.world.options import EmulatorOptions
from procore_signin._emulator.world.random_values import RandomBytes
from procore_signin._emulator.world.seed import Population


class LocalProcore:
    """Returns replies to requests, one at a time, from any thread.

    Several may run in one process, one for each environment: see `Emulator.environments_started`.

    Args:
        options: How it behaves.
        now: Where the time comes from, UTC unix seconds.
        random_bytes: Returns random bytes; by default from the options' seed or the system.
        population: The people and data at the start.
        shares_with: Another one, to share its people, companies and clients.

    Attributes:
        changed: Set if the state may have changed since `StateFile` last cleared this.
    """

    __slots__ = ("api", "changed", "faults", "journal", "lock", "pages", "provider", "state")

    state: State
    lock: threading.RLock

    def __init__(
        self,
        options: EmulatorOptions | None = None,
        *,
        now: Callable[[], float] = time.time,
        random_bytes: RandomBytes | None = None,
        population: Population | None = None,
        shares_with: LocalProcore | None = None,
    ) -> None:
        self.state = State(
            options or EmulatorOptions(),
            now=now,
            random_bytes=random_bytes,
            population=population,
            directory=shares_with.state.directory if shares_with else None,
        )
        # Environments that share a directory share the lock that guards it.
        self.lock = shares_with.lock if shares_with else threading.RLock()
        self.pages = Pages()
        self.provider = Provider(self.state, self.pages)
        self.api = Api(self.state)
        self.faults = Faults(self.state.random_values)
        self.journal = Journal()
        self.changed = False

    def reads_body(self, request: Request) -> bool:
        """Return whether a request's body is read, given its head.

        By an endpoint, by a fault that waits, or by a reader of the journal. Nothing of the API
        takes a body, so one that is too long is not waited for there.
        """
        if self.provider.reads_body(request):
            return True
        is_sent_one = is_api(request.path) and request.method not in {"GET", "HEAD"}
        if not is_sent_one and not self.faults:
            return False
        with self.lock:
            if self.faults.concern(request.method, request.path):
                return True
            return is_sent_one and not is_too_long(request.headers) and not self.api.refuse(request)

    def refuse_stub(self, request: Request) -> Reply | None:
        """Return the API's refusal of a request that a stub would serve, or None."""
        return self.api.refuse(request) if is_api(request.path) else None

    def answer(self, request: Request) -> Reply:
        """Handle a request, without faults and without a record in the journal."""
        with self.lock:
            self.changed = True
            if is_api(request.path):
                return self.api.answer(request)
            if request.path == "/" and request.method in {"GET", "HEAD"}:
                return self._index(request)
            return self.provider.answer(request)

    def reset(self) -> None:
        """Return to the initial state: seed, real time, no fault, empty journal."""
        with self.lock:
            self.state.reset()
            self.api.reset()
            self.faults.clear()
            self.journal.clear()
            self.changed = True

    @property
    def app_url(self) -> str:
        """The URL of the first client's application."""
        for redirect_uri in self.state.options.redirect_uris:
            if redirect_uri != OUT_OF_BAND:
                parts = urlsplit(redirect_uri)
                return f"{parts.scheme}://{parts.netloc}"
        return "http://localhost:4567"

    def _index(self, request: Request) -> Reply:
        directory = self.state.directory
        return self.pages.reply(
            "index.html",
            root=request.root,
            base_url=request.base,
            clients=list(directory.clients.values()),
            people=[(person.login, person.name or "") for person in directory.people.values()],
        )
