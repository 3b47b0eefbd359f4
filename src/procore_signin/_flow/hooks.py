"""Where an application has its say: who may sign in, and what happens when someone does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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
        companies: The companies that Procore lists for this person.
        environment: Such as `production`.
    """

    me: Me
    companies: tuple[Company, ...]
    environment: str


Verdict = str | None
"""None admits; a text refuses, and is the reason that the person reads."""

MaySignIn = Callable[[Candidate], Verdict | Awaitable[Verdict]]
OnUser = Callable[[User], Any]


@dataclass(frozen=True, slots=True)
@public_in("procore_signin")
class Hooks:
    """Functions of the application, plain or `async`, with either front door.

    With `AsyncProcoreSignIn`, plain ones run on a worker thread. With `ProcoreSignIn`, async ones
    run on an event loop that ends with them: what they use must not belong to another loop.

    Attributes:
        may_sign_in: Asked before anything is stored; see `Verdict`. Costs one more call to Procore
            at each sign-in, for the companies. What it raises ends the sign-in with an error page.
        on_sign_up: Called after the first sign-in of someone.
        on_sign_in: Called after every sign-in, the first included.
        on_sign_out: Called after someone signed out, here or everywhere.

    An error of the `on_…` functions is logged and changes nothing: the person is signed in or out.
    They are missed when the process dies right after the commit: do nothing there that the
    application cannot catch up on.
    """

    may_sign_in: MaySignIn | None = None
    on_sign_up: OnUser | None = None
    on_sign_in: OnUser | None = None
    on_sign_out: OnUser | None = None


def tell(hook: OnUser | None, user: User) -> Flow[None]:
    """Call `hook` if there is one. What it raises is logged, and changes nothing."""
    if hook is None:
        return
    try:
        yield from call(hook, user)
    except Exception:  # whatever the application's function raises, the person is signed in or out
        LOGGER.exception("The application's hook %r failed", hook)
