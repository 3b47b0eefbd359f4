"""A Procore that says what a test tells it to, and a clock that stands still until it is moved."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from migrated import migrated

from procore_signin import environments
from procore_signin._client import ProcoreSignIn
from procore_signin._flow.attempt import new_attempt
from procore_signin._flow.phases import SignedIn
from procore_signin._flow.sessions import Browser
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted
from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.secret import Secret
from procore_signin.errors import ProcoreUnavailable

KEYS = Secret("k1:" + "A" * 43, "keys")
NOW = 1_800_000_000
JOE = {"id": 11111, "login": "joecontractor@procore.com", "name": "Joe Contractor"}

Reply = HttpResponse | Exception | Callable[[HttpRequest], HttpResponse]


class Clock:
    """Time that a test moves by hand, in UTC seconds."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def reply(status: int, body: object, **headers: str) -> HttpResponse:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, {"content-type": "application/json", **headers}, content)


def tokens(number: int = 1, **changes: object) -> HttpResponse:
    body = {
        "access_token": f"fake-access-{number}",
        "token_type": "bearer",
        "expires_in": 5400,
        "refresh_token": f"fake-refresh-{number}",
        "created_at": NOW,
    }
    return reply(200, body | changes)


INVALID_GRANT = reply(400, {"error": "invalid_grant"})
UNWELL = reply(503, b"")
LOST = ProcoreUnavailable("The connection was reset", ambiguous=True)
"""The response was lost: Procore may have done what it was asked."""
AWAY = ProcoreUnavailable("Procore is away", ambiguous=False)


class ScriptedProcore:
    """A transport whose responses are scripted by path; a good Procore where nothing is
    scripted."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self._scripts: dict[str, deque[Reply]] = defaultdict(deque)
        self._issued = 0

    def next(self, path: str, *replies: Reply) -> None:
        """Answer the next requests to `path` with `replies`, in order."""
        self._scripts[path].extend(replies)

    def forget(self, path: str) -> None:
        """Forget what was scripted for `path`: Procore is well again."""
        self._scripts[path].clear()

    def send(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        path = urlsplit(request.url).path
        script = self._scripts[path]
        scripted = script.popleft() if script else self._usual(path)
        if isinstance(scripted, Exception):
            raise scripted
        return scripted if isinstance(scripted, HttpResponse) else scripted(request)

    def close(self) -> None:
        pass

    def _usual(self, path: str) -> HttpResponse:
        if path == "/oauth/token":
            self._issued += 1
            return tokens(self._issued)
        if path == "/rest/v1.0/me":
            return reply(200, JOE)
        return reply(200, {})

    def sent_to(self, path: str) -> list[dict[str, str]]:
        """Return the forms that were posted to `path`."""
        return [
            {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
            for request in self.requests
            if urlsplit(request.url).path == path
        ]

    @property
    def exchanges(self) -> list[dict[str, str]]:
        return self.sent_to("/oauth/token")

    @property
    def revoked(self) -> list[str]:
        return [form["token"] for form in self.sent_to("/oauth/revoke")]


def front_door(
    folder: Path, procore: ScriptedProcore, clock: Clock, **changes: object
) -> ProcoreSignIn:
    """Return a front door on a fresh database in `folder`, talking to `procore`."""
    url = migrated(folder / "test.db")
    settings: dict[str, object] = {
        "environment": environments.emulator(),
        "client_id": "fake-client-id",
        "client_secret": Secret("fake-client-secret", "client secret"),
        "redirect_uri": "http://localhost:4567/callback",
        "keys": KEYS,
        "database_url": url,
        "transport": procore,
        "clock": clock,
    }
    return ProcoreSignIn(**(settings | changes))  # type: ignore[arg-type]


def sign_in(door: ProcoreSignIn) -> SignedIn:
    """Sign in the user whom the scripted Procore names, without a browser."""
    attempt = new_attempt(door.context, return_to="/")
    granted = CodeGranted(code=Secret("fake-code", "code"), state=attempt.state, iss=None)
    browser = Browser(user_agent=None, session_hash=None)
    signed_in = door.run(finish_sign_in(door.context, attempt, granted, browser))
    door._runner.settle()  # what it replaced is revoked beside it
    return signed_in
