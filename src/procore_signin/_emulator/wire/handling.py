"""One request to the emulated Procore and its reply, with the fault that is due.

Nothing here waits or sends: the caller does, with an event loop (`asgi.py`) or without
(`in_process.py`).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from procore_signin._emulator.faults.faults import Fault
from procore_signin._emulator.faults.kinds import Effect
from procore_signin._emulator.journal import Caller, Lane
from procore_signin._emulator.procore import LocalProcore
from procore_signin._emulator.rest.unserved import is_api
from procore_signin._emulator.wire.messages import Headers, Reply, Request

NO_FAULT: Final = Effect()
_BROWSER_PATHS: Final = ("/oauth/authorize", "/login", "/logout")
_JOURNALED: Final = ("/oauth/", "/login", "/logout")

Handling = Generator[float, None, tuple[Reply, Effect]]
"""Yields seconds to wait; returns the reply, and how it is to be delivered."""


def handle(procore: LocalProcore, request: Request, pairs: Headers) -> Handling:
    """Carry out `request`, and write it into the journal.

    Args:
        procore: The emulated Procore.
        request: The request, read whole.
        pairs: Its headers as they came, for the journal.
    """
    started_at = procore.state.clock()
    refused: Reply | None = None
    with procore.lock:
        fault = procore.faults.take(request.method, request.path)
        if fault is not None and fault.effect.stubs:
            refused = procore.refuse_stub(request)
            if refused is not None:
                procore.faults.put_back(fault)
                fault = None
    effect = fault.effect if fault else NO_FAULT
    if effect.delay:
        yield effect.delay
    reply = refused or (procore.answer(request) if effect.commit else Reply(200))
    if effect.delay_after:
        yield effect.delay_after
    if effect.change is not None:
        reply = effect.change(reply, procore.state.clock())
    reply = reply.with_headers(("x-request-id", procore.state.random_values.request_id()))
    if request.path.startswith(_JOURNALED) or is_api(request.path):
        _record(procore, request, pairs, reply, fault, started_at=started_at)
    return reply, effect


def _record(
    procore: LocalProcore,
    request: Request,
    pairs: Headers,
    reply: Reply,
    fault: Fault | None,
    *,
    started_at: float,
) -> None:
    dropped = fault is not None and fault.effect.delivery == "drop"
    procore.journal.record(
        started_at=started_at,
        took=max(0.0, procore.state.clock() - started_at),
        caller=_caller(request),
        lane=_lane(request),
        method=request.method,
        target=request.target,
        request_headers=pairs,
        request_body=request.body,
        status=0 if dropped else reply.status,
        response_headers=() if dropped else reply.headers,
        response_body=b"" if dropped else reply.body,
        note=_note(reply, fault),
    )


def _caller(request: Request) -> Caller:
    return "user" if request.path.startswith(_BROWSER_PATHS) else "app"


def _lane(request: Request) -> Lane:
    return "api" if is_api(request.path) else "auth"


def _note(reply: Reply, fault: Fault | None) -> str | None:
    if fault is None:
        return reply.note
    done = "the request was carried out" if fault.effect.commit else "nothing was carried out"
    happened = f"fault {fault.number}, {fault.kind}: {done}"
    return f"{happened}; {reply.note}" if reply.note and fault.effect.commit else happened
