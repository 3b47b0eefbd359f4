"""What every flow knows: which Procore, which client, which keys, what time, what chance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from procore_signin._flow.hooks import Hooks, check_kind
from procore_signin._flow.outage import Outage
from procore_signin._protocol.token_endpoint import Client
from procore_signin._store.keys.seal import Seal
from procore_signin.environments import Environment

NO_HOOKS = Hooks()
SESSION_IDLE_SECONDS = 12 * 3600
SESSION_ABSOLUTE_SECONDS = 14 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of a flow. It holds nothing that belongs to one user or one request.

    Attributes:
        environment: The Procore to sign in with.
        client: This application as registered there.
        attempt_seal: Seals sign-in attempts for the browser's cookies.
        clock: Returns now, in UTC seconds since 1970.
        random_bytes: Returns that many unpredictable bytes.
        pkce: Whether to send a code challenge. On, unless a server refuses the parameter.
        session_idle: Seconds after which an unused session ends.
        session_absolute: Seconds after which every session ends.
        hooks: Where the application has its say.
        outage: Knows whether Procore answers refreshes.
        binding: Names environment, client and redirect URI in 16 characters (row A6).
        secure: Whether browsers reach this application over https; otherwise it is on loopback.

    Raises:
        TypeError: `hooks` is something else.
    """

    environment: Environment
    client: Client
    attempt_seal: Seal
    clock: Callable[[], float]
    random_bytes: Callable[[int], bytes]
    pkce: bool = True
    session_idle: int = SESSION_IDLE_SECONDS
    session_absolute: int = SESSION_ABSOLUTE_SECONDS
    hooks: Hooks = NO_HOOKS
    outage: Outage = field(default_factory=Outage, repr=False, compare=False)
    binding: str = field(init=False, repr=False, compare=False)
    secure: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_kind(self.hooks, Hooks, "hooks", such_as="Hooks(may_sign_in=…)")
        here = self.client.redirect_uri
        named = f"{self.environment.name}\n{self.client.client_id}\n{here}"
        object.__setattr__(self, "binding", hashlib.sha256(named.encode()).hexdigest()[:16])
        object.__setattr__(self, "secure", here.startswith("https://"))

    def now(self) -> int:
        """Return the whole UTC second."""
        return int(self.clock())
