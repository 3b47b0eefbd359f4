"""What a flow can ask for. `runners.py` alone performs it, waiting or awaiting.

A flow is a generator: it yields a step and is sent the step's outcome, or has the step's error
thrown into it. `yield from send(…)` and its siblings keep the outcome's type.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from procore_signin.protocol.wire import HttpRequest, HttpResponse
from procore_signin.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request to Procore; the outcome is an `HttpResponse`."""

    request: HttpRequest


@dataclass(frozen=True, slots=True)
class Work:
    """Do this with the store; the outcome is what it returns.

    Attributes:
        do: Called with the store, on whichever thread suits the database.
        writes: True when it changes rows: SQLite wants its writes in one line.
        long: True when it takes more than a moment: nothing else waits for it.
    """

    do: Callable[[Store], Any]
    writes: bool
    long: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Let this many seconds pass.

    Attributes:
        seconds: How many.
        idle: True when nothing is lost if this flow ends here: others do the work, and a process
            that is ending does not wait for them.
    """

    seconds: float
    idle: bool


@dataclass(frozen=True, slots=True)
class Shield:
    """Run this flow to its end even when the caller goes away; the outcome is its value.

    Between the exchange of a code and the commit, a grant exists that only we know of (row C13).
    """

    flow: Flow[Any]


@dataclass(frozen=True, slots=True)
class Later:
    """Run this flow after the caller has its answer. Nothing may depend on its outcome."""

    flow: Flow[Any]


@dataclass(frozen=True, slots=True)
class Once:
    """Run this flow once for everybody in this process who asks for the same key meanwhile.

    Whoever comes first runs it, shielded; the outcome, or the error, is everybody's.
    """

    key: Hashable
    flow: Flow[Any]


@dataclass(frozen=True, slots=True)
class Call:
    """Call a function of the application, plain or `async`; the outcome is what it returns."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


Step = Send | Work | Wait | Shield | Later | Once | Call
Flow = Generator[Step, Any, T]


def send(request: HttpRequest) -> Flow[HttpResponse]:
    """Send `request`, once, and return the response."""
    response: HttpResponse = yield Send(request)
    return response


def read(do: Callable[[Store], T]) -> Flow[T]:
    """Return what `do` reads from the store."""
    outcome: T = yield Work(do, writes=False)
    return outcome


def write(do: Callable[[Store], T]) -> Flow[T]:
    """Return what `do` returns after changing the store."""
    outcome: T = yield Work(do, writes=True)
    return outcome


def long_work(do: Callable[[Store], T]) -> Flow[T]:
    """Return what `do` returns, which reads or changes many rows."""
    outcome: T = yield Work(do, writes=True, long=True)
    return outcome


def wait(seconds: float, *, idle: bool = False) -> Flow[None]:
    """Let `seconds` pass.

    Raises:
        ProcoreUnavailable: `idle`, and this process is ending: nothing is lost.
    """
    yield Wait(seconds, idle)


def shield(flow: Flow[T]) -> Flow[T]:
    """Return the value of `flow`, which is not interrupted when the caller is."""
    outcome: T = yield Shield(flow)
    return outcome


def later(flow: Flow[Any]) -> Flow[None]:
    """Have `flow` run after the caller has its answer."""
    yield Later(flow)


def once(key: Hashable, flow: Flow[T]) -> Flow[T]:
    """Return the value of `flow`, or of the flow that is under way for the same `key`."""
    outcome: T = yield Once(key, flow)
    return outcome


def call(function: Callable[..., Any], *arguments: Any) -> Flow[Any]:
    """Return what the application's `function` returns, awaited if need be."""
    return (yield Call(function, arguments))
