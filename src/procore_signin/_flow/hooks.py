"""Where an application has its say: who may sign in, and what happens when someone does."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from procore_signin._flow.steps import Flow, call
from procore_signin._protocol.companies import Company
from procore_signin._protocol.me import Me
from procore_signin._public import public_in
from procore_signin._store.records import User

LOGGER: Final = logging.getLogger("procore_signin")


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class Candidate:
    """Someone whom Procore has confirmed, and who is about to be signed in.

    Attributes:
        me: What `/rest/v1.0/me` says.
        companies: The companies that Procore lists for this user.
        environment: Such as `production`.
        references: The users of the application that they are connected to already: none at a first
            sign-in, and none while the first connection is made (`Occasion.connects`).
    """

    me: Me
    companies: tuple[Company, ...]
    environment: str
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class Occasion:
    """In which request of the application something happens.

    Attributes:
        request: The framework's own request: of Starlette, Flask or Django. None in commands, jobs
            and the ready application.
        value: What the application gave with the button, such as an invitation, or None.
        reference: The user of the application who is logged in there, as `Login.user` names them,
            or None.
        connects: Whether the user who signs in is being connected to `reference`.
    """

    request: Any = field(default=None, repr=False)
    value: str | None = field(default=None, repr=False)
    reference: str | None = field(default=None, repr=False)
    connects: bool = False


NOWHERE: Final = Occasion()

Verdict = str | None
"""None admits; a text refuses, and is the reason that the user reads."""

MaySignIn = (
    Callable[[Candidate], Verdict | Awaitable[Verdict]]
    | Callable[[Candidate, Occasion], Verdict | Awaitable[Verdict]]
)
OnUser = Callable[[User], Any] | Callable[[User, Occasion], Any]


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class Hooks:
    """Functions of the application, plain or `async`, with either front door.

    One that needs a second argument is given the `Occasion`: the framework's request, and what the
    application gave with the button.

    With `AsyncProcoreSignIn`, plain ones run on a worker thread. With `ProcoreSignIn`, async ones
    run on an event loop that ends with them: what they use must not belong to another loop.

    Attributes:
        may_sign_in: Asked before anything is stored; see `Verdict`. Costs one more call to Procore
            at each sign-in, for the companies. What it raises ends the sign-in with an error page.
        on_sign_up: Called after the first sign-in of someone.
        on_sign_in: Called after every sign-in, the first included.
        on_sign_out: Called after someone signed out, here or everywhere.

    An error of the `on_…` functions is logged and changes nothing: the user is signed in or out.
    They are missed when the process dies right after the commit: do nothing there that the
    application cannot catch up on.

    Raises:
        TypeError: One of them is no function.
    """

    may_sign_in: MaySignIn | None = None
    on_sign_up: OnUser | None = None
    on_sign_in: OnUser | None = None
    on_sign_out: OnUser | None = None

    def __post_init__(self) -> None:
        check_functions(self, "may_sign_in", "on_sign_up", "on_sign_in", "on_sign_out")


def check_functions(of: object, *names: str) -> None:
    """Check that the attributes `names` are functions or None, before someone signs in.

    Raises:
        TypeError: One is neither.
    """
    for name in names:
        value = getattr(of, name)
        if value is not None and not callable(value):
            kind = type(value).__name__
            raise TypeError(
                f"{type(of).__name__}({name}=…) takes a function of yours, not a {kind}"
            )


def check_kind(value: object, kind: type, name: str, *, such_as: str) -> None:
    """Check that the argument `name` is a `kind` of ours, before someone signs in.

    Args:
        value: What was given.
        kind: Its class, which users import from `procore_signin`.
        name: The argument, such as `hooks`.
        such_as: An example of a right one.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, kind):
        raise TypeError(
            f"{name} is a procore_signin.{kind.__name__}, such as {such_as}, "
            f"not a {type(value).__name__}"
        )


def only_connected(candidate: Candidate, occasion: Occasion) -> str | None:
    """Admit only those who are connected to a user of the application, or are connecting now.

    For `Hooks(may_sign_in=only_connected)`.
    """
    if candidate.references or occasion.connects:
        return None
    return (
        "No account of this application is connected to your Procore account. "
        "Log in with your own account here first, and connect Procore there."
    )


def call_hook(hook: Callable[..., Any], about: Candidate | User, occasion: Occasion) -> Flow[Any]:
    """Return what `hook` returns. It is given `occasion` if it needs a second argument."""
    return (yield from call(hook, about, *([occasion] if _takes_two(hook) else [])))


def _takes_two(hook: Callable[..., Any]) -> bool:
    """Return whether `hook` needs a second argument. One with a default has another meaning."""
    try:
        inspect.signature(hook).bind(None)
    except TypeError:
        return True
    return False


def tell(hook: OnUser | None, user: User, occasion: Occasion = NOWHERE) -> Flow[None]:
    """Call `hook` if there is one. What it raises is logged, and changes nothing."""
    if hook is None:
        return
    try:
        yield from call_hook(hook, user, occasion)
    except Exception:  # whatever the application's function raises, the user is signed in or out
        LOGGER.exception("The application's hook %r failed", hook)
