"""What a flow can ask for. The runners alone perform it, sync or async.

A flow is a generator: it yields a step and is sent the step's outcome, or has the step's error
thrown into it. `yield from send(…)` and its siblings keep the outcome's type.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from typing import Any, TypeVar

from procore_signin._protocol.http_message import HttpRequest, HttpResponse
from procore_signin._protocol.value import value
from procore_signin._store.engine.command import Command, Query
from procore_signin.errors import StoreUnavailable

T = TypeVar("T")


@value(frozen=True, slots=True)
class Send:
    """Send this request to Procore; the outcome is an `HttpResponse`."""

    request: HttpRequest


@value(frozen=True, slots=True)
class Do:
    """Have the store run this command; the outcome is what it returns."""

    command: Command[Any]


@value(frozen=True, slots=True)
class Ask:
    """Ask the store this query; the outcome is what it finds."""

    query: Query[Any]


@value(frozen=True, slots=True)
class Probe:
    """Ask whether sign-ins can be stored now; the outcome is why not, or None. Takes a second."""


@value(frozen=True, slots=True)
class Wait:
    """Let this many seconds pass; the outcome is for how many seconds this process has been ending.

    Attributes:
        seconds: How many.
        idle: True when nothing is lost if this flow ends here: others do the work, and a process
            that is ending does not wait for them.
    """

    seconds: float
    idle: bool


@value(frozen=True, slots=True)
class Shield:
    """Run this flow to its end whatever happens to the caller; the outcome is its value.

    Between the exchange of a code and the commit, a grant exists that only we know of (row C13). No
    signal handler, time limit, cancellation or killed greenlet of the caller's stops it (row R13).
    """

    flow: Flow[Any]


@value(frozen=True, slots=True)
class Later:
    """Run this flow beside the caller, who does not wait. Nothing may depend on its outcome.

    Attributes:
        flow: The flow.
        key: While a flow for the same key waits or runs, this one is not wanted; None for always.
    """

    flow: Flow[Any]
    key: Hashable | None


@value(frozen=True, slots=True)
class Once:
    """Run this flow once for everyone in this process who asks for the same key meanwhile.

    It runs as a shielded flow does; the outcome, or the error, is everyone's.
    """

    key: Hashable
    flow: Flow[Any]


@value(frozen=True, slots=True)
class Dismiss:
    """Give this error to all who wait for this flow, or come to wait for it; the flow goes on."""

    error: Exception


@value(frozen=True, slots=True)
class Call:
    """Call a function of the application, plain or `async`; the outcome is what it returns.

    It is called where the caller is, for as long as the caller is there.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


Step = Send | Do | Ask | Probe | Wait | Shield | Later | Once | Dismiss | Call
Flow = Generator[Step, Any, T]


def send(request: HttpRequest) -> Flow[HttpResponse]:
    """Send `request`, once, and return the response."""
    response: HttpResponse = yield Send(request)
    return response


def do(command: Command[T]) -> Flow[T]:
    """Return what `command` returns, once what it changed is durable."""
    outcome: T = yield Do(command)
    return outcome


def ask(query: Query[T]) -> Flow[T]:
    """Return what `query` finds in the store."""
    outcome: T = yield Ask(query)
    return outcome


def probe() -> Flow[StoreUnavailable | None]:
    """Return why nothing can be stored now, or None where it can; within a second in any case."""
    outcome: StoreUnavailable | None = yield Probe()
    return outcome


def wait(seconds: float, *, idle: bool = False) -> Flow[float]:
    """Let `seconds` pass.

    Returns:
        For how many seconds this process, or its front door, has been ending; 0 while it is not.

    Raises:
        ProcoreUnavailable: `idle`, and this process is ending: nothing is lost.
    """
    ending: float = yield Wait(seconds, idle)
    return ending


def shield(flow: Flow[T]) -> Flow[T]:
    """Return the value of `flow`, which is not interrupted when the caller is."""
    outcome: T = yield Shield(flow)
    return outcome


def later(flow: Flow[Any], *, key: Hashable | None = None) -> Flow[None]:
    """Have `flow` run beside the caller, unless one for the same `key` waits or runs already."""
    yield Later(flow, key)


def once(key: Hashable, flow: Flow[T]) -> Flow[T]:
    """Return the value of `flow`, or of the flow that is under way for the same `key`."""
    outcome: T = yield Once(key, flow)
    return outcome


def dismiss(error: Exception) -> Flow[None]:
    """Tell all who wait for this flow `error`, and go on without them."""
    yield Dismiss(error)


def call(function: Callable[..., Any], *arguments: Any) -> Flow[Any]:
    """Return what the application's `function` returns, awaited if need be."""
    return (yield Call(function, arguments))
