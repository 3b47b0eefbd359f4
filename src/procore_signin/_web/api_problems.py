"""The problem pages for errors of ours in a page of the application's own.

The application called Procore's API, and the call failed.
"""

from __future__ import annotations

from typing import Final

from procore_signin._web import problems
from procore_signin._web.problems import Problem
from procore_signin.errors import (
    ClientMisconfigured,
    Conflict,
    Forbidden,
    GrantLost,
    NotConnected,
    NotFound,
    ProcoreSignInError,
    ProcoreUnavailable,
    SignInRefused,
    Unauthorized,
    UnexpectedResponse,
)

API_UNAVAILABLE: Final = Problem(
    "procore_unavailable",
    503,
    "Procore is not answering",
    "This page shows what Procore knows, and Procore did not answer in time.",
    None,
    "Wait a moment, then try again.",
    sign_in=False,
)
API_UNEXPECTED: Final = Problem(
    "unexpected_response",
    502,
    "Procore answered in a way we do not understand",
    "This page shows what Procore knows, and Procore's response was not what it documents.",
    None,
    "Try again. If it keeps happening, give the reference to the operator of this application.",
    sign_in=False,
)
NOT_CONNECTED: Final = Problem(
    "not_connected",
    403,
    "This application is not connected to that company",
    "Procore does not let this application work in the company that this page is about.",
    "The application may not be installed there.",
    "Ask an administrator of the company to install it, in Procore's company admin.",
    sign_in=False,
)
FORBIDDEN: Final = Problem(
    "forbidden_in_procore",
    403,
    "Procore does not let you do that",
    "You have no permission in Procore for what this page shows or does.",
    None,
    "Ask an administrator of the company for the permission.",
    sign_in=False,
)
NOT_IN_PROCORE: Final = Problem(
    "not_found_in_procore",
    404,
    "Procore does not show you that",
    "What this page is about does not exist in Procore, or you may not see it.",
    None,
    "Go to the first page.",
    sign_in=False,
)
CONFLICT: Final = Problem(
    "conflict_in_procore",
    409,
    "It has changed meanwhile",
    "Procore did not accept the change, because someone else was faster or it was already made.",
    None,
    "Look at it again, then decide.",
    sign_in=False,
)

# The first match counts: an `ApiError` may also be a `ProcoreUnavailable`.
_IN_A_VIEW: Final[tuple[tuple[type[ProcoreSignInError], Problem], ...]] = (
    (GrantLost, problems.GRANT_LOST),
    (ProcoreUnavailable, API_UNAVAILABLE),
    (UnexpectedResponse, API_UNEXPECTED),
    (ClientMisconfigured, problems.MISCONFIGURED),
    (NotConnected, NOT_CONNECTED),
    (Unauthorized, NOT_CONNECTED),
    (Forbidden, FORBIDDEN),
    (NotFound, NOT_IN_PROCORE),
    (Conflict, CONFLICT),
)


def of_view(error: ProcoreSignInError) -> Problem:
    """Return the problem for `error` in a page of the application's own."""
    if isinstance(error, SignInRefused):
        return problems.of_sign_in(error)
    fitting = (problem for kind, problem in _IN_A_VIEW if isinstance(error, kind))
    return next(fitting, problems.of_any(error))
