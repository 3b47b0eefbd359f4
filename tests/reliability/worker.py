"""What a worker process does: one order after the other, each answered with a line of JSON."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import traceback
from typing import Any, Final

from tests.reliability.points import Points, WatchedTransport
from tests.reliability.settings import Place

from procore_signin._client import AsyncProcoreSignIn
from procore_signin._flow import lease, refresh
from procore_signin._flow.attempt import SignInAttempt
from procore_signin._flow.refresh import FreshToken
from procore_signin._flow.sessions import Browser
from procore_signin._flow.sign_in import finish_sign_in
from procore_signin._protocol.authorization import CodeGranted
from procore_signin._protocol.me import me_request
from procore_signin._protocol.secret import Secret
from procore_signin.errors import ProcoreSignInError

Answer = dict[str, Any]

LONGEST_LIFE: Final = 900
"""Seconds after which a worker that no one ended ends itself."""

BROWSER: Final = Browser(user_agent="reliability", session_hash=None)


class Line:
    """The connection to the test that gives the orders."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rwb")

    def say(self, answer: Answer) -> None:
        self._file.write(json.dumps(answer).encode() + b"\n")
        self._file.flush()

    def hear(self) -> Answer | None:
        line = self._file.readline()
        order: Answer | None = json.loads(line) if line else None
        return order


class Worker:
    """Carries out orders: the public methods, by name."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._points = Points()

    def open(self, *, lease_seconds: int | None = None, **place: Any) -> Answer:
        """Open the front door; with `lease_seconds`, as an implementation with that lease would."""
        self._place = Place(**place)
        if lease_seconds is not None:
            setattr(refresh, "LEASE_SECONDS", lease_seconds)  # noqa: B010 - it is Final
            setattr(lease, "LEASE_SECONDS", lease_seconds)  # noqa: B010 - as above
            setattr(lease, "REQUEST_SECONDS", lease_seconds - 20)  # noqa: B010 - as above
        self._door = self._place.door(lambda sends: WatchedTransport(sends, self._points))
        self._points.watch(self._door.store)
        return {}

    def fresh(self, *, user: int) -> Answer:
        """Get a usable access token, and use it."""
        before = self._points.passed.get("in vain TakeLease", 0)
        try:
            token = self._door.fresh_tokens(user)
        except ProcoreSignInError as error:
            return _refusal(error)
        waits = self._points.passed.get("in vain TakeLease", 0) - before
        return {"generation": token.generation, "api": self._use(token), "waited": waits > 0}

    def sign_in(self, *, attempt: list[Any], code: str) -> Answer:
        """Finish a sign-in, as the callback does."""
        begun = attempt_from(attempt)
        granted = CodeGranted(Secret(code, "code"), begun.state, None)
        context = self._door.context
        try:
            signed_in = self._door.run(finish_sign_in(context, begun, granted, BROWSER))
        except ProcoreSignInError as error:
            return _refusal(error)
        return {"user": signed_in.user.id}

    def die_at(self, *, point: str) -> Answer:
        """Be killed when a flow comes to `point`."""
        self._points.arm(point, lambda: os.kill(os.getpid(), signal.SIGKILL))
        return {}

    def pause_at(self, *, point: str) -> Answer:
        """Stand still at `point` until told to go on."""
        self._points.arm(point, self._pause)
        return {}

    def use_before_commit(self) -> Answer:
        """Do what row R3 forbids: use the new access token, and die before it is written down."""
        transport = self._door._transport

        def send(request: Any) -> Any:
            response = WatchedTransport.send(transport, request)  # type: ignore[arg-type]
            if request.url.endswith("/oauth/token"):
                token = Secret(json.loads(response.body)["access_token"], "access token")
                transport.send(me_request(self._door.context.environment.api_origin, token))
                os.kill(os.getpid(), signal.SIGKILL)
            return response

        transport.send = send  # type: ignore[method-assign]
        return {}

    def serve(self, *, user: int, callers: int) -> Answer:
        """Be an asyncio server in which `callers` requests need one token, until SIGTERM."""
        return asyncio.run(self._serve(user, callers))

    def serve_sign_in(self, *, attempt: list[Any], code: str) -> Answer:
        """Be an asyncio server to which one callback came, until SIGTERM."""
        return asyncio.run(self._serve_sign_in(attempt_from(attempt), code))

    async def _serve(self, user: int, callers: int) -> Answer:
        procore = AsyncProcoreSignIn(**self._place.arguments())
        requests = [asyncio.create_task(procore.fresh_tokens(user)) for _ in range(callers)]
        return await self._until_sigterm(procore, requests)

    async def _serve_sign_in(self, attempt: SignInAttempt, code: str) -> Answer:
        procore = AsyncProcoreSignIn(**self._place.arguments())
        granted = CodeGranted(Secret(code, "code"), attempt.state, None)
        flow = finish_sign_in(procore.context, attempt, granted, BROWSER)
        return await self._until_sigterm(procore, [asyncio.create_task(procore.run(flow))])

    async def _until_sigterm(
        self, procore: AsyncProcoreSignIn, requests: list[asyncio.Task[Any]]
    ) -> Answer:
        """Do as servers do at the end: cancel what is still under way, then shut down."""
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        self._line.say({"serving": True})
        await stop.wait()
        for request in requests:
            request.cancel()
        await asyncio.wait(requests)
        await procore.aclose()
        return {"cancelled": sum(request.cancelled() for request in requests)}

    def _pause(self) -> None:
        self._line.say({"paused": True})
        self._line.hear()

    def _use(self, token: FreshToken) -> int:
        request = me_request(self._door.context.environment.api_origin, token.access_token)
        return self._door._transport.send(request).status


def _refusal(error: ProcoreSignInError) -> Answer:
    return {"error": type(error).__name__, "retry_after": getattr(error, "retry_after", None)}


def attempt_to(attempt: SignInAttempt) -> list[Any]:
    """Return a sign-in attempt as one process tells it to another."""
    verifier = attempt.code_verifier
    shown = None if verifier is None else verifier.reveal()
    return [attempt.binding, attempt.state, shown, attempt.return_to, attempt.issued_at]


def attempt_from(told: list[Any]) -> SignInAttempt:
    binding, state, verifier, return_to, issued_at = told
    secret = None if verifier is None else Secret(verifier, "code verifier")
    return SignInAttempt(binding, state, secret, return_to, issued_at)


def work(connection: socket.socket) -> None:
    """Carry out orders until the other side hangs up."""
    signal.alarm(LONGEST_LIFE)
    line = Line(connection)
    worker = Worker(line)
    line.say({"pid": os.getpid()})
    while (order := line.hear()) is not None:
        try:
            answer = getattr(worker, order.pop("do"))(**order)
        except Exception:  # noqa: BLE001 - the test that gave the order fails with it
            answer = {"crashed": traceback.format_exc()}
        line.say(answer)
